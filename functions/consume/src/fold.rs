//! Bringing stored profiles up to date with a batch's operations.
//!
//! Duplicates are folded like all other events: the fold is made to take them, and so its result does not depend on
//! which of two came first. A write names the version that it read, so that of two at a time one begins anew.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::limits::{ALIASES_MAX, PROFILE_BYTES_MAX};
use shared::outcome::{Cause, Reason};

use crate::deliver::{CONFLICTS_MAX, IN_FLIGHT};
use crate::erase;
use crate::operation::Operation;
use crate::person::{self, Person};
use crate::profile::{Profile, SORT, VERSION};
use crate::store::{Case, partition};
use crate::table::{Guard, Key, Replace, Table, get_all};

/// The operations on one id, each with the position of its event.
type Operations = Vec<(usize, Operation)>;
/// Events that can never be folded, with their reason.
type Rejected = Vec<(usize, Reason)>;

/// Folds the operations of all events into the profiles, and notes at each event what could not be folded.
pub async fn fold_profiles(table: &impl Table, cases: &mut [Case<'_>], deadline: &dyn Fn() -> bool) {
    let mut operations: BTreeMap<(&str, &str), Operations> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        if let Some(operation) = Operation::of(case.event) {
            let id = (case.message.project.as_str(), case.event.subject.as_str());
            operations.entry(id).or_default().push((position, operation));
        }
    }
    // Ids that are joined share profiles, so they come one after another; the others cannot meet.
    let (alone, joined): (Vec<_>, Vec<_>) =
        operations.into_iter().partition(|(_, operations)| !operations.iter().any(|(_, one)| one.reaches_others()));
    let alone: Vec<_> =
        alone.into_iter().map(|((project, id), operations)| (project.to_owned(), id.to_owned(), operations)).collect();
    let joined: Vec<_> =
        joined.into_iter().map(|((project, id), operations)| (project.to_owned(), id.to_owned(), operations)).collect();
    let mut results: Vec<_> = stream::iter(alone)
        .map(|(project, id, operations)| async move {
            let result = fold(table, &project, &id, &operations, &|| false).await;
            (operations, result)
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for (project, id, operations) in joined {
        let result = fold(table, &project, &id, &operations, deadline).await;
        results.push((operations, result));
    }
    for (operations, result) in results {
        match result {
            Ok(rejected) => {
                for (position, reason) in rejected {
                    let detail = match reason {
                        Reason::TooManyAliases => "too many ids would be one person",
                        _ => "the profile would grow beyond its limit",
                    };
                    cases[position].dead(reason, detail.to_owned());
                }
            }
            Err(cause) => operations.iter().for_each(|(position, _)| cases[*position].retry(cause)),
        }
    }
}

/// Folds operations into the profiles of one person. Returns those that can never be folded.
async fn fold(
    table: &impl Table,
    project: &str,
    id: &str,
    operations: &Operations,
    out_of_time: &dyn Fn() -> bool,
) -> Result<Rejected, Cause> {
    for _ in 0..CONFLICTS_MAX {
        let mut rejected = Rejected::new();
        let loaded = load(table, project, id, operations, &mut rejected).await?;
        let mut person: Person = loaded.iter().map(|(id, (profile, _))| (id.clone(), profile.clone())).collect();
        apply_fitting(&mut person, id, operations, &mut rejected);
        if !write(table, project, &loaded, &person).await? {
            continue;
        }
        let deleted = person.get(id).and_then(|profile| profile.deleted);
        if let Some(moment) = deleted.filter(|_| operations.iter().any(|(_, operation)| operation.reaches_others())) {
            erase_person(table, project, &person, moment, out_of_time).await?;
        }
        return Ok(rejected);
    }
    Err(Cause::Contended)
}

/// Reads the profiles of everybody that the operations can concern, with their versions. Aliases that would join more
/// ids than may be are rejected.
async fn load(
    table: &impl Table,
    project: &str,
    id: &str,
    operations: &Operations,
    rejected: &mut Rejected,
) -> Result<BTreeMap<String, (Profile, Option<i64>)>, Cause> {
    let mut loaded = load_joined(table, project, BTreeMap::new(), id).await?;
    for (position, operation) in operations {
        let Some(former) = operation.former.as_ref().filter(|former| !loaded.contains_key(*former)) else { continue };
        let more = load_joined(table, project, loaded.clone(), former).await?;
        if more.len() > ALIASES_MAX {
            rejected.push((*position, Reason::TooManyAliases));
        } else {
            loaded = more;
        }
    }
    Ok(loaded)
}

/// Adds an id, and everybody that it is joined with, to those read already.
async fn load_joined(
    table: &impl Table,
    project: &str,
    mut loaded: BTreeMap<String, (Profile, Option<i64>)>,
    id: &str,
) -> Result<BTreeMap<String, (Profile, Option<i64>)>, Cause> {
    let mut wanted = BTreeSet::from([id.to_owned()]);
    // Twice the most ids that are ever joined: two whole persons may be about to become one.
    while !wanted.is_empty() && loaded.len() <= 2 * ALIASES_MAX {
        let keys: Vec<(String, Key)> = wanted.iter().map(|id| (id.clone(), key(project, id))).collect();
        let found = get_all(table, keys.iter().map(|(_, key)| key.clone()).collect()).await?;
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

/// Applies operations, leaving out those that would make a profile too large.
fn apply_fitting(person: &mut Person, id: &str, operations: &Operations, rejected: &mut Rejected) {
    let fits =
        |person: &Person| person.iter().all(|(id, profile)| profile.item(key("", id), 0).bytes() <= PROFILE_BYTES_MAX);
    let wanted: Operations =
        operations.iter().filter(|(position, _)| !rejected.iter().any(|(one, _)| one == position)).cloned().collect();
    let before = person.clone();
    person::apply(person, id, wanted.iter().map(|(_, operation)| operation));
    if fits(person) {
        return;
    }
    // Only where they do not all fit, each is weighed on its own.
    *person = before;
    for (position, operation) in &wanted {
        let before = person.clone();
        person::apply(person, id, [operation]);
        if *person != before && !fits(person) {
            *person = before;
            rejected.push((*position, Reason::ProfileTooLarge));
        }
    }
}

/// Writes the profiles that changed. Returns `false` if somebody else was faster with one of them; those written by
/// then do no harm, since the next attempt reads and joins them.
async fn write(
    table: &impl Table,
    project: &str,
    loaded: &BTreeMap<String, (Profile, Option<i64>)>,
    person: &Person,
) -> Result<bool, Cause> {
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

async fn erase_person(
    table: &impl Table,
    project: &str,
    person: &Person,
    moment: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) -> Result<(), Cause> {
    for id in person.keys() {
        erase::erase(table, &partition(project, id), moment, out_of_time).await?;
    }
    Ok(())
}

fn key(project: &str, id: &str) -> Key {
    Key { pk: partition(project, id), sk: SORT.to_owned() }
}
