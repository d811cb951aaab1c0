//! The way of a batch from deliveries to fates: decode, claim identities, insert, erase what comes too late, note links,
//! fold profiles, erase who is deleted, dead-letter.
//!
//! Messages are worked on in groups, so that the writes of many share calls, and so that time is looked at between
//! them. Every step notes its outcome at the event it belongs to; a message goes back to the queue if any of its events
//! must be tried again.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use shared::clock::{Clock, Timestamp};
use shared::message::Message;
use shared::outcome::{Cause, Outcome};

use crate::claim::claim_identities;
use crate::dead_letter::{Letter, Stage};
use crate::decode::{Decoded, Delivery, decode};
use crate::delete::erase_deleted;
use crate::fold::fold_profiles;
use crate::insert::insert_events;
use crate::late::erase_late;
use crate::letters::Letters;
use crate::links::note_links;
use crate::packed::Packing;
use crate::period::Period;
use crate::queue::Queue;
use crate::receipts::write_lists;
use crate::settle::Failed;
use crate::store::{Case, origin};
use crate::table::Table;
use crate::verify::verify_keys;

/// Events that are worked on together, unless one message has more.
pub(crate) const GROUP_EVENTS: usize = 500;
/// The time that a group may need, and without which none is begun.
const GROUP_TIME: Duration = Duration::from_secs(10);
/// The time before the end of a group at which a long erasure pauses, to go on with the next delivery.
const ERASURE_PAUSE: Duration = Duration::from_secs(5);
/// The time that is kept for answering, and for letting what goes back wait.
const ANSWER_TIME: Duration = Duration::from_secs(4);
/// How often a write that others came before is tried again with what they left.
pub(crate) const CONFLICTS_MAX: u32 = 5;
/// Profiles and markers that are written at the same time.
pub(crate) const IN_FLIGHT: usize = 16;

/// The services around the function: three tables and two queues.
#[derive(Clone, Debug)]
pub struct Ports<T, Q> {
    /// Events, profiles, markers and write keys.
    pub events: T,
    /// Dead letters, and the marks of the quarantine.
    pub dead_letters: T,
    /// Messages that the queue did not take.
    pub spill: T,
    /// Where messages come from.
    pub queue: Q,
    /// Where those go that ended the function, or used up their receives.
    pub quarantine: Q,
}

/// The function, with its ports.
pub struct Consume<T, Q> {
    pub(crate) ports: Ports<T, Q>,
    pub(crate) dead_letters_retention: Duration,
    pub(crate) packing: Packing,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The messages that must come again.
    pub failed: Failed,
    /// Events that were written.
    pub stored: usize,
    /// Events whose fate an earlier delivery of the same message had settled.
    pub stored_before: usize,
    /// Events that others with the same identity had come before.
    pub duplicate: usize,
    /// Events whose subject had been deleted later than they happened.
    pub erased: usize,
    /// Dead letters that were written, by their reasons.
    pub dead_lettered: BTreeMap<String, usize>,
    /// The longest time from the arrival of a request to the end of its delivery.
    pub queue_delay: Duration,
}

impl Report {
    /// Adds what another part of the batch came to.
    pub fn add(&mut self, part: Report) {
        self.failed.extend(part.failed);
        self.stored += part.stored;
        self.stored_before += part.stored_before;
        self.duplicate += part.duplicate;
        self.erased += part.erased;
        for (reason, letters) in part.dead_lettered {
            *self.dead_lettered.entry(reason).or_insert(0) += letters;
        }
        self.queue_delay = self.queue_delay.max(part.queue_delay);
    }

    /// Adds what the message at `position` came to, which was delivered as a batch of one.
    pub fn add_at(&mut self, position: usize, mut alone: Report) {
        for (_, cause) in std::mem::take(&mut alone.failed).iter() {
            self.failed.note(position, cause);
        }
        self.add(alone);
    }
}

/// The order of work: first what has never been received before, then each message that has been, alone and in an order
/// that is another each time.
///
/// A message that ends the function is among the latter from its second receive on. So it takes no new one along; and of
/// those that shared a batch with it, each has its events stored before it as soon as chance puts it in front of it.
fn groups(deliveries: &[Delivery]) -> (Vec<usize>, Vec<usize>) {
    let (new, mut again): (Vec<usize>, Vec<usize>) =
        (0..deliveries.len()).partition(|position| deliveries[*position].receive_count <= 1);
    again.sort_by_cached_key(|position| {
        let Delivery { message_id, receive_count, .. } = &deliveries[*position];
        shared::keys::hash(&[message_id, &receive_count.to_string()])
    });
    (new, again)
}

/// Decodes messages up to about [`GROUP_EVENTS`] events; at least one.
fn decode_group<'a>(deliveries: &'a [Delivery], positions: &[usize]) -> Vec<(usize, &'a Delivery, Decoded)> {
    let mut group = Vec::new();
    let mut items = 0;
    for position in positions {
        if items >= GROUP_EVENTS {
            break;
        }
        let delivery = &deliveries[*position];
        let decoded = decode(&delivery.body);
        if let Decoded::Message(message) = &decoded {
            items += message.events.len() + message.refused.len();
        }
        group.push((*position, delivery, decoded));
    }
    group
}

impl<T: Table, Q: Queue> Consume<T, Q> {
    /// Puts the function together.
    pub fn new(ports: Ports<T, Q>, dead_letters_retention: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { ports, dead_letters_retention, packing: Period::NEVER.into(), clock }
    }

    /// Keeps these events in bundles; without it, none.
    #[must_use]
    pub fn packed(self, packing: impl Into<Packing>) -> Self {
        Self { packing: packing.into(), ..self }
    }

    /// Gives every message of a batch its fate before `deadline`. Those that are not begun in time go back.
    pub async fn deliver(&self, deliveries: &[Delivery], deadline: Timestamp) -> Report {
        let mut report = Report::default();
        let (new, again) = groups(deliveries);
        let mut left = new.as_slice();
        while !left.is_empty() {
            let mut group = decode_group(deliveries, left);
            left = &left[group.len()..];
            match self.deliver_guarded(&mut group, deadline).await {
                Ok(part) => report.add(part),
                // One of them makes our code panic; alone, it alone bears it.
                Err(Cause::Panicked) if group.len() > 1 => {
                    for one in &mut group {
                        report.add(self.deliver_alone(std::slice::from_mut(one), deadline).await);
                    }
                }
                Err(cause) => group.iter().for_each(|(position, ..)| report.failed.note(*position, cause)),
            }
        }
        for position in &again {
            let mut group = decode_group(deliveries, std::slice::from_ref(position));
            report.add(self.deliver_alone(&mut group, deadline).await);
        }
        report
    }

    async fn deliver_alone(&self, group: &mut [(usize, &Delivery, Decoded)], deadline: Timestamp) -> Report {
        self.deliver_guarded(group, deadline).await.unwrap_or_else(|cause| {
            let mut report = Report::default();
            group.iter().for_each(|(position, ..)| report.failed.note(*position, cause));
            report
        })
    }

    /// Delivers a group within the time that is left, and survives its panic.
    async fn deliver_guarded(
        &self,
        group: &mut [(usize, &Delivery, Decoded)],
        deadline: Timestamp,
    ) -> Result<Report, Cause> {
        let left = deadline.since(self.clock.now()).saturating_sub(ANSWER_TIME);
        let messages = group.len();
        let cause = if left < GROUP_TIME {
            Cause::Unstarted
        } else {
            let work = AssertUnwindSafe(self.deliver_group(group, deadline)).catch_unwind();
            match tokio::time::timeout(left, work).await {
                Ok(Ok(report)) => return Ok(report),
                Ok(Err(_)) => Cause::Panicked,
                Err(_) => Cause::TimedOut,
            }
        };
        tracing::warn!(messages, cause = cause.tag(), "messages go back");
        Err(cause)
    }

    async fn deliver_group(&self, group: &mut [(usize, &Delivery, Decoded)], deadline: Timestamp) -> Report {
        let mut report = Report::default();
        let mut cases = Vec::new();
        let mut letters = Letters::default();
        verify_keys(&self.ports.events, group.iter_mut().map(|(_, _, decoded)| decoded).collect()).await;
        for (position, delivery, decoded) in &*group {
            letters.redrives.extend(delivery.redrive.as_ref().map(|redrive| (*position, redrive)));
            match decoded {
                Decoded::Message(message) => {
                    let count = delivery.receive_count;
                    cases.extend(message.events.iter().map(|event| open_case(*position, count, message, event)));
                    let refused = message.refused.iter();
                    letters.letters.extend(refused.map(|item| (*position, Letter::of_refused(message, item, count))));
                }
                Decoded::Poison(reason, detail) => {
                    letters.letters.push((*position, Letter::of_message(delivery, Stage::Decode, *reason, detail)));
                }
                Decoded::Retry(cause) => report.failed.note(*position, *cause),
            }
        }
        let out_of_time = || deadline.since(self.clock.now()) < ANSWER_TIME + ERASURE_PAUSE;
        let events = &self.ports.events;
        claim_identities(events, &mut cases).await;
        insert_events(events, &mut cases, self.packing).await;
        let now = self.clock.now();
        erase_late(events, &mut cases, now).await;
        note_links(events, &self.ports.dead_letters, &mut cases, now, &out_of_time).await;
        fold_profiles(events, &mut cases, now, &out_of_time).await;
        erase_deleted(events, &self.ports.dead_letters, &mut cases, now, &out_of_time).await;
        let messages = group.iter().filter_map(|(position, _, decoded)| match decoded {
            Decoded::Message(message) => Some((*position, &**message)),
            Decoded::Poison(..) | Decoded::Retry(_) => None,
        });
        write_lists(events, messages, &mut report.failed).await;
        for case in &cases {
            match case.outcome {
                Some(Outcome::DeadLettered(reason)) => {
                    letters.letters.push((case.delivery, Letter::of_event(case, reason)));
                }
                Some(Outcome::Retry(cause)) => {
                    tracing::debug!(
                        outcome = "retry",
                        cause = cause.tag(),
                        event_id = case.event.id,
                        "event not stored"
                    );
                    report.failed.note(case.delivery, cause);
                }
                Some(Outcome::Stored | Outcome::StoredBefore | Outcome::Duplicate | Outcome::Erased) => {}
                // An event without a fate would be lost; it is tried again instead.
                None => report.failed.note(case.delivery, Cause::Unstarted),
            }
        }
        let now = self.clock.now();
        let retention = self.dead_letters_retention;
        report.dead_lettered =
            letters.write(events, &self.ports.dead_letters, now, retention, &mut report.failed).await;
        account(&cases, self.clock.now(), &mut report);
        report
    }
}

fn open_case<'a>(
    delivery: usize,
    receive_count: u32,
    message: &'a Message,
    event: &'a shared::event::Event,
) -> Case<'a> {
    Case { delivery, receive_count, message, event, bundle: None, outcome: None, detail: String::new() }
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
            origin = origin(case.message, case.event),
            "event"
        );
    }
}

#[cfg(test)]
mod tests;
