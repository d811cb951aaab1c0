//! Every change of state as a value. The state machine decides on changes and applies them; the journal writes them
//! and, after a restart, applies them again. So what is replayed is what happened, not a second decision about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::QueueAttributes;
use super::message::Message;
use super::move_tasks::MoveTask;
use super::names::queue_arn;
use super::queue::{Deduplication, Queue};
use super::queues::Queues;

/// A change of state. All times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// A queue exists.
    Created { queue: String, at_ms: i64, attributes: QueueAttributes, tags: BTreeMap<String, String> },
    /// A queue has other attributes.
    AttributesSet { queue: String, at_ms: i64, attributes: QueueAttributes },
    /// A queue has these tags and no others.
    TagsSet { queue: String, tags: BTreeMap<String, String> },
    /// A queue and its messages are gone.
    Deleted { queue: String, at_ms: i64 },
    /// A queue's messages are gone.
    Purged { queue: String, at_ms: i64 },
    /// A message is in a queue; also how a compacted journal says what there is.
    Sent { queue: String, message: Message },
    /// A FIFO queue remembers a deduplication id; only in a compacted journal, for [`Change::Sent`] implies it.
    Remembered { queue: String, key: String, first: Deduplication },
    /// A message was delivered, and is hidden until a time.
    Received { queue: String, seq: u64, at_ms: i64, visible_at_ms: i64 },
    /// A message in flight is hidden until another time.
    VisibilityChanged { queue: String, seq: u64, visible_at_ms: i64 },
    /// A message was deleted.
    Removed { queue: String, seq: u64 },
    /// What was sent until a time has passed its retention.
    Expired { queue: String, sent_until_ms: i64 },
    /// A message was received too often and is in the dead-letter queue, under a new place in the order.
    DeadLettered { queue: String, seq: u64, target: String, target_seq: u64, at_ms: i64 },
    /// A move task took a message out of a dead-letter queue and sent it anew.
    Redriven { queue: String, seq: u64, target: String, target_seq: u64, message_id: String, at_ms: i64 },
    /// A move task is in this state.
    TaskSet { task: MoveTask },
}

/// A change that does not fit the state: the journal has been tampered with, or misses lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Inconsistent {
    /// It names a queue that does not exist.
    #[error("the change names a queue that does not exist")]
    Queue,
    /// It names a message that does not exist.
    #[error("the change names a message that does not exist")]
    Message,
}

impl Change {
    /// The queues in which a waiting receive may find something after this change.
    pub(crate) fn wakes(&self) -> Vec<&str> {
        match self {
            // A delete unblocks a FIFO group; a queue's own changes can end its waiting receives.
            Change::Sent { queue, .. }
            | Change::VisibilityChanged { queue, .. }
            | Change::Removed { queue, .. }
            | Change::Expired { queue, .. }
            | Change::AttributesSet { queue, .. }
            | Change::Purged { queue, .. }
            | Change::Deleted { queue, .. } => vec![queue],
            Change::DeadLettered { queue, target, .. } | Change::Redriven { queue, target, .. } => vec![queue, target],
            // A delivery needs to wake nobody: whoever was woken for the message before it looks again, and then learns
            // of the new deadline.
            Change::Received { .. }
            | Change::Created { .. }
            | Change::TagsSet { .. }
            | Change::Remembered { .. }
            | Change::TaskSet { .. } => Vec::new(),
        }
    }
}

impl Queues {
    /// Applies a change, whether just decided or replayed from a journal.
    ///
    /// # Errors
    /// [`Inconsistent`] if the change names what does not exist; the state is then as before.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Inconsistent> {
        match change {
            Change::Created { queue, at_ms, attributes, tags } => {
                self.deleted.remove(&queue);
                self.queues.insert(queue.clone(), Queue::new(queue, at_ms, attributes, tags));
            }
            Change::AttributesSet { queue, at_ms, attributes } => {
                let queue = self.known(&queue)?;
                queue.attributes = attributes;
                queue.modified_ms = at_ms;
            }
            Change::TagsSet { queue, tags } => self.known(&queue)?.tags = tags,
            Change::Deleted { queue, at_ms } => {
                self.queues.remove(&queue);
                self.deleted.insert(queue, at_ms);
            }
            Change::Purged { queue, at_ms } => {
                let queue = self.known(&queue)?;
                queue.backlog.clear();
                queue.purged_ms = Some(at_ms);
            }
            Change::Sent { queue, message } => self.enter(&queue, message)?,
            Change::Remembered { queue, key, first } => {
                self.count_past(first.seq);
                self.known(&queue)?.deduplications.insert(key, first);
            }
            Change::Received { queue, seq, at_ms, visible_at_ms } => self.known_message(&queue, seq, |message| {
                message.receive_count += 1;
                message.first_received_ms.get_or_insert(at_ms);
                message.received_ms = Some(at_ms);
                message.visible_at_ms = visible_at_ms;
            })?,
            Change::VisibilityChanged { queue, seq, visible_at_ms } => {
                self.known_message(&queue, seq, |message| message.visible_at_ms = visible_at_ms)?;
            }
            Change::Removed { queue, seq } => {
                self.known(&queue)?.backlog.remove(seq).ok_or(Inconsistent::Message)?;
            }
            Change::Expired { queue, sent_until_ms } => self.known(&queue)?.backlog.remove_sent_until(sent_until_ms),
            Change::DeadLettered { queue, seq, target, target_seq, at_ms } => {
                let source = queue_arn(&queue);
                let fifo = self.known(&target)?.attributes.fifo;
                self.transfer(&queue, seq, &target, |message| Message {
                    seq: target_seq,
                    // A standard dead-letter queue counts retention from the first enqueueing, a FIFO one anew.
                    sent_ms: if fifo { at_ms } else { message.sent_ms },
                    visible_at_ms: message.sent_ms.min(at_ms),
                    receive_count: 0,
                    first_received_ms: None,
                    received_ms: None,
                    dead_letter_source: Some(source),
                    ..message
                })?;
            }
            Change::Redriven { queue, seq, target, target_seq, message_id, at_ms } => {
                self.transfer(&queue, seq, &target, |message| Message {
                    seq: target_seq,
                    id: message_id,
                    sent_ms: at_ms,
                    visible_at_ms: at_ms,
                    receive_count: 0,
                    first_received_ms: None,
                    received_ms: None,
                    dead_letter_source: None,
                    ..message
                })?;
            }
            Change::TaskSet { task } => self.keep_task(task),
        }
        Ok(())
    }

    /// Moves a message in one step, so that it is never in two places or in none.
    fn transfer(
        &mut self,
        from: &str,
        seq: u64,
        to: &str,
        renew: impl FnOnce(Message) -> Message,
    ) -> Result<(), Inconsistent> {
        self.known(to)?;
        let message = self.known(from)?.backlog.remove(seq).ok_or(Inconsistent::Message)?;
        self.enter(to, renew(message))
    }

    fn enter(&mut self, queue: &str, message: Message) -> Result<(), Inconsistent> {
        self.count_past(message.seq);
        let queue = self.known(queue)?;
        queue.remember(&message);
        queue.backlog.insert(message);
        Ok(())
    }

    fn known(&mut self, queue: &str) -> Result<&mut Queue, Inconsistent> {
        self.queues.get_mut(queue).ok_or(Inconsistent::Queue)
    }

    fn known_message(&mut self, queue: &str, seq: u64, change: impl FnOnce(&mut Message)) -> Result<(), Inconsistent> {
        self.known(queue)?.backlog.change(seq, change).then_some(()).ok_or(Inconsistent::Message)
    }

    /// The changes that, applied to nothing, give this state: what a compacted journal holds.
    pub(crate) fn snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (queue, at_ms) in &self.deleted {
            changes.push(Change::Deleted { queue: queue.clone(), at_ms: *at_ms });
        }
        for (name, queue) in &self.queues {
            let (name, attributes) = (name.clone(), queue.attributes.clone());
            let created = Change::Created {
                queue: name.clone(),
                at_ms: queue.created_ms,
                attributes: attributes.clone(),
                tags: queue.tags.clone(),
            };
            changes.push(created);
            if queue.modified_ms != queue.created_ms {
                changes.push(Change::AttributesSet { queue: name.clone(), at_ms: queue.modified_ms, attributes });
            }
            if let Some(at_ms) = queue.purged_ms {
                changes.push(Change::Purged { queue: name.clone(), at_ms });
            }
            let mut messages: Vec<&Message> = queue.backlog.messages().collect();
            messages.sort_by_key(|message| message.seq);
            changes.extend(messages.into_iter().map(|m| Change::Sent { queue: name.clone(), message: m.clone() }));
            for (key, first) in queue.deduplications.iter() {
                changes.push(Change::Remembered { queue: name.clone(), key: key.clone(), first: first.clone() });
            }
        }
        changes.extend(self.tasks.iter().map(|task| Change::TaskSet { task: task.clone() }));
        changes
    }
}
