//! The shell: what Lambda hands over in, the names of what must come again out. The only file that knows
//! `lambda_runtime`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsBatchResponse;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde::de::IgnoredAny;
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
    let consume =
        Consume::new(ports, config.dead_letters_retention, Arc::new(SystemClock)).packed(config.packed_period);
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
    let mut settled = Settled::default();
    let (source, records, report, response) = match payload.work(quarantine, consume.clock.now())? {
        Work::Queue(deliveries) => {
            let report = consume.deliver(&deliveries, deadline).await;
            let done = deliveries.iter().enumerate().filter(|(position, _)| !report.failed.has(*position));
            done.for_each(|(_, delivery)| settled.add_message(delivery));
            let response = give_back(&consume.ports.queue, &deliveries, &report).await;
            ("queue", deliveries.len(), report, response)
        }
        Work::Quarantine(deliveries) => {
            let mut report = Report::default();
            for (position, delivery) in deliveries.iter().enumerate() {
                let part = consume.deliver_quarantined(delivery, deadline).await;
                // What was taken apart has come to nothing yet: its parts are messages of their own.
                if part.failed.is_empty() && (fates(&part) > 0 || items(delivery) <= 1) {
                    settled.add_message(delivery);
                }
                report.add_at(position, part);
            }
            let response = give_back(&consume.ports.quarantine, &deliveries, &report).await;
            ("quarantine", deliveries.len(), report, response)
        }
        Work::Spilled(records) => {
            let mut report = Report::default();
            for (position, record) in records.iter().enumerate() {
                let part = consume.deliver_spilled(std::slice::from_ref(record), deadline).await;
                if part.failed.is_empty() {
                    settled.add(&record.id, fates(&part));
                }
                report.add_at(position, part);
            }
            // A stream is read on from the first that is named; what lies behind it comes again anyway.
            let first = report.failed.iter().next().map(|(position, _)| records[position].sequence_number.as_str());
            ("spill", records.len(), report, settle::respond(first))
        }
        Work::Sweep => {
            let swept = consume.sweep(deadline).await.map_err(|cause| format!("the sweep failed: {}", cause.tag()))?;
            if swept.enqueued > 0 {
                tracing::warn!(messages = swept.enqueued, finished = swept.finished, "spilled messages were enqueued");
            }
            count(metric::MESSAGES_SWEPT, swept.enqueued as u64);
            ("sweep", swept.enqueued, Report::default(), settle::respond([]))
        }
    };
    account(&report);
    settled.0.into_iter().for_each(|(due_at, items)| telemetry::count_at(metric::EVENTS_SETTLED, due_at, items as u64));
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

/// How many items are done with, by the minute in which they were due.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settled(BTreeMap<Timestamp, usize>);

/// As much of a message as is needed to count it.
#[derive(Deserialize)]
struct Contents {
    receipt: String,
    #[serde(default)]
    events: Vec<IgnoredAny>,
    #[serde(default)]
    refused: Vec<IgnoredAny>,
}

fn contents(delivery: &Delivery) -> Option<Contents> {
    serde_json::from_str(&delivery.body).ok()
}

fn items(delivery: &Delivery) -> usize {
    contents(delivery).map_or(0, |contents| contents.events.len() + contents.refused.len())
}

impl Settled {
    /// Counts all items of a message, once in the life of each: when the last delivery has not failed. A message that
    /// cannot be read counts nothing, as nobody knows what was in it; and what a dead letter sent round again has been
    /// counted before.
    fn add_message(&mut self, delivery: &Delivery) {
        if delivery.redrive.is_none()
            && let Some(contents) = contents(delivery)
        {
            self.add(&contents.receipt, contents.events.len() + contents.refused.len());
        }
    }

    fn add(&mut self, receipt: &str, items: usize) {
        if let Some(due_at) = telemetry::due_at(receipt) {
            *self.0.entry(due_at).or_insert(0) += items;
        }
    }
}

/// Items that have come to a fate, now or before.
fn fates(report: &Report) -> usize {
    let Report { stored, stored_before, duplicate, erased, dead_lettered, .. } = report;
    stored + stored_before + duplicate + erased + dead_lettered.values().sum::<usize>()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redrive::Redrive;

    fn delivery(body: &str) -> Delivery {
        Delivery {
            message_id: "m".to_owned(),
            receipt_handle: "h".to_owned(),
            body: body.to_owned(),
            receive_count: 1,
            sent_at: Timestamp::from_millis_clamped(0),
            group: String::new(),
            redrive: None,
        }
    }

    #[test]
    fn items_are_settled_in_the_minute_in_which_they_were_due() {
        let body = r#"{"version":1,"receipt":"018bcfe568007abcdef0123456789abc","events":[{},{}],"refused":[{}]}"#;
        let redriven = Redrive { pk: String::new(), sk: String::new(), round: 1 };
        let mut settled = Settled::default();
        settled.add_message(&delivery(body));
        settled.add_message(&delivery("not a message"));
        settled.add_message(&Delivery { redrive: Some(redriven), ..delivery(body) });
        settled.add("018bcfe568007abcdef0123456789abc.0", 4);
        let due_at = telemetry::due_at("018bcfe568007abcdef0123456789abc").unwrap();
        assert_eq!(settled, Settled(BTreeMap::from([(due_at, 7)])));
    }
}
