//! The spill table: messages that the queue did not take are stored from there, or put into the queue later.

use std::time::Duration;

use shared::clock::Timestamp;
use shared::outcome::Cause;
use shared::spill::{HEAD, attribute};

use crate::decode::Delivery;
use crate::deliver::{Consume, Report};
use crate::incoming::SpilledRecord;
use crate::queue::{Outgoing, Queue, send_all};
use crate::table::{Attributes, Key, Table, Value, delete_all, get_all};

/// How long a message is left to the stream, before the sweep puts it into the queue. Whatever has kept it from being
/// stored, in the queue it is waited out, and isolated if it is to blame itself.
const SWEEP_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a part without a head is kept: its message may still be being written, though hardly for so long.
const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The time that a message of the sweep may take, and without which none is begun: four calls of 5 s at the most.
const ITEM_TIME: Duration = Duration::from_secs(20);
/// So many messages in a row that cannot be moved end a sweep.
const SWEEP_ERRORS_MAX: u32 = 3;

/// A message in the spill table.
struct Spilled {
    body: String,
    group: String,
    written_at: Timestamp,
    /// Its items, the head first: without it the others are no message.
    keys: Vec<Key>,
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages that were put into the queue.
    pub enqueued: usize,
    /// Whether it looked at all that there was.
    pub finished: bool,
}

fn number(attributes: &Attributes, name: &str) -> Option<i64> {
    attributes.get(name).and_then(Value::number)
}

fn text(attributes: &Attributes, name: &str) -> String {
    attributes.get(name).and_then(Value::text).unwrap_or_default().to_owned()
}

fn written_at(attributes: &Attributes) -> Timestamp {
    Timestamp::from_millis_clamped(number(attributes, attribute::WRITTEN_AT).unwrap_or_default())
}

impl<T: Table, Q: Queue> Consume<T, Q> {
    /// Stores the messages of changes of the spill table, one after the other, and takes them away. The positions of
    /// what must come again are those of the changes.
    pub async fn deliver_spilled(&self, records: &[SpilledRecord], deadline: Timestamp) -> Report {
        let mut report = Report::default();
        for (position, record) in records.iter().enumerate().filter(|(_, record)| record.part == HEAD) {
            match self.deliver_one_spilled(&record.id, deadline).await {
                Ok(part) => report.add(part),
                Err(cause) => report.failed.note(position, cause),
            }
        }
        report
    }

    async fn deliver_one_spilled(&self, id: &str, deadline: Timestamp) -> Result<Report, Cause> {
        // What is no longer there has been dealt with before.
        let Some(spilled) = self.read_spilled(id).await? else { return Ok(Report::default()) };
        let delivery = Delivery {
            message_id: format!("spilled:{id}"),
            body: spilled.body,
            // A stream does not tell; it may have been brought before.
            receive_count: 2,
            sent_at: spilled.written_at,
            receipt_handle: String::new(),
            group: spilled.group,
            redrive: None,
        };
        let report = self.deliver(&[delivery], deadline).await;
        if let Some((_, cause)) = report.failed.iter().next() {
            return Err(cause);
        }
        self.take_away(&spilled.keys).await?;
        Ok(report)
    }

    /// Reads a message with all its parts; `None` if its head is not there.
    async fn read_spilled(&self, id: &str) -> Result<Option<Spilled>, Cause> {
        let key = |number: usize| Key { pk: id.to_owned(), sk: number.to_string() };
        let mut found = get_all(&self.ports.spill, vec![key(0)], None).await?;
        let Some(head) = found.remove(&key(0)) else { return Ok(None) };
        let parts = number(&head, attribute::PARTS).and_then(|parts| usize::try_from(parts).ok()).unwrap_or(1);
        let keys: Vec<Key> = (0..parts).map(key).collect();
        let further = get_all(&self.ports.spill, keys[1..].to_vec(), None).await?;
        let mut body = text(&head, attribute::BODY);
        for key in &keys[1..] {
            // The head was written last, so a part that is missing has been taken away since, and the head with it.
            let Some(part) = further.get(key) else {
                tracing::error!(id, part = key.sk, "a spilled message lacks a part");
                return Ok(None);
            };
            body.push_str(&text(part, attribute::BODY));
        }
        Ok(Some(Spilled { body, group: text(&head, attribute::GROUP), written_at: written_at(&head), keys }))
    }

    /// Takes a message away, its head first: without it the others are no message.
    async fn take_away(&self, keys: &[Key]) -> Result<(), Cause> {
        let (head, parts) = keys.split_at(1);
        delete_all(&self.ports.spill, head).await?;
        delete_all(&self.ports.spill, parts).await
    }

    /// Puts what has been in the spill table for long into the queue, as far as the queue takes it and time allows. What
    /// goes wrong with one message does not keep the others.
    ///
    /// # Errors
    /// The table could not be read, or three messages in a row could not be moved, or some in between. The
    /// next sweep begins anew.
    pub async fn sweep(&self, deadline: Timestamp) -> Result<Swept, Cause> {
        let mut swept = Swept::default();
        let mut errors = Errors::default();
        let mut after = None;
        loop {
            let page = self.ports.spill.scan(after.as_ref()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, attributes) in page {
                if deadline.since(self.clock.now()) < ITEM_TIME {
                    return errors.first.map_or(Ok(swept), Err);
                }
                match self.sweep_item(&key, &attributes).await {
                    Ok(enqueued) => {
                        swept.enqueued += usize::from(enqueued);
                        errors.in_a_row = 0;
                    }
                    Err(cause) => errors.note(cause)?,
                }
            }
        }
        swept.finished = true;
        errors.first.map_or(Ok(swept), Err)
    }

    /// Moves a message to the queue if its head is that old, and removes a part that has none. Returns whether it moved
    /// one.
    async fn sweep_item(&self, key: &Key, attributes: &Attributes) -> Result<bool, Cause> {
        let age = self.clock.now().since(written_at(attributes));
        if key.sk != HEAD {
            let head = Key { pk: key.pk.clone(), sk: HEAD.to_owned() };
            if age >= ORPHAN_AFTER && get_all(&self.ports.spill, vec![head], Some(attribute::PARTS)).await?.is_empty() {
                delete_all(&self.ports.spill, std::slice::from_ref(key)).await?;
            }
            return Ok(false);
        }
        if age < SWEEP_AFTER {
            return Ok(false);
        }
        let Some(spilled) = self.read_spilled(&key.pk).await? else { return Ok(false) };
        let message = Outgoing { group: spilled.group, body: spilled.body, redrive: None };
        send_all(&self.ports.queue, &[message]).await?;
        self.take_away(&spilled.keys).await?;
        Ok(true)
    }
}

/// What went wrong in a sweep.
#[derive(Default)]
struct Errors {
    first: Option<Cause>,
    in_a_row: u32,
}

impl Errors {
    /// Notes one more; so many in a row are the service's fault, and end the sweep.
    fn note(&mut self, cause: Cause) -> Result<(), Cause> {
        self.first.get_or_insert(cause);
        self.in_a_row += 1;
        if self.in_a_row >= SWEEP_ERRORS_MAX { Err(cause) } else { Ok(()) }
    }
}
