//! Dead letters: what can never be stored waits here with its reason and its whole body.

pub mod attribute;

use std::collections::BTreeMap;
use std::time::Duration;

use shared::clock::Timestamp;
use shared::keys::{is_project, is_write_key_hash};
use shared::limits::DEAD_LETTER_PART_BYTES_MAX;
use shared::message::{Message, Refused};
use shared::outcome::Reason;
use shared::text::split;

use crate::decode::Delivery;
use crate::names::Names;
use crate::redrive::Redrive;
use crate::store::Case;
use crate::table::{Attributes, Item, Key, Value};
use attribute as name;

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
    /// A message ended `consume` again and again.
    Quarantine,
}

/// What has been done about a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Waiting,
    /// It was sent round again, and has not come to a fate yet.
    Redriven,
    /// It was sent round again, and everything in it has another fate now.
    Settled,
    /// A person decided that it need not be stored.
    Discarded,
    /// Whom it names was deleted: its body is gone, and what is left says only that there was a letter, and why.
    Erased,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [State::Waiting, State::Redriven, State::Settled, State::Discarded, State::Erased];

    /// The word for it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Redriven => "redriven",
            State::Settled => "settled",
            State::Discarded => "discarded",
            State::Erased => "erased",
        }
    }

    /// The state with this word; `None` if it is none that this code knows.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.tag() == tag)
    }
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Stage::Ingest => "ingest",
            Stage::Decode => "decode",
            Stage::Store => "store",
            Stage::Quarantine => "quarantine",
        }
    }
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it is: by project (or [`UNKNOWN_PROJECT`]) and day, then by time and what tells it from others of that
    /// moment. A redelivery finds the letter of the first delivery there.
    pub key: Key,
    /// When it came to us.
    pub first_seen: Timestamp,
    /// The tag of its reason.
    pub reason: String,
    /// Where it was found out.
    pub stage: Stage,
    /// What exactly is wrong, for a person.
    pub detail: String,
    /// The source that it came by; empty if unknown.
    pub source: String,
    /// The call that a refused item came by; empty for others.
    pub call: String,
    /// How often its message had been received.
    pub receive_count: u32,
    /// The version of the code that enqueued it; empty if unknown.
    pub enqueued_by: String,
    /// The item as its producer wrote it (`ingest`), the message (`decode`, `quarantine`), or a message with the one event
    /// (`store`).
    pub body: String,
    /// Whom it names, so that their deletion finds it; empty for a message that nobody has read.
    pub names: Names,
}

/// How much later than their head the further parts of a letter expire, in seconds: a week. DynamoDB removes what has
/// expired within days.
const PART_TTL_LATER: i64 = 7 * 24 * 60 * 60;

/// Where a letter is. `id` tells it from others of its moment: of an item of a request it is receipt and index.
#[must_use]
pub fn key(project: &str, first_seen: Timestamp, id: &str) -> Key {
    Key { pk: format!("{project}#{}", first_seen.day()), sk: format!("{first_seen}#{id}") }
}

impl Letter {
    /// A message that cannot be read, or must not be. Its project is the one that its sender gave it as a group, unless that
    /// is the hash of a write key, which could pass for one; one that was sent round again is the letter that it was.
    #[must_use]
    pub fn of_message(delivery: &Delivery, stage: Stage, reason: Reason, detail: &str) -> Self {
        let is_known = is_project(&delivery.group) && !is_write_key_hash(&delivery.group);
        let project = if is_known { delivery.group.as_str() } else { UNKNOWN_PROJECT };
        let new = || key(project, delivery.sent_at, &format!("m:{}", delivery.message_id));
        Self {
            key: delivery.redrive.as_ref().map_or_else(new, Redrive::letter),
            first_seen: delivery.sent_at,
            reason: reason.tag().to_owned(),
            stage,
            detail: detail.to_owned(),
            source: String::new(),
            call: String::new(),
            receive_count: delivery.receive_count,
            enqueued_by: String::new(),
            body: delivery.body.clone(),
            names: Names::default(),
        }
    }

    /// An item that `ingest` refused.
    #[must_use]
    pub fn of_refused(message: &Message, refused: &Refused, receive_count: u32) -> Self {
        Self {
            key: key(&message.project, message.received_at, &format!("{}.{}", message.receipt, refused.index)),
            first_seen: message.received_at,
            reason: refused.reason.clone(),
            stage: Stage::Ingest,
            detail: refused.detail.clone(),
            source: message.source.clone(),
            call: refused.call.clone(),
            receive_count,
            enqueued_by: message.code_version.clone(),
            body: refused.body.get().to_owned(),
            names: Names::of_item(&refused.body),
        }
    }

    /// An event that the table cannot take. Its body is a message again, so that it can be sent round as it is.
    #[must_use]
    pub fn of_event(case: &Case<'_>, reason: Reason) -> Self {
        let message = case.message;
        // Field by field: a copy of the whole message for each of its events would be up to 2,500 times its size.
        let alone = Message {
            version: message.version,
            project: message.project.clone(),
            source: message.source.clone(),
            receipt: message.receipt.clone(),
            received_at: message.received_at,
            code_version: message.code_version.clone(),
            verified: message.verified,
            write_key_hash: message.write_key_hash.clone(),
            lists_items: message.lists_items,
            list_key: message.list_key.clone(),
            events: vec![case.event.clone()],
            refused: vec![],
        };
        Self {
            key: key(&message.project, message.received_at, &crate::store::origin(message, case.event)),
            first_seen: message.received_at,
            reason: reason.tag().to_owned(),
            stage: Stage::Store,
            detail: case.detail.clone(),
            source: message.source.clone(),
            call: String::new(),
            receive_count: case.receive_count,
            enqueued_by: message.code_version.clone(),
            body: alone.encode(),
            names: Names::of_event(case.event),
        }
    }

    /// The letter's items: one, or several where the body is larger than one item can hold. The first part stands in
    /// the last of them, so that a letter is there only when it is whole.
    #[must_use]
    pub fn items(&self, now: Timestamp, retention: Duration) -> Vec<Item> {
        let ttl = now.plus(retention).as_millis() / 1000;
        let parts = split(&self.body, DEAD_LETTER_PART_BYTES_MAX);
        let mut items = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate().skip(1) {
            let mut item = Item { key: part_key(&self.key, number), attributes: BTreeMap::new() };
            item.text(name::BODY, *part);
            // DynamoDB removes each item in its own time, and a head without its parts would be damaged.
            item.number(name::TTL, ttl + PART_TTL_LATER);
            items.push(item);
        }
        let mut item = Item { key: self.key.clone(), attributes: BTreeMap::new() };
        item.text(name::SOURCE, &self.source);
        item.text(name::CALL, &self.call);
        item.text(name::FIRST_SEEN, self.first_seen.to_string());
        item.text(name::ENQUEUED_BY, &self.enqueued_by);
        item.text(name::STATE, State::Waiting.tag());
        item.number(name::ATTEMPTS, 1);
        item.number(name::REDRIVES, 0);
        item.number(name::VERSION, 1);
        item.number(name::PARTS, i64::try_from(parts.len()).unwrap_or(i64::MAX));
        item.number(name::BYTES, i64::try_from(self.body.len()).unwrap_or(i64::MAX));
        item.text(name::BODY, parts.first().copied().unwrap_or_default());
        item.number(name::TTL, ttl);
        self.say_why(&mut item, now);
        items.push(item);
        items
    }

    /// Writes into a head what was found out this time.
    fn say_why(&self, head: &mut Item, now: Timestamp) {
        head.text(name::REASON, &self.reason);
        head.text(name::STAGE, self.stage.tag());
        head.text(name::DETAIL, &self.detail);
        head.text(name::LAST_SEEN, now.to_string());
        head.text(name::CODE_VERSION, shared::CODE_VERSION);
        head.number(name::RECEIVE_COUNT, i64::from(self.receive_count));
    }

    /// The head of a letter that was sent round again and came to nothing, with the number of its version before; `None`
    /// if that redrive has been concluded, or another begun.
    #[must_use]
    pub fn again(&self, head: &Attributes, redrive: &Redrive, now: Timestamp) -> Option<(Item, i64)> {
        let (mut item, version) = open(head, redrive)?;
        self.say_why(&mut item, now);
        item.text(name::STATE, State::Waiting.tag());
        item.number(name::ATTEMPTS, head.get(name::ATTEMPTS).and_then(Value::number).unwrap_or(0) + 1);
        Some((item, version))
    }
}

/// The head of a letter whose redrive has brought everything in it to another fate, with the number of its version before;
/// `None` if that has been noted, or another redrive begun.
#[must_use]
pub fn settled(head: &Attributes, redrive: &Redrive) -> Option<(Item, i64)> {
    let (mut item, version) = open(head, redrive)?;
    item.text(name::STATE, State::Settled.tag());
    Some((item, version))
}

/// The head of a letter that is sent round again, with the number of its version before, and what its message says of it;
/// `None` if it is no head.
#[must_use]
pub fn redriven(key: &Key, head: &Attributes, now: Timestamp) -> Option<(Item, i64, Redrive)> {
    let (mut item, version) = next(key, head)?;
    let round = head.get(name::REDRIVES).and_then(Value::number).unwrap_or(0) + 1;
    item.text(name::STATE, State::Redriven.tag());
    item.number(name::REDRIVES, round);
    item.text(name::REDRIVEN_AT, now.to_string());
    Some((item, version, Redrive { pk: key.pk.clone(), sk: key.sk.clone(), round }))
}

/// The head of a letter that need not be stored, with the number of its version before; `None` if it is no head.
#[must_use]
pub fn discarded(key: &Key, head: &Attributes, note: &str) -> Option<(Item, i64)> {
    let (mut item, version) = next(key, head)?;
    item.text(name::STATE, State::Discarded.tag());
    item.text(name::NOTE, note);
    Some((item, version))
}

/// The head of a letter that names somebody who was deleted, without what its producer wrote and what was wrong with it in
/// words, and the number of its version before; `None` if it is no head, or was erased before.
#[must_use]
pub fn erased(key: &Key, head: &Attributes) -> Option<(Item, i64)> {
    let (mut item, version) = next(key, head)?;
    let is_erased = head.get(name::STATE).and_then(Value::text) == Some(State::Erased.tag());
    for name in [name::BODY, name::DETAIL, name::NOTE] {
        item.text(name, "");
    }
    item.text(name::STATE, State::Erased.tag());
    (!is_erased).then_some((item, version))
}

/// The head as an item of the next version, if it waits for what comes of `redrive`.
fn open(head: &Attributes, redrive: &Redrive) -> Option<(Item, i64)> {
    let is_open = head.get(name::STATE).and_then(Value::text) == Some(State::Redriven.tag())
        && head.get(name::REDRIVES).and_then(Value::number) == Some(redrive.round);
    next(&redrive.letter(), head).filter(|_| is_open)
}

/// The head as an item of the next version, and the number of this one.
fn next(key: &Key, head: &Attributes) -> Option<(Item, i64)> {
    let version = head.get(name::VERSION).and_then(Value::number)?;
    let mut item = Item { key: key.clone(), attributes: BTreeMap::new() };
    for name in HEAD {
        if let Some(value) = head.get(*name) {
            item.attributes.insert(name, value.clone());
        }
    }
    item.number(name::VERSION, version + 1);
    Some((item, version))
}

/// What a letter's head says, but for the body. Words and times are as they stand there, so that what a newer code has
/// written can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the letter is.
    pub key: Key,
    /// The tag of its reason.
    pub reason: String,
    /// The tag of its [`Stage`].
    pub stage: String,
    /// What exactly is wrong, for a person.
    pub detail: String,
    /// The source that it came by; empty if unknown.
    pub source: String,
    /// The call that a refused item came by; empty for others.
    pub call: String,
    /// When it came to us.
    pub first_seen: String,
    /// When it was last found that it can never be stored.
    pub last_seen: String,
    /// The version of the code that found it out.
    pub code_version: String,
    /// The version of the code that enqueued it; empty if unknown.
    pub enqueued_by: String,
    /// How often it was found out.
    pub attempts: i64,
    /// How often its message had been received.
    pub receive_count: i64,
    /// How many items its body is spread over.
    pub parts: i64,
    /// How many bytes its body has.
    pub bytes: i64,
    /// The tag of its [`State`].
    pub state: String,
    /// How often it was sent round again.
    pub redrives: i64,
    /// When it was last sent round again; empty if it never was.
    pub redriven_at: String,
    /// What the person who discarded it said; empty if nobody has.
    pub note: String,
}

impl Head {
    /// Reads an item of the table; `None` if it is no letter's head. Further parts of bodies are none.
    #[must_use]
    pub fn read(key: &Key, attributes: &Attributes) -> Option<Self> {
        attributes.get(name::REASON)?;
        let text = |name| attributes.get(name).and_then(Value::text).unwrap_or_default().to_owned();
        let number = |name| attributes.get(name).and_then(Value::number).unwrap_or(0);
        Some(Self {
            key: key.clone(),
            reason: text(name::REASON),
            stage: text(name::STAGE),
            detail: text(name::DETAIL),
            source: text(name::SOURCE),
            call: text(name::CALL),
            first_seen: text(name::FIRST_SEEN),
            last_seen: text(name::LAST_SEEN),
            code_version: text(name::CODE_VERSION),
            enqueued_by: text(name::ENQUEUED_BY),
            attempts: number(name::ATTEMPTS),
            receive_count: number(name::RECEIVE_COUNT),
            parts: number(name::PARTS),
            bytes: number(name::BYTES),
            state: text(name::STATE),
            redrives: number(name::REDRIVES),
            redriven_at: text(name::REDRIVEN_AT),
            note: text(name::NOTE),
        })
    }

    /// Whether the body is an item as its producer wrote it, and not a message. The stage alone does not tell: an item that
    /// was sent round again may have been found unstorable at a later one.
    #[must_use]
    pub fn holds_item(&self) -> bool {
        !self.call.is_empty() || self.stage == Stage::Ingest.tag()
    }
}

/// Every attribute of a head.
pub const HEAD: &[&str] = &[
    name::REASON,
    name::STAGE,
    name::DETAIL,
    name::SOURCE,
    name::CALL,
    name::FIRST_SEEN,
    name::LAST_SEEN,
    name::CODE_VERSION,
    name::ENQUEUED_BY,
    name::ATTEMPTS,
    name::RECEIVE_COUNT,
    name::PARTS,
    name::BYTES,
    name::BODY,
    name::STATE,
    name::REDRIVES,
    name::REDRIVEN_AT,
    name::NOTE,
    name::VERSION,
    name::TTL,
];

/// Where a further part of a letter is; they are numbered from 1.
#[must_use]
pub fn part_key(head: &Key, number: usize) -> Key {
    Key { pk: head.pk.clone(), sk: format!("{}#part{number}", head.sk) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::as_read;

    fn letter(body: String) -> Letter {
        letter_in(String::new(), body)
    }

    fn letter_in(group: String, body: String) -> Letter {
        let delivery = Delivery {
            message_id: "id-1".into(),
            body,
            receive_count: 3,
            sent_at: Timestamp::from_millis(1_700_000_000_000).unwrap(),
            receipt_handle: String::new(),
            group,
            redrive: None,
        };
        Letter::of_message(&delivery, Stage::Decode, Reason::UndecodableMessage, "not a message")
    }

    #[test]
    fn a_letter_is_its_groups_if_that_is_a_project() {
        let hash = shared::keys::write_key_hash("a key that nobody could check");
        for (group, expected) in
            [("dev", "dev"), ("", UNKNOWN_PROJECT), ("a#b", UNKNOWN_PROJECT), (&hash, UNKNOWN_PROJECT)]
        {
            assert_eq!(letter_in(group.to_owned(), String::new()).key.pk, format!("{expected}#2023-11-14"));
        }
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
    fn a_redrive_is_concluded_once_and_only_by_its_own_message() {
        let now = Timestamp::from_millis(1_700_000_100_000).unwrap();
        let letter = letter("hello".into());
        let item = letter.items(now, Duration::ZERO).pop().unwrap();
        let head = |item: &Item| as_read(&item.attributes);
        let redrive = Redrive { pk: item.key.pk.clone(), sk: item.key.sk.clone(), round: 1 };
        assert_eq!(letter.again(&head(&item), &redrive, now), None, "it has not been sent round");

        let (sent, version, marked) = redriven(&item.key, &head(&item), now).unwrap();
        assert_eq!((version, &marked), (1, &redrive));
        assert_eq!(settled(&head(&sent), &Redrive { round: 2, ..redrive.clone() }), None, "another redrive");
        let (again, version) = letter.again(&head(&sent), &redrive, now).unwrap();
        assert_eq!((version, again.attributes[name::ATTEMPTS].number()), (2, Some(2)));
        assert_eq!(again.attributes[name::STATE].text(), Some("waiting"));
        assert_eq!(again.attributes[name::BODY], item.attributes[name::BODY]);
        assert_eq!(settled(&head(&again), &redrive), None, "it is concluded");
        let (done, _) = settled(&head(&sent), &redrive).unwrap();
        assert_eq!(done.attributes[name::STATE].text(), Some("settled"));
        let (gone, _) = discarded(&item.key, &head(&sent), "a test of ours").unwrap();
        assert_eq!(settled(&head(&gone), &redrive), None, "a person has decided");
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_told_from_a_part() {
        let now = Timestamp::from_millis(1_700_000_100_000).unwrap();
        let letter = letter("é".repeat(DEAD_LETTER_PART_BYTES_MAX));
        let items = letter.items(now, Duration::ZERO);
        let read = |item: &Item| Head::read(&item.key, &as_read(&item.attributes));
        let (main, parts) = items.split_last().unwrap();
        assert!(parts.iter().all(|part| read(part).is_none()));
        let head = read(main).unwrap();
        assert_eq!((head.key.clone(), head.reason.as_str()), (letter.key, "undecodable_message"));
        assert_eq!((head.parts, head.bytes), (items.len() as i64, letter.body.len() as i64));
        assert_eq!((State::of_tag(&head.state), head.holds_item()), (Some(State::Waiting), false));
        assert!(Head { call: "batch".into(), ..head }.holds_item());
    }
}
