//! Events → items, and what became of inserting them.

use std::collections::HashMap;

use shared::event::{Event, Kind};
use shared::message::Message;
use shared::outcome::{Cause, Outcome, Reason};

use crate::table::{Insert, Item, Key, Table, get_all, insert_all};

/// The attribute that says which event of which request an item came from.
pub const ORIGIN: &str = "rcpt";

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

/// The partition that holds everything of a subject.
#[must_use]
pub fn partition(project: &str, subject: &str) -> String {
    format!("{project}#{subject}")
}

/// An event's item. Its key is its identity; names are short, since every 1,024 bytes cost a write unit.
///
/// The time in the key is the producer's, which a retry repeats; where there is none, that of arrival.
#[must_use]
pub fn item(message: &Message, event: &Event) -> Item {
    let time = event.client_time.unwrap_or(message.received_at);
    let key = Key { pk: partition(&message.project, &event.subject), sk: format!("E#{time}#{}", event.id) };
    let mut item = Item { key, attributes: std::collections::BTreeMap::new() };
    item.text("kind", event.kind.tag());
    item.number("time", event.timestamp.as_millis());
    item.number("recv", message.received_at.as_millis());
    item.text("src", &message.source);
    item.text(ORIGIN, origin(message, event));
    if let Some(sent_at) = event.sent_at {
        item.number("sent", sent_at.as_millis());
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

/// Inserts every event whose outcome is open, and notes what each came to.
///
/// An item that is already there is told apart by its origin: written by an earlier delivery of the same message, or
/// another event with the same identity.
pub async fn insert_events(table: &impl Table, cases: &mut [Case<'_>]) {
    // Within the batch the first of equal keys stands for all: DynamoDB takes no two of them in one call.
    let mut first: HashMap<Key, usize> = HashMap::new();
    let mut followers: Vec<(usize, usize)> = Vec::new();
    let mut items = Vec::new();
    let mut owners = Vec::new();
    for (position, case) in cases.iter_mut().enumerate().filter(|(_, case)| case.outcome.is_none()) {
        if case.event.kind == Kind::Delete {
            // What is kept of a deletion is its tombstone, which is written by now.
            case.outcome = Some(if case.receive_count > 1 { Outcome::StoredBefore } else { Outcome::Stored });
            continue;
        }
        let item = item(case.message, case.event);
        if let Some(leader) = first.get(&item.key) {
            followers.push((position, *leader));
        } else {
            first.insert(item.key.clone(), position);
            owners.push(position);
            items.push(item);
        }
    }
    let results = insert_all(table, &items).await;
    let existing: Vec<Key> = items
        .iter()
        .zip(&results)
        .filter(|(_, result)| **result == Insert::Exists)
        .map(|(item, _)| item.key.clone())
        .collect();
    let present = get_all(table, existing).await;
    for ((position, item), result) in owners.iter().zip(&items).zip(results) {
        let case = &mut cases[*position];
        match result {
            Insert::Done => case.outcome = Some(Outcome::Stored),
            Insert::Refused(detail) => case.dead(Reason::Unstorable, detail),
            Insert::Failed(cause) => case.retry(cause),
            Insert::Exists => match present.as_ref().map(|found| found.get(&item.key)) {
                Ok(Some(attributes)) => {
                    let own = attributes.get(ORIGIN).and_then(|value| value.text())
                        == Some(&origin(case.message, case.event));
                    case.outcome = Some(match (own, case.receive_count) {
                        (false, _) => Outcome::Duplicate,
                        // No earlier delivery can have written it: this one did, and the reply was lost.
                        (true, 0 | 1) => Outcome::Stored,
                        (true, _) => Outcome::StoredBefore,
                    });
                }
                // It was there a moment ago and is not now; the next delivery will see what is.
                Ok(None) => case.retry(Cause::Contended),
                Err(cause) => case.retry(*cause),
            },
        }
    }
    for (position, leader) in followers {
        let same = origin(cases[position].message, cases[position].event)
            == origin(cases[leader].message, cases[leader].event);
        let (outcome, detail) = (cases[leader].outcome, cases[leader].detail.clone());
        let case = &mut cases[position];
        match outcome {
            Some(Outcome::DeadLettered(reason)) => case.dead(reason, detail),
            Some(Outcome::Retry(cause)) => case.retry(cause),
            _ => case.outcome = Some(if same { Outcome::StoredBefore } else { Outcome::Duplicate }),
        }
    }
}
