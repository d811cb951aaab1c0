//! The rules that every batch shares: 1 to 10 entries with distinct ids, and a fate of its own for each.

use std::collections::HashSet;

use super::error::{Code, Refusal};
use super::limits::{BATCH_ENTRIES_MAX, BATCH_ID_CHARS_MAX};

/// One entry of a batch: the caller's id for it, and what to do.
pub type Entry<T> = (String, T);

/// What became of each entry, by the caller's id, in the order of the request.
pub type Batch<T> = Vec<Entry<Result<T, Refusal>>>;

/// Refuses a batch that SQS refuses as a whole.
pub(crate) fn check_entries<T>(entries: &[Entry<T>]) -> Result<(), Refusal> {
    if entries.is_empty() {
        return Err(Refusal::new(Code::EmptyBatchRequest, "There should be at least one entry in the request."));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        return Err(Refusal::new(
            Code::TooManyEntriesInBatchRequest,
            format!("Maximum number of entries per request are {BATCH_ENTRIES_MAX}. You have sent {}.", entries.len()),
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut seen = HashSet::new();
    for (id, _) in entries {
        if id.is_empty() || id.len() > BATCH_ID_CHARS_MAX || !id.chars().all(legal) {
            return Err(Refusal::new(
                Code::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(Refusal::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}
