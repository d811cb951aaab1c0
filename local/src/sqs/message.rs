//! A message in a queue, and the receipt handle that names one receive of it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::content::MessageAttribute;

/// A message: what was sent, and where it is in its life. All times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where the message stands in the order of everything ever sent here; unique, and new when it changes queues.
    pub seq: u64,
    /// The message id that the sender was given.
    pub id: String,
    /// The body, exactly as sent.
    pub body: String,
    /// The sender's own attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// The system attribute `AWSTraceHeader`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_header: Option<MessageAttribute>,
    /// The message group: the order's scope in a FIFO queue, the tenant in a standard queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The deduplication id, in a FIFO queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication_id: Option<String>,
    /// When it was enqueued; retention counts from here.
    pub sent_ms: i64,
    /// Until when it is hidden, delayed or in flight.
    pub visible_at_ms: i64,
    /// How often this queue delivered it.
    #[serde(default)]
    pub receive_count: u32,
    /// When this queue first delivered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_received_ms: Option<i64>,
    /// When this queue last delivered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_ms: Option<i64>,
    /// The ARN of the queue that it was moved here from, if this is a dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_source: Option<String>,
}

/// One receive of one message. Opaque to clients, so its text is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptHandle {
    pub(crate) queue: String,
    pub(crate) seq: u64,
    pub(crate) receive_count: u32,
    /// Besides `seq`, for a stand-in without a data directory counts anew when it starts, and a handle from before must
    /// not name another message.
    pub(crate) message_id: String,
}

impl ReceiptHandle {
    pub(crate) fn of(queue: &str, message: &Message) -> ReceiptHandle {
        ReceiptHandle {
            queue: queue.to_owned(),
            seq: message.seq,
            receive_count: message.receive_count,
            message_id: message.id.clone(),
        }
    }

    pub(crate) fn encode(&self) -> String {
        STANDARD.encode(format!("{} {} {} {}", self.queue, self.seq, self.receive_count, self.message_id))
    }

    /// `None` if the text is no handle that this stand-in could have issued.
    pub(crate) fn decode(text: &str) -> Option<ReceiptHandle> {
        let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let mut parts = decoded.split(' ');
        let handle = ReceiptHandle {
            queue: parts.next()?.to_owned(),
            seq: parts.next()?.parse().ok()?,
            receive_count: parts.next()?.parse().ok()?,
            message_id: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(handle)
    }
}
