//! A message's body → its events, or the reason why it is poison. Never panics, never errs.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shared::clock::Timestamp;
use shared::event::Event;
use shared::keys::{is_project, is_write_key_hash};
use shared::limits::{BATCH_EVENTS_MAX, EVENT_ID_BYTES_MAX, RECEIPT_BYTES_MAX, SUBJECT_CHARS_MAX};
use shared::message::{DecodeError, Message};
use shared::outcome::{Cause, Reason};

use crate::redrive::Redrive;

/// The longest of the short texts in a message: versions, reasons and what is wrong in words.
const TEXT_BYTES_MAX: usize = 1_024;

/// One message as SQS delivered it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// SQS's id of the message; empty where the event source gave none.
    pub message_id: String,
    /// The body.
    pub body: String,
    /// How often it has been received, this time included.
    pub receive_count: u32,
    /// When it was enqueued.
    pub sent_at: Timestamp,
    /// What it was received with, to give it back for a while; empty where it does not come from a queue.
    pub receipt_handle: String,
    /// Its message group, which is its project; empty if it has none.
    pub group: String,
    /// The dead letter that it comes from, if any.
    pub redrive: Option<Redrive>,
}

/// What a body turned out to be.
#[derive(Debug)]
pub enum Decoded {
    /// A message of ours.
    Message(Box<Message>),
    /// What can never be stored: the reason, and what exactly is wrong, for a person.
    Poison(Reason, String),
    /// Nothing can be done with it now, but perhaps the next time.
    Retry(Cause),
}

/// Reads a body.
#[must_use]
pub fn decode(body: &str) -> Decoded {
    // The decoder is written not to panic; if it does all the same, the message alone must bear it.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(body))).unwrap_or(Decoded::Retry(Cause::Panicked))
}

fn decode_unguarded(body: &str) -> Decoded {
    let message = match Message::decode(body) {
        Ok(message) => message,
        Err(error @ DecodeError::UnknownVersion(_)) => {
            return Decoded::Poison(Reason::UnknownVersion, error.to_string());
        }
        Err(DecodeError::Malformed(error)) => {
            // serde's own text may quote the body, which belongs into the letter's body alone.
            let detail = format!("not a message: line {}, column {}", error.line(), error.column());
            return Decoded::Poison(Reason::UndecodableMessage, detail);
        }
    };
    match fault(&message) {
        None => Decoded::Message(Box::new(message)),
        Some(fault) => Decoded::Poison(Reason::UndecodableMessage, fault.to_owned()),
    }
}

/// What `ingest` guarantees of its messages and the table's keys rely on. The queue is a boundary: others can write to
/// it.
fn fault(message: &Message) -> Option<&'static str> {
    let has_owner = is_project(&message.project) && is_project(&message.source);
    let has_key = message.write_key_hash.as_ref().is_some_and(|hash| is_write_key_hash(hash));
    if !(if message.verified { has_owner } else { has_key }) {
        return Some("project and source, or the write key that tells them, are not named");
    }
    // A receipt becomes part of keys.
    if message.receipt.is_empty() || message.receipt.len() > RECEIPT_BYTES_MAX {
        return Some("the receipt is empty or too long");
    }
    if message.code_version.len() > TEXT_BYTES_MAX {
        return Some("the version of the code is too long");
    }
    if message.events.len() + message.refused.len() > BATCH_EVENTS_MAX {
        return Some("more items than a request can have");
    }
    // Receipt and index tell an item from all others.
    let mut indexes = HashSet::new();
    let mut all = message.events.iter().map(|event| event.index).chain(message.refused.iter().map(|item| item.index));
    if !all.all(|index| indexes.insert(index)) {
        return Some("two items have one index");
    }
    if message
        .refused
        .iter()
        .any(|item| [&item.reason, &item.detail, &item.call].iter().any(|text| text.len() > TEXT_BYTES_MAX))
    {
        return Some("a reason is too long");
    }
    message.events.iter().find_map(event_fault)
}

fn event_fault(event: &Event) -> Option<&'static str> {
    let no_subject = |id: &String| id.is_empty() || id.chars().count() > SUBJECT_CHARS_MAX;
    if event.id.is_empty() || event.id.len() > EVENT_ID_BYTES_MAX {
        return Some("an event id is empty or too long");
    }
    if no_subject(&event.subject) || event.target.as_ref().is_some_and(no_subject) {
        return Some("a subject or target is empty or too long");
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = include_str!("../../../events/sqs/refused_items.json");

    fn fate(from: &str, to: &str) -> &'static str {
        let sample: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
        let body = sample["Records"][0]["body"].as_str().unwrap();
        assert!(from.is_empty() || body.contains(from), "{from} is not in the sample");
        match decode(&body.replacen(from, to, 1)) {
            Decoded::Message(_) => "message",
            Decoded::Poison(reason, _) => reason.tag(),
            Decoded::Retry(cause) => cause.tag(),
        }
    }

    proptest! {
        #[test]
        fn any_text_and_any_damage_to_a_message_is_a_message_or_poison(
            text in ".{0,80}",
            at in any::<prop::sample::Index>(),
            length in 0_usize..12,
            insert in "[\\[\\]{}\",:0-9a-z\\\\]{0,4}|\\PC",
        ) {
            let sample: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
            let body = sample["Records"][0]["body"].as_str().unwrap();
            let from = body.floor_char_boundary(at.index(body.len()));
            let to = body.floor_char_boundary((from + length).min(body.len())).max(from);
            let damaged = format!("{}{insert}{}", &body[..from], &body[to..]);
            prop_assert!(!matches!(decode(&text), Decoded::Retry(_)));
            prop_assert!(!matches!(decode(&damaged), Decoded::Retry(_)), "{damaged}");
        }
    }

    #[test]
    fn what_others_may_have_written_into_the_queue_is_checked_before_it_reaches_a_key() {
        let long = "x".repeat(70_000);
        for (from, to, expected) in [
            ("", "", "message"),
            ("\"version\":1", "\"version\":3", "unknown_version"),
            ("\"project\":\"dev\"", "\"project\":\"dev#KEY\"", "undecodable_message"),
            ("\"source\":\"default\"", &format!("\"source\":\"{long}\""), "undecodable_message"),
            ("\"verified\":true", "\"verified\":false", "undecodable_message"),
            ("\"receipt\":\"", &format!("\"receipt\":\"{long}"), "undecodable_message"),
            ("\"code_version\":\"", &format!("\"code_version\":\"{long}"), "undecodable_message"),
            ("\"detail\":\"", &format!("\"detail\":\"{long}"), "undecodable_message"),
            ("\"index\":1", "\"index\":0", "undecodable_message"),
            ("\"id\":\"", &format!("\"id\":\"{long}"), "undecodable_message"),
            ("\"subject\":\"user-1\"", "\"subject\":\"\"", "undecodable_message"),
            ("\"kind\":\"track\"", "\"kind\":\"merge\"", "undecodable_message"),
            ("{\"version\"", "[{\"version\"", "undecodable_message"),
        ] {
            assert_eq!(fate(from, to), expected, "{from}");
        }
    }
}
