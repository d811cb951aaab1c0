//! The shell: what Lambda hands over in, the names of what must come again out. The only file that knows
//! `lambda_runtime`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsBatchResponse;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use shared::aws::{Patience, sdk_config};
use shared::clock::{SystemClock, Timestamp};
use shared::outcome::Cause;
use shared::telemetry::{self, count, count_by_reason, gauge, metric};

use crate::backoff;
use crate::config::Config;
use crate::decode::Delivery;
use crate::deliver::{Consume, Ports, Report};
use crate::dynamo_table::DynamoTable;
use crate::incoming::{Payload, Work};
use crate::queue::{Deferral, Queue, defer_all};
use crate::settle;
use crate::sqs_queue::SqsQueue;
use crate::table::{Key, Table};

/// How long one call to DynamoDB may take; well within the time that a group of messages is given.
const PATIENCE: Patience = Patience { attempt: Duration::from_secs(2), call: Duration::from_secs(5) };
/// How long what goes back is asked to wait, all together; within the time that is kept for answering.
const DEFER_WITHIN: Duration = Duration::from_secs(2);

/// Runs the function until Lambda ends the environment.
///
/// # Errors
/// The configuration is refused, or the Runtime API cannot be reached.
pub async fn run() -> Result<(), Error> {
    telemetry::init("consume");
    let config = Config::from_lookup(&shared::config::environment)?;
    let sdk = sdk_config(PATIENCE).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let table = |name: &String| DynamoTable::new(dynamodb.clone(), name.clone());
    let ports = Ports {
        events: table(&config.events_table_name),
        dead_letters: table(&config.dead_letters_table_name),
        spill: table(&config.spill_table_name),
        queue: SqsQueue::new(sqs.clone(), config.events_queue_url.clone()),
        quarantine: SqsQueue::new(sqs, config.quarantine_queue_url.clone()),
    };
    // Opening the connection during initialisation, which has a whole core, spares the first batch most of a second.
    let nothing = Key { pk: "warm-up".to_owned(), sk: "warm-up".to_owned() };
    let _ = tokio::time::timeout(PATIENCE.call, ports.events.get(&[nothing], None)).await;
    let quarantine = config.quarantine_queue_url.rsplit('/').next().unwrap_or_default().to_owned();
    let consume = Consume::new(ports, config.dead_letters_retention, Arc::new(SystemClock));
    let cold = AtomicBool::new(true);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Payload>| {
        respond(&consume, &quarantine, event, cold.swap(false, Ordering::Relaxed))
    }))
    .await
}

/// Does what one invocation is for, and accounts for it in one log line. `quarantine` is the name of that queue.
///
/// # Errors
/// A message must go back but has no id, and then all of them do; or a sweep did not come to its end; or the payload is
/// none of ours.
pub async fn respond<T: Table, Q: Queue>(
    consume: &Consume<T, Q>,
    quarantine: &str,
    event: LambdaEvent<Payload>,
    cold_start: bool,
) -> Result<SqsBatchResponse, Error> {
    let started = Instant::now();
    let LambdaEvent { payload, context } = event;
    let deadline = Timestamp::from_millis_clamped(i64::try_from(context.deadline).unwrap_or(i64::MAX));
    let (source, records, report, response) = match payload.work(quarantine, consume.clock.now())? {
        Work::Queue(deliveries) => {
            let report = consume.deliver(&deliveries, deadline).await;
            let response = give_back(&consume.ports.queue, &deliveries, &report).await;
            ("queue", deliveries.len(), report, response)
        }
        Work::Quarantine(deliveries) => {
            let mut report = Report::default();
            for (position, delivery) in deliveries.iter().enumerate() {
                report.add_at(position, consume.deliver_quarantined(delivery, deadline).await);
            }
            let response = give_back(&consume.ports.quarantine, &deliveries, &report).await;
            ("quarantine", deliveries.len(), report, response)
        }
        Work::Spilled(records) => {
            let report = consume.deliver_spilled(&records, deadline).await;
            // A stream is read on from the first that is named; what lies behind it comes again anyway.
            let first = report.failed.iter().next().map(|(position, _)| records[position].sequence_number.as_str());
            ("spill", records.len(), report, settle::respond(first))
        }
        Work::Sweep => {
            let swept = consume.sweep(deadline).await.map_err(|cause| format!("the sweep failed: {}", cause.tag()))?;
            if swept.enqueued > 0 {
                tracing::warn!(messages = swept.enqueued, finished = swept.finished, "spilled messages were enqueued");
            }
            ("sweep", swept.enqueued, Report::default(), settle::respond([]))
        }
    };
    account(&report);
    log(&context, cold_start, source, records, &report, started);
    telemetry::flush();
    Ok(response?)
}

/// Lets what must come again wait as long as its cause and its receives ask for, and names it.
async fn give_back(
    queue: &impl Queue,
    deliveries: &[Delivery],
    report: &Report,
) -> Result<SqsBatchResponse, settle::Unattributable> {
    let deferral = |(position, cause): (usize, Cause)| {
        let Delivery { message_id, receipt_handle, receive_count, .. } = &deliveries[position];
        Deferral { receipt_handle: receipt_handle.clone(), wait: backoff::wait(cause, *receive_count, message_id) }
    };
    let deferrals: Vec<Deferral> = report.failed.iter().map(deferral).collect();
    if tokio::time::timeout(DEFER_WITHIN, defer_all(queue, &deferrals)).await.is_err() {
        tracing::warn!("messages wait for their visibility time-out");
    }
    settle::respond(report.failed.iter().map(|(position, _)| deliveries[position].message_id.as_str()))
}

fn log(context: &Context, cold_start: bool, source: &str, records: usize, report: &Report, started: Instant) {
    tracing::info!(
        request_id = context.request_id,
        cold_start,
        source,
        records,
        retried = report.failed.len(),
        stored = report.stored,
        stored_before = report.stored_before,
        duplicate = report.duplicate,
        erased = report.erased,
        dead_lettered = report.dead_lettered.values().sum::<usize>(),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "delivered"
    );
}

fn account(report: &Report) {
    count(metric::EVENTS_STORED, report.stored as u64);
    count(metric::EVENTS_DUPLICATE, report.duplicate as u64);
    count(metric::EVENTS_ERASED, report.erased as u64);
    for (reason, letters) in &report.dead_lettered {
        count(metric::EVENTS_DEAD_LETTERED, *letters as u64);
        count_by_reason(metric::EVENTS_DEAD_LETTERED, reason, *letters as u64);
    }
    count(metric::MESSAGES_RETRIED, report.failed.len() as u64);
    #[expect(clippy::cast_precision_loss, reason = "a delay of a hundred thousand years is exact in a double")]
    gauge(metric::QUEUE_DELAY_MS, report.queue_delay.as_millis() as f64);
    if let Some(used) = telemetry::memory_used_pct() {
        gauge(metric::MEMORY_USED_PCT, used);
    }
}
