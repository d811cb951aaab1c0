//! What becomes of a batch of a stream's records after each invocation. Pure: this is the part that passes over records.

use std::ops::Range;

use crate::mapping::failed_ids;

/// What an invocation came to, by Lambda's rules for streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every record has been dealt with.
    Done,
    /// The records before this place have been dealt with; this one has not.
    From(usize),
    /// As far as is known, no record has been dealt with: the function returned an error, crashed or ran out of time.
    Error,
    /// The function has not seen the records, because Lambda throttled the invocation.
    NotRun,
}

/// Judges a response. `numbers` are the sequence numbers of the records in their order.
///
/// Without `ReportBatchItemFailures`, any response means that all is done. With it:
///
/// | response | meaning |
/// |---|---|
/// | empty, `null`, `{}`, no `batchItemFailures`, one that is null or an empty list | all is done |
/// | a list of items with an `itemIdentifier` of this batch each | done is what comes before the lowest of them |
/// | not JSON; not an object; a list with anything else in it | an error |
#[must_use]
pub fn judge(response: &[u8], numbers: &[&str], report_batch_item_failures: bool) -> Outcome {
    if !report_batch_item_failures {
        return Outcome::Done;
    }
    let Some(failed) = failed_ids(response) else { return Outcome::Error };
    // Records are in the order of their numbers, so that the lowest number is the first place.
    let places: Option<Vec<usize>> = failed.iter().map(|id| numbers.iter().position(|number| number == id)).collect();
    match places {
        None => Outcome::Error,
        Some(places) => places.into_iter().min().map_or(Outcome::Done, Outcome::From),
    }
}

/// How a mapping goes on after errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Whether a batch is split in two after an error (`BisectBatchOnFunctionError`).
    pub bisect: bool,
    /// How often one and the same batch is tried again (`MaximumRetryAttempts`); absent means until its records expire.
    pub attempts_max: Option<u32>,
}

/// A batch while it is worked off, in order.
///
/// The rules are those of the Lambda Developer Guide on errors of DynamoDB streams. An error splits the batch in two halves
/// where that is wished and possible. A split uses up no attempt. Nor does a checkpoint that moves on: what is counted is
/// that the very same records are tried again, which the guide leaves open but people have observed. A throttled invocation
/// is tried again until the records expire, and splits nothing.
#[derive(Clone, Debug)]
pub struct Batch {
    retry: Retry,
    /// What is left to do, the next last.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    records: Range<usize>,
    retries: u32,
}

/// What follows from an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next records are tried for the first time.
    On,
    /// Something has gone wrong: a pause, and then what is next.
    Again,
    /// These have been tried as often as they may be, and are left behind.
    PassedOver(Range<usize>),
}

impl Batch {
    /// A batch of so many records.
    #[must_use]
    pub fn new(records: usize, retry: Retry) -> Self {
        let whole = Part { records: 0..records, retries: 0 };
        Self { retry, parts: if records == 0 { Vec::new() } else { vec![whole] } }
    }

    /// The places of the records that are to be tried next; `None` when the batch is through.
    #[must_use]
    pub fn next(&self) -> Option<Range<usize>> {
        self.parts.last().map(|part| part.records.clone())
    }

    /// Takes in what the invocation with the next records came to. Places in the outcome count from the first of them.
    pub fn settle(&mut self, outcome: Outcome) -> Next {
        let Some(part) = self.parts.pop() else { return Next::On };
        let Range { start, end } = part.records;
        match outcome {
            Outcome::Done => Next::On,
            Outcome::NotRun => {
                self.parts.push(part);
                Next::Again
            }
            Outcome::From(place) if place > 0 => {
                self.push(start.saturating_add(place)..end);
                Next::Again
            }
            // A checkpoint at the first record has not moved: the records come to the function again as they are.
            Outcome::From(_) | Outcome::Error if self.retry.bisect && end - start > 1 => {
                let middle = start + (end - start) / 2;
                self.push(middle..end);
                self.push(start..middle);
                Next::Again
            }
            Outcome::From(_) | Outcome::Error => {
                if self.retry.attempts_max.is_some_and(|most| part.retries >= most) {
                    return Next::PassedOver(start..end);
                }
                self.parts.push(Part { records: start..end, retries: part.retries.saturating_add(1) });
                Next::Again
            }
        }
    }

    /// Leaves so many of the next records behind, because they have expired.
    pub fn expire(&mut self, count: usize) {
        if let Some(part) = self.parts.pop() {
            self.push(part.records.start.saturating_add(count)..part.records.end);
        }
    }

    fn push(&mut self, records: Range<usize>) {
        if !records.is_empty() {
            self.parts.push(Part { records, retries: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Next::{Again, On, PassedOver};
    use super::Outcome::{Done, Error, From, NotRun};
    use super::*;

    #[test]
    fn every_response_is_judged_as_on_aws() {
        for (response, outcome) in [
            (r#"{"batchItemFailures":[]}"#, Done),
            (r#"{"batchItemFailures":null}"#, Done),
            ("{}", Done),
            ("null", Done),
            ("", Done),
            (r#"{"batch_item_failures":[{"itemIdentifier":"1"}]}"#, Done),
            (r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#, From(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"20"}]}"#, From(1)),
            // Numbers, not texts, are compared: 100 comes after 20 and 3.
            (r#"{"batchItemFailures":[{"itemIdentifier":"100"},{"itemIdentifier":"3"}]}"#, From(1)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#, Error),
            (r#"{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"7"}]}"#, Error),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Error),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Error),
            (r#"{"batchItemFailures":[{"id":"3"}]}"#, Error),
            ("not json", Error),
            ("[]", Error),
        ] {
            assert_eq!(judge(response.as_bytes(), &["1", "3", "20", "100"], true), outcome, "{response}");
            assert_eq!(judge(response.as_bytes(), &["1", "3", "20", "100"], false), Done, "{response}");
        }
    }

    /// Each line is what is tried, what it came to, and what follows; after the last one the batch is through.
    fn story(records: usize, bisect: bool, attempts_max: Option<u32>, lines: &[(Range<usize>, Outcome, Next)]) {
        let mut batch = Batch::new(records, Retry { bisect, attempts_max });
        for (number, (tried, outcome, next)) in lines.iter().enumerate() {
            assert_eq!(batch.next().as_ref(), Some(tried), "before line {number} of {lines:?}");
            assert_eq!(batch.settle(*outcome), *next, "line {number} of {lines:?}");
        }
        assert_eq!(batch.next(), None, "after {lines:?}");
    }

    #[test]
    fn a_batch_that_goes_well_is_tried_once() {
        story(0, false, None, &[]);
        story(3, false, None, &[(0..3, Done, On)]);
    }

    #[test]
    fn without_bisecting_the_same_batch_is_tried_until_its_attempts_are_used_up() {
        story(3, false, Some(2), &[(0..3, Error, Again), (0..3, Error, Again), (0..3, Error, PassedOver(0..3))]);
        story(3, false, Some(0), &[(0..3, Error, PassedOver(0..3))]);
        story(3, false, Some(1), &[(0..3, Error, Again), (0..3, Done, On)]);
        let mut batch = Batch::new(3, Retry { bisect: false, attempts_max: None });
        assert!((0..20_000).all(|_| batch.settle(Error) == Again && batch.next() == Some(0..3)));
    }

    #[test]
    fn bisecting_finds_the_one_bad_record_and_splits_are_no_retries() {
        story(
            5,
            true,
            Some(1),
            &[
                (0..5, Error, Again),
                (0..2, Done, On),
                (2..5, Error, Again),
                (2..3, Done, On),
                (3..5, Error, Again),
                (3..4, Error, Again),
                (3..4, Error, PassedOver(3..4)),
                (4..5, Done, On),
            ],
        );
        story(2, true, Some(0), &[(0..2, Error, Again), (0..1, Error, PassedOver(0..1)), (1..2, Done, On)]);
    }

    #[test]
    fn a_checkpoint_that_moves_leaves_what_is_before_it_and_begins_to_count_anew() {
        story(
            4,
            false,
            Some(1),
            &[
                (0..4, Error, Again),
                (0..4, From(1), Again),
                (1..4, From(0), Again),
                (1..4, From(2), Again),
                (3..4, From(0), Again),
                (3..4, From(0), PassedOver(3..4)),
            ],
        );
        // Without bisecting, the good records after a bad one are passed over with it.
        story(3, false, Some(0), &[(0..3, From(1), Again), (1..3, From(0), PassedOver(1..3))]);
    }

    #[test]
    fn with_bisecting_the_split_is_at_the_checkpoint_or_else_in_the_middle() {
        story(
            4,
            true,
            Some(1),
            &[
                (0..4, From(1), Again),
                (1..4, From(0), Again),
                (1..2, From(0), Again),
                (1..2, From(0), PassedOver(1..2)),
                (2..4, Done, On),
            ],
        );
    }

    #[test]
    fn a_throttled_invocation_uses_up_no_attempt_and_splits_nothing() {
        story(2, true, Some(0), &[(0..2, NotRun, Again), (0..2, NotRun, Again), (0..2, Done, On)]);
    }

    #[test]
    fn what_has_expired_is_left_behind() {
        let mut batch = Batch::new(4, Retry { bisect: true, attempts_max: None });
        assert_eq!(batch.settle(Error), Again);
        batch.expire(1);
        assert_eq!(batch.next(), Some(1..2));
        batch.expire(1);
        assert_eq!(batch.next(), Some(2..4));
        batch.expire(2);
        assert_eq!(batch.next(), None);
        batch.expire(1);
    }
}
