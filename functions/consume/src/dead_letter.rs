//! Dead letters: what can never be stored waits here with its reason and its whole body.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::clock::Timestamp;
use shared::limits::DEAD_LETTER_PART_BYTES_MAX;
use shared::message::{Message, Refused};
use shared::outcome::Reason;

use crate::decode::Delivery;
use crate::store::Case;
use crate::table::{Item, Key};

/// The partition of letters whose project cannot be known; no project can have this name.
pub const UNKNOWN_PROJECT: &str = "?";

/// Where in the pipeline something turned out to be unstorable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `ingest` refused an item.
    Ingest,
    /// `consume` could not read a message.
    Decode,
    /// `consume` could not store an event.
    Store,
}

impl Stage {
    fn tag(self) -> &'static str {
        match self {
            Stage::Ingest => "ingest",
            Stage::Decode => "decode",
            Stage::Store => "store",
        }
    }
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The project, or [`UNKNOWN_PROJECT`].
    pub project: String,
    /// When it came to us: with `id` this makes a redelivery find the letter of the first delivery.
    pub first_seen: Timestamp,
    /// What tells it from others of the same moment.
    pub id: String,
    /// The tag of its reason.
    pub reason: String,
    /// Where it was found out.
    pub stage: Stage,
    /// What exactly is wrong, for a person.
    pub detail: String,
    /// The source that it came by; empty if unknown.
    pub source: String,
    /// How often its message had been received.
    pub receive_count: u32,
    /// The version of the code that enqueued it; empty if unknown.
    pub enqueued_by: String,
    /// The item as its producer wrote it (`ingest`), the message (`decode`), or a message with the one event (`store`).
    pub body: String,
}

impl Letter {
    /// A message that cannot be read.
    #[must_use]
    pub fn of_message(delivery: &Delivery, reason: Reason, detail: &str) -> Self {
        Self {
            project: UNKNOWN_PROJECT.to_owned(),
            first_seen: delivery.sent_at,
            id: format!("m:{}", delivery.message_id),
            reason: reason.tag().to_owned(),
            stage: Stage::Decode,
            detail: detail.to_owned(),
            source: String::new(),
            receive_count: delivery.receive_count,
            enqueued_by: String::new(),
            body: delivery.body.clone(),
        }
    }

    /// An item that `ingest` refused.
    #[must_use]
    pub fn of_refused(message: &Message, refused: &Refused, receive_count: u32) -> Self {
        Self {
            project: message.project.clone(),
            first_seen: message.received_at,
            id: format!("{}.{}", message.receipt, refused.index),
            reason: refused.reason.clone(),
            stage: Stage::Ingest,
            detail: refused.detail.clone(),
            source: message.source.clone(),
            receive_count,
            enqueued_by: message.code_version.clone(),
            body: refused.body.get().to_owned(),
        }
    }

    /// An event that the table cannot take. Its body is a message again, so that it can be sent round as it is.
    #[must_use]
    pub fn of_event(case: &Case<'_>, reason: Reason) -> Self {
        let message = case.message;
        let alone = Message { events: vec![case.event.clone()], refused: vec![], ..message.clone() };
        Self {
            project: message.project.clone(),
            first_seen: message.received_at,
            id: crate::store::origin(message, case.event),
            reason: reason.tag().to_owned(),
            stage: Stage::Store,
            detail: case.detail.clone(),
            source: message.source.clone(),
            receive_count: case.receive_count,
            enqueued_by: message.code_version.clone(),
            body: alone.encode(),
        }
    }

    /// The letter's items: one, or several where the body is larger than one item can hold. The first part stands in
    /// the last of them, so that a letter is there only when it is whole.
    #[must_use]
    pub fn items(&self, now: Timestamp, retention: Duration) -> Vec<Item> {
        let pk = format!("{}#{}", self.project, self.first_seen.day());
        let sk = format!("{}#{}", self.first_seen, self.id);
        let ttl = now.plus(retention).as_millis() / 1000;
        let parts = split(&self.body, DEAD_LETTER_PART_BYTES_MAX);
        let mut items = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate().skip(1) {
            let key = Key { pk: pk.clone(), sk: format!("{sk}#part{number}") };
            let mut item = Item { key, attributes: BTreeMap::new() };
            item.text("body", *part);
            item.number("ttl", ttl);
            items.push(item);
        }
        let mut item = Item { key: Key { pk, sk }, attributes: BTreeMap::new() };
        item.text("reason", &self.reason);
        item.text("stage", self.stage.tag());
        item.text("detail", &self.detail);
        item.text("source", &self.source);
        item.text("first_seen", self.first_seen.to_string());
        item.text("last_seen", now.to_string());
        item.text("code_version", shared::CODE_VERSION);
        item.text("enqueued_by", &self.enqueued_by);
        item.number("attempts", 1);
        item.number("receive_count", i64::from(self.receive_count));
        item.number("parts", i64::try_from(parts.len()).unwrap_or(i64::MAX));
        item.text("body", parts.first().copied().unwrap_or_default());
        item.number("ttl", ttl);
        items.push(item);
        items
    }
}

/// Splits a text into parts of at most `bytes_max`, never within a character. An empty text has one empty part.
fn split(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > bytes_max {
        let (part, after) = rest.split_at(rest.floor_char_boundary(bytes_max));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: String) -> Letter {
        let delivery = Delivery {
            message_id: "id-1".into(),
            body,
            receive_count: 3,
            sent_at: Timestamp::from_millis(1_700_000_000_000).unwrap(),
        };
        Letter::of_message(&delivery, Reason::UndecodableMessage, "not a message")
    }

    #[test]
    fn a_letter_is_found_by_project_and_day_and_says_why() {
        let now = Timestamp::from_millis(1_700_000_100_000).unwrap();
        let items = letter("hello".into()).items(now, Duration::from_secs(86_400));
        let [item] = items.as_slice() else { panic!("one item") };
        assert_eq!(item.key.pk, "?#2023-11-14");
        assert_eq!(item.key.sk, "2023-11-14T22:13:20.000Z#m:id-1");
        let text = |name| item.attributes[name].text().unwrap();
        assert_eq!((text("reason"), text("stage"), text("body")), ("undecodable_message", "decode", "hello"));
        assert_eq!(item.attributes["receive_count"].number(), Some(3));
        assert_eq!(item.attributes["ttl"].number(), Some(1_700_000_100 + 86_400));
    }

    #[test]
    fn a_large_body_is_split_and_never_cut() {
        let body = "é".repeat(DEAD_LETTER_PART_BYTES_MAX);
        let now = Timestamp::from_millis(0).unwrap();
        let items = letter(body.clone()).items(now, Duration::ZERO);
        let (main, parts) = items.split_last().unwrap();
        assert_eq!(main.attributes["parts"].number(), Some(items.len() as i64));
        let mut whole = main.attributes["body"].text().unwrap().to_owned();
        for part in parts {
            assert!(part.key.sk.starts_with(&main.key.sk));
            whole.push_str(part.attributes["body"].text().unwrap());
        }
        assert!(items.iter().all(|item| item.bytes() < shared::limits::DYNAMODB_ITEM_BYTES_MAX));
        assert_eq!(whole, body);
    }

    #[test]
    fn splitting_respects_characters() {
        assert_eq!(split("", 4), [""]);
        assert_eq!(split("abcd", 4), ["abcd"]);
        assert_eq!(split("abcde", 4), ["abcd", "e"]);
        assert_eq!(split("aéé", 4), ["aé", "é"]);
    }
}
