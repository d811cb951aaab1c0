//! The pure cores of our functions, on ports that answer at once: what `bench budget` counts the instructions of.
//!
//! Usage: `core ingest|consume|packed TIMES`. Each time, a request of a hundred events is accepted, or a batch with such a
//! request's message is delivered; packed, its events are those of one person.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bench::budget::EVENTS;
use bench::workload::{TYPICAL_BYTES, packed_messages, personal_batch, segment_batch};
use consume::decode::Delivery;
use consume::deliver::{Consume, Ports};
use consume::period::Period;
use consume::queue::{Deferral, Outgoing, Queue};
use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value};
use consume::tombstone::LATEST_SORT;
use ingest::accept::{Call, Ingest};
use ingest::auth::{KeyLookup, LookupError, Owner};
use ingest::config::Config;
use ingest::queue::{Entry, EventQueue, QueueError};
use ingest::spill::{SpillError, SpillStore};
use shared::clock::{Clock, ManualClock, Timestamp};
use shared::limits::{EVENT_BYTES_DEFAULT, REQUEST_BYTES_DEFAULT};
use shared::outcome::Cause;

/// Everything around the cores: it takes all, and has nothing.
struct Nothing;

impl KeyLookup for Nothing {
    async fn find(&self, _: &str) -> Result<Option<Owner>, LookupError> {
        Ok(Some(Owner {
            project: "dev".to_owned(),
            source: "default".to_owned(),
            secret: None,
            lives_with_user: false,
        }))
    }
}

impl EventQueue for Nothing {
    async fn send(&self, _: &[Entry]) -> Result<Vec<usize>, QueueError> {
        Ok(vec![])
    }
}

impl SpillStore for Nothing {
    async fn keep(&self, _: &str, _: &Entry, _: Timestamp) -> Result<(), SpillError> {
        Ok(())
    }
}

impl Queue for Nothing {
    async fn defer(&self, _: &[Deferral]) -> Result<(), Cause> {
        Ok(())
    }

    async fn send(&self, _: &[Outgoing]) -> Result<(), Cause> {
        Ok(())
    }
}

impl Table for Nothing {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        vec![Insert::Done; items.len()]
    }

    async fn get(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        // But that each project's latest deletion is long ago.
        let note = || Attributes::from([("until".to_owned(), Value::Number(0))]);
        Ok(keys.iter().filter(|key| key.sk == LATEST_SORT).map(|key| (key.clone(), note())).collect())
    }

    async fn get_eventually(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        // Links are written once, and are there.
        Ok(keys.iter().map(|key| (key.clone(), Attributes::new())).collect())
    }

    async fn replace(&self, _: &Item, _: Guard) -> Result<bool, Replace> {
        Ok(true)
    }

    async fn query(&self, _: &str, _: &str, _: Option<&str>) -> Result<Page, Cause> {
        Ok(Page { items: vec![], is_last: true })
    }

    async fn scan(&self, _: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        Ok(vec![])
    }

    async fn put(&self, _: &[Item]) -> Result<(), Cause> {
        Ok(())
    }

    async fn delete(&self, _: &[Key]) -> Result<(), Cause> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [function, times] = arguments.as_slice() else { bail!("usage: core ingest|consume|packed TIMES") };
    let times = times.parse().context("TIMES is not a number")?;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis_clamped(1_700_000_000_000)));
    let body = segment_batch(0, EVENTS, TYPICAL_BYTES);
    match function.as_str() {
        "ingest" => accept(body, times, clock).await,
        "consume" => deliver(&body, times, clock, Period::NEVER).await,
        "packed" => deliver(&personal_batch(0, EVENTS, TYPICAL_BYTES), times, clock, Period::ALWAYS).await,
        other => bail!("there is no function {other:?}"),
    }
}

async fn accept(body: String, times: usize, clock: Arc<ManualClock>) -> anyhow::Result<()> {
    let config = Config {
        events_queue_url: String::new(),
        events_table_name: String::new(),
        spill_table_name: String::new(),
        request_bytes_max: REQUEST_BYTES_DEFAULT,
        event_bytes_max: EVENT_BYTES_DEFAULT,
    };
    let ingest = Ingest::new(config, Nothing, Nothing, Nothing, clock);
    let call = Call {
        method: "POST".to_owned(),
        path: "/v1/batch".to_owned(),
        authorization: Some("Basic ZGV2Og==".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: body.into_bytes(),
        ..Call::default()
    };
    for _ in 0..times {
        let (answer, account) = ingest.answer(&call, "018bcfe568007abcdef0123456789abc").await;
        ensure!(answer.problem().is_none() && account.events == EVENTS, "not accepted: {answer:?}");
    }
    Ok(())
}

async fn deliver(body: &str, times: usize, clock: Arc<ManualClock>, packed: Period) -> anyhow::Result<()> {
    let messages = packed_messages("dev", body)?;
    let ports = Ports { events: Nothing, dead_letters: Nothing, spill: Nothing, queue: Nothing, quarantine: Nothing };
    let now = clock.now();
    let minute = std::time::Duration::from_secs(60);
    let consume = Consume::new(ports, minute, clock).packed(packed);
    let delivery = |body: String| Delivery {
        message_id: "19dd0b57-b21e-4ac1-bd88-01bbb068cb00".to_owned(),
        receipt_handle: "handle".to_owned(),
        body,
        receive_count: 1,
        sent_at: now,
        group: "dev".to_owned(),
        redrive: None,
    };
    let deliveries: Vec<Delivery> = messages.into_iter().map(delivery).collect();
    for _ in 0..times {
        let report = consume.deliver(&deliveries, now.plus(minute)).await;
        ensure!(report.stored == EVENTS && report.failed.is_empty(), "not stored: {report:?}");
    }
    Ok(())
}
