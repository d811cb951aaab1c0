//! Erasure: a tombstone in time, and the removal of what is older.
//!
//! The tombstone is written before the events are looked for, and an event is inserted before the tombstone is looked
//! for. So whichever of two at a time comes second sees the other, and no event older than a deletion stays.

use std::collections::{BTreeMap, HashMap};

use shared::clock::Timestamp;
use shared::event::Kind;
use shared::outcome::{Cause, Outcome};

use crate::deliver::CONFLICTS_MAX;
use crate::store::{Case, ORIGIN, origin as origin_of, partition};
use crate::table::{Attributes, Guard, Item, Key, Replace, Table, Value, delete_all, get_all, pause_before};

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

/// Erases the events of a subject that happened up to a moment, and makes sure that none is kept that comes later.
///
/// # Errors
/// It is not finished: a call failed, or the time ran out. Doing it again looks through what is left.
pub async fn erase(
    table: &impl Table,
    partition: &str,
    moment: Timestamp,
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
        delete_all(table, &expired.map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
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

/// Removes those of the events just stored whose subject has been deleted later than they happened.
pub async fn erase_late(table: &impl Table, cases: &mut [Case<'_>]) {
    let late =
        later_deleted(table, cases, |case| matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore)));
    let late = late.await;
    let keys: Vec<Key> = late.iter().map(|position| cases[*position].key()).collect();
    let deleted = delete_all(table, &keys).await;
    settle(cases, late, deleted);
}

/// Removes, and does not store again, events of messages that have been delivered before and whose subject has been
/// deleted since. An insert of then that was not answered may have had its effect only after the deletion.
pub async fn erase_before(table: &impl Table, cases: &mut [Case<'_>]) {
    let late = later_deleted(table, cases, |case| case.outcome.is_none() && case.receive_count > 1).await;
    let keys: Vec<Key> = late.iter().map(|position| cases[*position].key()).collect();
    let deleted = match get_all(table, keys, Some(ORIGIN)).await {
        Ok(found) => {
            // What another event of the same identity has left there, is for that one to judge.
            let own = |case: &Case<'_>| {
                let origin = found.get(&case.key()).and_then(|item| item.get(ORIGIN)).and_then(Value::text);
                origin == Some(&origin_of(case.message, case.event))
            };
            let keys = late.iter().map(|position| &cases[*position]).filter(|case| own(case)).map(Case::key);
            delete_all(table, &keys.collect::<Vec<Key>>()).await
        }
        Err(cause) => Err(cause),
    };
    settle(cases, late, deleted);
}

/// The positions of those events whose subject has been deleted later than they happened.
async fn later_deleted(table: &impl Table, cases: &mut [Case<'_>], concerns: impl Fn(&Case<'_>) -> bool) -> Vec<usize> {
    let concerns = |case: &Case<'_>| case.event.kind != Kind::Delete && concerns(case);
    let key_of = |case: &Case<'_>| tombstone_key(&partition(&case.message.project, &case.event.subject));
    let keys: Vec<Key> = cases.iter().filter(|case| concerns(case)).map(key_of).collect();
    let tombstones: Result<HashMap<Key, Attributes>, Cause> = get_all(table, keys, None).await;
    let mut late = Vec::new();
    for (position, case) in cases.iter_mut().enumerate().filter(|(_, case)| concerns(case)) {
        match tombstones.as_ref().map(|found| found.get(&key_of(case)).and_then(moment_of)) {
            Ok(Some(moment)) if case.event.timestamp <= moment => late.push(position),
            Ok(_) => {}
            // Not knowing, we must look again; the item that is there by now is recognised as its own.
            Err(cause) => case.retry(*cause),
        }
    }
    late
}

fn settle(cases: &mut [Case<'_>], late: Vec<usize>, deleted: Result<(), Cause>) {
    for position in late {
        match deleted {
            Ok(()) => cases[position].outcome = Some(Outcome::Erased),
            Err(cause) => cases[position].retry(cause),
        }
    }
}
