//! Gathering batches from a queue: receives joined up to the batch size, the window and the payload limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tokio::time::{Instant, sleep, timeout};

use super::Spec;
use super::event::{ENVELOPE_BYTES, record};
use crate::lambda::PAYLOAD_BYTES_MAX;
use crate::running::{Stop, pause, stopped};

/// The most messages that SQS gives at once.
const RECEIVE_MAX: usize = 10;

/// The longest poll that SQS knows.
const LONG_POLL: Duration = Duration::from_secs(20);

/// Pause between receives in what is left of a window when that is less than SQS can wait for, a second.
const SHORT_POLL_PAUSE: Duration = Duration::from_millis(100);

/// How much longer than its own wait a receive may take.
const RECEIVE_GRACE: Duration = Duration::from_secs(10);

/// Pauses after receives that fail: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A received message and its record of the event.
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) receipt_handle: String,
    pub(super) record: String,
}

/// Where batches come from.
pub(super) struct Source {
    spec: Arc<Spec>,
    client: Client,
    stop: Stop,
    /// Received, but too much for the batch they came with: fewer than [`RECEIVE_MAX`].
    carried: VecDeque<Taken>,
    /// The pause to come while receives fail.
    outage: Option<Duration>,
}

impl Source {
    pub(super) fn new(spec: Arc<Spec>, client: Client, stop: Stop) -> Self {
        Self { spec, client, stop, carried: VecDeque::new(), outage: None }
    }

    /// The next batch, however long it takes. An empty one means that the mapping is to stop.
    pub(super) async fn batch(&mut self) -> Vec<Taken> {
        let size = self.spec.batch_size.clamp(1, super::BATCH_SIZE_MAX);
        let mut batch = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        let mut window_end = None;
        // Ends when the batch is full, its window over, or the mapping told to stop; no message, no end.
        loop {
            while let Some(next) = self.carried.pop_front() {
                let more = next.record.len() + 1;
                if batch.len() == size || (bytes + more > PAYLOAD_BYTES_MAX && !batch.is_empty()) {
                    self.carried.push_front(next);
                    return batch;
                }
                bytes += more;
                batch.push(next);
            }
            let now = Instant::now();
            let left = match window_end {
                None if batch.is_empty() => LONG_POLL,
                None => *window_end.insert(now + self.spec.batching_window) - now,
                Some(end) => end.saturating_duration_since(now),
            };
            let full = batch.len() == size || (!batch.is_empty() && left.is_zero());
            if full || stopped(&self.stop) {
                return batch;
            }
            let wait = Duration::from_secs(left.min(LONG_POLL).as_secs());
            let received = self.receive(RECEIVE_MAX.min(size - batch.len()), wait).await;
            if received.is_empty() && wait.is_zero() {
                sleep(left.min(SHORT_POLL_PAUSE)).await;
            }
            let region = self.spec.region();
            self.carried.extend(received.iter().map(|message| Taken {
                id: message.message_id().unwrap_or_default().to_owned(),
                receipt_handle: message.receipt_handle().unwrap_or_default().to_owned(),
                record: record(message, &self.spec.queue_arn, region).to_string(),
            }));
        }
    }

    /// One receive. An outage is waited out a little and then looks like an empty queue; so does being told to stop.
    async fn receive(&mut self, most: usize, wait: Duration) -> Vec<Message> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.spec.queue_url)
            .max_number_of_messages(i32::try_from(most).unwrap_or(1))
            .wait_time_seconds(i32::try_from(wait.as_secs()).unwrap_or(0))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send();
        let mut stop = self.stop.clone();
        let result = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Vec::new(),
            result = timeout(wait + RECEIVE_GRACE, request) => result,
        };
        let error = match result {
            Ok(Ok(output)) => {
                if self.outage.take().is_some() {
                    tracing::info!(queue = self.spec.queue_url, "messages can be received again");
                }
                return output.messages.unwrap_or_default();
            }
            Ok(Err(error)) => aws_sdk_sqs::error::DisplayErrorContext(error).to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        if self.outage.is_none() {
            tracing::warn!(queue = self.spec.queue_url, error, "no messages can be received");
        }
        let length = self.outage.unwrap_or(BACKOFF.0);
        self.outage = Some((length * 2).min(BACKOFF.1));
        pause(&mut stop, length).await;
        Vec::new()
    }
}
