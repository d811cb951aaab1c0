//! The event source mapping of a table's stream: reads it, invokes the function with batches in order, and tries again
//! what did not go well.
//!
//! How far a stream has been read is known to this process only. After a restart everything that the stream still has
//! is read again from its oldest record, which the function has to bear: on AWS too a record may come more than once.

mod filter;
mod record;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::dynamodb::Streams;
use crate::lambda::{InvokeError, Lambda, epoch_millis, new_trace_root};
use crate::mapping::joined;
use crate::running::{Running, Stop, pause, stopped};

pub use filter::Filter;
use record::Record;
pub use rules::{Batch, Next, Outcome, Retry, judge};
use source::Source;

/// The largest batch size of a stream (Lambda API, `CreateEventSourceMapping`).
pub const BATCH_SIZE_MAX: u32 = 10_000;

/// How long a record stays in a stream (DynamoDB Developer Guide: 24 hours).
pub const RETENTION: Duration = Duration::from_hours(24);

/// How long a batch waits for a free environment before it counts as throttled.
const FREE_WAIT: Duration = Duration::from_secs(5);

/// Pauses after invocations that did not go well: from the first to the second, doubling. AWS does not say its own.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A mapping as the template describes it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The table whose stream is read.
    pub table: String,
    /// The attribute that is the table's partition key.
    pub partition_key: String,
    /// What the stream is called in events.
    pub stream_arn: String,
    /// The function to invoke.
    pub function: String,
    /// The most records of a batch, 1 to [`BATCH_SIZE_MAX`].
    pub batch_size: usize,
    /// The most batches of one shard at one time, at least 1 (`ParallelizationFactor`).
    pub lanes: usize,
    /// How long a batch is filled after its first record. With zero, a batch is what one read gives.
    pub batching_window: Duration,
    /// How a batch is tried again.
    pub retry: Retry,
    /// Records older than this are passed over; [`RETENTION`] bounds it.
    pub record_age_max: Duration,
    /// Whether the function's response says from which record on things did not go well.
    pub report_batch_item_failures: bool,
    /// Which records the function gets.
    pub filter: Filter,
}

/// Reads the stream from its oldest record until stopped. Needs a tokio runtime.
///
/// When it stops, what a running invocation leaves undone is left to the next start.
///
/// # Errors
/// The table has no stream.
pub async fn start(spec: Spec, streams: Streams, lambda: Lambda) -> anyhow::Result<Running> {
    let function = spec.function.clone();
    let invoke = move |event| {
        let (lambda, function) = (lambda.clone(), function.clone());
        async move { lambda.invoke_within(&function, event, new_trace_root(), FREE_WAIT).await }
    };
    run(spec, streams, invoke).await
}

async fn run<I, F>(spec: Spec, streams: Streams, invoke: I) -> anyhow::Result<Running>
where
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, InvokeError>> + Send + 'static,
{
    // The engine gives each stream one shard for ever, so that nobody has to look for new ones.
    let shards = streams.shards(&spec.table).await?;
    let (spec, invoke) =
        (Arc::new(Spec { batch_size: spec.batch_size.max(1), lanes: spec.lanes.max(1), ..spec }), Arc::new(invoke));
    Ok(Running::start(|stop| async move {
        let mut following = JoinSet::new();
        for iterator in shards {
            let source = Source::new(Arc::clone(&spec), streams.clone(), iterator, stop.clone());
            let consumer = Consumer { spec: Arc::clone(&spec), invoke: Arc::clone(&invoke), stop: stop.clone() };
            following.spawn(follow(source, consumer));
        }
        // Each ends when the mapping is to stop, by the function's time-out.
        while following.join_next().await.is_some() {}
    }))
}

/// Takes the records of one shard in lanes, and the batches of a lane one after another, so that those of a partition stay
/// in order. The lanes go on together: on AWS one that stands still lets the others go on for a while.
async fn follow<I, F>(mut source: Source, consumer: Consumer<I>)
where
    I: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, InvokeError>> + Send + 'static,
{
    loop {
        let records = source.records().await;
        if records.is_empty() {
            return;
        }
        let mut under_way = JoinSet::new();
        for lane in lanes(records, consumer.spec.lanes) {
            let mut consumer = consumer.clone();
            under_way.spawn(async move {
                for batch in lane.chunks(consumer.spec.batch_size) {
                    consumer.run(batch).await;
                }
            });
        }
        // Each ends when the mapping is to stop, by the function's time-out.
        while under_way.join_next().await.is_some() {}
    }
}

/// Divides records so that those of one partition come into one lane, in their order.
fn lanes(records: Vec<Record>, count: usize) -> Vec<Vec<Record>> {
    let mut lanes = vec![Vec::new(); count];
    for record in records {
        let mut hasher = DefaultHasher::new();
        record.partition.hash(&mut hasher);
        // The remainder is less than the count, which is a usize.
        lanes[(hasher.finish() % count as u64) as usize].push(record);
    }
    lanes
}

/// How old a record is.
fn age(record: &Record) -> Duration {
    let millis = epoch_millis().saturating_sub(record.created_secs.saturating_mul(1000));
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// What every batch needs.
struct Consumer<I> {
    spec: Arc<Spec>,
    invoke: Arc<I>,
    stop: Stop,
}

impl<I> Clone for Consumer<I> {
    fn clone(&self) -> Self {
        Self { spec: Arc::clone(&self.spec), invoke: Arc::clone(&self.invoke), stop: self.stop.clone() }
    }
}

impl<I, F> Consumer<I>
where
    I: Fn(Bytes) -> F,
    F: Future<Output = Result<Bytes, InvokeError>>,
{
    /// Works a batch off. Ends when every record is done or passed over, or when the mapping is to stop.
    async fn run(&mut self, records: &[Record]) {
        let mut batch = Batch::new(records.len(), self.spec.retry);
        let mut length = BACKOFF.0;
        while let Some(places) = batch.next() {
            let part = &records[places];
            let limit = self.spec.record_age_max.min(RETENTION);
            let expired = part.iter().take_while(|record| age(record) > limit).count();
            if expired > 0 {
                self.pass_over(&part[..expired], "they are too old");
                batch.expire(expired);
                continue;
            }
            match batch.settle(self.attempt(part).await) {
                Next::On => length = BACKOFF.0,
                Next::PassedOver(places) => {
                    self.pass_over(&records[places], "they have been tried as often as they may be");
                    length = BACKOFF.0;
                }
                Next::Again => {
                    pause(&mut self.stop, length).await;
                    length = (length * 2).min(BACKOFF.1);
                }
            }
            if stopped(&self.stop) {
                return;
            }
        }
    }

    async fn attempt(&self, records: &[Record]) -> Outcome {
        let spec = &self.spec;
        let payload = joined(records.iter().map(|record| record.json.as_str()));
        let error = match (self.invoke)(payload).await {
            Ok(response) => {
                let numbers: Vec<&str> = records.iter().map(|record| record.sequence_number.as_str()).collect();
                return judge(&response, &numbers, spec.report_batch_item_failures);
            }
            Err(error) => error,
        };
        tracing::warn!(spec.function, records = records.len(), %error, "an invocation with records of the stream did not go well");
        match error {
            InvokeError::Throttled | InvokeError::UnknownFunction(_) | InvokeError::RequestTooLarge { .. } => {
                Outcome::NotRun
            }
            InvokeError::FunctionError { .. }
            | InvokeError::TimedOut { .. }
            | InvokeError::Crashed { .. }
            | InvokeError::InitFailed { .. }
            | InvokeError::ResponseTooLarge => Outcome::Error,
        }
    }

    fn pass_over(&self, records: &[Record], reason: &str) {
        let number = |record: Option<&Record>| record.map(|record| record.sequence_number.clone()).unwrap_or_default();
        let (first, last) = (number(records.first()), number(records.last()));
        let (table, count) = (&self.spec.table, records.len());
        tracing::warn!(table, count, first, last, reason, "records of the stream are passed over");
    }
}
