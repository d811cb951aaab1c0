//! Bringing stored profiles up to date with a batch's operations.
//!
//! Only events that are stored are folded, on every delivery: a producer's retry would say the same with a later time,
//! and so undo what happened in between. But where a retry cannot be told from saying it again, it is folded too. A
//! write names the version that it read, so that of two at a time one begins anew. Where a profile has no more room, the
//! event is stored all the same, and the profile goes without.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::{Event, Identity};
use shared::limits::{DYNAMODB_ITEM_BYTES_MAX, PROFILE_BYTES_MAX};
use shared::outcome::{Cause, Outcome};

use crate::deliver::{CONFLICTS_MAX, IN_FLIGHT};
use crate::operation::Operation;
use crate::profile::{self, Profile, VERSION};
use crate::store::Case;
use crate::table::{Guard, Item, Key, Replace, Table, get_all, pause_before};

/// What is left of an operation where a profile has no room for all of it.
type Way<'a> = &'a dyn Fn(&Operation) -> Operation;

/// The most bytes of data that one fold takes, unless a single event has more: short values take many times their text
/// in memory. What there is beyond is folded after it.
pub const FOLD_BYTES_MAX: usize = 256 * 1_024;
/// The most bytes of data of a fold that goes on beside others.
pub const FOLD_BESIDE_BYTES_MAX: usize = 16 * 1_024;

/// Events that are folded together: of one profile, and not too large together.
struct Run<'a> {
    project: &'a str,
    key: Key,
    cases: Vec<(usize, &'a Event)>,
    bytes: usize,
}

/// Folds the operations of all stored events into the profiles. An event whose operation did not reach its profile is
/// to be tried again.
pub async fn fold_profiles(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp, out_of_time: &dyn Fn() -> bool) {
    let goes_beside_others = |run: &Run<'_>| run.bytes <= FOLD_BESIDE_BYTES_MAX;
    let (beside, in_turn): (Vec<Run<'_>>, Vec<Run<'_>>) = runs(cases).into_iter().partition(goes_beside_others);
    let mut results: Vec<_> = stream::iter(beside)
        .map(|run| async move {
            let result = if out_of_time() { Err(Cause::Unstarted) } else { fold(table, &run, now).await };
            (run.cases, result)
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for run in in_turn {
        let result = if out_of_time() { Err(Cause::Unstarted) } else { fold(table, &run, now).await };
        results.push((run.cases, result));
    }
    for (folded, result) in results {
        if let Err(cause) = result {
            folded.into_iter().for_each(|(position, _)| cases[position].retry(cause));
        }
    }
}

/// The events that say something of a profile. Those of one profile follow each other.
fn runs<'a>(cases: &[Case<'a>]) -> Vec<Run<'a>> {
    let mut by_profile: BTreeMap<Key, Vec<Run<'a>>> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let event = case.event;
        let says_something = match case.outcome {
            Some(Outcome::Stored | Outcome::StoredBefore) => true,
            // Recognised by its content alone: it may as well be said once more, after something else was.
            Some(Outcome::Duplicate) => event.identity == Identity::Window,
            Some(Outcome::Erased | Outcome::DeadLettered(_) | Outcome::Retry(_)) | None => false,
        };
        let bytes = event.data.as_ref().map_or(0, |data| data.get().len());
        // No event that `ingest` takes is larger than an item. One from elsewhere is stored at the most, if it compresses well.
        if !says_something || !Operation::is_of(event.kind) || bytes > DYNAMODB_ITEM_BYTES_MAX {
            continue;
        }
        let project = case.message.project.as_str();
        let key = profile::key(project, &event.subject, event.is_anonymous());
        let of_profile = by_profile.entry(key.clone()).or_default();
        match of_profile.last_mut() {
            Some(run) if run.bytes + bytes <= FOLD_BYTES_MAX => {
                run.cases.push((position, event));
                run.bytes += bytes;
            }
            _ => of_profile.push(Run { project, key, cases: vec![(position, event)], bytes }),
        }
    }
    by_profile.into_values().flatten().collect()
}

/// Folds operations into a profile.
async fn fold(table: &impl Table, run: &Run<'_>, now: Timestamp) -> Result<(), Cause> {
    let operations: Vec<Operation> = run.cases.iter().filter_map(|(_, event)| Operation::of(event)).collect();
    if operations.is_empty() {
        return Ok(());
    }
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let found = get_all(table, vec![run.key.clone()], None).await?;
        let (before, version) = match found.get(&run.key) {
            None => (Profile::default(), None),
            Some(attributes) => {
                let (profile, version) = Profile::read(attributes).ok_or_else(|| profile::unreadable(run.project))?;
                (profile, Some(version))
            }
        };
        let (profile, item) = apply_fitting(&before, run, &operations, version.unwrap_or(0) + 1, now);
        if profile == before {
            return Ok(());
        }
        let guard = version.map_or(Guard::Absent, |version| Guard::Equals(VERSION, version));
        match table.replace(&item, guard).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Replace::Failed(cause)) => return Err(cause),
            Err(Replace::Refused(detail)) => {
                tracing::error!(detail, "the table refuses a profile");
                return Err(Cause::Denied);
            }
        }
    }
    Err(Cause::Contended)
}

/// Applies operations as far as the profile has room: all of them; else values only for what has one already; else none.
/// Returns the profile, and its item.
fn apply_fitting(
    before: &Profile,
    run: &Run<'_>,
    operations: &[Operation],
    version: i64,
    now: Timestamp,
) -> (Profile, Item) {
    let known = |operation: &Operation| {
        let registers = operation.registers.iter().filter(|(section, name, _)| before.has(*section, name));
        Operation { registers: registers.cloned().collect() }
    };
    let ways: [Option<Way<'_>>; 2] = [None, Some(&known)];
    for (attempt, way) in ways.into_iter().enumerate() {
        let mut profile = before.clone();
        for operation in operations {
            match way {
                None => profile.apply(operation),
                Some(way) => profile.apply(&way(operation)),
            }
        }
        let item = profile.item(run.key.clone(), version, now);
        if profile.has_room() && item.bytes() <= PROFILE_BYTES_MAX {
            if attempt > 0 {
                no_room(run.project);
            }
            return (profile, item);
        }
    }
    no_room(run.project);
    (before.clone(), before.item(run.key.clone(), version, now))
}

fn no_room(project: &str) {
    tracing::warn!(project, "a profile has no more room; the events are stored, but it goes without");
}
