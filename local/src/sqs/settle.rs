//! Settling what was received: deleting it, or changing how long it stays hidden.

use super::batch::{Batch, Entry, check_entries};
use super::change::Change;
use super::error::{Code, Refusal, in_range};
use super::limits::VISIBILITY_SECONDS;
use super::message::ReceiptHandle;
use super::queues::Queues;

impl Queues {
    /// Deletes the message that a receipt handle names. A message that is gone already, or was received again since, is
    /// left as it is, and the call succeeds: in a standard queue the latest handle counts, even after its time-out.
    ///
    /// # Errors
    /// Refuses a handle that this queue did not issue, and an expired one in a FIFO queue.
    pub fn delete(&mut self, now_ms: i64, queue: &str, receipt_handle: &str) -> Result<(), Refusal> {
        let settled = self.settle(now_ms, queue)?;
        let handle = handle_of(queue, receipt_handle)?;
        let message = settled.backlog.get(handle.seq);
        let Some(message) = message.filter(|message| message.id == handle.message_id) else { return Ok(()) };
        if settled.attributes.fifo && !settled.backlog.is_in_flight(handle.seq) {
            return Err(Refusal::invalid(format!(
                "Value {receipt_handle:.200} for parameter ReceiptHandle is invalid. Reason: The receipt handle has \
                 expired."
            )));
        }
        if message.receive_count == handle.receive_count {
            self.commit(Change::Removed { queue: queue.to_owned(), seq: handle.seq });
        }
        Ok(())
    }

    /// Deletes up to 10 messages, each with a fate of its own.
    ///
    /// # Errors
    /// Refuses the batch as a whole if its ids are bad.
    pub fn delete_batch(
        &mut self,
        now_ms: i64,
        queue: &str,
        entries: Vec<Entry<String>>,
    ) -> Result<Batch<()>, Refusal> {
        self.settle(now_ms, queue)?;
        check_entries(&entries)?;
        Ok(entries.into_iter().map(|(id, handle)| (id, self.delete(now_ms, queue, &handle))).collect())
    }

    /// Hides a message in flight for that long from now; 0 makes it visible at once.
    ///
    /// # Errors
    /// Refuses a handle that this queue did not issue or that is not the latest, a message that is not in flight, and
    /// more than 12 hours from its receive.
    pub fn change_visibility(
        &mut self,
        now_ms: i64,
        queue: &str,
        receipt_handle: &str,
        timeout_seconds: i64,
    ) -> Result<(), Refusal> {
        in_range("VisibilityTimeout", timeout_seconds, VISIBILITY_SECONDS)?;
        let settled = self.settle(now_ms, queue)?;
        let handle = handle_of(queue, receipt_handle)?;
        let message = settled.backlog.get(handle.seq).filter(|message| message.id == handle.message_id);
        let Some(message) = message.filter(|message| message.receive_count == handle.receive_count) else {
            return Err(Refusal::invalid(format!(
                "Value {receipt_handle:.200} for parameter ReceiptHandle is invalid. Reason: Message does not exist or \
                 is not available for visibility timeout change."
            )));
        };
        if !settled.backlog.is_in_flight(handle.seq) {
            return Err(Refusal::new(Code::MessageNotInflight, "The message referred to is not in flight."));
        }
        let visible_at_ms = now_ms + timeout_seconds * 1_000;
        let received_ms = message.received_ms.unwrap_or(now_ms);
        if visible_at_ms > received_ms + VISIBILITY_SECONDS.1 * 1_000 {
            return Err(Refusal::invalid(format!(
                "Value {timeout_seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout \
                 for the message is beyond the limit [{} seconds].",
                VISIBILITY_SECONDS.1
            )));
        }
        self.commit(Change::VisibilityChanged { queue: queue.to_owned(), seq: handle.seq, visible_at_ms });
        Ok(())
    }

    /// Changes the visibility of up to 10 messages (handle and seconds), each with a fate of its own.
    ///
    /// # Errors
    /// Refuses the batch as a whole if its ids are bad.
    pub fn change_visibility_batch(
        &mut self,
        now_ms: i64,
        queue: &str,
        entries: Vec<Entry<(String, i64)>>,
    ) -> Result<Batch<()>, Refusal> {
        self.settle(now_ms, queue)?;
        check_entries(&entries)?;
        let settled = entries.into_iter().map(|(id, (handle, timeout_seconds))| {
            let outcome = self.change_visibility(now_ms, queue, &handle, timeout_seconds);
            (id, outcome)
        });
        Ok(settled.collect())
    }
}

fn handle_of(queue: &str, text: &str) -> Result<ReceiptHandle, Refusal> {
    if text.is_empty() {
        return Err(Refusal::missing("ReceiptHandle"));
    }
    ReceiptHandle::decode(text).filter(|handle| handle.queue == queue).ok_or_else(|| {
        Refusal::new(Code::ReceiptHandleIsInvalid, format!("The input receipt handle \"{text:.200}\" is not valid."))
    })
}
