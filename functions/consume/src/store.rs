//! Events → items, and what became of inserting them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use shared::event::{Event, Kind};
use shared::message::Message;
use shared::outcome::{Cause, Outcome, Reason};

use crate::table::{Insert, Item, Key, Table, Value, get_all, insert_all};

/// The attribute that says which event of which request an item came from. What is left of an erased event has none.
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

/// Where an event's item is: the key is its identity.
///
/// The time in it is the producer's, which a retry repeats; where there is none, that of arrival.
#[must_use]
pub fn key(message: &Message, event: &Event) -> Key {
    let time = event.client_time.unwrap_or(message.received_at);
    Key { pk: partition(&message.project, &event.subject), sk: format!("E#{time}#{}", event.id) }
}

/// An event's item. Names are short, since every 1,024 bytes cost a write unit.
#[must_use]
pub fn item(message: &Message, event: &Event) -> Item {
    let mut item = Item { key: key(message, event), attributes: BTreeMap::new() };
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
/// An item that is already there is told apart by its origin: written by an earlier delivery of the same message,
/// another event with the same identity, or what is left of one that was erased. DynamoDB takes no two items of one key in a call, so of several in the batch
/// the first goes ahead; the others follow it, unless it turned out that it can never be stored.
pub async fn insert_events(table: &impl Table, cases: &mut [Case<'_>]) {
    for case in cases.iter_mut().filter(|case| case.outcome.is_none() && case.event.kind == Kind::Delete) {
        // What is kept of a deletion is its tombstone.
        case.outcome = Some(case.stored_by_its_message());
    }
    loop {
        let mut items: BTreeMap<Key, (usize, Item)> = BTreeMap::new();
        let mut followers: Vec<(usize, usize)> = Vec::new();
        for (position, case) in cases.iter().enumerate().filter(|(_, case)| case.outcome.is_none()) {
            let item = item(case.message, case.event);
            match items.entry(item.key.clone()) {
                Entry::Occupied(leader) => followers.push((position, leader.get().0)),
                Entry::Vacant(place) => drop(place.insert((position, item))),
            }
        }
        if items.is_empty() {
            return;
        }
        let (positions, items): (Vec<usize>, Vec<Item>) = items.into_values().unzip();
        let owners = insert_distinct(table, cases, &positions, &items).await;
        for (position, leader) in followers {
            let (leads, follows) = (&cases[leader], &cases[position]);
            let same = origin(leads.message, leads.event) == origin(follows.message, follows.event);
            cases[position].outcome = match leads.outcome {
                // It has the place to itself now, in the next round.
                Some(Outcome::DeadLettered(_)) => None,
                Some(Outcome::Retry(cause)) => Some(Outcome::Retry(cause)),
                // What is in the way of the one may be the other's own, which a delivery at the same time has stored.
                Some(Outcome::Duplicate) if owners.get(&leader) == Some(&origin(follows.message, follows.event)) => {
                    Some(follows.stored_by_its_message())
                }
                Some(outcome @ (Outcome::Duplicate | Outcome::Erased)) => Some(outcome),
                _ => Some(if same { Outcome::StoredBefore } else { Outcome::Duplicate }),
            };
        }
    }
}

/// Inserts items with different keys, those of the cases at `positions`. Returns the origins of the items that were in the
/// way, by position.
async fn insert_distinct(
    table: &impl Table,
    cases: &mut [Case<'_>],
    positions: &[usize],
    items: &[Item],
) -> BTreeMap<usize, String> {
    let mut owners = BTreeMap::new();
    let results = insert_all(table, items).await;
    let existing = items.iter().zip(&results).filter(|(_, result)| **result == Insert::Exists);
    let present = get_all(table, existing.map(|(item, _)| item.key.clone()).collect(), Some(ORIGIN)).await;
    for ((position, item), result) in positions.iter().zip(items).zip(results) {
        let case = &mut cases[*position];
        match result {
            Insert::Done => case.outcome = Some(Outcome::Stored),
            Insert::Refused(detail) => case.dead(Reason::Unstorable, detail),
            Insert::Failed(cause) => case.retry(cause),
            Insert::Exists => match present.as_ref().map(|found| found.get(&item.key)) {
                Ok(Some(attributes)) => {
                    let own = origin(case.message, case.event);
                    case.outcome = Some(match attributes.get(ORIGIN).and_then(Value::text) {
                        Some(origin) if origin == own => case.stored_by_its_message(),
                        Some(origin) => {
                            owners.insert(*position, origin.to_owned());
                            Outcome::Duplicate
                        }
                        None => Outcome::Erased,
                    });
                }
                // It was there a moment ago and is not now; the next delivery will see what is.
                Ok(None) => case.retry(Cause::Contended),
                Err(cause) => case.retry(*cause),
            },
        }
    }
    owners
}
