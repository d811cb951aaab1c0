//! The shell: a batch of the queue in, the names of the messages that go back out. The only file that knows
//! `lambda_runtime`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::aws::{Patience, sdk_config};
use shared::clock::{Clock, SystemClock, Timestamp};
use shared::telemetry::{self, count, gauge, metric};

use crate::config::Config;
use crate::decode::Delivery;
use crate::deliver::{Consume, Report};
use crate::dynamo_table::DynamoTable;
use crate::settle;
use crate::table::{Key, Table};

/// How long one call to AWS may take; well within the time that a group of messages is given.
const PATIENCE: Patience = Patience { attempt: Duration::from_secs(2), call: Duration::from_secs(5) };

/// Runs the function until Lambda ends the environment.
///
/// # Errors
/// The configuration is refused, or the Runtime API cannot be reached.
pub async fn run() -> Result<(), Error> {
    telemetry::init("consume");
    let config = Config::from_lookup(&shared::config::environment)?;
    let client = aws_sdk_dynamodb::Client::new(&sdk_config(PATIENCE).await);
    let events = DynamoTable::new(client.clone(), config.events_table_name.clone());
    let dead_letters = DynamoTable::new(client, config.dead_letters_table_name.clone());
    // Opening the connection during initialisation, which has a whole core, spares the first batch most of a second.
    let nothing = Key { pk: "warm-up".to_owned(), sk: "warm-up".to_owned() };
    let _ = tokio::time::timeout(PATIENCE.call, events.get(&[nothing], None)).await;
    let consume = Consume::new(events, dead_letters, config.dead_letters_retention, Arc::new(SystemClock));
    let cold = AtomicBool::new(true);
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| {
        respond(&consume, event, cold.swap(false, Ordering::Relaxed))
    }))
    .await
}

/// Delivers one batch, and accounts for it in one log line.
///
/// # Errors
/// A message must go back but has no id: then all of them do.
pub async fn respond<E: Table, D: Table>(
    consume: &Consume<E, D>,
    event: LambdaEvent<SqsEvent>,
    cold_start: bool,
) -> Result<SqsBatchResponse, Error> {
    let started = Instant::now();
    let LambdaEvent { payload, context } = event;
    let deadline = Timestamp::from_millis_clamped(i64::try_from(context.deadline).unwrap_or(i64::MAX));
    let deliveries: Vec<Delivery> = payload.records.into_iter().map(delivery).collect();
    let report = consume.deliver(&deliveries, deadline).await;
    let response = settle::respond(report.failed.iter().map(|position| deliveries[*position].message_id.as_str()));
    account(&report);
    tracing::info!(
        request_id = context.request_id,
        cold_start,
        messages = deliveries.len(),
        retried = report.failed.len(),
        stored = report.stored,
        stored_before = report.stored_before,
        duplicate = report.duplicate,
        erased = report.erased,
        dead_lettered = report.dead_lettered,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "delivered"
    );
    telemetry::flush();
    Ok(response?)
}

fn account(report: &Report) {
    count(metric::EVENTS_STORED, report.stored as u64);
    count(metric::EVENTS_DUPLICATE, report.duplicate as u64);
    count(metric::EVENTS_ERASED, report.erased as u64);
    count(metric::EVENTS_DEAD_LETTERED, report.dead_lettered as u64);
    count(metric::MESSAGES_RETRIED, report.failed.len() as u64);
    #[expect(clippy::cast_precision_loss, reason = "a delay of a hundred thousand years is exact in a double")]
    gauge(metric::QUEUE_DELAY_MS, report.queue_delay.as_millis() as f64);
    if let Some(used) = telemetry::memory_used_pct() {
        gauge(metric::MEMORY_USED_PCT, used);
    }
}

fn delivery(record: SqsMessage) -> Delivery {
    let number = |name: &str| record.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
    Delivery {
        receive_count: number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        sent_at: number("SentTimestamp").and_then(Timestamp::from_millis).unwrap_or_else(|| SystemClock.now()),
        message_id: record.message_id.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    }
}
