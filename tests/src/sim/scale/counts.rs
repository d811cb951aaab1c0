//! What `consume` asks of AWS for one full batch, counted.

use std::rc::Rc;

use consume::table::Value as Stored;
use consume::tombstone::latest_key;
use serde_json::Value;
use tokio::time::sleep;

use super::mapping::BATCH_MAX;
use super::traffic::{Flow, Says, Sent, send};
use super::trial::{SECOND, start};
use crate::sim::dynamo::Row;
use crate::sim::mapping::deliver;
use crate::sim::model::Attempt;
use crate::sim::throughput::{Limits, units};
use crate::sim::world::on_virtual_time;

/// What one batch was, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Messages of the batch.
    pub messages: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of the events as their producers wrote them.
    pub bytes_sent: u64,
    /// Bytes of the messages.
    pub bytes: u64,
    /// Calls that insert items.
    pub inserts: u64,
    /// Calls that read items.
    pub reads: u64,
    /// Calls that replace an item.
    pub replacements: u64,
    /// Write units that were spent.
    pub units: u64,
    /// Write units of the items of events that are there now.
    pub units_of_events: u64,
    /// Write units of the profiles that are there now.
    pub units_of_profiles: u64,
}

/// Sends ten requests with so many events each, and delivers them as one batch.
///
/// # Panics
/// They are not settled at once.
#[must_use]
pub fn count(says: Says, people: u64, packed: u64) -> Counted {
    let (project, lasts) = (0, SECOND);
    let flow = &Flow { who: "all", project, people, says, rate: 10.0 * packed as f64, packed, lasts };
    on_virtual_time(deliver_once(flow))
}

async fn deliver_once(flow: &Flow) -> Counted {
    let (world, cloud) = start();
    // As it is after a project's first batch.
    for project in ["one", "two"] {
        cloud.events.put(latest_key(project), Row::from([("until", Stored::Number(0))]));
    }
    cloud.events.throughput.measure(Limits::default());
    send(Rc::clone(&cloud), flow.clone(), Sent::default()).await;
    sleep(SECOND).await;
    let batch = cloud.queue.receive(BATCH_MAX).await;
    let bodies: Vec<Value> = batch.iter().filter_map(|held| serde_json::from_str(&held.body).ok()).collect();
    let events = bodies.iter().map(|body| body["events"].as_array().map_or(0, Vec::len)).sum::<usize>();
    let bytes = batch.iter().map(|held| held.body.len()).sum::<usize>();
    let messages = batch.len() as u64;
    let said =
        |attempt: &Attempt| attempt.request.said.iter().map(|said| said.written.to_string().len()).sum::<usize>();
    let bytes_sent = world.notes().attempts.values().map(said).sum::<usize>();
    deliver(&cloud, &cloud.queue, batch, 0.0).await;
    assert!(cloud.queue.is_empty(), "the batch is settled");
    let usage = cloud.events.throughput.usage();
    let call = |what: &str| usage.calls.get(what).copied().unwrap_or_default();
    let units_of =
        |kind: &str| cloud.events.items().iter().filter(|item| item.key.sk.starts_with(kind)).map(units).sum();
    Counted {
        messages,
        events: events as u64,
        bytes_sent: bytes_sent as u64,
        bytes: bytes as u64,
        inserts: call("insert"),
        reads: call("get"),
        replacements: call("replace"),
        units: usage.units.values().sum(),
        units_of_events: units_of("E#"),
        units_of_profiles: units_of("PROFILE"),
    }
}
