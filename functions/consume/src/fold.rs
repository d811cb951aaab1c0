//! Bringing stored profiles up to date with a batch's operations.
//!
//! Only events that are stored are folded, on every delivery: a producer's retry would say the same with a later time,
//! and so undo what happened in between. But where a retry cannot be told from saying it again, it is folded too. A write names the version that it read, so that of two at a time one begins
//! anew. Where a profile has no more room, the event is stored all the same, and the profile goes without.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use shared::event::Identity;
use shared::limits::{ALIASES_MAX, PROFILE_BYTES_MAX};
use shared::outcome::{Cause, Outcome};

use crate::deliver::{CONFLICTS_MAX, IN_FLIGHT};
use crate::erase;
use crate::operation::Operation;
use crate::person::{self, Person};
use crate::profile::{Profile, SORT, VERSION};
use crate::store::{Case, partition};
use crate::table::{Guard, Key, Replace, Table, get_all, pause_before};

/// The operations on one id.
type Operations = Vec<Operation>;
/// Profiles by id, each with the version that it was read with; `None` if there is none.
type Loaded = BTreeMap<String, (Profile, Option<i64>)>;

/// Folds the operations of all stored events into the profiles. An event whose operation did not reach its profile is
/// to be tried again.
pub async fn fold_profiles(table: &impl Table, cases: &mut [Case<'_>], out_of_time: &dyn Fn() -> bool) {
    let mut operations: BTreeMap<(String, String), Vec<(usize, Operation)>> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let says_something = match case.outcome {
            Some(Outcome::Stored | Outcome::StoredBefore) => true,
            // Recognised by its content alone: it may as well be said once more, after something else was.
            Some(Outcome::Duplicate) => case.event.identity == Identity::Window,
            Some(Outcome::Erased | Outcome::DeadLettered(_) | Outcome::Retry(_)) | None => false,
        };
        if says_something && let Some(operation) = Operation::of(case.event) {
            let id = (case.message.project.clone(), case.event.subject.clone());
            operations.entry(id).or_default().push((position, operation));
        }
    }
    // Ids that are joined share profiles, so they come one after another; the others cannot meet.
    let (alone, joined): (Vec<_>, Vec<_>) =
        operations.into_iter().partition(|(_, operations)| !operations.iter().any(|(_, one)| one.reaches_others()));
    let mut results: Vec<_> = stream::iter(alone)
        .map(|((project, id), operations)| async move {
            let (positions, operations): (Vec<_>, Operations) = operations.into_iter().unzip();
            (positions, fold(table, &project, &id, &operations, &|| false).await)
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for ((project, id), operations) in joined {
        let (positions, operations): (Vec<_>, Operations) = operations.into_iter().unzip();
        results.push((positions, fold(table, &project, &id, &operations, out_of_time).await));
    }
    for (positions, result) in results {
        if let Err(cause) = result {
            positions.into_iter().for_each(|position| cases[position].retry(cause));
        }
    }
}

/// Folds operations into the profiles of one person.
async fn fold(
    table: &impl Table,
    project: &str,
    id: &str,
    operations: &Operations,
    out_of_time: &dyn Fn() -> bool,
) -> Result<(), Cause> {
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let mut operations = operations.clone();
        let loaded = load(table, project, id, &mut operations).await?;
        let mut person: Person = loaded.iter().map(|(id, (profile, _))| (id.clone(), profile.clone())).collect();
        apply_fitting(&mut person, project, id, &operations);
        if !write(table, project, &loaded, &person).await? {
            continue;
        }
        let deleted = person.get(id).and_then(|profile| profile.deleted);
        if let Some(moment) = deleted.filter(|_| operations.iter().any(Operation::reaches_others)) {
            for id in person.keys() {
                erase::erase(table, &partition(project, id), moment, out_of_time).await?;
            }
        }
        return Ok(());
    }
    Err(Cause::Contended)
}

/// Reads the profiles of everybody that the operations can concern. An alias that would join more ids than may be is
/// taken out of them.
async fn load(table: &impl Table, project: &str, id: &str, operations: &mut Operations) -> Result<Loaded, Cause> {
    let mut loaded = load_joined(table, project, Loaded::new(), id).await?;
    for operation in operations {
        let Some(former) = operation.former.as_ref().filter(|former| !loaded.contains_key(*former)) else { continue };
        let more = load_joined(table, project, loaded.clone(), former).await?;
        if more.len() > ALIASES_MAX {
            tracing::warn!(project, "more ids would be one person than may be; the alias is stored, but not applied");
            operation.former = None;
        } else {
            loaded = more;
        }
    }
    Ok(loaded)
}

/// Adds an id, and everybody that it is joined with, to those read already.
async fn load_joined(table: &impl Table, project: &str, mut loaded: Loaded, id: &str) -> Result<Loaded, Cause> {
    let mut wanted = BTreeSet::from([id.to_owned()]);
    // Twice the most ids that are ever joined: two whole persons may be about to become one.
    while !wanted.is_empty() && loaded.len() <= 2 * ALIASES_MAX {
        let keys: Vec<(String, Key)> = wanted.iter().map(|id| (id.clone(), key(project, id))).collect();
        let found = get_all(table, keys.iter().map(|(_, key)| key.clone()).collect(), None).await?;
        wanted.clear();
        for (id, key) in keys {
            let (profile, version) = match found.get(&key) {
                None => (Profile::default(), None),
                Some(attributes) => {
                    let read = Profile::read(attributes);
                    let (profile, version) = read.ok_or_else(|| {
                        tracing::error!(project, "a stored profile cannot be read");
                        Cause::Denied
                    })?;
                    (profile, Some(version))
                }
            };
            wanted.extend(profile.neighbours().cloned());
            loaded.insert(id, (profile, version));
        }
        wanted.retain(|id| !loaded.contains_key(id));
    }
    Ok(loaded)
}

/// Applies operations as far as the profiles have room: all of them; else only values for what has one already; else
/// what is no value (aliases and deletions).
fn apply_fitting(person: &mut Person, project: &str, id: &str, operations: &Operations) {
    let before = person.clone();
    let has = |operation: &Operation| {
        let registers = operation.registers.iter();
        let known =
            registers.filter(|(section, name, _)| before.get(id).is_some_and(|profile| profile.has(*section, name)));
        Operation { registers: known.cloned().collect(), ..operation.clone() }
    };
    let known: Operations = operations.iter().map(has).collect();
    let none: Operations =
        operations.iter().map(|operation| Operation { registers: vec![], ..operation.clone() }).collect();
    for (attempt, operations) in [operations, &known, &none].into_iter().enumerate() {
        person.clone_from(&before);
        person::apply(person, id, operations);
        let fits = |(id, profile): (&String, &Profile)| profile.item(key(project, id), 0).bytes() <= PROFILE_BYTES_MAX;
        if person.iter().all(fits) {
            if attempt > 0 {
                tracing::warn!(project, "a profile has no more room; the events are stored, but it goes without them");
            }
            return;
        }
    }
    // Not even joined do they have room; what is there stays as it is.
    tracing::warn!(project, "two profiles have no room in one; the alias is stored, but not applied");
    *person = before;
}

/// Writes the profiles that changed. Returns `false` if somebody else was faster with one of them; those written by
/// then do no harm, since the next attempt reads and joins them.
async fn write(table: &impl Table, project: &str, loaded: &Loaded, person: &Person) -> Result<bool, Cause> {
    for (id, profile) in person {
        let (before, version) = loaded.get(id).map_or((None, None), |(before, version)| (Some(before), *version));
        if before == Some(profile) || (version.is_none() && *profile == Profile::default()) {
            continue;
        }
        let guard = version.map_or(Guard::Absent, |version| Guard::Equals(VERSION, version));
        match table.replace(&profile.item(key(project, id), version.unwrap_or(0) + 1), guard).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(Replace::Failed(cause)) => return Err(cause),
            Err(Replace::Refused(detail)) => {
                tracing::error!(detail, "the table refuses a profile");
                return Err(Cause::Denied);
            }
        }
    }
    Ok(true)
}

fn key(project: &str, id: &str) -> Key {
    Key { pk: partition(project, id), sk: SORT.to_owned() }
}
