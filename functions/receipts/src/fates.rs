//! What has become of the items of a request.
//!
//! Each is looked for where it would be, the likeliest place first, and what is found there is looked for no further: of
//! a request that is stored, one read an event, and where events are in bundles the reading of these besides.

use std::collections::HashMap;

use consume::dead_letter::{self, attribute};
use consume::marker::{Claim, Marker, Verdict};
use consume::packed::origins;
use consume::receipts::read_lists;
use consume::store::{ORIGIN, key, origin};
use consume::table::{Attributes, Key, Table, Value, get_all};
use consume::tombstone::{erased_until, tombstone_keys};
use shared::clock::Timestamp;
use shared::event::{Event, Kind};
use shared::limits::RECEIPT_LIFE;
use shared::message::Message;
use shared::outcome::Cause;
use shared::receipt::{Listed, Receipt};

/// What has become of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has been stored, and is there.
    Stored,
    /// Another event with the same identity came before.
    Duplicate,
    /// Its subject was deleted later than it happened.
    Erased,
    /// It could not be stored; it is kept, with a reason.
    DeadLettered {
        /// The tag of the reason.
        reason: String,
        /// What has been done about it: the tag of a [`consume::dead_letter::State`].
        state: String,
    },
    /// It has come to none of these yet: it is in the queue, the spill table or the quarantine, or is being stored now.
    Waiting,
    /// None of these was found, and it is too old to be waiting. What became of it has been removed since, or its message
    /// is kept as a dead letter as a whole.
    Unknown,
}

impl Fate {
    /// The word for it.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Fate::Stored => "stored",
            Fate::Duplicate => "duplicate",
            Fate::Erased => "erased",
            Fate::DeadLettered { .. } => "dead_lettered",
            Fate::Waiting => "waiting",
            Fate::Unknown => "unknown",
        }
    }
}

/// An item of a request, and what has become of it.
#[derive(Clone, Debug)]
pub struct ItemFate {
    /// Its position in the request.
    pub index: u32,
    /// Of an event, its identity; `None` of an item that was refused, and of one that is not listed yet.
    pub event: Option<Event>,
    /// What has become of it.
    pub fate: Fate,
}

/// Finds out what has become of every item of a request, by index. `now` tells how old it is.
///
/// # Errors
/// A table could not be read. Nothing is known then, and asking again is right.
pub async fn fates(
    events: &impl Table,
    dead_letters: &impl Table,
    project: &str,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Vec<ItemFate>, Cause> {
    let listed = match &receipt.listed {
        Some(listed) => listed.clone(),
        None => read_lists(events, project, receipt).await?,
    };
    let envelope = receipt.envelope(project);
    let mut found = find(events, dead_letters, &envelope, &listed).await?;
    if receipt.names_no_project() {
        // Whether its source lives with the user was not known either when the receipt was given out.
        let mut elsewhere: Vec<Listed> =
            listed.iter().filter(|item| !found.contains_key(&item.index)).cloned().collect();
        elsewhere.iter_mut().filter_map(|item| item.event.as_mut()).for_each(Event::live_with_user);
        found.extend(find(events, dead_letters, &envelope, &elsewhere).await?);
    }
    let none = if now.since(receipt.received_at) > RECEIPT_LIFE { Fate::Unknown } else { Fate::Waiting };
    let mut events: HashMap<u32, Event> =
        listed.into_iter().filter_map(|item| Some((item.index, item.event?))).collect();
    let item = |index| ItemFate {
        index,
        event: events.remove(&index),
        fate: found.remove(&index).unwrap_or_else(|| none.clone()),
    };
    Ok((0..receipt.items).map(item).collect())
}

/// Finds out the same for an operator, who knows the projects that there are, and not whose the receipt is. Returns the
/// project too; `None` if it can be no one's. Of a receipt that was given out while keys could not be checked, it is the
/// first project in which anything of it is found, or else any.
///
/// # Errors
/// A table could not be read.
pub async fn fates_in_any(
    events: &impl Table,
    dead_letters: &impl Table,
    projects: &[String],
    receipt: &Receipt,
    now: Timestamp,
) -> Result<Option<(String, Vec<ItemFate>)>, Cause> {
    let mut first = None;
    for project in projects.iter().filter(|project| receipt.may_be_of(project)) {
        let found = fates(events, dead_letters, project, receipt, now).await?;
        let is_there = found.iter().any(|item| !matches!(item.fate, Fate::Waiting | Fate::Unknown));
        let found = (project.clone(), found);
        if is_there {
            return Ok(Some(found));
        }
        first.get_or_insert(found);
    }
    Ok(first)
}

/// The fates that are found, by index.
async fn find(
    events: &impl Table,
    dead_letters: &impl Table,
    envelope: &Message,
    listed: &[Listed],
) -> Result<HashMap<u32, Fate>, Cause> {
    let mut found = HashMap::new();
    let with_items = listed.iter().filter_map(|item| item.event.as_ref()).filter(|event| event.kind != Kind::Delete);
    let mut with_items: Vec<&Event> = with_items.collect();
    let items = get_all(events, with_items.iter().map(|event| key(envelope, event)).collect(), Some(ORIGIN)).await?;
    for event in &with_items {
        if let Some(item) = items.get(&key(envelope, event)) {
            let found_origin = item.get(ORIGIN).and_then(Value::text);
            found.insert(event.index, fate_at_place(found_origin, &origin(envelope, event)));
        }
    }
    drop(items);
    with_items.retain(|event| !found.contains_key(&event.index));
    found.extend(bundled(events, envelope, &with_items).await?);
    let open: Vec<&Listed> = listed.iter().filter(|item| !found.contains_key(&item.index)).collect();
    found.extend(dead(dead_letters, envelope, &open).await?);
    let open: Vec<&Event> = open
        .into_iter()
        .filter(|item| !found.contains_key(&item.index))
        .filter_map(|item| item.event.as_ref())
        .collect();
    found.extend(gone(events, envelope, &open).await?);
    Ok(found)
}

/// Those that are in bundles.
async fn bundled(table: &impl Table, envelope: &Message, open: &[&Event]) -> Result<Vec<(u32, Fate)>, Cause> {
    let keys: Vec<Key> = open.iter().map(|event| key(envelope, event)).collect();
    let origins = origins(table, &keys).await?;
    let fate = |(event, key): (&&Event, Key)| {
        Some((event.index, fate_at_place(origins.get(&key)?.as_deref(), &origin(envelope, event))))
    };
    Ok(open.iter().zip(keys).filter_map(fate).collect())
}

/// What is at an event's place by the origin that is found there: itself, another of the same identity, or the trace of
/// one that was erased, which has no origin.
fn fate_at_place(found: Option<&str>, own: &str) -> Fate {
    match found {
        Some(found) if found == own => Fate::Stored,
        Some(_) => Fate::Duplicate,
        None => Fate::Erased,
    }
}

/// Where the letter of an item is, of an event or of one that was refused.
fn letter_key(envelope: &Message, index: u32) -> Key {
    dead_letter::key(&envelope.project, envelope.received_at, &format!("{}.{index}", envelope.receipt))
}

/// Those that lie among the dead letters.
async fn dead(table: &impl Table, envelope: &Message, open: &[&Listed]) -> Result<Vec<(u32, Fate)>, Cause> {
    let keys = open.iter().map(|item| letter_key(envelope, item.index)).collect();
    // A letter's body may be large, so that of each only what is told is read.
    let reasons = get_all(table, keys, Some(attribute::REASON)).await?;
    let states = get_all(table, reasons.keys().cloned().collect(), Some(attribute::STATE)).await?;
    let text =
        |found: &HashMap<Key, Attributes>, key: &Key, name: &str| Some(found.get(key)?.get(name)?.text()?.to_owned());
    let fate = |item: &&Listed| {
        let key = letter_key(envelope, item.index);
        let reason = text(&reasons, &key, attribute::REASON)?;
        let state = text(&states, &key, attribute::STATE).unwrap_or_default();
        Some((item.index, Fate::DeadLettered { reason, state }))
    };
    Ok(open.iter().filter_map(fate).collect())
}

/// Those of whom there is no item because another came before, or because their subject was deleted. Of a deletion, its
/// tombstone is all that there is to be stored.
async fn gone(table: &impl Table, envelope: &Message, open: &[&Event]) -> Result<Vec<(u32, Fate)>, Cause> {
    let claims = open.iter().filter_map(|event| Claim::of(event, envelope)).map(|claim| claim.key).collect();
    let markers = get_all(table, claims, None).await?;
    let keys = open.iter().flat_map(|event| tombstone_keys(&envelope.project, event)).collect();
    let tombstones = get_all(table, keys, None).await?;
    let fate = |event: &&Event| {
        let is_deleted =
            erased_until(&envelope.project, event, &tombstones).is_some_and(|until| event.timestamp <= until);
        let claim = Claim::of(event, envelope);
        let judge = |claim: &Claim| Some(Marker::read(markers.get(&claim.key)?)?.judge(claim));
        let is_second = claim.as_ref().and_then(judge) == Some(Verdict::Duplicate);
        let fate = match (event.kind == Kind::Delete, is_deleted, is_second) {
            (true, true, _) => Fate::Stored,
            (true, false, _) => return None,
            (false, _, true) => Fate::Duplicate,
            (false, true, false) => Fate::Erased,
            (false, false, false) => return None,
        };
        Some((event.index, fate))
    };
    Ok(open.iter().filter_map(fate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_an_events_place_tells_its_fate() {
        for (found, fate) in [(Some("r.0"), Fate::Stored), (Some("r.1"), Fate::Duplicate), (None, Fate::Erased)] {
            assert_eq!(fate_at_place(found, "r.0"), fate);
        }
    }
}
