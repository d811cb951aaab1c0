//! Which messages of a batch are deleted after an invocation. Pure: this is the part that loses data when it is wrong.

use std::collections::BTreeSet;

use serde_json::Value;

/// What becomes of each message of a batch, by its place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// These have been dealt with.
    pub delete: Vec<usize>,
    /// These come again when their visibility time-out ends.
    pub keep: Vec<usize>,
}

/// Judges an invocation by Lambda's rules for SQS. `outcome` is the function's response, or that there is none: it
/// returned an error, crashed, or ran out of time. `ids` are the message ids of the batch in its order.
///
/// Without `ReportBatchItemFailures`, any response means that all went well. With it:
///
/// | response | meaning |
/// |---|---|
/// | empty, `null`, `{}`, no `batchItemFailures`, one that is null or an empty list | all went well |
/// | a list of items with an `itemIdentifier` of this batch each | these did not, the others did |
/// | not JSON; not an object; a list with anything else in it | nothing did |
///
/// A misspelt `batchItemFailures` is no `batchItemFailures`, and deletes everything, as on AWS.
#[must_use]
pub fn settle(outcome: Result<&[u8], ()>, ids: &[&str], report_batch_item_failures: bool) -> Verdict {
    let everything = || (0..ids.len()).collect();
    let failed = match outcome {
        Err(()) => None,
        Ok(_) if !report_batch_item_failures => Some(BTreeSet::new()),
        Ok(response) => failed_ids(response).filter(|failed| failed.iter().all(|id| ids.contains(&id.as_str()))),
    };
    let Some(failed) = failed else { return Verdict { delete: Vec::new(), keep: everything() } };
    let (keep, delete) = (0..ids.len()).partition(|index| failed.contains(ids[*index]));
    Verdict { delete, keep }
}

/// The ids that a response names; `None` if it is not one that Lambda accepts.
pub(crate) fn failed_ids(response: &[u8]) -> Option<BTreeSet<String>> {
    if response.trim_ascii().is_empty() {
        return Some(BTreeSet::new());
    }
    let items = match serde_json::from_slice(response).ok()? {
        Value::Null => Value::Null,
        Value::Object(mut fields) => fields.remove("batchItemFailures").unwrap_or_default(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
    };
    match items {
        Value::Null => Some(BTreeSet::new()),
        Value::Array(items) => {
            items.iter().map(|item| Some(item.get("itemIdentifier")?.as_str()?.to_owned())).collect()
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_response_is_judged_as_on_aws() {
        const ALL: &[usize] = &[];
        const NONE: &[usize] = &[0, 1, 2];
        for (response, kept) in [
            // All went well.
            (r#"{"batchItemFailures":[]}"#, ALL),
            (r#"{"batchItemFailures":null}"#, ALL),
            ("{}", ALL),
            ("null", ALL),
            ("", ALL),
            (" \n", ALL),
            (r#"{"other":1}"#, ALL),
            (r#"{"batch_item_failures":[{"itemIdentifier":"a"}]}"#, ALL),
            (r#"{"BatchItemFailures":[{"itemIdentifier":"a"}]}"#, ALL),
            // Some did not.
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, &[1]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}"#, &[0, 2]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}"#, &[1]),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b","more":1}],"more":1}"#, &[1]),
            // Nothing did.
            ("not json", NONE),
            (r#"{"batchItemFailures":"#, NONE),
            (r#""text""#, NONE),
            ("[]", NONE),
            ("1", NONE),
            ("true", NONE),
            (r#"{"batchItemFailures":{}}"#, NONE),
            (r#"{"batchItemFailures":"b"}"#, NONE),
            (r#"{"batchItemFailures":["b"]}"#, NONE),
            (r#"{"batchItemFailures":[null]}"#, NONE),
            (r#"{"batchItemFailures":[{}]}"#, NONE),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, NONE),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, NONE),
            (r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#, NONE),
            (r#"{"batchItemFailures":[{"ItemIdentifier":"b"}]}"#, NONE),
            (r#"{"batchItemFailures":[{"itemIdentifier":"d"}]}"#, NONE),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"d"}]}"#, NONE),
        ] {
            let verdict = settle(Ok(response.as_bytes()), &["a", "b", "c"], true);
            assert_eq!(verdict.keep, kept, "{response}");
            let deleted: Vec<usize> = (0..3).filter(|index| !kept.contains(index)).collect();
            assert_eq!(verdict.delete, deleted, "{response}");

            let unreported = settle(Ok(response.as_bytes()), &["a", "b", "c"], false);
            assert_eq!(unreported, Verdict { delete: vec![0, 1, 2], keep: Vec::new() }, "{response}");
        }
    }

    #[test]
    fn without_a_response_everything_is_kept() {
        for report in [true, false] {
            assert_eq!(settle(Err(()), &["a", "b"], report), Verdict { delete: Vec::new(), keep: vec![0, 1] });
        }
    }

    #[test]
    fn a_message_that_was_received_twice_is_kept_twice() {
        let response = br#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#;
        let verdict = settle(Ok(response), &["a", "b", "a"], true);
        assert_eq!(verdict, Verdict { delete: vec![1], keep: vec![0, 2] });
    }
}
