//! Events that come later than the deletion of whom they are about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::Kind;
use shared::outcome::{Cause, Outcome};

use crate::remains::{BUNDLES_IN_FLIGHT, erase_bundle, remains};
use crate::store::{Case, ORIGIN, origin};
use crate::table::{Attributes, Guard, Item, Key, Table, Value, get_all, put_all};
use crate::tombstone::{Tombstone, erased_until, latest_from, latest_key, moment_of, tombstone_keys};

/// Erases those of the events just stored whose subject has been deleted later than they happened.
pub async fn erase_late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) {
    let late = late(table, cases, now).await;
    let mut items: BTreeMap<Key, Item> = BTreeMap::new();
    let mut bundles: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for (position, moment) in &late {
        let case = &cases[*position];
        match &case.bundle {
            Some(bundle) => drop(bundles.entry(bundle.clone()).or_default().insert(origin(case.message, case.event))),
            None => drop(items.insert(case.key(), remains(case.key(), *moment, now))),
        }
    }
    let put = put_all(table, &items.into_values().collect::<Vec<Item>>()).await;
    let erase = |(bundle, origins): (Key, BTreeSet<String>)| async move {
        let is_one =
            |event: &Attributes| event.get(ORIGIN).and_then(Value::text).is_some_and(|one| origins.contains(one));
        let erased = erase_bundle(table, &bundle, None, &is_one).await;
        (bundle, erased.map(drop))
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
    let keys_of = |case: &Case<'_>| tombstone_keys(&case.message.project, case.event);
    let keys: Vec<Key> = cases.iter().filter(|case| concerns(case)).flat_map(keys_of).collect();
    let tombstones: Result<HashMap<Key, Attributes>, Cause> = get_all(table, keys, None).await;
    let mut late = Vec::new();
    for (position, case) in cases.iter_mut().enumerate().filter(|(_, case)| concerns(case)) {
        match tombstones.as_ref().map(|found| erased_until(&case.message.project, case.event, found)) {
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
