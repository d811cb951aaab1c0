//! What producers say: requests of both protocols, each with what they mean, written down apart from the code under test.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::clock::Timestamp;

use super::chance::Chance;

/// The write keys, each with its project; the last is nobody's.
pub(crate) const KEYS: [(&str, Option<&str>); 3] =
    [("key-one", Some("one")), ("key-two", Some("two")), ("key-lost", None)];
/// The name of an event that ends whoever decodes its message.
pub(crate) const KILLS_READER: &str = "Kills Reader";
/// The name of an event that ends whoever writes its item.
pub(crate) const KILLS_WRITER: &str = "Kills Writer";
/// The name of an event that the table refuses.
pub(crate) const UNSTORABLE: &str = "Unstorable";

/// What must become of an item of a request, if the request is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    /// It ends who reads or writes it.
    Deadly,
    /// The table refuses it.
    Unstorable,
    /// `ingest` refuses it, for this reason.
    Refused(&'static str),
}

/// What makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// This, for ever.
    Forever(String),
    /// This, for five minutes from the first.
    Window(String),
    /// Nothing: each call is its own.
    Fresh,
}

/// One event, or refused item, of a request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) nature: Nature,
    pub(crate) kind: &'static str,
    /// Whom it is about: the user, else the device.
    pub(crate) subject: String,
    /// The device, or the address of whom is known by nothing else. The device is the subject where no user is named.
    pub(crate) device: Option<String>,
    /// The address that it gives to its subject.
    pub(crate) address: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) data: Option<Value>,
    pub(crate) identity: Identity,
    /// The producer's own id of the event.
    pub(crate) id: Option<String>,
    pub(crate) client_millis: Option<i64>,
    /// The item as it was sent.
    pub(crate) written: Value,
}

impl Said {
    /// Where it lives: with its device, whoever it names.
    pub(crate) fn home(&self) -> &str {
        self.device.as_deref().unwrap_or(&self.subject)
    }

    /// Whether it names nobody.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.device.as_ref() == Some(&self.subject)
    }

    /// The same event as it is sent again when somebody has logged in on the device.
    fn filled_in(&self, user: &str) -> Self {
        let fits = self.nature == Nature::Good && self.written.get("anonymousId").is_some();
        let mut said = self.clone();
        if fits && self.is_anonymous() {
            said.subject = user.to_owned();
            said.written["userId"] = json!(user);
        }
        said
    }
}

/// What a request deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// 200.
    Accepted,
    /// 401, once the table of keys has been asked.
    UnknownKey,
    /// This, whatever happens behind us.
    Refused(u16),
}

/// A request that may be sent several times.
#[derive(Debug)]
pub(crate) struct Request {
    /// The position of its key among [`KEYS`].
    pub(crate) key: usize,
    pub(crate) path: &'static str,
    pub(crate) said: Vec<Said>,
    pub(crate) due: Due,
    pub(crate) body: Body,
    /// Whether a repetition says when it was sent itself, rather than when the first was.
    pub(crate) sent_anew: bool,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) enum Body {
    /// A JSON object, to which the time of sending is added where that is `true`.
    Object(Map<String, Value>, bool),
    /// Any text.
    Text(String),
}

/// Who writes a request, and when.
pub(crate) struct Author<'a> {
    pub(crate) chance: &'a Chance,
    pub(crate) malice: f64,
    /// The producer's time in milliseconds.
    pub(crate) millis: i64,
    /// A number that no other request has.
    pub(crate) number: u64,
    pub(crate) key: usize,
    pub(crate) large: bool,
}

fn iso(millis: i64) -> String {
    Timestamp::from_millis_clamped(millis).to_string()
}

impl Author<'_> {
    /// Any request.
    pub(crate) fn request(&self) -> Arc<Request> {
        let mut request = match self.chance.index(10) {
            _ if self.large => self.large_batch(),
            0 => self.wrong(),
            1..=3 => self.vero(),
            4 if self.chance.hits(0.05) => self.logins(),
            4..=6 => self.segment_single(),
            _ => self.segment_batch(),
        };
        if KEYS[request.key].1.is_none() && request.due == Due::Accepted {
            request.due = Due::UnknownKey;
        }
        Arc::new(request)
    }

    /// The most usual request of all: somebody did something.
    pub(crate) fn track(&self) -> Arc<Request> {
        let said = self.segment_event(0, "track", "Done".to_owned(), Nature::Good);
        let body = said.written.as_object().cloned().unwrap_or_default();
        Arc::new(self.segment("/v1/track", body, vec![said]))
    }

    fn user(&self) -> String {
        format!("u{}", self.chance.index(4))
    }

    fn segment_single(&self) -> Request {
        let said = self.segment_item(0, true);
        let path = match said.kind {
            "identify" => "/v1/identify",
            "group" => "/v1/group",
            "alias" => "/v1/alias",
            "page" => "/v1/page",
            _ => "/v1/track",
        };
        let mut body = said.written.as_object().cloned().unwrap_or_default();
        body.remove("type");
        let said = Said { written: Value::Object(body.clone()), ..said };
        self.segment(path, body, vec![said])
    }

    fn segment_batch(&self) -> Request {
        let said: Vec<Said> = (0..self.chance.from(1, 5)).map(|index| self.segment_item(index, false)).collect();
        self.batch(said)
    }

    /// Somebody who logs out and in again more often than a user's ids are read as one: each time another id becomes theirs.
    fn logins(&self) -> Request {
        let user = self.user();
        let said = (0..self.chance.from(40, 75)).map(|index| {
            let former = format!("former{}-{index}", self.number);
            let kind = if index % 4 == 0 { "track" } else { "alias" };
            let mut said = self.segment_event(index, "track", "Done".to_owned(), Nature::Good);
            let id = format!("e{}-{index}", self.number);
            let mut item = json!({"type": kind, "messageId": id});
            (said.id, said.client_millis, said.device, said.address) = (Some(id.clone()), None, None, None);
            said.identity = Identity::Forever(id);
            if kind == "alias" {
                (item["userId"], item["previousId"]) = (json!(user), json!(former));
                (said.subject, said.target, said.name, said.data) = (user.clone(), Some(former), None, None);
            } else {
                (item["userId"], item["event"]) =
                    (json!(format!("former{}-{}", self.number, index + 1)), json!("Done"));
                item["properties"] = json!(said.data);
                (said.subject, said.name) = (format!("former{}-{}", self.number, index + 1), Some("Done".to_owned()));
            }
            Said { kind, written: item, ..said }
        });
        self.batch(said.collect())
    }

    /// Several messages of 256 KiB, or a message that one item of the spill table cannot hold.
    fn large_batch(&self) -> Request {
        let sizes: &[usize] = if self.chance.hits(0.5) { &[110_000; 5] } else { &[330_000, 10] };
        let said = sizes.iter().zip(0..).map(|(size, index)| {
            let mut said = self.segment_event(index, "track", "Large".to_owned(), Nature::Good);
            let data = json!({"n": self.number * 10 + index, "filler": "x".repeat(*size)});
            said.written["properties"] = data.clone();
            said.data = Some(data);
            said
        });
        self.batch(said.collect())
    }

    fn batch(&self, said: Vec<Said>) -> Request {
        let items: Vec<&Value> = said.iter().map(|said| &said.written).collect();
        let body = Map::from_iter([("batch".to_owned(), json!(items))]);
        self.segment("/v1/batch", body, said)
    }

    fn segment(&self, path: &'static str, body: Map<String, Value>, said: Vec<Said>) -> Request {
        let (dated, sent_anew) = (self.chance.hits(0.6), self.chance.hits(0.7));
        Request { key: self.key, path, said, due: Due::Accepted, body: Body::Object(body, dated), sent_anew }
    }

    fn segment_item(&self, index: u64, single: bool) -> Said {
        let bad = self.chance.hits(0.08);
        let nature = match self.chance.index(3) {
            _ if bad => Nature::Refused(""),
            _ if !self.chance.hits(self.malice) => Nature::Good,
            0 => Nature::Unstorable,
            _ => Nature::Deadly,
        };
        if nature != Nature::Good {
            let killer = self.chance.pick(&[KILLS_READER, KILLS_WRITER]);
            let name = if nature == Nature::Unstorable { UNSTORABLE } else { killer };
            let said = self.segment_event(index, "track", name.to_owned(), nature);
            return if bad { self.spoilt(said, single) } else { said };
        }
        let kind = self.chance.pick(&["track", "track", "identify", "identify", "group", "alias", "page"]);
        self.segment_event(index, kind, "Done".to_owned(), nature)
    }

    /// An item that breaks one of Segment's rules.
    fn spoilt(&self, mut said: Said, single: bool) -> Said {
        let (absent, reason): (&[&str], _) = match self.chance.index(3) {
            0 => (&["userId", "anonymousId"], "no_user_anon_id"),
            1 if !single => (&["type"], "unsupported_event_type"),
            _ => (&["event"], "event_not_defined"),
        };
        if let Some(members) = said.written.as_object_mut() {
            absent.iter().for_each(|member| drop(members.remove(*member)));
        }
        said.nature = Nature::Refused(reason);
        said
    }

    fn segment_event(&self, index: u64, kind: &'static str, name: String, nature: Nature) -> Said {
        let n = self.number * 10 + index;
        let user = if self.chance.hits(0.2) { format!("a{}", self.chance.index(3)) } else { self.user() };
        // Everybody has a device of their own, and sits down at those of others.
        let own = if self.chance.hits(0.6) { user.replace('u', "d") } else { format!("d{}", self.chance.index(4)) };
        let device = self.chance.hits(0.6).then_some(own);
        let is_anonymous = device.is_some() && kind != "alias" && self.chance.hits(0.4);
        let subject = device.clone().filter(|_| is_anonymous).unwrap_or_else(|| user.clone());
        let mut item = json!({"type": kind});
        if !is_anonymous {
            item["userId"] = json!(user);
        }
        match &device {
            Some(device) => item["anonymousId"] = json!(device),
            // What says nothing is no device.
            None if self.chance.hits(0.1) => item["anonymousId"] = json!(self.chance.pick(&["undefined", "null", "0"])),
            None => {}
        }
        let mut address = None;
        let (mut data, mut target, mut event_name) = (None, None, None);
        match kind {
            "identify" => {
                let mut traits = json!({self.chance.pick(&["plan", "city"]): n});
                if self.chance.hits(0.2) {
                    address = Some(format!("{}@x.io", self.user()));
                    traits["email"] = json!(address);
                }
                data = Some(traits);
                item["traits"] = json!(data);
            }
            "group" => {
                (target, data) = (Some(format!("g{}", self.chance.index(2))), Some(json!({"size": n})));
                (item["groupId"], item["traits"]) = (json!(target), json!(data));
            }
            "alias" => {
                target = Some(self.chance.pick(&["a0", "a1", "a2", "u0", "u1", "d0", "d1"]).to_owned());
                item["previousId"] = json!(target);
            }
            _ => {
                data = Some(json!({"n": n}));
                item["properties"] = json!(data);
                event_name = Some(name);
                item[if kind == "page" { "name" } else { "event" }] = json!(event_name);
            }
        }
        // What is deadly or refused always has an identity of its own.
        let id = (nature != Nature::Good || self.chance.hits(0.85)).then(|| format!("e{n}"));
        let dated = nature != Nature::Good || self.chance.hits(0.75);
        // Up to an hour ago: events are buffered while a device is off line.
        let past = self.chance.pick(&[0, 1_000, 60_000, 3_600_000]);
        let client_millis = dated.then(|| self.millis - i64::try_from(self.chance.from(0, past)).unwrap_or(0));
        if let Some(id) = &id {
            item["messageId"] = json!(id);
        }
        if let Some(millis) = client_millis {
            item["timestamp"] = json!(iso(millis));
        }
        let home = device.as_ref().unwrap_or(&subject);
        let identity = match (&id, client_millis) {
            (Some(id), Some(millis)) => Identity::Forever(format!("{home} {millis} {id}")),
            (Some(id), None) => Identity::Forever(id.clone()),
            (None, Some(millis)) => Identity::Forever(format!("{kind} {home} {target:?} {data:?} {millis}")),
            (None, None) => Identity::Fresh,
        };
        let (name, written) = (event_name, item);
        Said { nature, kind, subject, device, address, name, target, data, identity, id, client_millis, written }
    }

    fn vero(&self) -> Request {
        let n = self.number * 10;
        // Some are known by their address alone, which others have beside an id.
        let address = format!("{}@x.io", self.user());
        let (user, by_address) = if self.chance.hits(0.15) { (address.clone(), true) } else { (self.user(), false) };
        let whom = if by_address { json!({"email": user}) } else { json!({"id": user}) };
        let (mut gives, mut is_alias) = (None, false);
        let created = self.millis - i64::try_from(self.chance.from(0, 60_000)).unwrap_or(0);
        let value = json!({self.chance.pick(&["plan", "city"]): n});
        let tag = |offset: u64| format!("t{}", (n + offset) % 3);
        let (path, kind, mut body, name, target, data, timed) = match self.chance.index(8) {
            0 | 1 => {
                let body = json!({"identity": whom, "event_name": "Bought", "data": {"n": n}});
                let timed = self.chance.hits(0.3);
                ("/api/v2/events/track", "track", body, Some("Bought".to_owned()), None, Some(json!({"n": n})), timed)
            }
            2 => {
                let mut body = json!({"data": value});
                let mut traits = value;
                gives = (!by_address && self.chance.hits(0.3)).then(|| address.clone());
                for address in gives.iter().chain(by_address.then_some(&user)) {
                    (body["email"], traits["email"]) = (json!(address), json!(address));
                }
                if !by_address {
                    body["id"] = json!(user);
                }
                ("/api/v2/users/track", "identify", body, None, None, Some(traits), self.chance.hits(0.3))
            }
            3 => {
                let mut body = json!({"changes": value});
                let mut traits = value;
                if by_address {
                    (body["email"], traits["email"]) = (json!(user), json!(user));
                } else {
                    body["id"] = json!(user);
                }
                ("/api/v2/users/edit", "identify", body, None, None, Some(traits), self.chance.hits(0.3))
            }
            4 => {
                let data = json!({"add": [tag(0)], "remove": [tag(1)]});
                let mut body = whom;
                (body["add"], body["remove"]) = (json!([tag(0)]), json!([tag(1)]));
                ("/api/v2/users/tags/edit", "tags", body, None, None, Some(data), true)
            }
            5 => {
                let off = self.chance.hits(0.5);
                let path = if off { "/api/v2/users/unsubscribe" } else { "/api/v2/users/resubscribe" };
                (path, if off { "unsubscribe" } else { "resubscribe" }, whom, None, None, None, true)
            }
            6 => {
                let former = format!("a{}", self.chance.index(3));
                let body = json!({"id": former, "new_id": user});
                is_alias = true;
                ("/api/v2/users/reidentify", "alias", body, None, Some(former), None, true)
            }
            _ => ("/api/v2/users/delete", "delete", whom, None, None, None, false),
        };
        let content = format!("{path} {user} {name:?} {target:?} {data:?}");
        let identity = match (kind, timed) {
            ("delete", _) => Identity::Fresh,
            (_, true) => Identity::Forever(format!("{content} {created}")),
            (_, false) => Identity::Window(content),
        };
        body["auth_token"] = json!(KEYS[self.key].0);
        if timed {
            body["extras"] = json!({"created_at": iso(created)});
        }
        let client_millis = timed.then_some(created);
        let (nature, id, written) = (Nature::Good, None, body.clone());
        // An alias and a deletion are about ids, and an address is one.
        let device = (by_address && !is_alias && kind != "delete").then(|| user.clone());
        let (subject, address) = (user, gives);
        let said =
            Said { nature, kind, subject, device, address, name, target, data, identity, id, client_millis, written };
        let body = Body::Object(body.as_object().cloned().unwrap_or_default(), false);
        Request { key: self.key, path, said: vec![said], due: Due::Accepted, body, sent_anew: false }
    }

    /// A request that must be refused as a whole.
    fn wrong(&self) -> Request {
        let key = KEYS[self.key].0;
        let (path, body, status) = match self.chance.index(20) {
            0..5 => ("/v1/track", "{\"userId\":".to_owned(), 400),
            5..10 => ("/v1/batch", "{\"batch\":[]}".to_owned(), 400),
            10..15 => ("/api/v2/events/track", json!({"auth_token": key, "event_name": "x"}).to_string(), 400),
            15..19 => ("/api/v2/users/delete", json!({"id": "u0"}).to_string(), 401),
            _ => ("/v1/track", json!({"userId": "u0", "event": "x".repeat(400_000)}).to_string(), 413),
        };
        let due = Due::Refused(status);
        Request { key: self.key, path, said: vec![], due, body: Body::Text(body), sent_anew: false }
    }
}

impl Request {
    /// The body as it is sent, with the time of sending if it says one.
    pub(crate) fn body(&self, sent_millis: i64) -> (Vec<u8>, Option<i64>) {
        match &self.body {
            Body::Text(text) => (text.clone().into_bytes(), None),
            Body::Object(members, false) => (Value::Object(members.clone()).to_string().into_bytes(), None),
            Body::Object(members, true) => {
                let mut members = members.clone();
                members.insert("sentAt".to_owned(), json!(iso(sent_millis)));
                (Value::Object(members).to_string().into_bytes(), Some(sent_millis))
            }
        }
    }
}

impl Request {
    /// The same request of another project: what it says there is something else.
    pub(crate) fn mirrored(&self, key: usize) -> Arc<Self> {
        let body = match &self.body {
            Body::Text(text) => Body::Text(text.clone()),
            Body::Object(members, dated) => {
                let mut members = members.clone();
                if members.contains_key("auth_token") {
                    members.insert("auth_token".to_owned(), json!(KEYS[key].0));
                }
                Body::Object(members, *dated)
            }
        };
        let due = match self.due {
            Due::UnknownKey if KEYS[key].1.is_some() => Due::Accepted,
            due @ (Due::Accepted | Due::UnknownKey | Due::Refused(_)) => due,
        };
        let Self { path, sent_anew, .. } = *self;
        Arc::new(Self { key, path, said: self.said.clone(), due, body, sent_anew })
    }

    /// The same request as a library sends it again that fills the user in when it sends.
    pub(crate) fn filled_in(&self, user: &str) -> Arc<Self> {
        let said: Vec<Said> = self.said.iter().map(|said| said.filled_in(user)).collect();
        let body = match &self.body {
            Body::Text(text) => Body::Text(text.clone()),
            Body::Object(members, dated) => {
                let mut members = members.clone();
                if members.contains_key("batch") {
                    members.insert("batch".to_owned(), said.iter().map(|said| said.written.clone()).collect());
                } else if let Some(user) = said.first().and_then(|said| said.written.get("userId")) {
                    members.insert("userId".to_owned(), user.clone());
                }
                Body::Object(members, *dated)
            }
        };
        let Self { key, path, due, sent_anew, .. } = *self;
        Arc::new(Self { key, path, said, due, body, sent_anew })
    }
}
