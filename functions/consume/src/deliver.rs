//! The way of a batch from deliveries to fates: decode, claim identities, insert, erase, fold profiles, dead-letter.
//!
//! Messages are worked on in groups, so that the writes of many share calls, and so that time is looked at between
//! them. Every step notes its outcome at the event it belongs to; a message goes back to the queue if any of its events
//! must be tried again.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use shared::clock::{Clock, Timestamp};
use shared::message::Message;
use shared::outcome::{Cause, Outcome};

use crate::claim::claim_identities;
use crate::dead_letter::Letter;
use crate::decode::{Decoded, Delivery, decode};
use crate::erase::erase_late;
use crate::fold::fold_profiles;
use crate::store::{Case, insert_events};
use crate::table::{Insert, Item, Key, Table, insert_all};

/// Events that are worked on together, unless one message has more.
const GROUP_EVENTS: usize = 500;
/// The time that a group may need, and without which none is begun.
const GROUP_TIME: Duration = Duration::from_secs(10);
/// The time before the end of a group at which a long erasure pauses, to go on with the next delivery.
const ERASURE_PAUSE: Duration = Duration::from_secs(5);
/// The time that is kept for answering.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How often a write that others came before is tried again with what they left.
pub(crate) const CONFLICTS_MAX: u32 = 5;
/// Profiles and markers that are written at the same time.
pub(crate) const IN_FLIGHT: usize = 16;

/// The function, with its ports.
pub struct Consume<E, D> {
    events: E,
    dead_letters: D,
    dead_letters_retention: Duration,
    clock: Arc<dyn Clock>,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The positions of the messages that go back to the queue.
    pub failed: Vec<usize>,
    /// Events that were written.
    pub stored: usize,
    /// Events whose fate an earlier delivery of the same message had settled.
    pub stored_before: usize,
    /// Events that others with the same identity had come before.
    pub duplicate: usize,
    /// Events whose subject had been deleted later than they happened.
    pub erased: usize,
    /// Dead letters that were written.
    pub dead_lettered: usize,
    /// The longest time from the arrival of a request to the end of its delivery.
    pub queue_delay: Duration,
}

impl Report {
    fn add(&mut self, part: Report) {
        self.failed.extend(part.failed);
        self.stored += part.stored;
        self.stored_before += part.stored_before;
        self.duplicate += part.duplicate;
        self.erased += part.erased;
        self.dead_lettered += part.dead_lettered;
        self.queue_delay = self.queue_delay.max(part.queue_delay);
    }
}

/// Decodes the next messages up to about [`GROUP_EVENTS`] events; at least one.
fn decode_group(deliveries: &[Delivery]) -> Vec<Decoded> {
    let mut decoded = Vec::new();
    let mut items = 0;
    for delivery in deliveries {
        if items >= GROUP_EVENTS {
            break;
        }
        let next = decode(&delivery.body);
        if let Decoded::Message(message) = &next {
            items += message.events.len() + message.refused.len();
        }
        decoded.push(next);
    }
    decoded
}

impl<E: Table, D: Table> Consume<E, D> {
    /// Puts the function together.
    pub fn new(events: E, dead_letters: D, dead_letters_retention: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { events, dead_letters, dead_letters_retention, clock }
    }

    /// Gives every message of a batch its fate before `deadline`. Those that are not begun in time go back.
    pub async fn deliver(&self, deliveries: &[Delivery], deadline: Timestamp) -> Report {
        let mut report = Report::default();
        let mut start = 0;
        while start < deliveries.len() {
            let decoded = decode_group(&deliveries[start..]);
            let group = start..start + decoded.len();
            match self.deliver_guarded(deliveries, start, &decoded, deadline).await {
                Ok(part) => report.add(part),
                // One of them makes our code panic; alone, it alone bears it.
                Err(Cause::Panicked) if decoded.len() > 1 => {
                    for (position, one) in group.clone().zip(&decoded) {
                        let alone = std::slice::from_ref(one);
                        match self.deliver_guarded(deliveries, position, alone, deadline).await {
                            Ok(part) => report.add(part),
                            Err(_) => report.failed.push(position),
                        }
                    }
                }
                Err(_) => report.failed.extend(group.clone()),
            }
            start = group.end;
        }
        report
    }

    /// Delivers a group within the time that is left, and survives its panic.
    async fn deliver_guarded(
        &self,
        deliveries: &[Delivery],
        start: usize,
        decoded: &[Decoded],
        deadline: Timestamp,
    ) -> Result<Report, Cause> {
        let left = deadline.since(self.clock.now()).saturating_sub(ANSWER_TIME);
        let cause = if left < GROUP_TIME {
            Cause::Unstarted
        } else {
            let work = AssertUnwindSafe(self.deliver_group(deliveries, start, decoded, deadline)).catch_unwind();
            match tokio::time::timeout(left, work).await {
                Ok(Ok(report)) => return Ok(report),
                Ok(Err(_)) => Cause::Panicked,
                Err(_) => Cause::TimedOut,
            }
        };
        tracing::warn!(messages = decoded.len(), cause = cause.tag(), "messages go back");
        Err(cause)
    }

    async fn deliver_group(
        &self,
        deliveries: &[Delivery],
        start: usize,
        decoded: &[Decoded],
        deadline: Timestamp,
    ) -> Report {
        let mut report = Report::default();
        let mut cases = Vec::new();
        let mut letters: Vec<(usize, Letter)> = Vec::new();
        let mut failed: Vec<usize> = Vec::new();
        for (position, (delivery, decoded)) in (start..).zip(deliveries[start..].iter().zip(decoded)) {
            match decoded {
                Decoded::Message(message) => {
                    let count = delivery.receive_count;
                    cases.extend(message.events.iter().map(|event| open_case(position, count, message, event)));
                    let refused = message.refused.iter();
                    letters.extend(refused.map(|item| (position, Letter::of_refused(message, item, count))));
                }
                Decoded::Poison(reason, detail) => {
                    letters.push((position, Letter::of_message(delivery, *reason, detail)));
                }
                Decoded::Panicked => {
                    tracing::error!(message_id = delivery.message_id, "decoding a message panicked");
                    failed.push(position);
                }
            }
        }
        let out_of_time = || deadline.since(self.clock.now()) < ANSWER_TIME + ERASURE_PAUSE;
        claim_identities(&self.events, &mut cases).await;
        insert_events(&self.events, &mut cases).await;
        erase_late(&self.events, &mut cases).await;
        fold_profiles(&self.events, &mut cases, &out_of_time).await;
        for case in &cases {
            match case.outcome {
                Some(Outcome::DeadLettered(reason)) => letters.push((case.delivery, Letter::of_event(case, reason))),
                Some(Outcome::Retry(cause)) => {
                    tracing::debug!(
                        outcome = "retry",
                        cause = cause.tag(),
                        event_id = case.event.id,
                        "event not stored"
                    );
                    failed.push(case.delivery);
                }
                Some(Outcome::Stored | Outcome::StoredBefore | Outcome::Duplicate | Outcome::Erased) => {}
                // An event without a fate would be lost; it is tried again instead.
                None => failed.push(case.delivery),
            }
        }
        report.dead_lettered += self.write_letters(&letters, &mut failed).await;
        account(&cases, self.clock.now(), &mut report);
        failed.sort_unstable();
        failed.dedup();
        report.failed = failed;
        report
    }

    /// Writes dead letters; the message of one that cannot be written goes back. Returns how many are new.
    async fn write_letters(&self, letters: &[(usize, Letter)], failed: &mut Vec<usize>) -> usize {
        let now = self.clock.now();
        let mut items: BTreeMap<Key, (usize, Item)> = BTreeMap::new();
        let mut heads: Vec<(Key, &Letter)> = Vec::new();
        for (position, letter) in letters {
            let parts = letter.items(now, self.dead_letters_retention);
            heads.extend(parts.last().map(|head| (head.key.clone(), letter)));
            items.extend(parts.into_iter().map(|item| (item.key.clone(), (*position, item))));
        }
        // Parts sort behind their heads; written the other way round, a letter is there only when it is whole.
        let (positions, items): (Vec<usize>, Vec<Item>) = items.into_values().rev().unzip();
        let results = insert_all(&self.dead_letters, &items).await;
        let mut written = HashSet::new();
        for ((position, item), result) in positions.iter().zip(&items).zip(results) {
            match result {
                Insert::Done => drop(written.insert(&item.key)),
                Insert::Exists => {}
                Insert::Failed(cause) => {
                    tracing::error!(cause = cause.tag(), "a dead letter could not be written");
                    failed.push(*position);
                }
                Insert::Refused(detail) => {
                    tracing::error!(detail, "the table refuses a dead letter");
                    failed.push(*position);
                }
            }
        }
        let new = heads.into_iter().filter(|(key, _)| written.contains(key));
        new.map(|(_, letter)| {
            let Letter { project, id, reason, stage, .. } = letter;
            tracing::warn!(project, id, reason, ?stage, "dead-lettered");
        })
        .count()
    }
}

fn open_case<'a>(
    delivery: usize,
    receive_count: u32,
    message: &'a Message,
    event: &'a shared::event::Event,
) -> Case<'a> {
    Case { delivery, receive_count, message, event, outcome: None, detail: String::new() }
}

/// Adds a group's outcomes to the report, and tells each at the level for those who look closely.
///
/// What a later delivery finds as an earlier one left it is counted only there. An environment that ends before it has
/// counted leaves its counts out; so the counts are those of deliveries, and close to those of events.
fn account(cases: &[Case<'_>], now: Timestamp, report: &mut Report) {
    for case in cases {
        report.queue_delay = report.queue_delay.max(now.since(case.message.received_at));
        match case.outcome {
            Some(Outcome::Stored) => report.stored += 1,
            Some(Outcome::StoredBefore) => report.stored_before += 1,
            Some(Outcome::Duplicate) if case.receive_count > 1 => report.stored_before += 1,
            Some(Outcome::Duplicate) => report.duplicate += 1,
            Some(Outcome::Erased) => report.erased += 1,
            Some(Outcome::DeadLettered(_) | Outcome::Retry(_)) | None => continue,
        }
        let (outcome, kind) = (case.outcome.map_or("", Outcome::tag), case.event.kind.tag());
        tracing::debug!(
            outcome,
            kind,
            name = case.event.name,
            event_id = case.event.id,
            project = case.message.project,
            "event"
        );
    }
}

#[cfg(test)]
mod tests;
