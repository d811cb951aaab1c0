//! The deletions of a batch: each user who is deleted, to the latest moment that is asked for.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::event::Kind;
use shared::outcome::{Cause, Outcome};

use crate::erase::Erasure;
use crate::store::Case;
use crate::table::Table;

/// Deletes users: the deletions among cases that were accepted, each user's to the latest.
pub async fn erase_deleted<T: Table>(
    events: &T,
    dead_letters: &T,
    cases: &mut [Case<'_>],
    now: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) {
    let mut deletions: BTreeMap<(&str, &str), (Timestamp, Vec<usize>)> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let is_stored = matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore));
        if case.event.kind == Kind::Delete && is_stored {
            let whom = (case.message.project.as_str(), case.event.subject.as_str());
            let deletion = deletions.entry(whom).or_insert((case.event.timestamp, vec![]));
            deletion.0 = deletion.0.max(case.event.timestamp);
            deletion.1.push(position);
        }
    }
    for ((project, id), (moment, positions)) in deletions {
        let erased = if out_of_time() {
            Err(Cause::Unstarted)
        } else {
            Erasure::new(events, dead_letters, project, now, out_of_time).erase(id, moment).await
        };
        if let Err(cause) = erased {
            positions.into_iter().for_each(|position| cases[position].retry(cause));
        }
    }
}
