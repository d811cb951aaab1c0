//! Erasure: a tombstone in time, and the removal of what is older.
//!
//! The tombstone is written before the events are looked for, and an event is inserted before the tombstone is looked
//! for. So whichever of two at a time comes second sees the other, and no event older than a deletion stays.
//!
//! What is removed leaves its key behind for a while. An insert that was not answered may have its effect late, when
//! another delivery of the same message has settled it already and nobody looks any more; it finds the key taken. That
//! costs what deleting the item would.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use shared::clock::Timestamp;
use shared::event::Kind;
use shared::outcome::{Cause, Outcome};

use crate::deliver::CONFLICTS_MAX;
use crate::store::{Case, partition};
use crate::table::{Attributes, Guard, Item, Key, Replace, Table, Value, get_all, pause_before, put_all};

/// The attribute of what is left of an erased event: up to when everything of its subject was erased, in milliseconds.
pub const ERASED: &str = "erased";
/// How long that is left: far longer than a call that nobody waits for any more can be under way.
const REMAINS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// The sort key of a tombstone.
pub const SORT: &str = "DELETED";
/// Up to when everything is to be erased, in milliseconds.
const MOMENT: &str = "until";
/// The sort key up to which that has been done.
const CURSOR: &str = "cursor";
/// Up to when everything has been looked through, in milliseconds. What is inserted later looks for the tombstone itself.
const DONE: &str = "done";

/// Where the tombstone of a subject is, by the partition of the subject.
#[must_use]
pub fn tombstone_key(partition: &str) -> Key {
    Key { pk: partition.to_owned(), sk: SORT.to_owned() }
}

/// Up to when a tombstone keeps nothing; `None` if it is none.
#[must_use]
pub fn moment_of(attributes: &Attributes) -> Option<Timestamp> {
    attributes.get(MOMENT).and_then(Value::number).map(Timestamp::from_millis_clamped)
}

/// What is put in place of an erased event: its key, so that it is taken.
fn remains(key: Key, until: Timestamp, now: Timestamp) -> Item {
    let mut item = Item { key, attributes: BTreeMap::new() };
    item.number(ERASED, until.as_millis());
    item.number("ttl", now.plus(REMAINS_FOR).as_millis() / 1_000);
    item
}

/// Erases the events of a subject that happened up to a moment, and makes sure that none is kept that comes later.
///
/// # Errors
/// It is not finished: a call failed, or the time ran out. Doing it again looks through what is left.
pub async fn erase(
    table: &impl Table,
    partition: &str,
    moment: Timestamp,
    now: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) -> Result<(), Cause> {
    let tombstone = write_tombstone(table, partition, moment).await?;
    // So a deletion that is delivered again, as with others that took too long, does not begin anew.
    if tombstone.done.is_some_and(|done| done >= tombstone.until) {
        return Ok(());
    }
    // What is inserted behind the cursor by now looks for the tombstone itself.
    let mut after = tombstone.cursor.clone();
    loop {
        let page = table.query(partition, "E#", after.as_deref()).await?;
        let expired = page.iter().filter(|(_, attributes)| {
            let time = attributes.get("time").and_then(Value::number);
            time.is_some_and(|millis| millis <= tombstone.until.as_millis())
        });
        let remains = expired.map(|(key, _)| remains(key.clone(), tombstone.until, now));
        put_all(table, &remains.collect::<Vec<Item>>()).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.sk.clone());
        if out_of_time() {
            let pause = Tombstone { cursor: after, ..tombstone.clone() };
            table.replace(&pause.item(partition), tombstone.guard()).await.map_err(Replace::cause)?;
            return Err(Cause::Unstarted);
        }
    }
    let done = Tombstone { done: Some(tombstone.until), cursor: None, ..tombstone };
    // If somebody has moved it on in the meantime, that deletion looks through everything itself.
    table.replace(&done.item(partition), done.guard()).await.map_err(Replace::cause)?;
    Ok(())
}

/// What a tombstone says.
#[derive(Clone)]
struct Tombstone {
    until: Timestamp,
    done: Option<Timestamp>,
    cursor: Option<String>,
}

impl Tombstone {
    fn read(attributes: &Attributes) -> Option<Self> {
        let done = attributes.get(DONE).and_then(Value::number).map(Timestamp::from_millis_clamped);
        let cursor = attributes.get(CURSOR).and_then(Value::text).map(str::to_owned);
        Some(Self { until: moment_of(attributes)?, done, cursor })
    }

    fn item(&self, partition: &str) -> Item {
        let mut item = Item { key: tombstone_key(partition), attributes: BTreeMap::new() };
        item.number(MOMENT, self.until.as_millis());
        if let Some(done) = self.done {
            item.number(DONE, done.as_millis());
        }
        if let Some(cursor) = &self.cursor {
            item.text(CURSOR, cursor);
        }
        item
    }

    fn guard(&self) -> Guard {
        Guard::Equals(MOMENT, self.until.as_millis())
    }
}

/// Makes sure that the tombstone says at least `moment`. Returns what it says.
async fn write_tombstone(table: &impl Table, partition: &str, moment: Timestamp) -> Result<Tombstone, Cause> {
    let key = tombstone_key(partition);
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let found = get_all(table, vec![key.clone()], None).await?;
        let present = found.get(&key).and_then(Tombstone::read);
        let guard = present.as_ref().map_or(Guard::Absent, Tombstone::guard);
        let done = match present {
            Some(present) if present.until >= moment => return Ok(present),
            Some(present) => present.done,
            None => None,
        };
        let next = Tombstone { until: moment, done, cursor: None };
        if table.replace(&next.item(partition), guard).await.map_err(Replace::cause)? {
            return Ok(next);
        }
    }
    Err(Cause::Contended)
}

/// Erases those of the events just stored whose subject has been deleted later than they happened.
pub async fn erase_late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) {
    let late = late(table, cases).await;
    let remains: BTreeMap<Key, Item> = late
        .iter()
        .map(|(position, moment)| (cases[*position].key(), *moment))
        .map(|(key, moment)| (key.clone(), remains(key, moment, now)))
        .collect();
    let erased = put_all(table, &remains.into_values().collect::<Vec<Item>>()).await;
    for (position, _) in late {
        match erased {
            Ok(()) => cases[position].outcome = Some(Outcome::Erased),
            Err(cause) => cases[position].retry(cause),
        }
    }
}

/// The positions of those events whose subject has been deleted later than they happened, each with up to when.
async fn late(table: &impl Table, cases: &mut [Case<'_>]) -> Vec<(usize, Timestamp)> {
    let concerns = |case: &Case<'_>| {
        case.event.kind != Kind::Delete && matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore))
    };
    let key_of = |case: &Case<'_>| tombstone_key(&partition(&case.message.project, &case.event.subject));
    let keys: Vec<Key> = cases.iter().filter(|case| concerns(case)).map(key_of).collect();
    let tombstones: Result<HashMap<Key, Attributes>, Cause> = get_all(table, keys, None).await;
    let mut late = Vec::new();
    for (position, case) in cases.iter_mut().enumerate().filter(|(_, case)| concerns(case)) {
        match tombstones.as_ref().map(|found| found.get(&key_of(case)).and_then(moment_of)) {
            Ok(Some(moment)) if case.event.timestamp <= moment => late.push((position, moment)),
            Ok(_) => {}
            // Not knowing, we must look again; the item that is there by now is recognised as its own.
            Err(cause) => case.retry(*cause),
        }
    }
    late
}
