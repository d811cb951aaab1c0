//! What the present code says of a letter.

use std::borrow::Cow;

use consume::dead_letter::Head;
use consume::decode::{Decoded, decode};
use consume::store;
use ingest::parsed::{Arrival, Refusal, malformed};
use ingest::segment::reread;
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::event::Kind;
use shared::limits::DYNAMODB_ITEM_BYTES_MAX;
use shared::message::{Message, VERSION};
use shared::outcome::Reason;

use super::read::{DeadLetter, is_erased};

/// What would become of a letter if it were sent round now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be stored, unless its events are duplicates or their subjects have been deleted.
    Storable {
        /// How many events it has.
        events: usize,
        /// How many items besides would become dead letters of their own, as `ingest` has refused them.
        refused: usize,
    },
    /// It would come back.
    StillDead {
        /// The reason.
        reason: Reason,
        /// What exactly is wrong, for a person.
        detail: String,
    },
    /// Only trying would tell, for the reason given.
    Unknowable {
        /// The reason, for a person.
        why: &'static str,
    },
    /// Its body was erased, so that there is nothing left to send.
    Erased,
}

/// Tells what would become of a letter if it were sent round now. `event_bytes_max` is what `ingest` is configured with.
///
/// Nothing is read or written: whether an event has been stored before, or its subject deleted, is not looked at.
#[must_use]
pub fn test(letter: &DeadLetter, event_bytes_max: usize) -> Verdict {
    if is_erased(&letter.head) {
        return Verdict::Erased;
    }
    // What ended the function might end this program as well.
    if letter.head.reason == Reason::CrashedConsumer.tag() {
        return Verdict::Unknowable { why: "it ended the function, and is not read here" };
    }
    let decoded = match message_text(letter, event_bytes_max) {
        Ok(text) => decode(&text),
        Err((reason, detail)) => return Verdict::StillDead { reason, detail },
    };
    match decoded {
        Decoded::Message(message) => of_message(&message),
        Decoded::Poison(reason, detail) => Verdict::StillDead { reason, detail },
        Decoded::Retry(_) => {
            let detail = "reading it makes our code panic, again and again".to_owned();
            Verdict::StillDead { reason: Reason::CrashedConsumer, detail }
        }
    }
}

/// What would become of a message that can be read.
fn of_message(message: &Message) -> Verdict {
    if !message.verified {
        return Verdict::Unknowable { why: "its write key is looked up only when it is delivered" };
    }
    // What is kept of a deletion is no item of its own.
    let items = message.events.iter().filter(|event| event.kind != Kind::Delete);
    let mut sizes = items.map(|event| store::item(message, event).bytes());
    match sizes.find(|bytes| *bytes > DYNAMODB_ITEM_BYTES_MAX) {
        Some(bytes) => Verdict::StillDead {
            reason: Reason::Unstorable,
            detail: format!("an item of {bytes} bytes, of {DYNAMODB_ITEM_BYTES_MAX} that the table takes"),
        },
        None => Verdict::Storable { events: message.events.len(), refused: message.refused.len() },
    }
}

/// The text to be sent for a letter: its body as it is, or a message with the item in it, read by the present rules.
///
/// Receipt, index and time of arrival of such a message are those of the item's request, so that all messages of a letter
/// stand for the same event.
///
/// # Errors
/// Why the item would still be refused.
pub(super) fn message_text(letter: &DeadLetter, event_bytes_max: usize) -> Result<Cow<'_, str>, Refusal> {
    if !letter.head.holds_item() {
        return Ok(Cow::Borrowed(&letter.body));
    }
    let Some(place) = place(&letter.head) else {
        let detail = "the letter's key does not say which item of which request it is".to_owned();
        return Err((Reason::UndecodableMessage, detail));
    };
    let item: &RawValue =
        serde_json::from_str(&letter.body).map_err(|error| (Reason::BadRequest, malformed(&error)))?;
    let arrival = Arrival { received_at: place.received_at, receipt: place.receipt, event_bytes_max };
    let event = reread(&letter.head.call, place.index, item, &arrival)?;
    let message = Message {
        version: VERSION,
        project: place.project.to_owned(),
        source: letter.head.source.clone(),
        receipt: place.receipt.to_owned(),
        received_at: place.received_at,
        code_version: shared::CODE_VERSION.to_owned(),
        verified: true,
        write_key_hash: None,
        lists_items: false,
        list_key: String::new(),
        events: vec![event],
        refused: vec![],
    };
    Ok(Cow::Owned(message.encode()))
}

/// Which item of which request a letter is.
struct Place<'a> {
    project: &'a str,
    receipt: &'a str,
    index: u32,
    received_at: Timestamp,
}

fn place(head: &Head) -> Option<Place<'_>> {
    let (time, id) = head.key.sk.split_once('#')?;
    let (receipt, index) = id.rsplit_once('.')?;
    let (project, _) = head.key.pk.split_once('#')?;
    Some(Place { project, receipt, index: index.parse().ok()?, received_at: time.parse().ok()? })
}
