//! Fates of messages → the answer to the event source mapping.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::SqsBatchResponse;
use shared::outcome::Cause;

/// The messages of a batch that must come again, by their positions, each with the first cause that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed(BTreeMap<usize, Cause>);

impl Failed {
    /// Notes that a message must come again.
    pub fn note(&mut self, position: usize, cause: Cause) {
        self.0.entry(position).or_insert(cause);
    }

    /// Whether a message must come again.
    #[must_use]
    pub fn has(&self, position: usize) -> bool {
        self.0.contains_key(&position)
    }

    /// How many must.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none must.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the batch.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Cause)> {
        self.0.iter().map(|(position, cause)| (*position, *cause))
    }

    /// Takes over what another part of the batch has noted.
    pub fn extend(&mut self, other: Failed) {
        for (position, cause) in other.0 {
            self.note(position, cause);
        }
    }
}

/// A message is to go back to the queue, but has no id to name it by.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message without an id must go back, so all messages of its batch do")]
pub struct Unattributable;

/// Names the messages that go back to the queue.
///
/// The mapping takes an empty, missing or unknown id as a failure of the whole batch, and anything that it does not
/// understand as success: so every failed message is named by the very id that it came with. Only if one came without,
/// the batch as a whole is failed, since leaving it out would delete it.
///
/// # Errors
/// A failed message has no id.
pub fn respond<'a>(failed: impl IntoIterator<Item = &'a str>) -> Result<SqsBatchResponse, Unattributable> {
    let mut response = SqsBatchResponse::default();
    for message_id in failed {
        if message_id.is_empty() {
            return Err(Unattributable);
        }
        response.add_failure(message_id);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_one_that_the_mapping_reads() {
        let text = |failed: &[&str]| serde_json::to_string(&respond(failed.iter().copied()).unwrap()).unwrap();
        assert_eq!(text(&[]), r#"{"batchItemFailures":[]}"#);
        assert_eq!(text(&["a", "b"]), r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#);
    }

    #[test]
    fn a_failed_message_without_an_id_fails_the_batch() {
        assert_eq!(respond(["a", ""]).unwrap_err(), Unattributable);
    }
}
