//! Sending: what a message must be to be accepted, and what the sender is told.

use std::collections::BTreeMap;

use super::batch::{Batch, Entry, check_entries};
use super::change::Change;
use super::content::{
    MessageAttribute, check_attributes, check_system_attributes, check_text, md5_of_attributes, md5_of_text,
};
use super::error::{Code, Refusal, in_range};
use super::limits::{DELAY_SECONDS, GROUP_ID_CHARS_MAX, MESSAGE_BYTES_MAX};
use super::message::Message;
use super::queues::Queues;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// The body: 1 byte to the queue's largest message.
    pub body: String,
    /// How long it stays hidden, in seconds; the queue's delay where `None`.
    pub delay_seconds: Option<i64>,
    /// The sender's own attributes, at most 10.
    pub attributes: BTreeMap<String, MessageAttribute>,
    /// System attributes, of which a sender can set `AWSTraceHeader` only.
    pub system_attributes: BTreeMap<String, MessageAttribute>,
    /// The message group: required in a FIFO queue, the tenant in a standard queue.
    pub group: Option<String>,
    /// The deduplication id, for FIFO queues only.
    pub deduplication_id: Option<String>,
}

impl NewMessage {
    /// Creates a message that is only a body.
    pub fn of(body: impl Into<String>) -> NewMessage {
        NewMessage { body: body.into(), ..NewMessage::default() }
    }

    /// What counts towards the limits: the body, and names, types and values of the attributes. An attribute whose
    /// value cannot be read counts nothing, for it is refused anyway.
    fn bytes(&self) -> usize {
        self.body.len() + check_attributes(&self.attributes).unwrap_or(0)
    }
}

/// What the sender of a message is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id; of a FIFO duplicate, that of the first.
    pub message_id: String,
    /// MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// MD5 of the attributes, if there are any.
    pub md5_of_attributes: Option<String>,
    /// MD5 of the system attributes, if there are any.
    pub md5_of_system_attributes: Option<String>,
    /// The place in the order, in a FIFO queue.
    pub sequence_number: Option<u64>,
}

impl Queues {
    /// Enqueues a message.
    ///
    /// # Errors
    /// Refuses what is empty, too large, has illegal characters or does not fit the queue's kind.
    pub fn send(&mut self, now_ms: i64, queue: &str, message: NewMessage) -> Result<Sent, Refusal> {
        self.settle(now_ms, queue)?;
        self.enqueue(now_ms, queue, message)
    }

    /// Enqueues up to 10 messages, each with a fate of its own.
    ///
    /// # Errors
    /// Refuses the batch as a whole if its ids are bad or its entries are together larger than 1 MiB.
    pub fn send_batch(
        &mut self,
        now_ms: i64,
        queue: &str,
        entries: Vec<Entry<NewMessage>>,
    ) -> Result<Batch<Sent>, Refusal> {
        self.settle(now_ms, queue)?;
        check_entries(&entries)?;
        let bytes: usize = entries.iter().map(|(_, message)| message.bytes()).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(Refusal::new(
                Code::BatchRequestTooLong,
                format!("Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {bytes} bytes."),
            ));
        }
        Ok(entries.into_iter().map(|(id, message)| (id, self.enqueue(now_ms, queue, message))).collect())
    }

    fn enqueue(&mut self, now_ms: i64, queue_name: &str, new: NewMessage) -> Result<Sent, Refusal> {
        let queue = self.queues.get(queue_name).ok_or_else(Refusal::no_queue)?;
        let (fifo, delay_default) = (queue.attributes.fifo, queue.attributes.delay_seconds);
        if new.body.is_empty() {
            return Err(Refusal::missing("MessageBody"));
        }
        let bytes = new.body.len() + check_attributes(&new.attributes)?;
        let bytes_max = queue.attributes.maximum_message_size;
        if i64::try_from(bytes).unwrap_or(i64::MAX) > bytes_max {
            return Err(Refusal::invalid(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
            )));
        }
        check_text(&new.body)?;
        let delay_seconds = match new.delay_seconds {
            Some(_) if fifo => return Err(not_for_this_type("DelaySeconds")),
            Some(seconds) => in_range("DelaySeconds", seconds, DELAY_SECONDS)?,
            None => delay_default,
        };
        check_group_id("MessageGroupId", new.group.as_deref())?;
        check_group_id("MessageDeduplicationId", new.deduplication_id.as_deref())?;
        let deduplication_id = match fifo {
            true => Some(required_deduplication_id(&new, queue.attributes.content_based_deduplication)?),
            false if new.deduplication_id.is_some() => return Err(not_for_this_type("MessageDeduplicationId")),
            false => None,
        };
        let trace_header = check_system_attributes(new.system_attributes)?;
        let mut sent = Sent {
            message_id: String::new(),
            md5_of_body: md5_of_text(&new.body),
            md5_of_attributes: md5_of_attributes(new.attributes.iter().map(|(name, value)| (name.as_str(), value))),
            md5_of_system_attributes: md5_of_attributes(trace_header.iter().map(|trace| ("AWSTraceHeader", trace))),
            sequence_number: None,
        };
        let key = deduplication_id.as_deref().map(|id| queue.deduplication_key(new.group.as_deref(), id));
        if let Some(first) = key.and_then(|key| queue.deduplications.get(&key)) {
            // A duplicate is acknowledged like the first and enqueued no second time.
            sent.message_id = first.message_id.clone();
            sent.sequence_number = Some(first.seq);
            return Ok(sent);
        }
        sent.message_id = self.fresh_id();
        let seq = self.next_seq();
        sent.sequence_number = fifo.then_some(seq);
        let message = Message {
            seq,
            id: sent.message_id.clone(),
            body: new.body,
            attributes: new.attributes,
            trace_header,
            group: new.group,
            deduplication_id,
            sent_ms: now_ms,
            visible_at_ms: now_ms + delay_seconds * 1_000,
            receive_count: 0,
            first_received_ms: None,
            received_ms: None,
            dead_letter_source: None,
        };
        self.commit(Change::Sent { queue: queue_name.to_owned(), message });
        Ok(sent)
    }
}

fn required_deduplication_id(new: &NewMessage, content_based: bool) -> Result<String, Refusal> {
    if new.group.is_none() {
        return Err(Refusal::missing("MessageGroupId"));
    }
    match (&new.deduplication_id, content_based) {
        (Some(id), _) => Ok(id.clone()),
        // SQS takes SHA-256 of the body. Only that equal bodies give equal ids matters here, and MD5 is at hand.
        (None, true) => Ok(md5_of_text(&new.body)),
        (None, false) => Err(Refusal::invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
             explicitly",
        )),
    }
}

fn not_for_this_type(parameter: &str) -> Refusal {
    Refusal::invalid(format!(
        "The request include parameter that is not valid for this queue type. Reason: {parameter} does not apply."
    ))
}

/// Group and deduplication ids are 1 to 128 letters, digits and ASCII punctuation.
fn check_group_id(parameter: &str, id: Option<&str>) -> Result<(), Refusal> {
    let Some(id) = id else { return Ok(()) };
    if id.is_empty() || id.len() > GROUP_ID_CHARS_MAX || !id.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Refusal::invalid(format!(
            "Value {id:.200} for parameter {parameter} is invalid. Reason: {parameter} can only include alphanumeric \
             and punctuation characters. 1 to 128 in length."
        )));
    }
    Ok(())
}
