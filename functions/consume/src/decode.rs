//! A message's body → its events, or the reason why it is poison. Never panics, never errs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shared::clock::Timestamp;
use shared::keys::is_project;
use shared::limits::{DYNAMODB_SORT_KEY_BYTES_MAX, EVENT_ID_BYTES_MAX, SUBJECT_CHARS_MAX};
use shared::message::{DecodeError, Message};
use shared::outcome::Reason;

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
}

/// What a body turned out to be.
#[derive(Debug)]
pub enum Decoded {
    /// A message of ours.
    Message(Box<Message>),
    /// What can never be stored: the reason, and what exactly is wrong, for a person.
    Poison(Reason, String),
    /// Our code panicked over it; another version of the code may not.
    Panicked,
}

/// Reads a body.
#[must_use]
pub fn decode(body: &str) -> Decoded {
    // The decoder is written not to panic; if it does all the same, the message alone must bear it.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(body))).unwrap_or(Decoded::Panicked)
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
    if !is_project(&message.project) {
        return Some("the project is not a project's name");
    }
    // A receipt becomes part of a dead letter's sort key.
    if message.receipt.is_empty() || message.receipt.len() > DYNAMODB_SORT_KEY_BYTES_MAX / 2 {
        return Some("the receipt is empty or too long");
    }
    for event in &message.events {
        if event.id.is_empty() || event.id.len() > EVENT_ID_BYTES_MAX {
            return Some("an event id is empty or too long");
        }
        if event.subject.is_empty() || event.subject.chars().count() > SUBJECT_CHARS_MAX {
            return Some("a subject is empty or too long");
        }
        if event.target.as_ref().is_some_and(|target| target.is_empty() || target.chars().count() > SUBJECT_CHARS_MAX) {
            return Some("a target is empty or too long");
        }
    }
    None
}
