//! Gathering batches from one shard: what is read joined up to the batch sizes, the window and the payload limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::record::Record;
use super::{RETENTION, Spec, age};
use crate::dynamodb::Streams;
use crate::lambda::PAYLOAD_BYTES_MAX;
use crate::mapping::ENVELOPE_BYTES;
use crate::running::{Stop, pause, stopped};

/// The pause between reads of a shard that has nothing new: Lambda polls four times a second.
const POLL_PAUSE: Duration = Duration::from_millis(250);

/// How long one read may take.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Pauses after reads that fail: from the first to the second, doubling.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where the batches of one shard come from.
pub(super) struct Source {
    spec: Arc<Spec>,
    streams: Streams,
    stop: Stop,
    /// Where to read on; `None` after the end of a shard that is closed.
    iterator: Option<String>,
    /// Read, but too much for the batch they came with: at most what one read gives.
    carried: VecDeque<Record>,
    /// The pause to come while reads fail.
    outage: Option<Duration>,
}

impl Source {
    pub(super) fn new(spec: Arc<Spec>, streams: Streams, iterator: String, stop: Stop) -> Self {
        Self { spec, streams, stop, iterator: Some(iterator), carried: VecDeque::new(), outage: None }
    }

    /// The next batches of all lanes together, however long it takes. None at all means that there will be no more.
    pub(super) async fn records(&mut self) -> Vec<Record> {
        let most = self.spec.batch_size * self.spec.lanes;
        let mut batch: Vec<Record> = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        let mut window_end = None;
        // Ends when the batch is full, its window over, the shard at its end, or the mapping told to stop.
        loop {
            while let Some(next) = self.carried.pop_front() {
                let more = next.json.len() + 1;
                if batch.len() == most || (bytes + more > PAYLOAD_BYTES_MAX && !batch.is_empty()) {
                    self.carried.push_front(next);
                    return batch;
                }
                bytes += more;
                batch.push(next);
            }
            let now = Instant::now();
            let left = match window_end {
                None if batch.is_empty() => POLL_PAUSE,
                None => *window_end.insert(now + self.spec.batching_window) - now,
                Some(end) => end.saturating_duration_since(now),
            };
            let full = batch.len() == most || (!batch.is_empty() && left.is_zero());
            if full || stopped(&self.stop) || self.iterator.is_none() {
                return batch;
            }
            if !self.read().await {
                pause(&mut self.stop, left.min(POLL_PAUSE)).await;
            }
        }
    }

    /// One read; whether there was anything. An outage is waited out a little and then looks like an empty shard.
    async fn read(&mut self) -> bool {
        let Some(iterator) = &self.iterator else { return false };
        let page = match timeout(READ_LIMIT, self.streams.read(iterator)).await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => return self.failed(format!("{error:#}")).await,
            Err(elapsed) => return self.failed(elapsed.to_string()).await,
        };
        if self.outage.take().is_some() {
            tracing::info!(table = self.spec.table, "the stream can be read again");
        }
        self.iterator = page.next;
        let any = !page.records.is_empty();
        let passing = page.records.into_iter().filter(|record| self.spec.filter.passes(record));
        let records = passing.map(|record| Record::new(record, &self.spec.stream_arn, &self.spec.partition_key));
        // The engine keeps records for ever; on AWS, what is older is no longer in the stream.
        self.carried.extend(records.filter(|record| age(record) <= RETENTION));
        any
    }

    async fn failed(&mut self, error: String) -> bool {
        if self.outage.is_none() {
            tracing::warn!(table = self.spec.table, error, "the stream cannot be read");
        }
        let length = self.outage.unwrap_or(BACKOFF.0);
        self.outage = Some((length * 2).min(BACKOFF.1));
        pause(&mut self.stop, length).await;
        false
    }
}
