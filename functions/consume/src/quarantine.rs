//! The quarantine: messages that ended the function, or were in a batch with what did, each delivered alone.
//!
//! Before each delivery a mark is written, and taken away after it; so the marks that are left tell how often a message
//! has ended the function. The second time, a message of several events is taken apart, so that the one that is to blame
//! stands alone. The fourth time it is dead-lettered without being read.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::message::Message;
use shared::outcome::{Cause, Reason};

use crate::dead_letter::{Letter, Stage};
use crate::decode::{Decoded, Delivery, decode};
use crate::deliver::{Consume, Report};
use crate::letters::Letters;
use crate::queue::{Outgoing, Queue, send_all};
use crate::table::{Guard, Item, Key, Replace, Table, Value, get_all};

/// Deliveries of a quarantined message that may end the function, before it is dead-lettered without being read.
const TRIES: i64 = 3;
/// How many deliveries have begun and not ended.
const BEGUN: &str = "begun";
/// How long a mark is kept, in seconds: as long as a message can be in the quarantine (14 days, the most that SQS keeps
/// one) and a day.
const MARK_LIFE_SECONDS: i64 = 15 * 24 * 60 * 60;

fn mark(delivery: &Delivery) -> Key {
    Key { pk: format!("QUARANTINE#{}", delivery.message_id), sk: "BEGUN".to_owned() }
}

impl<T: Table, Q: Queue> Consume<T, Q> {
    /// Gives a quarantined message its fate before `deadline`, or takes it apart.
    pub async fn deliver_quarantined(&self, delivery: &Delivery, deadline: Timestamp) -> Report {
        let begun = match self.begin(delivery).await {
            Ok(begun) => begun,
            // Without the mark nobody would know what became of it, and without the table nothing could be stored.
            Err(cause) => return failed(cause),
        };
        let report = if begun >= TRIES {
            self.bury(delivery, begun).await
        } else if let Some(parts) = (begun > 0).then(|| take_apart(delivery)).flatten() {
            self.send_parts(delivery, &parts).await
        } else {
            self.deliver(std::slice::from_ref(delivery), deadline).await
        };
        // A panic that was caught is as good as a crash.
        if !report.failed.iter().any(|(_, cause)| cause == Cause::Panicked) {
            self.end(delivery, begun).await;
        }
        report
    }

    /// Marks that a delivery begins. Returns how many have begun before and not ended.
    async fn begin(&self, delivery: &Delivery) -> Result<i64, Cause> {
        let key = mark(delivery);
        let found = get_all(&self.ports.dead_letters, vec![key.clone()], None).await?;
        let present = found.get(&key).and_then(|item| item.get(BEGUN)).and_then(Value::number);
        let begun = present.unwrap_or(0);
        let guard = present.map_or(Guard::Absent, |present| Guard::Equals(BEGUN, present));
        match self.ports.dead_letters.replace(&self.marked(key, begun + 1), guard).await {
            Ok(true) => Ok(begun),
            // The same message is being delivered twice at a time.
            Ok(false) => Err(Cause::Contended),
            Err(Replace::Failed(cause)) => Err(cause),
            Err(Replace::Refused(_)) => Err(Cause::Denied),
        }
    }

    /// Takes the mark of a delivery away. Where that fails, the message is held to have ended the function once more than
    /// it has.
    async fn end(&self, delivery: &Delivery, begun: i64) {
        let key = mark(delivery);
        let ended = if begun == 0 {
            self.ports.dead_letters.delete(&[key]).await.is_ok()
        } else {
            let item = self.marked(key, begun);
            self.ports.dead_letters.replace(&item, Guard::Equals(BEGUN, begun + 1)).await == Ok(true)
        };
        if !ended {
            tracing::warn!(message_id = delivery.message_id, "the mark of a delivery is left behind");
        }
    }

    fn marked(&self, key: Key, begun: i64) -> Item {
        let mut item = Item { key, attributes: BTreeMap::new() };
        item.number(BEGUN, begun);
        item.number("ttl", self.clock.now().as_millis() / 1000 + MARK_LIFE_SECONDS);
        item
    }

    /// Dead-letters a message without reading it.
    async fn bury(&self, delivery: &Delivery, begun: i64) -> Report {
        let detail = format!("{begun} deliveries of this message alone ended the function; it has not been read again");
        let letter = Letter::of_message(delivery, Stage::Quarantine, Reason::CrashedConsumer, &detail);
        let redrives = delivery.redrive.iter().map(|redrive| (0, redrive)).collect();
        let letters = Letters { letters: vec![(0, letter)], redrives };
        let mut report = Report::default();
        let (now, retention) = (self.clock.now(), self.dead_letters_retention);
        report.dead_lettered = letters.write(&self.ports.dead_letters, now, retention, &mut report.failed).await;
        report
    }

    /// Puts what a message was taken apart into the quarantine again, each event a message of its own.
    async fn send_parts(&self, delivery: &Delivery, parts: &[Message]) -> Report {
        let messages: Vec<Outgoing> = parts
            .iter()
            .map(|part| Outgoing { group: delivery.group.clone(), body: part.encode(), redrive: None })
            .collect();
        if let Err(cause) = send_all(&self.ports.quarantine, &messages).await {
            return failed(cause);
        }
        tracing::warn!(message_id = delivery.message_id, parts = parts.len(), "a quarantined message was taken apart");
        // A letter that it comes from is done with: from here on each part is on its own.
        let redrives = delivery.redrive.iter().map(|redrive| (0, redrive)).collect();
        let letters = Letters { letters: vec![], redrives };
        let mut report = Report::default();
        let (now, retention) = (self.clock.now(), self.dead_letters_retention);
        letters.write(&self.ports.dead_letters, now, retention, &mut report.failed).await;
        report
    }
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
