//! Bringing stored profiles up to date with a batch's operations.
//!
//! Only events that are stored are folded, on every delivery: a producer's retry would say the same with a later time,
//! and so undo what happened in between. But where a retry cannot be told from saying it again, it is folded too. A
//! write names the version that it read, so that of two at a time one begins anew. Where a profile has no more room, the
//! event is stored all the same, and the profile goes without.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::{Event, Identity, Kind};
use shared::limits::{ALIASES_MAX, DYNAMODB_ITEM_BYTES_MAX, PROFILE_BYTES_MAX};
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
/// What is left of an operation where a profile has no room for all of it.
type Way<'a> = &'a dyn Fn(&Operation) -> Operation;
/// Profiles by id, each with the version that it was read with; `None` if there is none.
type Loaded = BTreeMap<String, (Profile, Option<i64>)>;

/// The most bytes of data that one fold takes, unless a single event has more: short values take many times their text
/// in memory. What there is beyond is folded after it.
pub const FOLD_BYTES_MAX: usize = 256 * 1_024;
/// The most bytes of data of a fold that goes on beside others.
pub const FOLD_BESIDE_BYTES_MAX: usize = 16 * 1_024;
/// Profiles that are read with one call: as many as one call may ask for would be several times as large in memory.
pub const PROFILES_A_CALL: usize = 8;

/// Events that are folded together: of one id, and not too large together.
struct Run<'a> {
    project: &'a str,
    id: &'a str,
    cases: Vec<(usize, &'a Event)>,
    bytes: usize,
}

impl Run<'_> {
    /// Whether it may be folded beside others: what reaches former ids could meet another that reaches the same.
    fn goes_beside_others(&self) -> bool {
        self.bytes <= FOLD_BESIDE_BYTES_MAX
            && !self.cases.iter().any(|(_, event)| matches!(event.kind, Kind::Alias | Kind::Delete))
    }
}

/// Folds the operations of all stored events into the profiles. An event whose operation did not reach its profile is
/// to be tried again.
pub async fn fold_profiles(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp, out_of_time: &dyn Fn() -> bool) {
    let (beside, in_turn): (Vec<Run<'_>>, Vec<Run<'_>>) = runs(cases).into_iter().partition(Run::goes_beside_others);
    let mut results: Vec<_> = stream::iter(beside)
        .map(|run| async move {
            let result = fold(table, &run, now, &|| false).await;
            (run.cases, result)
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for run in in_turn {
        let result = if out_of_time() { Err(Cause::Unstarted) } else { fold(table, &run, now, out_of_time).await };
        results.push((run.cases, result));
    }
    for (folded, result) in results {
        if let Err(cause) = result {
            folded.into_iter().for_each(|(position, _)| cases[position].retry(cause));
        }
    }
}

/// The events that say something of a profile. Those of one id follow each other.
fn runs<'a>(cases: &[Case<'a>]) -> Vec<Run<'a>> {
    let mut by_id: BTreeMap<(&str, &str), Vec<Run<'a>>> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let event = case.event;
        let says_something = match case.outcome {
            Some(Outcome::Stored | Outcome::StoredBefore) => true,
            // Recognised by its content alone: it may as well be said once more, after something else was.
            Some(Outcome::Duplicate) => event.identity == Identity::Window || event.kind == Kind::Alias,
            // What an alias joins stays joined, and the deletion must reach the former id all the same.
            Some(Outcome::Erased) => event.kind == Kind::Alias,
            Some(Outcome::DeadLettered(_) | Outcome::Retry(_)) | None => false,
        };
        let bytes = event.data.as_ref().map_or(0, |data| data.get().len());
        // No event that `ingest` takes is larger than an item. One from elsewhere is stored at the most, if it compresses well.
        if !says_something || !Operation::is_of(event.kind) || bytes > DYNAMODB_ITEM_BYTES_MAX {
            continue;
        }
        let (project, id) = (case.message.project.as_str(), event.subject.as_str());
        let of_id = by_id.entry((project, id)).or_default();
        match of_id.last_mut() {
            Some(run) if run.bytes + bytes <= FOLD_BYTES_MAX => {
                run.cases.push((position, event));
                run.bytes += bytes;
            }
            _ => of_id.push(Run { project, id, cases: vec![(position, event)], bytes }),
        }
    }
    by_id.into_values().flatten().collect()
}

/// Folds operations into the profile of an id, and what reaches further into those of its former ids.
async fn fold(table: &impl Table, run: &Run<'_>, now: Timestamp, out_of_time: &dyn Fn() -> bool) -> Result<(), Cause> {
    let Run { project, id, .. } = *run;
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let mut operations: Operations = run.cases.iter().filter_map(|(_, event)| Operation::of(event)).collect();
        if operations.is_empty() {
            return Ok(());
        }
        let reaches_others = operations.iter().any(Operation::reaches_others);
        let loaded = load(table, project, id, &mut operations).await?;
        let mut person: Person = loaded.iter().map(|(id, (profile, _))| (id.clone(), profile.clone())).collect();
        apply_fitting(&mut person, project, id, &operations);
        if !write(table, project, &loaded, &person).await? {
            continue;
        }
        let deleted = person.get(id).and_then(|profile| profile.deleted);
        if let Some(moment) = deleted.filter(|_| reaches_others) {
            for id in person::ids(&person, id) {
                erase::erase(table, project, &id, moment, now, out_of_time).await?;
            }
        }
        return Ok(());
    }
    Err(Cause::Contended)
}

/// Reads the profile of an id, and those of its former ids where an operation reaches them. An alias that would give a
/// person more ids than may be is taken out of the operations.
async fn load(table: &impl Table, project: &str, id: &str, operations: &mut Operations) -> Result<Loaded, Cause> {
    if !operations.iter().any(Operation::reaches_others) {
        return read(table, project, BTreeSet::from([id.to_owned()])).await;
    }
    let mut loaded = load_former(table, project, Loaded::new(), id).await?;
    for operation in operations {
        let Some(former) = operation.former.as_ref().filter(|former| !loaded.contains_key(*former)) else { continue };
        let more = load_former(table, project, loaded.clone(), former).await?;
        if more.len() > ALIASES_MAX {
            tracing::warn!(project, "more ids would be one person than may be; the alias is stored, but not applied");
            operation.former = None;
        } else {
            loaded = more;
        }
    }
    Ok(loaded)
}

/// Adds an id, and all that became it, to those read already.
async fn load_former(table: &impl Table, project: &str, mut loaded: Loaded, id: &str) -> Result<Loaded, Cause> {
    let mut wanted = BTreeSet::from([id.to_owned()]);
    // One more than the most tells that there are more.
    while !wanted.is_empty() && loaded.len() <= ALIASES_MAX {
        let found = read(table, project, wanted).await?;
        wanted = found.values().flat_map(|(profile, _)| profile.former_ids.iter().cloned()).collect();
        loaded.extend(found);
        wanted.retain(|id| !loaded.contains_key(id));
    }
    Ok(loaded)
}

async fn read(table: &impl Table, project: &str, ids: BTreeSet<String>) -> Result<Loaded, Cause> {
    let mut loaded = Loaded::new();
    for ids in Vec::from_iter(ids).chunks(PROFILES_A_CALL) {
        let found = get_all(table, ids.iter().map(|id| key(project, id)).collect(), None).await?;
        for id in ids {
            let profile = match found.get(&key(project, id)) {
                None => (Profile::default(), None),
                Some(attributes) => {
                    let (profile, version) = Profile::read(attributes).ok_or_else(|| {
                        tracing::error!(project, "a stored profile cannot be read");
                        Cause::Denied
                    })?;
                    (profile, Some(version))
                }
            };
            loaded.insert(id.clone(), profile);
        }
    }
    Ok(loaded)
}

/// Applies operations as far as the profiles have room: all of them; else values only for what has one already; else no
/// values; else, of what is left, the deletions alone, which make room.
fn apply_fitting(person: &mut Person, project: &str, id: &str, operations: &Operations) {
    let before = person.clone();
    let known = |operation: &Operation| {
        let registers = operation.registers.iter();
        let known =
            registers.filter(|(section, name, _)| before.get(id).is_some_and(|profile| profile.has(*section, name)));
        Operation { registers: known.cloned().collect(), ..operation.clone() }
    };
    let no_values = |operation: &Operation| Operation { registers: vec![], ..operation.clone() };
    let deletion = |operation: &Operation| Operation { deleted: operation.deleted, ..Operation::default() };
    let ways: [Option<Way<'_>>; 4] = [None, Some(&known), Some(&no_values), Some(&deletion)];
    for (attempt, way) in ways.into_iter().enumerate() {
        person.clone_from(&before);
        match way {
            None => person::apply(person, id, operations),
            Some(way) => person::apply(person, id, &operations.iter().map(way).collect::<Operations>()),
        }
        let fits = |(id, profile): (&String, &Profile)| {
            profile.has_room() && profile.item(key(project, id), 0).bytes() <= PROFILE_BYTES_MAX
        };
        if person.iter().all(fits) || attempt == 3 {
            if attempt > 0 {
                tracing::warn!(
                    project,
                    attempt,
                    "a profile has no more room; the events are stored, but it goes without"
                );
            }
            return;
        }
    }
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
