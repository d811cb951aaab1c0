//! Steady traffic: requests at a fixed pace, each with what it means, and when each event was sent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use shared::clock::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::sim::calls::{Body, Due, Identity, KEYS, Nature, Request, Said};
use crate::sim::client::{self, Temper};
use crate::sim::lambda::Cloud;

/// How long a producer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What an event carries beside its names and ids: such an event has about 400 bytes, and its item one write unit.
const DESCRIPTION: &str = "a board game for two to eight players, in which land is bought, built upon and let to whoever \
                           comes to stand on it, until all of them but one have nothing left to pay with, which commonly \
                           takes an evening and now and then a friendship";

/// What the requests of a flow say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Events with an id and a time of their own.
    Events,
    /// The same event each time, alone in its request, with nothing to tell one call from another by.
    TheSame,
    /// What is known of a person: about 10 KB each time.
    Traits,
    /// Items that break a rule.
    Refused,
}

/// Steady traffic of one kind, from the beginning on.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What its people are called, and its figures.
    pub who: &'static str,
    /// Whose it is: the first project or the second.
    pub project: usize,
    /// How many people its events are about, in turn.
    pub people: u64,
    /// What it says.
    pub says: Says,
    /// Events a second.
    pub rate: f64,
    /// Events of a request.
    pub packed: u64,
    /// For how long.
    pub lasts: Duration,
}

impl Flow {
    /// The request with the events from this number on, which happen at this moment.
    pub(super) fn request(&self, first: u64, millis: i64) -> Request {
        let (key, due, sent_anew) = (self.project, Due::Accepted, false);
        let one = |number: u64| match self.says {
            Says::Events => self.event(number, millis),
            Says::TheSame => self.the_same(),
            Says::Traits => self.traits(number, millis),
            Says::Refused => self.refused(number, millis),
        };
        let said: Vec<Said> = (first..first + self.packed).map(one).collect();
        let (path, members) = if self.says == Says::TheSame {
            let mut members = said[0].written.as_object().cloned().unwrap_or_default();
            members.insert("auth_token".to_owned(), json!(KEYS[key].0));
            ("/api/v2/events/track", members)
        } else {
            let items: Vec<&Value> = said.iter().map(|said| &said.written).collect();
            ("/v1/batch", Map::from_iter([("batch".to_owned(), json!(items))]))
        };
        Request { key, path, said, due, body: Body::Object(members, false), sent_anew }
    }

    fn event(&self, number: u64, millis: i64) -> Said {
        let (id, subject) = (format!("{}-{number}", self.who), format!("{}-{}", self.who, number % self.people));
        let data = json!({"number": number, "description": DESCRIPTION});
        let time = Timestamp::from_millis_clamped(millis).to_string();
        let written = json!({"type": "track", "messageId": id, "userId": subject, "event": "Done", "timestamp": time,
            "properties": data});
        Said {
            nature: Nature::Good,
            kind: "track",
            subject,
            device: None,
            address: None,
            name: Some("Done".to_owned()),
            target: None,
            data: Some(data),
            identity: Identity::Forever(id.clone()),
            id: Some(id),
            client_millis: Some(millis),
            written,
        }
    }

    fn traits(&self, number: u64, millis: i64) -> Said {
        let traits = json!({"number": number, "about": DESCRIPTION.repeat(10_000 / DESCRIPTION.len())});
        let mut said = self.event(number, millis);
        if let Some(members) = said.written.as_object_mut() {
            members.retain(|name, _| name != "event" && name != "properties");
            members.insert("type".to_owned(), json!("identify"));
            members.insert("traits".to_owned(), traits.clone());
        }
        Said { kind: "identify", name: None, data: Some(traits), ..said }
    }

    fn refused(&self, number: u64, millis: i64) -> Said {
        let mut said = self.event(number, millis);
        if let Some(members) = said.written.as_object_mut() {
            members.remove("userId");
        }
        Said { nature: Nature::Refused("no_user_anon_id"), ..said }
    }

    fn the_same(&self) -> Said {
        let (subject, data) = (self.who.to_owned(), json!({"description": DESCRIPTION}));
        let written = json!({"identity": {"id": subject}, "event_name": "Done", "data": data});
        let (name, identity) = (Some("Done".to_owned()), Identity::Window(self.who.to_owned()));
        Said {
            nature: Nature::Good,
            kind: "track",
            subject,
            device: None,
            address: None,
            name,
            target: None,
            data: Some(data),
            identity,
            id: None,
            client_millis: None,
            written,
        }
    }
}

/// Whose each event is, and when it was sent, by its id.
pub(super) type Sent = Rc<RefCell<HashMap<String, (&'static str, Duration)>>>;

/// Sends a flow to its end, and waits for all answers.
///
/// # Panics
/// A request is not answered 200.
pub(super) async fn send(cloud: Rc<Cloud>, flow: Flow, sent: Sent) {
    let world = &cloud.world;
    let pause = Duration::from_secs_f64(flow.packed as f64 / flow.rate);
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let due = pause * number;
        if due >= flow.lasts {
            break;
        }
        sleep(due.saturating_sub(world.elapsed())).await;
        let request = Arc::new(flow.request(u64::from(number) * flow.packed, world.millis()));
        let ids = request.said.iter().filter_map(|said| said.id.clone());
        sent.borrow_mut().extend(ids.map(|id| (id, (flow.who, world.elapsed()))));
        let cloud = Rc::clone(&cloud);
        running.retain(|one| !one.is_finished());
        running.push(tokio::task::spawn_local(async move {
            let status = client::bring_through(cloud, request, Temper::Careless, PATIENCE, 0, |_| ()).await;
            assert_eq!(status, Some(200), "a request is answered 200");
        }));
    }
    for one in running {
        one.await.expect("no request panics");
    }
}
