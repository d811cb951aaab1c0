//! The way of a batch from deliveries to fates: decode, fold profiles, claim identities, insert, dead-letter.
//!
//! Messages are worked on in groups, so that the writes of many share calls, and so that time is looked at between
//! them. Every step notes its outcome at the event it belongs to; a message goes back to the queue if any of its events
//! must be tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use shared::clock::{Clock, Timestamp};
use shared::limits::PROFILE_BYTES_MAX;
use shared::message::Message;
use shared::outcome::{Cause, Outcome, Reason};

use crate::dead_letter::Letter;
use crate::decode::{Decoded, Delivery, decode};
use crate::marker::{Claim, Marker, VERSION, Verdict};
use crate::profile::{Operation, Profile};
use crate::store::{Case, insert_events, partition};
use crate::table::{Guard, Insert, Item, Key, Replace, Table, get_all, insert_all};

/// Events that are worked on together, unless one message has more.
const GROUP_EVENTS: usize = 500;
/// The time that a group may need, and without which none is begun.
const GROUP_TIME: Duration = Duration::from_secs(10);
/// The time that is kept for answering.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How often a write that others came before is tried again with what they left.
const CONFLICTS_MAX: usize = 5;
/// Profiles and markers that are written at the same time.
const IN_FLIGHT: usize = 16;

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
    /// Events that an earlier delivery of the same message had written.
    pub stored_before: usize,
    /// Events that others with the same identity had come before.
    pub duplicate: usize,
    /// Dead letters that were written.
    pub dead_lettered: usize,
    /// The longest time from the arrival of a request to the end of its delivery.
    pub queue_delay: Duration,
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
            let mut decoded = Vec::new();
            let mut events = 0;
            while start + decoded.len() < deliveries.len() && (decoded.is_empty() || events < GROUP_EVENTS) {
                let next = decode(&deliveries[start + decoded.len()].body);
                if let Decoded::Message(message) = &next {
                    events += message.events.len() + message.refused.len();
                }
                decoded.push(next);
            }
            let group = start..start + decoded.len();
            let left = deadline.since(self.clock.now()).saturating_sub(ANSWER_TIME);
            if left < GROUP_TIME {
                tracing::warn!(unstarted = deliveries.len() - start, "the time ran out");
                report.failed.extend(start..deliveries.len());
                break;
            }
            if tokio::time::timeout(left, self.deliver_group(deliveries, start, &decoded, &mut report)).await.is_err() {
                tracing::warn!(messages = decoded.len(), "the time ran out in the middle of a group");
                report.failed.extend(group.clone());
            }
            start = group.end;
        }
        report
    }

    async fn deliver_group(&self, deliveries: &[Delivery], start: usize, decoded: &[Decoded], report: &mut Report) {
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
        self.fold_profiles(&mut cases).await;
        self.claim_identities(&mut cases).await;
        insert_events(&self.events, &mut cases).await;
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
                Some(Outcome::Stored | Outcome::StoredBefore | Outcome::Duplicate) => {}
                // An event without a fate would be lost; it is tried again instead.
                None => failed.push(case.delivery),
            }
        }
        report.dead_lettered += self.write_letters(&letters, &mut failed).await;
        account(&cases, self.clock.now(), report);
        failed.sort_unstable();
        failed.dedup();
        report.failed.extend(failed);
    }

    /// Brings the profiles of the batch's subjects up to date. Duplicates are folded like all others: the fold is made
    /// to take them, and so its result does not depend on which of two came first.
    async fn fold_profiles(&self, cases: &mut [Case<'_>]) {
        let mut operations: BTreeMap<Key, Vec<(usize, Operation)>> = BTreeMap::new();
        for (position, case) in cases.iter().enumerate() {
            if let Some(operation) = Operation::of(case.event) {
                let pk = partition(&case.message.project, &case.event.subject);
                operations.entry(Key { pk, sk: "PROFILE".to_owned() }).or_default().push((position, operation));
            }
        }
        let results: Vec<_> = stream::iter(operations)
            .map(|(key, operations)| async move {
                let result = self.fold_profile(&key, &operations).await;
                (operations, result)
            })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        for (operations, result) in results {
            for (position, _) in operations {
                match &result {
                    Ok(too_large) if too_large.contains(&position) => {
                        let detail = "the profile would grow beyond its limit".to_owned();
                        cases[position].dead(Reason::ProfileTooLarge, detail);
                    }
                    Ok(_) => {}
                    Err(cause) => cases[position].retry(*cause),
                }
            }
        }
    }

    /// Folds operations into one profile. Returns the positions of those that it has no room for.
    async fn fold_profile(&self, key: &Key, operations: &[(usize, Operation)]) -> Result<Vec<usize>, Cause> {
        for _ in 0..CONFLICTS_MAX {
            let found = get_all(&self.events, vec![key.clone()]).await?;
            let attributes = found.get(key);
            let text = attributes.and_then(|attributes| attributes.get("traits")).and_then(|value| value.text());
            let version = attributes.and_then(|attributes| attributes.get(VERSION)).and_then(|value| value.number());
            let mut profile = Profile::decode(text.unwrap_or("{}")).map_err(|error| {
                tracing::error!(%error, "a stored profile cannot be read");
                Cause::Denied
            })?;
            let (changed, too_large) = fold(&mut profile, operations);
            if !changed {
                return Ok(too_large);
            }
            let mut item = Item { key: key.clone(), attributes: BTreeMap::new() };
            item.text("traits", profile.encode());
            item.number(VERSION, version.unwrap_or(0) + 1);
            let guard = version.map_or(Guard::Absent, |version| Guard::Equals(VERSION, version));
            match self.events.replace(&item, guard).await {
                Ok(true) => return Ok(too_large),
                Ok(false) => {}
                Err(Replace::Failed(cause)) => return Err(cause),
                Err(Replace::Refused(_)) => return Ok(operations.iter().map(|(position, _)| *position).collect()),
            }
        }
        Err(Cause::Contended)
    }

    /// Finds out which events are the first of their identity, where their key alone cannot tell.
    async fn claim_identities(&self, cases: &mut [Case<'_>]) {
        let mut claims: BTreeMap<Key, Vec<(usize, Claim)>> = BTreeMap::new();
        for (position, case) in cases.iter().enumerate().filter(|(_, case)| case.outcome.is_none()) {
            if let Some(claim) = Claim::of(case.event, case.message) {
                claims.entry(claim.key.clone()).or_default().push((position, claim));
            }
        }
        let mut claims: Vec<Vec<(usize, Claim)>> = claims.into_values().collect();
        for group in &mut claims {
            group.sort_by_key(|(_, claim)| claim.received_at);
        }
        let items: Vec<Item> = claims.iter().map(|group| group[0].1.marker().item(&group[0].1)).collect();
        let inserted = insert_all(&self.events, &items).await;
        let results: Vec<_> = stream::iter(claims.into_iter().zip(inserted))
            .map(|(group, inserted)| async move { self.judge(&group, inserted).await })
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        for (position, outcome) in results.into_iter().flatten() {
            cases[position].outcome = outcome;
        }
    }

    /// Judges the events of one identity, the earliest first, after an attempt to claim it for that one.
    async fn judge(&self, group: &[(usize, Claim)], inserted: Insert) -> Vec<(usize, Option<Outcome>)> {
        let mut marker = match inserted {
            Insert::Done => Ok(Some(group[0].1.marker())),
            Insert::Exists => Ok(None),
            Insert::Failed(cause) => Err(cause),
            // The marker's key is made of a checked project and a hash: only the table's own settings can refuse it.
            Insert::Refused(_) => Err(Cause::Denied),
        };
        let mut outcomes = Vec::with_capacity(group.len());
        for (position, claim) in group {
            let judged = match &mut marker {
                Ok(known) => self.judge_one(claim, known).await,
                Err(cause) => Err(*cause),
            };
            outcomes.push((*position, judged.unwrap_or_else(|cause| Some(Outcome::Retry(cause)))));
        }
        outcomes
    }

    /// Judges one event by the marker as far as it is known, reading it where it is not. `None` means that the event is
    /// the first and may be stored.
    async fn judge_one(&self, claim: &Claim, known: &mut Option<Marker>) -> Result<Option<Outcome>, Cause> {
        for _ in 0..CONFLICTS_MAX {
            let marker = match known.take() {
                Some(marker) => marker,
                None => {
                    let found = get_all(&self.events, vec![claim.key.clone()]).await?;
                    found.get(&claim.key).and_then(Marker::read).ok_or(Cause::Contended)?
                }
            };
            match marker.judge(claim) {
                Verdict::First => {
                    *known = Some(marker);
                    return Ok(None);
                }
                Verdict::Duplicate => {
                    *known = Some(marker);
                    return Ok(Some(Outcome::Duplicate));
                }
                Verdict::Begins(next) => {
                    let guard = Guard::Equals(VERSION, marker.version());
                    match self.events.replace(&next.item(claim), guard).await {
                        Ok(true) => {
                            *known = Some(next);
                            return Ok(None);
                        }
                        Ok(false) => {}
                        Err(Replace::Failed(cause)) => return Err(cause),
                        Err(Replace::Refused(_)) => return Err(Cause::Denied),
                    }
                }
            }
        }
        Err(Cause::Contended)
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
        let mut written = Vec::new();
        for ((position, item), result) in positions.iter().zip(&items).zip(results) {
            match result {
                Insert::Done => written.push(&item.key),
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
        let new = heads.into_iter().filter(|(key, _)| written.contains(&key));
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

/// Applies operations one after another, leaving out those that would make the profile too large. Returns whether
/// anything changed, and the positions of those left out.
fn fold(profile: &mut Profile, operations: &[(usize, Operation)]) -> (bool, Vec<usize>) {
    let before = profile.clone();
    let changed = operations.iter().fold(false, |changed, (_, operation)| profile.apply(operation) || changed);
    if profile.encode().len() <= PROFILE_BYTES_MAX {
        return (changed, vec![]);
    }
    // Only where they do not all fit, each is weighed on its own.
    *profile = before;
    let (mut changed, mut too_large) = (false, Vec::new());
    for (position, operation) in operations {
        let before = profile.clone();
        if profile.apply(operation) {
            if profile.encode().len() > PROFILE_BYTES_MAX {
                *profile = before;
                too_large.push(*position);
            } else {
                changed = true;
            }
        }
    }
    (changed, too_large)
}

/// Adds a group's outcomes to the report, and tells each at the level for those who look closely.
fn account(cases: &[Case<'_>], now: Timestamp, report: &mut Report) {
    for case in cases {
        match case.outcome {
            Some(Outcome::Stored) => report.stored += 1,
            Some(Outcome::StoredBefore) => report.stored_before += 1,
            Some(Outcome::Duplicate) => report.duplicate += 1,
            Some(Outcome::DeadLettered(_) | Outcome::Retry(_)) | None => continue,
        }
        report.queue_delay = report.queue_delay.max(now.since(case.message.received_at));
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
