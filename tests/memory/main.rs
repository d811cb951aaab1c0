//! The bounds of `ingest::memory`, `consume::memory` and `receipts::memory`, held against what the functions take.
//!
//! The functions and the AWS SDK are the real ones, from the JSON that Lambda hands over to the answer; SQS and DynamoDB
//! are in another process. `-- --nocapture` shows what each shape takes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod batches;
mod meter;
mod questions;
mod requests;
mod stand_ins;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use consume::deliver::{Consume, Ports};
use consume::dynamo_table::DynamoTable;
use consume::incoming::Payload;
use ingest::accept::Ingest;
use ingest::key_table::KeyTable;
use ingest::spill::SpillTable;
use lambda_runtime::{Context, LambdaEvent};
use shared::clock::{Clock, SystemClock};
use shared::limits::{
    EVENT_BYTES_CEILING, EVENT_BYTES_DEFAULT, PROFILE_BYTES_MAX, REQUEST_BYTES_CEILING, REQUEST_BYTES_DEFAULT,
};
use tokio::sync::Mutex;

use crate::batches::{BUSY, profiles};
use crate::meter::{Row, check, peak};
use crate::stand_ins::StandIns;

/// One test at a time: what is counted is the process's.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Events of somebody who is to be erased: several pages.
const BUSY_EVENTS: usize = 1_500;

#[tokio::test]
#[ignore = "the other tests run it, as a process of its own"]
async fn stand_ins() {
    stand_ins::serve().await;
}

async fn measure_ingest(stand_ins: &StandIns, request: usize, event: usize) -> Vec<Row> {
    let (events, spill) = (stand_ins.table("EventsTable"), stand_ins.table("SpillTable"));
    let url = stand_ins.queue_url("EventsQueue");
    let config = ingest::config::Config {
        events_queue_url: url.clone(),
        events_table_name: events.clone(),
        spill_table_name: spill.clone(),
        request_bytes_max: request,
        event_bytes_max: event,
    };
    let mut rows = Vec::new();
    for shape in requests::all(request, event) {
        // An environment of its own for each, which has had no trouble with one before.
        let ingest = Ingest::new(
            config.clone(),
            KeyTable::new(stand_ins.dynamodb.clone(), events.clone()),
            ingest::queue::SqsQueue::new(stand_ins.sqs.clone(), url.clone()),
            SpillTable::new(stand_ins.dynamodb.clone(), spill.clone()),
            Arc::new(SystemClock),
        );
        let ((status, body), peak) = peak(shape.event, async |payload| {
            let request = {
                let request = lambda_http::request::from_str(std::str::from_utf8(&payload).unwrap()).unwrap();
                drop(payload);
                request
            };
            let response = ingest::handler::respond(&ingest, request, false).await.unwrap();
            (response.status().as_u16(), format!("{:?}", response.body()))
        })
        .await;
        let code = body.split("code\\\":\\\"").nth(1).and_then(|rest| rest.split('\\').next()).unwrap_or_default();
        rows.push(Row { shape: shape.name.to_owned(), outcome: format!("{status} {code}"), peak });
    }
    rows
}

#[tokio::test]
async fn no_request_takes_more_than_ingest_computes() {
    let _alone = ALONE.lock().await;
    let stand_ins = StandIns::start().await;
    let sizes = [(REQUEST_BYTES_DEFAULT, EVENT_BYTES_DEFAULT), (REQUEST_BYTES_CEILING, EVENT_BYTES_CEILING)];
    for (request, event) in sizes {
        let rows = measure_ingest(&stand_ins, request, event).await;
        check(
            &format!("ingest, of {request} and {event} bytes"),
            &rows,
            ingest::memory::bound(request, event) - ingest::memory::BASE_BYTES,
        );
    }
}

/// What producers may ask at most, beside bodies that `ingest` knows as well: receipts with as many items as there are,
/// and as many calls.
#[tokio::test]
async fn no_question_takes_more_than_receipts_computes() {
    let _alone = ALONE.lock().await;
    let stand_ins = StandIns::start().await;
    let (events, letters) = (stand_ins.table("EventsTable"), stand_ins.table("DeadLettersTable"));
    let sizes = [(REQUEST_BYTES_DEFAULT, EVENT_BYTES_DEFAULT), (REQUEST_BYTES_CEILING, EVENT_BYTES_CEILING)];
    for (request, event) in sizes {
        let config = receipts::config::Config {
            events_table_name: events.clone(),
            dead_letters_table_name: letters.clone(),
            request_bytes_max: request,
            event_bytes_max: event,
        };
        let mut rows = Vec::new();
        for shape in questions::all(request, event) {
            put(&stand_ins, shape.items).await;
            let receipts = receipts::answer::Receipts::new(
                config.clone(),
                KeyTable::new(stand_ins.dynamodb.clone(), events.clone()),
                DynamoTable::new(stand_ins.dynamodb.clone(), events.clone()),
                DynamoTable::new(stand_ins.dynamodb.clone(), letters.clone()),
                Arc::new(SystemClock),
            );
            let (outcome, peak) = peak(shape.event, async |payload| {
                let request = {
                    let request = lambda_http::request::from_str(std::str::from_utf8(&payload).unwrap()).unwrap();
                    drop(payload);
                    request
                };
                let response = receipts::handler::respond(&receipts, request, false).await.unwrap();
                format!("{} {} bytes", response.status().as_u16(), response.body().len())
            })
            .await;
            rows.push(Row { shape: shape.name.to_owned(), outcome, peak });
        }
        let bound = receipts::memory::bound(request, event) - receipts::memory::BASE_BYTES;
        check(&format!("receipts, of {request} and {event} bytes"), &rows, bound);
    }
}

async fn put(stand_ins: &StandIns, items: Vec<HashMap<String, AttributeValue>>) {
    let table = stand_ins.table("EventsTable");
    for batch in items.chunks(25) {
        let puts = batch.iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        stand_ins.dynamodb.batch_write_item().request_items(&table, puts.collect()).send().await.unwrap();
    }
}

fn key(subject: &str, sort: String) -> HashMap<String, AttributeValue> {
    let text = |name: &str, text: String| (name.to_owned(), AttributeValue::S(text));
    HashMap::from([text("pk", format!("dev#{subject}")), text("sk", sort)])
}

/// Fills the table with profiles, and with events of somebody.
async fn fill(stand_ins: &StandIns, values: usize) {
    let mut items = Vec::new();
    for (id, attributes) in profiles(PROFILE_BYTES_MAX, values) {
        let mut item = key(&id, consume::profile::SORT.to_owned());
        for (name, value) in attributes.as_object().unwrap() {
            item.insert(name.clone(), AttributeValue::S(value.as_str().unwrap().to_owned()));
        }
        item.insert("ver".to_owned(), AttributeValue::N("1".to_owned()));
        items.push(item);
    }
    for number in 0..BUSY_EVENTS {
        let mut item = key(BUSY, format!("E#2024-01-01T00:00:00.000Z#{number}"));
        item.insert("time".to_owned(), AttributeValue::N("0".to_owned()));
        item.insert("data".to_owned(), AttributeValue::S("\"".repeat(2_000)));
        items.push(item);
    }
    put(stand_ins, items).await;
}

#[tokio::test]
async fn no_batch_takes_more_than_consume_computes() {
    let _alone = ALONE.lock().await;
    let stand_ins = StandIns::start().await;
    let table = |id: &str| DynamoTable::new(stand_ins.dynamodb.clone(), stand_ins.table(id));
    let queue = |id: &str| consume::sqs_queue::SqsQueue::new(stand_ins.sqs.clone(), stand_ins.queue_url(id));
    let ports = Ports {
        events: table("EventsTable"),
        dead_letters: table("DeadLettersTable"),
        spill: table("SpillTable"),
        queue: queue("EventsQueue"),
        quarantine: queue("QuarantineQueue"),
    };
    let consume =
        Consume::new(ports, Duration::from_secs(86_400), Arc::new(SystemClock)).packed(tests::packed::packed_period());
    let arn = stand_ins.template.queue("EventsQueue").unwrap().arn.clone();
    fill(&stand_ins, consume::profile::VALUES_MAX).await;
    let mut rows = Vec::new();
    for shape in batches::all() {
        let event = batches::event(&shape.messages, &arn);
        drop(shape.messages);
        let (report, peak) = peak(event, async |payload| {
            let parsed: Payload = serde_json::from_slice(&payload).unwrap();
            drop(payload);
            let mut context = Context::default();
            // Longer than Lambda would give: a debug build must come to the end of it.
            context.deadline = u64::try_from(SystemClock.now().as_millis()).unwrap() + 600_000;
            let response =
                consume::handler::respond(&consume, "no queue", LambdaEvent::new(parsed, context), false).await;
            response.map(|response| response.batch_item_failures.len())
        })
        .await;
        rows.push(Row { shape: shape.name.to_owned(), outcome: format!("{report:?} back"), peak });
    }
    check("consume", &rows, consume::memory::bound() - consume::memory::BASE_BYTES);
}
