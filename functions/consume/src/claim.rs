//! Claiming identities: which events are the first of theirs, where the key alone cannot tell.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use shared::outcome::{Cause, Outcome};

use crate::deliver::{CONFLICTS_MAX, IN_FLIGHT};
use crate::marker::{Claim, Marker, VERSION, Verdict};
use crate::store::Case;
use crate::table::{Guard, Insert, Item, Key, Table, get_all, insert_all, pause_before};

/// Notes which of the events whose outcome is open are duplicates by their markers, and claims the identities of those
/// that are not.
pub async fn claim_identities(table: &impl Table, cases: &mut [Case<'_>]) {
    let mut claims: BTreeMap<Key, Vec<(usize, Claim)>> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate().filter(|(_, case)| case.outcome.is_none()) {
        if let Some(claim) = Claim::of(case.event, case.message) {
            claims.entry(claim.key.clone()).or_default().push((position, claim));
        }
    }
    let mut claims: Vec<Vec<(usize, Claim)>> = claims.into_values().collect();
    for group in &mut claims {
        group.sort_by_key(|(_, claim)| claim.received_at);
    }
    let items: Vec<Item> = claims.iter().map(|group| group[0].1.marker().item(&group[0].1)).collect();
    let inserted = insert_all(table, &items).await;
    let results: Vec<_> = stream::iter(claims.into_iter().zip(inserted))
        .map(|(group, inserted)| async move { judge(table, &group, inserted).await })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    for (position, outcome) in results.into_iter().flatten() {
        cases[position].outcome = outcome;
    }
}

/// Judges the events of one identity, the earliest first, after an attempt to claim it for that one.
async fn judge(table: &impl Table, group: &[(usize, Claim)], inserted: Insert) -> Vec<(usize, Option<Outcome>)> {
    let mut marker = match inserted {
        Insert::Done => Ok(Some(group[0].1.marker())),
        Insert::Exists => Ok(None),
        Insert::Failed(cause) => Err(cause),
        // The marker's key is made of a checked project and a hash: only the table's own settings can refuse it.
        Insert::Refused(_) => Err(Cause::Denied),
    };
    let mut outcomes = Vec::with_capacity(group.len());
    for (position, claim) in group {
        let judged = match &mut marker {
            Ok(known) => judge_one(table, claim, known).await,
            Err(cause) => Err(*cause),
        };
        outcomes.push((*position, judged.unwrap_or_else(|cause| Some(Outcome::Retry(cause)))));
    }
    outcomes
}

/// Judges one event by the marker as far as it is known, reading it where it is not. `None` means that the event is the
/// first and may be stored.
async fn judge_one(table: &impl Table, claim: &Claim, known: &mut Option<Marker>) -> Result<Option<Outcome>, Cause> {
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let marker = match known.take() {
            Some(marker) => marker,
            None => {
                let found = get_all(table, vec![claim.key.clone()], None).await?;
                found.get(&claim.key).and_then(Marker::read).ok_or(Cause::Contended)?
            }
        };
        match marker.judge(claim) {
            Verdict::First => {
                *known = Some(marker);
                return Ok(None);
            }
            Verdict::Duplicate => {
                *known = Some(marker);
                return Ok(Some(Outcome::Duplicate));
            }
            Verdict::Begins(next) => {
                let guard = Guard::Equals(VERSION, marker.version());
                match table.replace(&next.item(claim), guard).await {
                    Ok(true) => {
                        *known = Some(next);
                        return Ok(None);
                    }
                    Ok(false) => {}
                    Err(error) => return Err(error.cause()),
                }
            }
        }
    }
    Err(Cause::Contended)
}
