//! The message: the versioned envelope that carries a request's events through the queue.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::event::Event;

/// The version that this code writes.
///
/// Version 1 knew no device: its events live with their subject. A `consume` that knows only version 1 keeps later
/// messages as dead letters, since it would store their events in another place than a retry of them.
pub const VERSION: u32 = 2;
/// The oldest version that this code reads.
const VERSION_MIN: u32 = 1;

/// The events of one request, or of a part of it, on their way through the queue. Readable as it is in the SQS console.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The version of this format.
    pub version: u32,
    /// The project whose events these are.
    pub project: String,
    /// The source (write key) of the project that they came by.
    pub source: String,
    /// What the request is known by from here on.
    pub receipt: String,
    /// When the request came in.
    pub received_at: Timestamp,
    /// The version of the code that wrote the message.
    pub code_version: String,
    /// Whether the write key was checked. If not, project and source are empty until [`Self::write_key_hash`] has told
    /// them.
    pub verified: bool,
    /// The hash of the write key, where it could not be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_key_hash: Option<String>,
    /// Whether what the message carries is to be listed in the table, because the id of its receipt has no room for it: see
    /// [`crate::receipt`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lists_items: bool,
    /// What that list is sealed with. Only the id of the receipt has it besides.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub list_key: String,
    /// What was accepted.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What came in the same request and was refused.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// An item of a request that can never be stored, with the reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Position in the request, from 0.
    pub index: u32,
    /// The tag of a [`crate::outcome::Reason`]. A text, so that an older `consume` reads a newer reason.
    pub reason: String,
    /// What exactly was wrong, for a person.
    pub detail: String,
    /// The call that it came by (`track`, `batch`, …): with it, later code can read the item again.
    #[serde(default)]
    pub call: String,
    /// The item as the producer wrote it, with what its batch says of all items, and without its write key.
    pub body: Box<RawValue>,
}

/// Why a text is no [`Message`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It has a version that this code does not know.
    #[error("message version {0} is not known here")]
    UnknownVersion(u64),
    /// It is not JSON of this shape.
    #[error("not a message: {0}")]
    Malformed(#[source] serde_json::Error),
}

impl Message {
    /// The text of the message, fit for SQS.
    #[must_use]
    pub fn encode(&self) -> String {
        encoded(self)
    }

    /// The text of a message that is `self`, in which nothing is yet, with these contents, each of them [`encoded`].
    #[must_use]
    pub fn encode_with(&self, events: &[String], refused: &[String]) -> String {
        const END: &str = r#""events":[],"refused":[]}"#;
        let envelope = encoded(self);
        let head = envelope.strip_suffix(END).expect("events and refused items come last, and there are none");
        let contents: usize = events.iter().chain(refused).map(|text| text.len() + 1).sum();
        let mut text = String::with_capacity(envelope.len() + contents);
        text.push_str(head);
        push_array(&mut text, "events", events);
        text.push(',');
        push_array(&mut text, "refused", refused);
        text.push('}');
        text
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Another version, or not a message at all. Both are final: no retry makes it one.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Peek {
            version: u64,
        }
        let peek: Peek = serde_json::from_str(text).map_err(DecodeError::Malformed)?;
        if !(u64::from(VERSION_MIN)..=u64::from(VERSION)).contains(&peek.version) {
            return Err(DecodeError::UnknownVersion(peek.version));
        }
        serde_json::from_str(text).map_err(DecodeError::Malformed)
    }
}

/// Writes a member that is an array of values of which each is encoded already.
fn push_array(text: &mut String, name: &str, values: &[String]) {
    text.push('"');
    text.push_str(name);
    text.push_str("\":[");
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(value);
    }
    text.push(']');
}

/// The text of an event, a refused item or a message, fit for SQS.
///
/// SQS refuses U+FFFE and U+FFFF, which JSON allows; they are written as escapes, which makes each twice as long.
/// Every other character that SQS refuses is one that JSON must escape anyway.
#[must_use]
pub fn encoded<T: Serialize>(value: &T) -> String {
    fit_for_sqs(serde_json::to_string(value).expect("messages and what is in them have only text and numbers"))
}

/// Escapes the two characters that JSON allows and SQS refuses. They can only stand inside strings, where an escape
/// means the same.
fn fit_for_sqs(text: String) -> String {
    if noncharacters(&text) == 0 {
        return text;
    }
    text.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
}

/// How often the two characters stand in a text that JSON allows and SQS refuses, U+FFFE and U+FFFF.
///
/// In UTF-8 they are EF BF BE and EF BF BF, and EF begins rare characters only: searching for that byte is many times as
/// fast as looking at every character.
#[must_use]
pub fn noncharacters(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_one = |place: &usize| matches!(bytes.get(place + 1..place + 3), Some([0xBF, 0xBE | 0xBF]));
    memchr::memchr_iter(0xEF, bytes).filter(is_one).count()
}

/// How many bytes `value` takes inside [`Message::encode`]'s text.
#[must_use]
pub fn encoded_bytes<T: Serialize>(value: &T) -> usize {
    encoded(value).len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Identity, Kind};
    use proptest::prelude::*;

    fn message(data: &str) -> Message {
        let now = Timestamp::from_millis(1_700_000_000_123).unwrap();
        Message {
            version: VERSION,
            project: "dev".into(),
            source: "default".into(),
            receipt: "r1".into(),
            received_at: now,
            code_version: "0.1.0".into(),
            verified: true,
            write_key_hash: None,
            lists_items: false,
            list_key: String::new(),
            events: vec![Event {
                index: 0,
                id: "m1".into(),
                identity: Identity::Forever,
                kind: Kind::Track,
                subject: "u1".into(),
                device: Some("d1".into()),
                address: None,
                name: Some("Signed Up".into()),
                target: None,
                data: Some(serde_json::from_str(data).unwrap()),
                context: None,
                extra: None,
                client_time: Some(now),
                sent_at: None,
                timestamp: now,
            }],
            refused: vec![],
        }
    }

    #[test]
    fn the_wire_form_is_pinned() {
        let text = message(r#"{"plan":"pro","n":1.50}"#).encode();
        assert_eq!(
            text,
            r#"{"version":2,"project":"dev","source":"default","receipt":"r1","received_at":"2023-11-14T22:13:20.123Z","code_version":"0.1.0","verified":true,"events":[{"index":0,"id":"m1","identity":"forever","kind":"track","subject":"u1","device":"d1","name":"Signed Up","data":{"plan":"pro","n":1.50},"client_time":"2023-11-14T22:13:20.123Z","timestamp":"2023-11-14T22:13:20.123Z"}],"refused":[]}"#
        );
    }

    #[test]
    fn an_event_of_the_first_version_lives_with_its_subject() {
        let text = message("{}").encode().replace("\"version\":2", "\"version\":1").replace("\"device\":\"d1\",", "");
        assert_eq!(Message::decode(&text).unwrap().events[0].home(), "u1");
    }

    #[test]
    fn other_versions_are_told_from_damage() {
        let text = message("{}").encode();
        for other in [0, 3] {
            let text = text.replace("\"version\":2", &format!("\"version\":{other}"));
            assert!(matches!(Message::decode(&text), Err(DecodeError::UnknownVersion(version)) if version == other));
        }
        // A later version may have any shape but for its number.
        assert!(matches!(Message::decode(r#"{"version":7,"parts":[]}"#), Err(DecodeError::UnknownVersion(7))));
        for damaged in
            ["", "{}", "[]", "null", "hello", r#"{"version":1}"#, r#"{"version":"1"}"#, &text[..text.len() - 1]]
        {
            assert!(matches!(Message::decode(damaged), Err(DecodeError::Malformed(_))), "{damaged}");
        }
    }

    #[test]
    fn characters_that_sqs_refuses_are_escaped_and_read_back() {
        let text = message("{\"a\":\"\u{FFFE}\u{FFFF}\u{FFFD}\"}").encode();
        assert!(!text.contains(['\u{FFFE}', '\u{FFFF}']));
        let data = Message::decode(&text).unwrap().events[0].data.clone().unwrap();
        let value: serde_json::Value = serde_json::from_str(data.get()).unwrap();
        assert_eq!(value["a"], "\u{FFFE}\u{FFFF}\u{FFFD}");
    }

    #[test]
    fn a_message_is_the_same_whether_its_contents_were_encoded_with_it_or_before() {
        for (events, refused) in [(0, 0), (1, 0), (2, 1), (0, 2)] {
            let one = message("{\"a\":\"\u{FFFE}\"}");
            let item = Refused {
                index: 0,
                reason: "bad_request".into(),
                detail: "why".into(),
                call: "batch".into(),
                body: serde_json::from_str("[7]").unwrap(),
            };
            let whole = Message { events: vec![one.events[0].clone(); events], refused: vec![item; refused], ..one };
            let texts: Vec<String> = whole.events.iter().map(encoded).collect();
            let refused: Vec<String> = whole.refused.iter().map(encoded).collect();
            let envelope = Message { events: vec![], refused: vec![], ..whole.clone() };
            assert_eq!(envelope.encode_with(&texts, &refused), whole.encode());
        }
    }

    proptest! {
        #[test]
        fn noncharacters_are_found_wherever_they_stand(text in "[\u{EFFF}-\u{10001}a]*") {
            prop_assert_eq!(noncharacters(&text), text.matches(['\u{FFFE}', '\u{FFFF}']).count());
            let escaped = fit_for_sqs(format!("\"{text}\""));
            prop_assert_eq!(encoded_bytes(&text), escaped.len());
        }

        #[test]
        fn any_text_survives_the_queue(name in "\\PC*|[\u{0}-\u{ffff}]*", subject in ".*") {
            let mut sent = message("{}");
            sent.events[0].name = Some(name.clone());
            sent.events[0].subject = subject.clone();
            let text = sent.encode();
            // The characters that SQS takes, from the description of SendMessage.
            let sqs_takes_it = text.chars().all(|c| matches!(c, '\u{9}' | '\u{A}' | '\u{D}' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..));
            prop_assert!(sqs_takes_it);
            let received = Message::decode(&text).unwrap();
            prop_assert_eq!(received.events[0].name.as_deref(), Some(name.as_str()));
            prop_assert_eq!(&received.events[0].subject, &subject);
        }
    }
}
