//! Erasure: a tombstone in time, and the removal of what is older.
//!
//! The tombstone is written before the events are looked for, and an event is inserted before the tombstone is looked
//! for. So whichever of two at a time comes second sees the other, and no event older than a deletion stays.
//!
//! Few events are older than any deletion in their project. So the latest of these is noted for each project, before the
//! tombstone, and one read a batch tells which events need to have theirs looked for at all.
//!
//! What is removed leaves its key behind for a while. An insert that was not answered may have its effect late, when
//! another delivery of the same message has settled it already and nobody looks any more; it finds the key taken. That
//! costs what deleting the item would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::Kind;
use shared::outcome::{Cause, Outcome};

use crate::bundle::{self, Bundle};
use crate::deliver::CONFLICTS_MAX;
use crate::store::{Case, EVENT_SORT, partition};
use crate::table::{Attributes, Guard, Item, Key, Replace, Table, Value, get_all, pause_before, put_all};

/// The attribute of what is left of an erased event: up to when everything of its subject was erased, in milliseconds.
pub const ERASED: &str = "erased";
/// How long that is left: far longer than a call that nobody waits for any more can be under way.
const REMAINS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Bundles that are read and written at the same time.
pub const BUNDLES_IN_FLIGHT: usize = 4;
/// The sort key of a tombstone.
pub const SORT: &str = "DELETED";
/// Up to when everything is to be erased, in milliseconds.
const MOMENT: &str = "until";
/// The sort key up to which that has been done.
const CURSOR: &str = "cursor";
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
    project: &str,
    subject: &str,
    moment: Timestamp,
    now: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) -> Result<(), Cause> {
    let partition = partition(project, subject);
    raise(table, &latest_key(project), moment, latest_from(moment)).await?;
    let tombstone_key = tombstone_key(&partition);
    let tombstone = raise(table, &tombstone_key, moment, moment).await?;
    // So a deletion that is delivered again, as with others that took too long, does not begin anew.
    if tombstone.done.is_some_and(|done| done >= tombstone.until) {
        return Ok(());
    }
    // What is inserted behind the cursor by now looks for the tombstone itself.
    let mut after = tombstone.cursor.clone();
    let mut problem = None;
    loop {
        let page = table.query(&partition, EVENT_SORT, after.as_deref()).await?;
        let (bundles, items): (Vec<_>, Vec<_>) =
            page.items.iter().partition(|(key, _)| bundle::number_of(&key.sk).is_some());
        let expired = items.into_iter().filter(|(_, attributes)| is_expired(attributes, tombstone.until));
        let remains = expired.map(|(key, _)| remains(key.clone(), tombstone.until, now));
        put_all(table, &remains.collect::<Vec<Item>>()).await?;
        for (key, attributes) in bundles {
            // One that cannot be written holds up none of the others.
            let erased = erase_bundle(table, key, Some(attributes), tombstone.until).await;
            problem = problem.or(erased.err());
        }
        let Some((last, _)) = page.items.last().filter(|_| !page.is_last) else { break };
        after = Some(last.sk.clone());
        if out_of_time() {
            if let Some(cause) = problem {
                return Err(cause);
            }
            let pause = Tombstone { cursor: after, ..tombstone.clone() };
            table.replace(&pause.item(&tombstone_key), tombstone.guard()).await.map_err(Replace::cause)?;
            return Err(Cause::Unstarted);
        }
    }
    if let Some(cause) = problem {
        return Err(cause);
    }
    let done = Tombstone { done: Some(tombstone.until), cursor: None, ..tombstone };
    // If somebody has moved it on in the meantime, that deletion looks through everything itself.
    table.replace(&done.item(&tombstone_key), done.guard()).await.map_err(Replace::cause)?;
    Ok(())
}

fn is_expired(event: &Attributes, until: Timestamp) -> bool {
    event.get("time").and_then(Value::number).is_some_and(|millis| millis <= until.as_millis())
}

/// Takes out of a bundle what happened up to a moment, beginning with the bundle as it was read, if it was. Its number
/// stays taken.
async fn erase_bundle(table: &impl Table, key: &Key, read: Option<&Attributes>, until: Timestamp) -> Result<(), Cause> {
    let mut read = read.cloned();
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let present = match read.take() {
            Some(present) => present,
            None => get_all(table, vec![key.clone()], None).await?.remove(key).ok_or(Cause::Contended)?,
        };
        let bundle = Bundle::read(key, &present).ok_or_else(|| {
            tracing::error!(bundle = key.sk, "a stored bundle cannot be read");
            Cause::Denied
        })?;
        let Some(left) = bundle.without(key, |event| is_expired(event, until)) else { return Ok(()) };
        let guard = Guard::Equals(bundle::VERSION, bundle.version);
        if table.replace(&left, guard).await.map_err(Replace::cause)? {
            return Ok(());
        }
    }
    Err(Cause::Contended)
}

/// A moment, rounded up as the note of a project's latest deletion has it.
fn latest_from(moment: Timestamp) -> Timestamp {
    let steps = moment.as_millis().div_euclid(LATEST_STEP).saturating_add(1);
    Timestamp::from_millis_clamped(steps.saturating_mul(LATEST_STEP))
}

/// What a tombstone says. The note of a project's latest deletion is one without a cursor.
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

    fn until(until: Timestamp) -> Self {
        Self { until, done: None, cursor: None }
    }

    fn item(&self, key: &Key) -> Item {
        let mut item = Item { key: key.clone(), attributes: BTreeMap::new() };
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

/// Makes sure that a tombstone says at least `moment`; one that says less, or is not there, says `until` from now on.
/// Returns what it says.
async fn raise(table: &impl Table, key: &Key, moment: Timestamp, until: Timestamp) -> Result<Tombstone, Cause> {
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

/// Erases those of the events just stored whose subject has been deleted later than they happened.
pub async fn erase_late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) {
    let late = late(table, cases, now).await;
    let (mut items, mut bundles) = (BTreeMap::new(), BTreeMap::new());
    for (position, moment) in &late {
        let case = &cases[*position];
        match &case.bundle {
            Some(bundle) => drop(bundles.insert(bundle.clone(), *moment)),
            None => drop(items.insert(case.key(), remains(case.key(), *moment, now))),
        }
    }
    let put = put_all(table, &items.into_values().collect::<Vec<Item>>()).await;
    let erase = |(bundle, moment): (Key, Timestamp)| async move {
        let erased = erase_bundle(table, &bundle, None, moment).await;
        (bundle, erased)
    };
    let erased = stream::iter(bundles).map(erase).buffer_unordered(BUNDLES_IN_FLIGHT);
    let erased: HashMap<Key, Result<(), Cause>> = erased.collect().await;
    for (position, _) in late {
        let case = &mut cases[position];
        match case.bundle.as_ref().map_or(put, |bundle| erased.get(bundle).copied().unwrap_or(Ok(()))) {
            Ok(()) => case.outcome = Some(Outcome::Erased),
            Err(cause) => case.retry(cause),
        }
    }
}

/// The positions of those events whose subject has been deleted later than they happened, each with up to when.
async fn late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) -> Vec<(usize, Timestamp)> {
    let concerns = |case: &Case<'_>| {
        case.event.kind != Kind::Delete && matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore))
    };
    let latest = latest(table, cases.iter().filter(|case| concerns(case)), now).await;
    let concerns = |case: &Case<'_>| {
        let latest = latest.get(&case.message.project);
        concerns(case) && latest.is_none_or(|latest| case.event.timestamp <= *latest)
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

/// The latest deletion of each of these events' projects, rounded up. Of one for which that is not known, each tombstone
/// must be looked for; it is noted then that no deletion until now has been, so that the next batch knows.
async fn latest<'a>(
    table: &impl Table,
    cases: impl Iterator<Item = &'a Case<'a>>,
    now: Timestamp,
) -> HashMap<String, Timestamp> {
    let projects: BTreeSet<&str> = cases.map(|case| case.message.project.as_str()).collect();
    let keys = projects.iter().map(|project| latest_key(project)).collect();
    let Ok(found) = get_all(table, keys, None).await else { return HashMap::new() };
    let mut latest = HashMap::new();
    for project in projects {
        let key = latest_key(project);
        match found.get(&key).and_then(moment_of) {
            Some(moment) => drop(latest.insert(project.to_owned(), moment)),
            // If it cannot be written, the next batch will try.
            None => drop(table.replace(&Tombstone::until(latest_from(now)).item(&key), Guard::Absent).await),
        }
    }
    latest
}
