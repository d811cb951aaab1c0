//! Tombstones: up to when everything of an id is erased. A deletion writes one before it erases anything, and notes in it
//! how far it has come.

use std::collections::{BTreeMap, HashMap};

use shared::clock::Timestamp;
use shared::event::Event;
use shared::outcome::Cause;

use crate::deliver::CONFLICTS_MAX;
use crate::links;
use crate::table::{Attributes, Guard, Item, Key, Replace, Table, Value, get_all, pause_before};

/// The sort key of the tombstone of an id.
pub const SORT: &str = "DELETED";
/// The sort key of the tombstone of what names nobody on a device.
pub const DEVICE_SORT: &str = "DELETED#DEVICE";
/// Up to when everything is to be erased, in milliseconds.
pub(crate) const MOMENT: &str = "until";
/// The sort key of the event or link up to which that has been done.
const CURSOR: &str = "cursor";
/// The same on the device that is behind that link.
const CURSOR_ON_DEVICE: &str = "inner";
/// Up to when everything has been looked through, in milliseconds. What is inserted later looks for the tombstone itself.
const DONE: &str = "done";
/// The sort key of the note of a project's latest deletion.
pub const LATEST_SORT: &str = "LATEST";
/// What that note is rounded up to, so that a project's deletions write it once a minute and not each.
const LATEST_STEP: i64 = 60_000;

/// Where a project's latest deletion is noted.
#[must_use]
pub fn latest_key(project: &str) -> Key {
    Key { pk: format!("{project}#DELETED"), sk: LATEST_SORT.to_owned() }
}

/// The partition of the tombstones of an id.
pub(crate) fn partition(project: &str, id: &str) -> String {
    partition_of_hash(project, &links::hash_of(id))
}

/// The same by the hash of the id.
pub(crate) fn partition_of_hash(project: &str, hash: &str) -> String {
    format!("{project}#DELETED#{hash}")
}

/// Where the tombstone of an id is. It outlasts everything else of the id, and so has only a hash of it.
#[must_use]
pub fn tombstone_key(project: &str, id: &str) -> Key {
    Key { pk: partition(project, id), sk: SORT.to_owned() }
}

/// Where the tombstone is of what names nobody on a device.
#[must_use]
pub fn device_tombstone_key(project: &str, device: &str) -> Key {
    Key { pk: partition(project, device), sk: DEVICE_SORT.to_owned() }
}

/// The tombstones that an event must not be older than.
#[must_use]
pub fn tombstone_keys(project: &str, event: &Event) -> Vec<Key> {
    let mut keys = vec![tombstone_key(project, &event.subject)];
    if event.is_anonymous() {
        keys.push(device_tombstone_key(project, &event.subject));
    }
    keys
}

/// Up to when everything is erased of whom an event is about, by its tombstones among `found`; `None` if nothing is.
#[must_use]
pub fn erased_until(project: &str, event: &Event, found: &HashMap<Key, Attributes>) -> Option<Timestamp> {
    tombstone_keys(project, event).iter().filter_map(|key| moment_of(found.get(key)?)).max()
}

/// Up to when a tombstone keeps nothing; `None` if it is none.
#[must_use]
pub fn moment_of(attributes: &Attributes) -> Option<Timestamp> {
    attributes.get(MOMENT).and_then(Value::number).map(Timestamp::from_millis_clamped)
}

/// A moment, rounded up as the note of a project's latest deletion has it.
pub(crate) fn latest_from(moment: Timestamp) -> Timestamp {
    let steps = moment.as_millis().div_euclid(LATEST_STEP).saturating_add(1);
    Timestamp::from_millis_clamped(steps.saturating_mul(LATEST_STEP))
}

/// Up to when everything has been looked through, by a tombstone.
pub(crate) fn done_of(attributes: &Attributes) -> Option<Timestamp> {
    attributes.get(DONE).and_then(Value::number).map(Timestamp::from_millis_clamped)
}

/// What a tombstone says. The note of a project's latest deletion is one without a cursor.
#[derive(Clone)]
pub(crate) struct Tombstone {
    pub(crate) until: Timestamp,
    pub(crate) done: Option<Timestamp>,
    pub(crate) cursor: Option<String>,
    pub(crate) on_device: Option<String>,
}

impl Tombstone {
    pub(crate) fn read(attributes: &Attributes) -> Option<Self> {
        let done = done_of(attributes);
        let text = |name: &str| attributes.get(name).and_then(Value::text).map(str::to_owned);
        Some(Self { until: moment_of(attributes)?, done, cursor: text(CURSOR), on_device: text(CURSOR_ON_DEVICE) })
    }

    pub(crate) fn until(until: Timestamp) -> Self {
        Self { until, done: None, cursor: None, on_device: None }
    }

    pub(crate) fn item(&self, key: &Key) -> Item {
        let mut item = Item { key: key.clone(), attributes: BTreeMap::new() };
        item.number(MOMENT, self.until.as_millis());
        if let Some(done) = self.done {
            item.number(DONE, done.as_millis());
        }
        if let Some(cursor) = &self.cursor {
            item.text(CURSOR, cursor);
        }
        if let Some(cursor) = &self.on_device {
            item.text(CURSOR_ON_DEVICE, cursor);
        }
        item
    }

    pub(crate) fn guard(&self) -> Guard {
        Guard::Equals(MOMENT, self.until.as_millis())
    }
}

/// Makes sure that a tombstone says at least `moment`; one that says less, or is not there, says `until` from now on.
/// Returns what it says.
pub(crate) async fn raise(
    table: &impl Table,
    key: &Key,
    moment: Timestamp,
    until: Timestamp,
) -> Result<Tombstone, Cause> {
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let found = get_all(table, vec![key.clone()], None).await?;
        let present = found.get(key).and_then(Tombstone::read);
        let guard = present.as_ref().map_or(Guard::Absent, Tombstone::guard);
        let done = match present {
            Some(present) if present.until >= moment => return Ok(present),
            Some(present) => present.done,
            None => None,
        };
        let next = Tombstone { done, ..Tombstone::until(until) };
        if table.replace(&next.item(key), guard).await.map_err(Replace::cause)? {
            return Ok(next);
        }
    }
    Err(Cause::Contended)
}
