//! The event source mapping of a queue: polls it, invokes the function with batches, and deletes what went well.

mod event;
mod settle;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::lambda::{Lambda, REGION, new_trace_root};
use crate::running::{Running, Stop};

pub use event::event;
pub(crate) use event::{ENVELOPE_BYTES, joined};
pub(crate) use settle::failed_ids;
pub use settle::{Verdict, settle};
use source::{Source, Taken};

/// The largest batch size of a standard queue (Lambda API, `CreateEventSourceMapping`).
pub const BATCH_SIZE_MAX: usize = 10_000;

/// How long a batch waits for a free environment before it is left to its visibility time-out.
const FREE_WAIT: Duration = Duration::from_secs(5);

/// How often a delete is tried.
const DELETE_TRIES: u32 = 4;

/// The pause after the first try of a delete; it doubles from there.
const DELETE_PAUSE: Duration = Duration::from_millis(100);

/// The longest one call for deletion may take.
const DELETE_LIMIT: Duration = Duration::from_secs(10);

/// The most messages that SQS deletes at once.
const DELETE_MAX: usize = 10;

/// A mapping as the template describes it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where the queue is.
    pub queue_url: String,
    /// What it is called in events; its Region is taken from here.
    pub queue_arn: String,
    /// The function to invoke.
    pub function: String,
    /// The most messages of a batch, 1 to [`BATCH_SIZE_MAX`].
    pub batch_size: usize,
    /// How long a batch is filled after its first message. With zero, a batch is what one receive gives.
    pub batching_window: Duration,
    /// The most invocations at a time (`ScalingConfig.MaximumConcurrency`), at least 1.
    pub concurrency_max: usize,
    /// Whether the function's response says which messages did not go well.
    pub report_batch_item_failures: bool,
}

impl Spec {
    fn region(&self) -> &str {
        self.queue_arn.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or(REGION)
    }
}

/// Polls until stopped. Needs a tokio runtime. When it stops, what was received and not yet given to the function is left
/// to the visibility time-out.
#[must_use]
pub fn start(spec: Spec, client: Client, lambda: Lambda) -> Running {
    Running::start(|stop| poll(Arc::new(spec), client, lambda, stop))
}

/// Gathers batches and runs them. Nothing is received while all the concurrency is in use: a message that waits here
/// would lose its visibility time-out to the waiting.
async fn poll(spec: Arc<Spec>, client: Client, lambda: Lambda, mut stop: Stop) {
    let consumer = Arc::new(Consumer { spec: Arc::clone(&spec), client: client.clone(), lambda });
    let places = Arc::new(Semaphore::new(spec.concurrency_max.clamp(1, Semaphore::MAX_PERMITS)));
    let mut source = Source::new(spec, client, stop.clone());
    let mut running = JoinSet::new();
    loop {
        let place = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The set is as small as the concurrency, but for those that have ended and are taken out here.
        while running.try_join_next().is_some() {}
        let batch = source.batch().await;
        if batch.is_empty() {
            break;
        }
        let consumer = Arc::clone(&consumer);
        running.spawn(async move {
            consumer.run(&batch).await;
            drop(place);
        });
    }
    // Each ends by the function's time-out and the bounds of its deletes; whoever stops the mapping waits less long.
    while running.join_next().await.is_some() {}
}

/// What every batch needs.
struct Consumer {
    spec: Arc<Spec>,
    client: Client,
    lambda: Lambda,
}

impl Consumer {
    async fn run(&self, batch: &[Taken]) {
        let payload = event::joined(batch.iter().map(|taken| taken.record.as_str()));
        let response = self.lambda.invoke_within(&self.spec.function, payload, new_trace_root(), FREE_WAIT).await;
        if let Err(error) = &response {
            let (function, messages) = (&self.spec.function, batch.len());
            tracing::warn!(function, messages, %error, "a batch stays in its queue");
        }
        let ids: Vec<&str> = batch.iter().map(|taken| taken.id.as_str()).collect();
        let outcome = response.as_deref().map_err(|_| ());
        let verdict = settle(outcome, &ids, self.spec.report_batch_item_failures);
        for chunk in verdict.delete.chunks(DELETE_MAX) {
            self.delete(batch, chunk.to_vec()).await;
        }
    }

    /// Deletes messages of the batch, at most [`DELETE_MAX`], again where that fails. Those that cannot be deleted are
    /// delivered once more, which the function has to bear, as it has to on AWS.
    async fn delete(&self, batch: &[Taken], mut left: Vec<usize>) {
        let mut pause = DELETE_PAUSE;
        for _ in 0..DELETE_TRIES {
            left = self.try_delete(batch, left).await;
            if left.is_empty() {
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
        tracing::warn!(queue = self.spec.queue_url, messages = left.len(), "messages could not be deleted");
    }

    /// One try; returns what is still to be deleted.
    async fn try_delete(&self, batch: &[Taken], left: Vec<usize>) -> Vec<usize> {
        let entries = left.iter().filter_map(|index| {
            let handle = batch.get(*index)?.receipt_handle.as_str();
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(handle).build().ok()
        });
        let request = self.client.delete_message_batch().queue_url(&self.spec.queue_url);
        let request = request.set_entries(Some(entries.collect())).send();
        match timeout(DELETE_LIMIT, request).await {
            Ok(Ok(output)) => {
                let failed = output.failed().iter().filter(|entry| !entry.sender_fault());
                failed.filter_map(|entry| entry.id().parse().ok()).collect()
            }
            Ok(Err(_)) | Err(_) => left,
        }
    }
}
