//! Which events have not arrived, of those that a producer asks for by what they are.

use std::collections::HashSet;

use consume::marker::Claim;
use consume::packed::origins;
use consume::store::{ORIGIN, key};
use consume::table::{Key, Table, get_all};
use consume::tombstone::{erased_until, tombstone_keys};
use ingest::identify::identify;
use ingest::parsed::Arrival;
use serde_json::value::RawValue;
use shared::event::{Event, Identity};
use shared::message::Message;
use shared::outcome::{Cause, Reason};

/// Why nothing can be said of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// It would be refused, and so was never stored.
    Refused(Reason),
    /// It has neither an id nor a time of its own: each time that it is sent it is another event.
    NoIdentity,
}

impl Untold {
    /// The word for it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Untold::Refused(reason) => reason.tag(),
            Untold::NoIdentity => "no_identity",
        }
    }
}

/// What a producer asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The events that can be looked for.
    pub events: Vec<Event>,
    /// The indexes of the other items, with the reason of each.
    pub untold: Vec<(u32, Untold)>,
}

/// Reads what is asked for.
#[must_use]
pub fn read(items: &[&RawValue], arrival: &Arrival<'_>) -> Asked {
    let mut asked = Asked::default();
    for (index, item) in (0..).zip(items) {
        match identify(index, item, arrival) {
            Ok(event) if event.identity == Identity::Fresh => asked.untold.push((index, Untold::NoIdentity)),
            Ok(event) => asked.events.push(event),
            Err((reason, _)) => asked.untold.push((index, Untold::Refused(reason))),
        }
    }
    asked
}

/// The indexes of those events of which nothing is there: no item, none in a bundle, no marker that one came first, and
/// no deletion of the subject that would keep it out. `envelope` says whose events they are.
///
/// # Errors
/// The table could not be read.
pub async fn missing(table: &impl Table, envelope: &Message, events: &[Event]) -> Result<Vec<u32>, Cause> {
    // Without a time of its own, an event's item is somewhere else each time, but its marker is not.
    let (timed, timeless): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.client_time.is_some());
    let mut missing: Vec<u32> = Vec::new();
    let marker = |event: &Event| Claim::of(event, envelope).map(|claim| claim.key);
    let markers = present(table, timeless.iter().filter_map(|event| marker(event)).collect()).await?;
    missing.extend(timeless.iter().filter(|event| marker(event).is_none_or(|key| !markers.contains(&key))).map(index));
    let items = present(table, timed.iter().map(|event| key(envelope, event)).collect()).await?;
    let mut absent: Vec<&Event> = timed.into_iter().filter(|event| !items.contains(&key(envelope, event))).collect();
    drop(items);
    let keys: Vec<Key> = absent.iter().map(|event| key(envelope, event)).collect();
    let bundled = origins(table, &keys).await?;
    absent.retain(|event| !bundled.contains_key(&key(envelope, event)));
    let keys = absent.iter().flat_map(|event| tombstone_keys(&envelope.project, event)).collect();
    let tombstones = get_all(table, keys, None).await?;
    let is_erased = |event: &&Event| {
        erased_until(&envelope.project, event, &tombstones).is_some_and(|until| event.timestamp <= until)
    };
    missing.extend(absent.iter().filter(|event| !is_erased(event)).map(index));
    missing.sort_unstable();
    Ok(missing)
}

fn index(event: &&Event) -> u32 {
    event.index
}

/// Those of the keys that have an item.
async fn present(table: &impl Table, keys: Vec<Key>) -> Result<HashSet<Key>, Cause> {
    Ok(get_all(table, keys, Some(ORIGIN)).await?.into_keys().collect())
}
