//! One queue: its settings, its backlog, and the deduplication ids that a FIFO queue remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::attributes::QueueAttributes;
use super::backlog::Backlog;
use super::limits::DEDUPLICATION_MS;
use super::message::Message;

/// How many messages a queue has. SQS calls its own counts approximate; these are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that a receive can have.
    pub visible: usize,
    /// Messages that were received and neither deleted nor returned.
    pub in_flight: usize,
    /// Messages whose delay has not passed.
    pub delayed: usize,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) attributes: QueueAttributes,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) purged_ms: Option<i64>,
    pub(crate) backlog: Backlog,
    pub(crate) deduplications: Deduplications,
}

impl Queue {
    pub(crate) fn new(
        name: String,
        created_ms: i64,
        attributes: QueueAttributes,
        tags: BTreeMap<String, String>,
    ) -> Queue {
        let backlog = Backlog::new(attributes.fifo);
        let deduplications = Deduplications::default();
        Queue { name, created_ms, modified_ms: created_ms, attributes, tags, purged_ms: None, backlog, deduplications }
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth {
            visible: self.backlog.visible_count(),
            in_flight: self.backlog.in_flight_count(),
            delayed: self.backlog.delayed_count(),
        }
    }

    /// Messages that were sent until this time have expired.
    pub(crate) fn expiry_cutoff_ms(&self, now_ms: i64) -> i64 {
        now_ms - self.attributes.retention_seconds * 1_000
    }

    /// Under which key a FIFO queue remembers a message: the scope is the queue or the message group.
    pub(crate) fn deduplication_key(&self, group: Option<&str>, id: &str) -> String {
        match self.attributes.verbatim.get("DeduplicationScope").is_some_and(|scope| scope == "messageGroup") {
            true => format!("{} {id}", group.unwrap_or_default()),
            false => id.to_owned(),
        }
    }

    pub(crate) fn remember(&mut self, message: &Message) {
        if let Some(id) = self.attributes.fifo.then_some(message.deduplication_id.as_deref()).flatten() {
            let key = self.deduplication_key(message.group.as_deref(), id);
            let first = Deduplication { message_id: message.id.clone(), seq: message.seq, sent_ms: message.sent_ms };
            self.deduplications.insert(key, first);
        }
    }
}

/// The message that a deduplication id was first used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deduplication {
    /// The id of that message.
    pub(crate) message_id: String,
    /// Its place in the order.
    pub(crate) seq: u64,
    /// When it was sent; the id is remembered for five minutes from then.
    pub(crate) sent_ms: i64,
}

/// Deduplication ids by key and by age. They outlive the deletion of their messages.
#[derive(Debug, Default)]
pub(crate) struct Deduplications {
    by_key: HashMap<String, Deduplication>,
    by_age: BTreeSet<(i64, String)>,
}

impl Deduplications {
    pub(crate) fn get(&self, key: &str) -> Option<&Deduplication> {
        self.by_key.get(key)
    }

    pub(crate) fn insert(&mut self, key: String, first: Deduplication) {
        let sent_ms = first.sent_ms;
        if let Some(old) = self.by_key.insert(key.clone(), first) {
            self.by_age.remove(&(old.sent_ms, key.clone()));
        }
        self.by_age.insert((sent_ms, key));
    }

    pub(crate) fn prune(&mut self, now_ms: i64) {
        while self.by_age.first().is_some_and(|(sent_ms, _)| sent_ms + DEDUPLICATION_MS <= now_ms) {
            if let Some((_, key)) = self.by_age.pop_first() {
                self.by_key.remove(&key);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Deduplication)> {
        self.by_age.iter().filter_map(|(_, key)| self.by_key.get(key).map(|first| (key, first)))
    }
}
