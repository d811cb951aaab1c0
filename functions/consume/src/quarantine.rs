//! The quarantine: messages that ended the function, or were in a batch with what did, each delivered alone.
//!
//! Before each delivery its beginning is noted in the message's mark, and taken out again after it; so what is left there
//! tells how often the message has ended the function. Each delivery has an entry of its own, by which a write whose reply
//! was lost is recognised, and two deliveries at a time are not taken for one that ended. The second time, a message of
//! several events is taken apart, so that the one that is to blame stands alone. The fourth time it is dead-lettered
//! without being read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::message::Message;
use shared::outcome::{Cause, Reason};

use crate::dead_letter::{Letter, Stage};
use crate::decode::{Decoded, Delivery, decode};
use crate::deliver::{CONFLICTS_MAX, Consume, Report};
use crate::letters::Letters;
use crate::queue::{Outgoing, Queue, send_all};
use crate::table::{Attributes, Guard, Item, Key, Table, Value, get_all, pause_before};

/// Deliveries of a quarantined message that may end the function, before it is dead-lettered without being read.
const TRIES: usize = 3;
/// The deliveries that have begun and not ended.
const BEGUN: &str = "begun";
/// The number that changes with every write of a mark.
const VERSION: &str = "ver";
/// For how long a delivery that has not ended may still be running: twice the function's time-out. A message that ended
/// the function comes back only later, by its visibility time-out.
const MAY_RUN: Duration = Duration::from_secs(2 * 60);
/// The time that must be left for a delivery to be begun, with what is noted after it.
const DELIVERY_TIME: Duration = Duration::from_secs(40);
/// The time that must be left for something to be noted: two calls of DynamoDB, each of which may take 5 s.
const NOTE_TIME: Duration = Duration::from_secs(11);
/// How long a mark is kept, in seconds: as long as a message can be in the quarantine (14 days, the most that SQS keeps
/// one) and a day.
const MARK_LIFE_SECONDS: i64 = 15 * 24 * 60 * 60;
/// How long one is kept in which nothing is noted, in seconds: a day, far longer than a call that nobody waits for any more
/// can be under way.
const EMPTY_MARK_LIFE_SECONDS: i64 = 24 * 60 * 60;

/// A delivery that has begun: which, when in milliseconds, whether it was to take the message apart, and whether it is
/// known that its time was too short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun(String, i64, bool, #[serde(default)] bool);

/// What earlier deliveries of a message have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Past {
    /// How many have ended the function.
    ended: usize,
    /// Whether it was to be taken apart in one of them.
    apart: bool,
    /// Whether the time of one was too short. That is no end of the function, but calls for taking it apart as well.
    slow: bool,
}

/// What remains of a delivery that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remains {
    Nothing,
    /// It is held to have ended the function.
    Crash,
    /// Its time was too short.
    Slow,
}

impl Begun {
    /// Whether it has ended the function. One that may still be running has not.
    fn has_ended(&self, now: Timestamp) -> bool {
        !self.3 && now.since(Timestamp::from_millis_clamped(self.1)) >= MAY_RUN
    }
}

fn mark(delivery: &Delivery) -> Key {
    Key { pk: format!("QUARANTINE#{}", delivery.message_id), sk: "BEGUN".to_owned() }
}

/// What tells a delivery from others of the same message.
fn entry(delivery: &Delivery) -> String {
    shared::keys::hash(&["delivery", &delivery.receipt_handle])
}

fn read(mark: &Attributes) -> Vec<Begun> {
    let text = mark.get(BEGUN).and_then(Value::text);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl<T: Table, Q: Queue> Consume<T, Q> {
    /// Gives a quarantined message its fate before `deadline`, or takes it apart.
    pub async fn deliver_quarantined(&self, delivery: &Delivery, deadline: Timestamp) -> Report {
        let past = match self.begin(delivery, deadline).await {
            Ok(past) => past,
            // Without the mark nobody would know what became of it, and without the table nothing could be stored.
            Err(cause) => return failed(cause),
        };
        // Deliveries at one time can use up all tries at once; even so nothing is buried with what is to blame before it
        // was tried to take them apart.
        let unread = past.ended >= TRIES && past.apart;
        let apart = past.ended > 0 || past.slow;
        let report = if let Some(parts) = (apart && !unread).then(|| take_apart(delivery)).flatten() {
            self.send_parts(delivery, &parts, deadline).await
        } else if past.ended >= TRIES {
            self.bury(delivery, past.ended).await
        } else {
            // It must end in time for that to be noted.
            self.deliver(std::slice::from_ref(delivery), earlier(deadline, NOTE_TIME)).await
        };
        // A panic that was caught is as good as a crash. And what cannot be done within one invocation can be in parts; a
        // message of one item goes on where it was. But that the time was too short may as well be DynamoDB's fault.
        let remains = match report.failed.iter().next() {
            Some((_, Cause::Panicked)) => Remains::Crash,
            Some((_, Cause::TimedOut | Cause::Unstarted)) if !apart && take_apart(delivery).is_some() => Remains::Slow,
            _ => Remains::Nothing,
        };
        let gone = report.failed.is_empty() && past.ended < TRIES;
        self.end(delivery, remains, gone, deadline).await;
        report
    }

    /// Notes that a delivery begins. Returns what others have come to.
    async fn begin(&self, delivery: &Delivery, deadline: Timestamp) -> Result<Past, Cause> {
        let (now, own) = (self.clock.now(), entry(delivery));
        let noted = self.note(delivery, deadline, DELIVERY_TIME, |begun| {
            begun.retain(|other| other.0 != own);
            let mut past = Past::default();
            for other in begun.iter() {
                past.slow |= other.3;
                if other.has_ended(now) {
                    past.ended += 1;
                    past.apart |= other.2;
                }
            }
            begun.push(Begun(own.clone(), now.as_millis(), past.ended > 0 || past.slow, false));
            past
        });
        let noted = noted.await;
        if noted.is_err() {
            // It may be noted all the same, though nothing has begun.
            self.end(delivery, Remains::Nothing, false, deadline).await;
        }
        noted
    }

    /// Takes the beginning of a delivery back, but for what remains of it, as of long ago. Where that fails, the message
    /// is held to have ended the function once more than it has. With a message that is gone, stored or taken apart, goes
    /// all that was noted of it.
    async fn end(&self, delivery: &Delivery, remains: Remains, gone: bool, deadline: Timestamp) {
        let own = entry(delivery);
        let noted = self.note(delivery, deadline, NOTE_TIME, |begun| {
            let apart = begun.iter().any(|other| other.0 == own && other.2);
            begun.retain(|other| other.0 != own);
            if remains != Remains::Nothing {
                begun.push(Begun(own.clone(), 0, apart, remains == Remains::Slow));
            }
            if gone {
                begun.clear();
            }
        });
        if noted.await.is_err() {
            tracing::warn!(message_id = delivery.message_id, "the mark of a delivery is left behind");
        }
    }

    /// Changes what is noted of a message's deliveries, again where that goes wrong or somebody else came before, as long
    /// as so much time is left.
    async fn note<R>(
        &self,
        delivery: &Delivery,
        deadline: Timestamp,
        left: Duration,
        change: impl Fn(&mut Vec<Begun>) -> R,
    ) -> Result<R, Cause> {
        let mut result = Err(Cause::Unstarted);
        for attempt in 0..CONFLICTS_MAX {
            pause_before(attempt).await;
            if deadline.since(self.clock.now()) < left {
                break;
            }
            result = self.note_once(delivery, &change).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    async fn note_once<R>(&self, delivery: &Delivery, change: impl Fn(&mut Vec<Begun>) -> R) -> Result<R, Cause> {
        let (key, table) = (mark(delivery), &self.ports.dead_letters);
        let found = get_all(table, vec![key.clone()], None).await?;
        let version = found.get(&key).and_then(|mark| mark.get(VERSION)).and_then(Value::number);
        let mut begun = found.get(&key).map(read).unwrap_or_default();
        let result = change(&mut begun);
        // It is written even where nothing changes, and never taken away: a write that was not answered may have its effect
        // late, and finds another version then.
        let guard = version.map_or(Guard::Absent, |version| Guard::Equals(VERSION, version));
        match table.replace(&self.marked(key, &begun, version.unwrap_or(0) + 1), guard).await {
            Ok(true) => Ok(result),
            Ok(false) => Err(Cause::Contended),
            Err(error) => Err(error.cause()),
        }
    }

    fn marked(&self, key: Key, begun: &[Begun], version: i64) -> Item {
        let mut item = Item { key, attributes: BTreeMap::new() };
        item.text(BEGUN, serde_json::to_string(begun).expect("a mark has only texts and numbers"));
        item.number(VERSION, version);
        let life = if begun.is_empty() { EMPTY_MARK_LIFE_SECONDS } else { MARK_LIFE_SECONDS };
        item.number("ttl", self.clock.now().as_millis() / 1000 + life);
        item
    }

    /// Dead-letters a message without reading it.
    async fn bury(&self, delivery: &Delivery, begun: usize) -> Report {
        let detail = format!("{begun} deliveries of this message alone ended the function; it has not been read again");
        let letter = Letter::of_message(delivery, Stage::Quarantine, Reason::CrashedConsumer, &detail);
        let redrives = delivery.redrive.iter().map(|redrive| (0, redrive)).collect();
        let letters = Letters { letters: vec![(0, letter)], redrives };
        let mut report = Report::default();
        let (now, retention) = (self.clock.now(), self.dead_letters_retention);
        report.dead_lettered =
            letters.write(&self.ports.events, &self.ports.dead_letters, now, retention, &mut report.failed).await;
        report
    }

    /// Puts what a message was taken apart into the quarantine again, each event a message of its own.
    async fn send_parts(&self, delivery: &Delivery, parts: &[Message], deadline: Timestamp) -> Report {
        let messages: Vec<Outgoing> = parts
            .iter()
            .map(|part| Outgoing { group: delivery.group.clone(), body: part.encode(), redrive: None })
            .collect();
        let left = earlier(deadline, NOTE_TIME).since(self.clock.now());
        let sent = tokio::time::timeout(left, send_all(&self.ports.quarantine, &messages)).await;
        if let Err(cause) = sent.unwrap_or(Err(Cause::TimedOut)) {
            return failed(cause);
        }
        tracing::warn!(message_id = delivery.message_id, parts = parts.len(), "a quarantined message was taken apart");
        // A letter that it comes from is done with: from here on each part is on its own.
        let redrives = delivery.redrive.iter().map(|redrive| (0, redrive)).collect();
        let letters = Letters { letters: vec![], redrives };
        let mut report = Report::default();
        let (now, retention) = (self.clock.now(), self.dead_letters_retention);
        letters.write(&self.ports.events, &self.ports.dead_letters, now, retention, &mut report.failed).await;
        report
    }
}

fn earlier(deadline: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis_clamped(deadline.as_millis().saturating_sub(by))
}

fn failed(cause: Cause) -> Report {
    let mut report = Report::default();
    report.failed.note(0, cause);
    report
}

/// A message of several items as messages of one item each; `None` if there is nothing to take apart.
fn take_apart(delivery: &Delivery) -> Option<Vec<Message>> {
    let message = match decode(&delivery.body) {
        Decoded::Message(message) if message.events.len() + message.refused.len() > 1 => message,
        Decoded::Message(_) | Decoded::Poison(..) | Decoded::Retry(_) => return None,
    };
    let envelope = Message { events: vec![], refused: vec![], ..(*message).clone() };
    let events = message.events.into_iter().map(|event| Message { events: vec![event], ..envelope.clone() });
    let refused = message.refused.into_iter().map(|item| Message { refused: vec![item], ..envelope.clone() });
    Some(events.chain(refused).collect())
}
