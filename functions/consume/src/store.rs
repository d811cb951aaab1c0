//! Events → items, and back.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::event::Event;
use shared::message::Message;
use shared::outcome::{Cause, Outcome, Reason};

use crate::compressed::{deflate, inflate};
use crate::table::{Attributes, Item, Key, Value};

/// What the sort keys of events, and of bundles of them, begin with.
pub const EVENT_SORT: &str = "E#";

/// The attribute that says which event of which request an item came from. What is left of an erased event has none.
pub const ORIGIN: &str = "rcpt";
/// The attribute that says whom an event names that has its device for a home: a user, or nobody where it is empty. An
/// event without it lives with the user that it names.
pub const USER: &str = "user";
/// The attributes that are JSON as its producer wrote it.
pub const JSON_TEXTS: [&str; 3] = ["ctx", "data", "more"];
/// The attribute that holds these where they are compressed, as one JSON object with their names.
const COMPRESSED: &str = "z";

/// An event on its way into the table.
#[derive(Debug)]
pub struct Case<'a> {
    /// Position of its message in the batch.
    pub delivery: usize,
    /// How often its message has been received, this time included.
    pub receive_count: u32,
    /// Its message.
    pub message: &'a Message,
    /// The event.
    pub event: &'a Event,
    /// The bundle that it is in, once that is known; `None` if it has an item of its own, or none.
    pub bundle: Option<Key>,
    /// What it came to; `None` while that is open.
    pub outcome: Option<Outcome>,
    /// What exactly was wrong, for a person; empty unless it is dead-lettered.
    pub detail: String,
}

impl Case<'_> {
    /// Notes that the event can never be stored.
    pub fn dead(&mut self, reason: Reason, detail: String) {
        self.outcome = Some(Outcome::DeadLettered(reason));
        self.detail = detail;
    }

    /// The fate of an event whose effect is there and is its own: it comes from an earlier delivery, unless there was
    /// none; then it is this one's, whose first answer was lost.
    #[must_use]
    pub fn stored_by_its_message(&self) -> Outcome {
        if self.receive_count > 1 { Outcome::StoredBefore } else { Outcome::Stored }
    }

    /// Where the event's item is, or would be.
    #[must_use]
    pub fn key(&self) -> Key {
        key(self.message, self.event)
    }

    /// The time in its key.
    #[must_use]
    pub fn key_time(&self) -> Timestamp {
        key_time(self.message, self.event)
    }

    /// Notes that nothing came of it this time.
    pub fn retry(&mut self, cause: Cause) {
        self.outcome = Some(Outcome::Retry(cause));
    }
}

/// Which event of which request: the same on every delivery, and unlike that of every other event.
#[must_use]
pub fn origin(message: &Message, event: &Event) -> String {
    format!("{}.{}", message.receipt, event.index)
}

/// The partition of a home: the events that live there, and the profile of the id.
#[must_use]
pub fn partition(project: &str, home: &str) -> String {
    format!("{project}#{home}")
}

/// The time in an event's key: the producer's, which a retry repeats; where there is none, that of arrival.
#[must_use]
pub fn key_time(message: &Message, event: &Event) -> Timestamp {
    event.client_time.unwrap_or(message.received_at)
}

/// Where an event's item is, or would be if it were not in a bundle: the key is its identity.
#[must_use]
pub fn key(message: &Message, event: &Event) -> Key {
    let time = key_time(message, event);
    Key { pk: partition(&message.project, event.home()), sk: format!("{EVENT_SORT}{time}#{}", event.id) }
}

/// An event's item. Every 1,024 bytes cost a write unit; so names are short, and the JSON is compressed where that saves
/// one.
#[must_use]
pub fn item(message: &Message, event: &Event) -> Item {
    compress(plain(message, event))
}

/// An event's item with its JSON as its producer wrote it.
#[must_use]
pub fn plain(message: &Message, event: &Event) -> Item {
    let mut item = Item { key: key(message, event), attributes: BTreeMap::new() };
    item.text("kind", event.kind.tag());
    item.number("time", event.timestamp.as_millis());
    item.number("recv", message.received_at.as_millis());
    item.text("src", &message.source);
    item.text(ORIGIN, origin(message, event));
    if let Some(sent_at) = event.sent_at {
        item.number("sent", sent_at.as_millis());
    }
    if event.device.is_some() {
        item.text(USER, if event.is_anonymous() { "" } else { &event.subject });
    }
    for (name, text) in [("name", &event.name), ("target", &event.target)] {
        if let Some(text) = text {
            item.text(name, text);
        }
    }
    for (name, json) in [("data", &event.data), ("ctx", &event.context), ("more", &event.extra)] {
        if let Some(json) = json {
            item.text(name, json.get());
        }
    }
    item
}

/// Whom a stored event names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// The user whose home it is.
    Home,
    /// Another user, on the device whose home it is.
    User(&'a str),
    /// Nobody: all that is known is the device whose home it is.
    Nobody,
}

/// Whom a stored event names, by its attributes.
#[must_use]
pub fn named(event: &Attributes) -> Named<'_> {
    match event.get(USER).and_then(Value::text) {
        None => Named::Home,
        Some("") => Named::Nobody,
        Some(user) => Named::User(user),
    }
}

fn compress(item: Item) -> Item {
    if item.write_units() == 1 {
        return item;
    }
    let (json, mut attributes): (BTreeMap<_, _>, BTreeMap<_, _>) =
        item.attributes.iter().partition(|(name, _)| JSON_TEXTS.contains(*name));
    let members = json.iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", value.text()?)));
    let text = format!("{{{}}}", members.collect::<Vec<String>>().join(","));
    let compressed = Value::Bytes(deflate(text.as_bytes()));
    attributes.insert(&COMPRESSED, &compressed);
    let attributes = attributes.into_iter().map(|(name, value)| (*name, value.clone())).collect();
    let small = Item { key: item.key.clone(), attributes };
    if small.write_units() < item.write_units() { small } else { item }
}

/// The attributes of an event's item with its JSON as its producer wrote it. What cannot be read is left as it is.
#[must_use]
pub fn expand(attributes: Attributes) -> Attributes {
    let Some(Value::Bytes(bytes)) = attributes.get(COMPRESSED) else { return attributes };
    let text = inflate(bytes);
    let json: Option<HashMap<String, Box<RawValue>>> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(json) = json else { return attributes };
    let mut attributes = attributes;
    attributes.remove(COMPRESSED);
    attributes.extend(json.into_iter().map(|(name, raw)| (name, Value::Text(raw.get().to_owned()))));
    attributes
}
