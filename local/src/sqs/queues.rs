//! The state machine: all queues, and the calls that create, change, describe and remove them.

use std::collections::BTreeMap;

use super::attributes::{QueueAttributes, SETTABLE};
use super::change::Change;
use super::error::{Code, Refusal};
use super::limits::{DELETED_RECENTLY_MS, PURGE_INTERVAL_MS, TAGS_MAX};
use super::move_tasks::MoveTask;
use super::names::{check_queue_name, queue_arn, queue_name_of_arn};
use super::queue::{Depth, Queue};

/// All queues of the stand-in. It has no clock: every call takes the time, in Unix milliseconds, and what waits for a
/// time (visibility, delay, retention, move tasks) happens in the next call that looks.
///
/// On its own it lives in memory only. [`super::Server`] has it keep its changes, takes them out after each call,
/// also after one that was refused, and acknowledges only once they are written.
pub struct Queues {
    pub(crate) queues: BTreeMap<String, Queue>,
    /// When each lately deleted queue was deleted.
    pub(crate) deleted: BTreeMap<String, i64>,
    pub(crate) tasks: Vec<MoveTask>,
    pub(crate) next_seq: u64,
    new_id: Box<dyn FnMut() -> String + Send>,
    /// What has changed since the changes were last taken; `None` if nobody takes them.
    changes: Option<Vec<Change>>,
}

impl Queues {
    /// Creates the state without a queue. `new_id` gives message and task ids, each only once.
    pub fn new(new_id: impl FnMut() -> String + Send + 'static) -> Queues {
        Queues {
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            tasks: Vec::new(),
            next_seq: 1,
            new_id: Box::new(new_id),
            changes: None,
        }
    }

    /// Keeps the changes from now on, for someone who takes them after every call.
    pub(crate) fn keep_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Takes out what has changed since the last time.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Applies a change that was just decided, and keeps it for the journal.
    pub(crate) fn commit(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change.clone());
        }
        self.apply(change).expect("a change that was decided on this state fits it");
    }

    pub(crate) fn fresh_id(&mut self) -> String {
        (self.new_id)()
    }

    /// The next place in the order. It is taken once a change that names it is applied.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn count_past(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq + 1);
    }

    /// Brings a queue up to the present: expires, reveals, forgets.
    pub(crate) fn settle(&mut self, now_ms: i64, name: &str) -> Result<&mut Queue, Refusal> {
        let queue = self.queues.get(name).ok_or_else(Refusal::no_queue)?;
        let sent_until_ms = queue.expiry_cutoff_ms(now_ms);
        if queue.backlog.has_sent_until(sent_until_ms) {
            self.commit(Change::Expired { queue: name.to_owned(), sent_until_ms });
        }
        let queue = self.queues.get_mut(name).ok_or_else(Refusal::no_queue)?;
        queue.backlog.reveal(now_ms);
        queue.deduplications.prune(now_ms);
        Ok(queue)
    }

    /// Brings all queues up to the present, so that what has expired is gone.
    pub(crate) fn settle_all(&mut self, now_ms: i64) {
        let names: Vec<String> = self.queues.keys().cloned().collect();
        for name in names {
            // It is refused only for a queue that does not exist.
            let _ = self.settle(now_ms, &name);
        }
    }

    /// Creates a queue, or finds one of that name whose attributes are those given.
    ///
    /// # Errors
    /// Refuses bad names and attributes, a name in use with other attributes, and a name deleted within the minute.
    pub fn create_queue(
        &mut self,
        now_ms: i64,
        name: &str,
        given: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        check_queue_name(name, given.contains_key("FifoQueue"))?;
        let attributes = QueueAttributes::for_new_queue(given)?;
        if let Some(queue) = self.queues.get(name) {
            let differs = |attribute: &&String| queue.attributes.get(attribute) != attributes.get(attribute);
            return match given.keys().find(differs) {
                None => Ok(()),
                Some(attribute) => Err(Refusal::new(
                    Code::QueueNameExists,
                    format!(
                        "A queue already exists with the same name and a different value for attribute {attribute}"
                    ),
                )),
            };
        }
        self.deleted.retain(|_, deleted_ms| *deleted_ms + DELETED_RECENTLY_MS > now_ms);
        if self.deleted.contains_key(name) {
            return Err(Refusal::new(
                Code::QueueDeletedRecently,
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            ));
        }
        self.check_redrive_policy(name, &attributes)?;
        check_tags(&tags)?;
        self.commit(Change::Created { queue: name.to_owned(), at_ms: now_ms, attributes, tags });
        Ok(())
    }

    /// A dead-letter queue must exist, be of the same type, be another queue, and allow this one.
    fn check_redrive_policy(&self, name: &str, attributes: &QueueAttributes) -> Result<(), Refusal> {
        let Some(policy) = &attributes.redrive_policy else { return Ok(()) };
        let refuse = |reason: &str| {
            Err(Refusal::invalid(format!(
                "Value {} for parameter RedrivePolicy is invalid. Reason: {reason}",
                attributes.get("RedrivePolicy").unwrap_or_default()
            )))
        };
        let target = queue_name_of_arn(&policy.dead_letter_target_arn).and_then(|target| self.queues.get(target));
        let Some(target) = target else { return refuse("Dead letter target does not exist.") };
        if target.attributes.fifo != attributes.fifo {
            return refuse("Dead-letter queue must be same type of queue as the source.");
        }
        if target.name == name {
            return refuse("Dead letter target cannot be the queue itself.");
        }
        let allowed = target.attributes.redrive_allow_policy.as_ref();
        if !allowed.is_none_or(|policy| policy.allows(&queue_arn(name))) {
            return refuse("The dead-letter queue's RedriveAllowPolicy does not allow this source queue.");
        }
        Ok(())
    }

    /// Removes a queue with its messages.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn delete_queue(&mut self, now_ms: i64, name: &str) -> Result<(), Refusal> {
        self.settle(now_ms, name)?;
        self.commit(Change::Deleted { queue: name.to_owned(), at_ms: now_ms });
        Ok(())
    }

    /// Removes a queue's messages, those in flight and delayed included. SQS may take a minute; here it is at once.
    ///
    /// # Errors
    /// Refuses a second purge within 60 seconds.
    pub fn purge_queue(&mut self, now_ms: i64, name: &str) -> Result<(), Refusal> {
        let queue = self.settle(now_ms, name)?;
        if queue.purged_ms.is_some_and(|purged_ms| purged_ms + PURGE_INTERVAL_MS > now_ms) {
            return Err(Refusal::new(
                Code::PurgeQueueInProgress,
                format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
            ));
        }
        self.commit(Change::Purged { queue: name.to_owned(), at_ms: now_ms });
        Ok(())
    }

    /// Whether there is a queue of that name.
    pub fn has_queue(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    /// Changes attributes of a queue; those not named stay.
    ///
    /// # Errors
    /// Refuses unknown names and bad values; then nothing is changed.
    pub fn set_queue_attributes(
        &mut self,
        now_ms: i64,
        name: &str,
        given: &BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let attributes = self.settle(now_ms, name)?.attributes.with(given)?;
        self.check_redrive_policy(name, &attributes)?;
        self.commit(Change::AttributesSet { queue: name.to_owned(), at_ms: now_ms, attributes });
        // A shorter retention takes hold of the messages that are there already.
        self.settle(now_ms, name)?;
        Ok(())
    }

    /// The attributes asked for, by name; `All` asks for every one. A name without a value here is left out.
    ///
    /// # Errors
    /// Refuses names that SQS does not know.
    pub fn queue_attributes(
        &mut self,
        now_ms: i64,
        name: &str,
        asked: &[String],
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let queue = self.settle(now_ms, name)?;
        let depth = queue.depth();
        let mut found = BTreeMap::from([
            ("ApproximateNumberOfMessages".to_owned(), depth.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible".to_owned(), depth.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed".to_owned(), depth.delayed.to_string()),
            ("CreatedTimestamp".to_owned(), (queue.created_ms / 1_000).to_string()),
            ("LastModifiedTimestamp".to_owned(), (queue.modified_ms / 1_000).to_string()),
            ("QueueArn".to_owned(), queue_arn(name)),
        ]);
        let known = |asked: &String| SETTABLE.contains(&asked.as_str()) || found.contains_key(asked);
        if let Some(unknown) = asked.iter().find(|asked| !known(asked)) {
            return Err(Refusal::new(Code::InvalidAttributeName, format!("Unknown Attribute {unknown:.100}.")));
        }
        for attribute in SETTABLE {
            if let Some(value) = queue.attributes.get(attribute) {
                found.insert(attribute.to_owned(), value);
            }
        }
        if !asked.iter().any(|asked| asked == "All") {
            found.retain(|attribute, _| asked.contains(attribute));
        }
        Ok(found)
    }

    /// How many messages a queue has.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn depth(&mut self, now_ms: i64, name: &str) -> Result<Depth, Refusal> {
        Ok(self.settle(now_ms, name)?.depth())
    }

    /// The queue's tags.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn tags(&self, name: &str) -> Result<&BTreeMap<String, String>, Refusal> {
        Ok(&self.queues.get(name).ok_or_else(Refusal::no_queue)?.tags)
    }

    /// Adds tags, replacing those of the same key.
    ///
    /// # Errors
    /// Refuses more than 50 tags.
    pub fn tag_queue(&mut self, name: &str, added: BTreeMap<String, String>) -> Result<(), Refusal> {
        let mut tags = self.tags(name)?.clone();
        tags.extend(added);
        check_tags(&tags)?;
        self.commit(Change::TagsSet { queue: name.to_owned(), tags });
        Ok(())
    }

    /// Removes tags by key; a key that is not there is no error.
    ///
    /// # Errors
    /// Refuses a queue that does not exist.
    pub fn untag_queue(&mut self, name: &str, keys: &[String]) -> Result<(), Refusal> {
        let mut tags = self.tags(name)?.clone();
        tags.retain(|key, _| !keys.contains(key));
        self.commit(Change::TagsSet { queue: name.to_owned(), tags });
        Ok(())
    }
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match tags.len() > TAGS_MAX {
        true => Err(Refusal::invalid(format!("Too many tags added for queue: at most {TAGS_MAX}."))),
        false => Ok(()),
    }
}
