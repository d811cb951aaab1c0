//! Producers that send what chance decides, and remember what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::clock::Timestamp;

use crate::client::post;
use crate::dice::Dice;

/// Requests of a producer, at the most.
const REQUESTS: usize = 25;
/// When a producer ends, however few requests it has sent by then.
const LOAD_LIMIT: Duration = Duration::from_secs(12);
/// How often a request is sent by a producer that sends again.
const TRIES: u32 = 8;
/// The pause after the first try; it doubles from there up to the second. What the answer asks for is longer, and a
/// producer that does not heed it is the harder one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(500));
/// The users that all producers share, so that their profiles are written by several at a time.
const USERS: u64 = 4;
/// 14 November 2023, 22:13:20 UTC: when events happen that say when.
const HAPPENED_MS: i64 = 1_700_000_000_000;

/// What producers sent, and what they were promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The references of all events.
    pub(crate) sent: BTreeSet<String>,
    /// Of those, the ones that were acknowledged.
    pub(crate) acknowledged: BTreeSet<String>,
    /// The message ids of items that can never be stored, each with how often its request was sent.
    pub(crate) poison: BTreeMap<String, u32>,
    /// Of those, the ones that were acknowledged.
    pub(crate) poison_acknowledged: BTreeSet<String>,
    /// References of events of users that are deleted later.
    pub(crate) doomed: BTreeSet<String>,
    /// The users whose deletion was acknowledged.
    pub(crate) deleted: BTreeSet<String>,
    /// Requests that were acknowledged.
    pub(crate) requests: usize,
}

impl Ledger {
    /// Takes over what another producer remembers.
    pub(crate) fn add(&mut self, other: Ledger) {
        self.sent.extend(other.sent);
        self.acknowledged.extend(other.acknowledged);
        self.poison.extend(other.poison);
        self.poison_acknowledged.extend(other.poison_acknowledged);
        self.doomed.extend(other.doomed);
        self.deleted.extend(other.deleted);
        self.requests += other.requests;
    }
}

/// Where the API is, which changes when the pipeline is started again.
pub(crate) type Api = Arc<Mutex<String>>;

/// One that sends requests.
struct Producer {
    name: String,
    api: Api,
    dice: Dice,
    sends_again: bool,
    ledger: Ledger,
    /// Events made so far.
    count: u32,
    /// An event that was sent before, to be sent once more in another request.
    before: Option<(String, Value)>,
}

/// A request, with what it carries.
#[derive(Default)]
struct Request {
    path: &'static str,
    body: Value,
    events: Vec<String>,
    poison: Vec<String>,
}

/// Starts producers with the same name and numbers behind it. The first of them never sends anything again.
pub(crate) fn start(api: &Api, name: &str, count: usize, dice: &mut Dice) -> Vec<JoinHandle<Ledger>> {
    let producer = |number: usize| {
        let mut producer = Producer {
            name: format!("{name}{number}"),
            api: Arc::clone(api),
            dice: dice.fork(),
            sends_again: number > 0,
            ledger: Ledger::default(),
            count: 0,
            before: None,
        };
        spawn(move || {
            producer.run();
            producer.ledger
        })
    };
    (0..count).map(producer).collect()
}

/// Waits for producers, and puts together what they remember.
pub(crate) async fn finished(producers: Vec<JoinHandle<Ledger>>) -> Ledger {
    let joined = tokio::task::spawn_blocking(move || {
        let mut all = Ledger::default();
        for producer in producers {
            all.add(producer.join().expect("no producer panics"));
        }
        all
    });
    joined.await.expect("nothing panics while it waits")
}

impl Producer {
    fn run(&mut self) {
        let started = Instant::now();
        for _ in 0..REQUESTS {
            let request = self.request();
            self.send(&request);
            if started.elapsed() > LOAD_LIMIT {
                break;
            }
        }
        self.delete();
    }

    fn reference(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.name, self.count)
    }

    fn user(&mut self) -> String {
        format!("user{}", self.dice.below(USERS))
    }

    /// The user who is deleted in the end.
    fn doomed(&self) -> String {
        format!("doomed-{}", self.name)
    }

    /// A moment within a minute, so that events come in another order than they happened in.
    fn moment(&mut self) -> Timestamp {
        let millis = i64::try_from(self.dice.below(60_000)).expect("a minute is short");
        Timestamp::from_millis(HAPPENED_MS + millis).expect("a time of our days")
    }

    fn request(&mut self) -> Request {
        match self.dice.below(20) {
            0..=9 => self.batch(),
            10..=12 => {
                let (reference, event) = self.segment();
                let path = if event["type"] == "track" { "/v1/track" } else { "/v1/identify" };
                Request { path, body: event, events: vec![reference], ..Request::default() }
            }
            13..=18 => self.vero(),
            _ => {
                let (reference, user) = (self.reference(), self.doomed());
                self.ledger.doomed.insert(reference.clone());
                let moment = self.moment().to_string();
                let body = json!({"userId": user, "event": "Did It", "messageId": reference, "timestamp": moment,
                    "properties": {"ref": reference}});
                Request { path: "/v1/track", body, ..Request::default() }
            }
        }
    }

    fn batch(&mut self) -> Request {
        let mut request = Request { path: "/v1/batch", ..Request::default() };
        let mut items = Vec::new();
        for _ in 0..=self.dice.below(5) {
            let (reference, event) = self.segment();
            request.events.push(reference);
            items.push(event);
        }
        if self.dice.below(8) == 0 {
            let id = format!("poison-{}", self.reference());
            items.push(json!({"type": "track", "userId": "ann", "messageId": id}));
            request.poison.push(id);
        }
        if self.dice.below(6) == 0
            && let Some((reference, event)) = self.before.take()
        {
            request.events.push(reference);
            items.push(event);
        }
        request.body = json!({"batch": items});
        request
    }

    /// A track or an identify; two of three say when.
    fn segment(&mut self) -> (String, Value) {
        let (reference, user) = (self.reference(), self.user());
        let mut event = json!({"userId": user, "messageId": reference});
        if self.dice.below(3) == 0 {
            event["type"] = json!("identify");
            event["traits"] = json!({"ref": reference});
        } else {
            event["type"] = json!("track");
            event["event"] = json!("Did It");
            event["properties"] = json!({"ref": reference});
        }
        if self.dice.below(3) > 0 {
            event["timestamp"] = json!(self.moment().to_string());
        }
        if self.dice.below(4) == 0 {
            self.before = Some((reference.clone(), event.clone()));
        }
        (reference, event)
    }

    fn vero(&mut self) -> Request {
        let (reference, user) = (self.reference(), self.user());
        let extras = if self.dice.below(2) == 0 {
            json!({"check_id": reference})
        } else {
            json!({"created_at": self.moment().to_string()})
        };
        let data = json!({"ref": reference});
        let (path, body) = if self.dice.below(2) == 0 {
            let identity = json!({"id": user});
            let name = "Did It";
            let body = json!({"auth_token": "dev", "identity": identity, "event_name": name, "data": data,
                "extras": extras});
            ("/api/v2/events/track", body)
        } else {
            ("/api/v2/users/track", json!({"auth_token": "dev", "id": user, "data": data, "extras": extras}))
        };
        Request { path, body, events: vec![reference], ..Request::default() }
    }

    /// Sends a request until it is acknowledged, or given up. Returns whether it was.
    fn send(&mut self, request: &Request) -> bool {
        self.ledger.sent.extend(request.events.iter().cloned());
        let mut pause = PAUSES.0;
        for _ in 0..if self.sends_again { TRIES } else { 1 } {
            for id in &request.poison {
                *self.ledger.poison.entry(id.clone()).or_insert(0) += 1;
            }
            let api = self.api.lock().expect("nothing panics while it holds the address").clone();
            // No answer, or a refusal: nobody knows what became of it.
            if matches!(post(&api, request.path, &request.body), Ok(200)) {
                self.ledger.requests += 1;
                self.ledger.acknowledged.extend(request.events.iter().cloned());
                self.ledger.poison_acknowledged.extend(request.poison.iter().cloned());
                return true;
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
        false
    }

    /// Deletes the user of whom all that is known has happened before.
    fn delete(&mut self) {
        let user = self.doomed();
        let body = json!({"auth_token": "dev", "id": user});
        self.sends_again = true;
        if self.send(&Request { path: "/api/v2/users/delete", body, ..Request::default() }) {
            self.ledger.deleted.insert(user);
        }
    }
}
