//! What both protocols' parsers take and give, and the rules that they share.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::event::Event;
use shared::json::{Members, ObjectWriter};
use shared::limits::{BATCH_EVENTS_MAX, EVENT_ID_BYTES_MAX, REFUSED_BYTES_MAX, SUBJECT_CHARS_MAX};
use shared::message::{Refused, noncharacters};
use shared::outcome::Reason;

use crate::response::Problem;

/// The circumstances of a request.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// When it came in.
    pub received_at: Timestamp,
    /// What it is known by from here on.
    pub receipt: &'a str,
    /// The largest event in bytes.
    pub event_bytes_max: usize,
}

/// A request, understood.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The write key that the body carries, if any.
    pub write_key: Option<String>,
    /// What can be stored.
    pub events: Vec<Event>,
    /// What cannot.
    pub refused: Vec<Refused>,
}

/// The member of Segment's bodies and items that carries the write key.
pub const WRITE_KEY: &str = "writeKey";

/// The e-mail address among traits: it must have something on both sides of its last `@`, no white space, and fit a key.
pub(crate) fn address(traits: &Members<'_>) -> Option<String> {
    let fits = |text: &String| is_email(text) && text.chars().count() <= SUBJECT_CHARS_MAX;
    traits.get("email").and_then(string).filter(fits)
}

/// Whether a text has the form of an e-mail address: something on both sides of its last `@`, and no white space. More
/// would refuse addresses that exist.
pub(crate) fn is_email(text: &str) -> bool {
    let sides = text.rsplit_once('@');
    sides.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty()) && !text.contains(char::is_whitespace)
}

/// Why one item can never be stored: the reason, and what exactly is wrong, for a person.
pub type Refusal = (Reason, String);

impl Arrival<'_> {
    /// Whether an event's text keeps within the limit, in the queue as well as here: U+FFFE and U+FFFF take six bytes
    /// there (see [`shared::message::Message::encode`]) instead of three.
    #[must_use]
    pub fn has_room_for(&self, text: &str) -> bool {
        text.len() <= self.event_bytes_max && text.len() + 3 * noncharacters(text) <= self.event_bytes_max
    }
}

/// The elements of a JSON array, values unparsed. No more are kept than a batch may have; the others are counted.
#[derive(Debug)]
pub struct Elements<'a> {
    kept: Vec<&'a RawValue>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;
        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut elements = Elements { kept: Vec::new(), count: 0 };
                while let Some(element) = array.next_element()? {
                    elements.count += 1;
                    if elements.count <= BATCH_EVENTS_MAX {
                        elements.kept.push(element);
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

impl<'a> Elements<'a> {
    /// Reads the elements of an array.
    ///
    /// # Errors
    /// `text` is not a JSON array.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The first element.
    #[must_use]
    pub fn first(&self) -> Option<&'a RawValue> {
        self.kept.first().copied()
    }

    /// All elements.
    ///
    /// # Errors
    /// [`Problem::BatchTooLong`] if there are more than a batch may have.
    pub fn within_limit(self) -> Result<Vec<&'a RawValue>, Problem> {
        if self.count > BATCH_EVENTS_MAX { Err(Problem::BatchTooLong { items: self.count }) } else { Ok(self.kept) }
    }
}

/// Reads the members of a body that must be one JSON object.
///
/// # Errors
/// [`Problem::Malformed`] with the place of the mistake.
pub fn object(text: &str) -> Result<Members<'_>, Problem> {
    Members::parse(text).map_err(|error| Problem::Malformed(malformed(&error)))
}

/// What is wrong with a JSON text, in words that quote nothing of it.
#[must_use]
pub fn malformed(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let what = if error.is_data() { "not a JSON object" } else { "malformed JSON" };
    format!("{what} (line {line}, column {column})")
}

/// The text of a JSON string; `None` for every other value.
#[must_use]
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// An id: the text of a string, or a number as it is written. An empty string is no id. `Err` for other values.
#[expect(clippy::result_unit_err, reason = "the caller knows which id it asked for, and says so")]
pub fn id(value: Option<&RawValue>) -> Result<Option<String>, ()> {
    let Some(value) = value else { return Ok(None) };
    let text = match value.get().as_bytes().first() {
        Some(b'"') => string(value).ok_or(())?,
        Some(b'-' | b'0'..=b'9') => value.get().to_owned(),
        _ => return Err(()),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// An event id that fits a key: the producer's own, or its hash where that is longer than [`EVENT_ID_BYTES_MAX`].
#[must_use]
pub fn fitting_event_id(id: String) -> String {
    if id.len() <= EVENT_ID_BYTES_MAX { id } else { shared::keys::hash(&["event id", &id]) }
}

/// The text by which contents are compared: see [`shared::json::canonical`].
///
/// # Errors
/// A string in it is not valid Unicode.
pub fn canonical(data: Option<&RawValue>) -> Result<Cow<'static, str>, Refusal> {
    let Some(data) = data else { return Ok(Cow::Borrowed("")) };
    let text =
        shared::json::canonical(data).map_err(|_| (Reason::BadRequest, "a string is not valid Unicode".to_owned()))?;
    Ok(Cow::Owned(text))
}

/// All members but those named, plus `more`; `None` if nothing is left.
#[must_use]
pub fn rest(members: &Members<'_>, taken: &[&str], more: &[(&str, Option<&RawValue>)]) -> Option<Box<RawValue>> {
    let mut object = ObjectWriter::default();
    for (name, value) in members.iter().filter(|(name, _)| !taken.contains(name)) {
        object.member(name, value);
    }
    for (name, value) in more {
        if let Some(value) = value.filter(|_| members.get(name).is_none()) {
            object.member(name, value);
        }
    }
    object.finish()
}

/// Keeps an item that can never be stored, to become a dead letter; without its write key, which is a credential. `call`
/// is the one that it came by.
///
/// # Errors
/// [`Problem::EventTooLarge`] if it is too large even for that; then the whole request is refused.
pub fn refuse(
    index: u32,
    call: &str,
    item: &RawValue,
    (reason, detail): Refusal,
    arrival: &Arrival<'_>,
) -> Result<Refused, Problem> {
    if item.get().len() > REFUSED_BYTES_MAX {
        return Err(Problem::EventTooLarge { index, limit: arrival.event_bytes_max });
    }
    let members = Members::parse(item.get()).ok().filter(|members| members.get(WRITE_KEY).is_some());
    let body = members.map_or_else(|| item.to_owned(), |members| rest(&members, &[WRITE_KEY], &[]).unwrap_or_default());
    Ok(Refused { index, reason: reason.tag().to_owned(), detail, call: call.to_owned(), body })
}
