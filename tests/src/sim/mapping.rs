//! The event source mappings of both queues, and the schedule of the sweep.

use std::rc::Rc;
use std::time::Duration;

use local::mapping::settle;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::lambda::{Cloud, Ended};
use super::scenario::Service;
use super::sqs::{Held, SimQueue};

/// The most messages of a batch, as in the template.
const BATCH_MAX: u64 = 10;
/// How often the sweep runs, as in the template.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// Polls the queue for ever, as one of the mapping's concurrent invocations.
pub(crate) async fn poll_queue(cloud: Rc<Cloud>) {
    let crash = cloud.world.scenario.crash;
    loop {
        let max = cloud.world.chance.from(1, BATCH_MAX);
        poll(&cloud, &cloud.queue, usize::try_from(max).unwrap_or(1), crash).await;
    }
}

/// Polls the quarantine for ever: one message at a time.
pub(crate) async fn poll_quarantine(cloud: Rc<Cloud>) {
    let crash = cloud.world.scenario.crash_in_quarantine;
    loop {
        poll(&cloud, &cloud.quarantine, 1, crash).await;
    }
}

async fn poll(cloud: &Rc<Cloud>, queue: &SimQueue, max: usize, crash: f64) {
    let world = &cloud.world;
    while world.is_stormy() && world.scenario.outage(Service::Queue, world.elapsed()).is_some() {
        sleep(world.chance.millis(1_000, 20_000)).await;
    }
    let batch = queue.receive(max).await;
    if world.befalls(world.scenario.trouble / 2.0) {
        // The messages are in flight all the same.
        world.note("receive lost on the way", || format!("{} messages of {}", batch.len(), queue.name));
        sleep(world.chance.millis(1_000, 20_000)).await;
        return;
    }
    deliver(cloud, queue, batch, crash).await;
}

/// Invokes `consume` for a batch, and deletes what it has settled.
pub(crate) async fn deliver(cloud: &Rc<Cloud>, queue: &SimQueue, batch: Vec<Held>, crash: f64) {
    let world = &cloud.world;
    sleep(world.chance.millis(1, 20)).await;
    let records: Vec<Value> = batch.iter().map(|held| record(queue, held)).collect();
    let ids: Vec<&str> = batch.iter().map(|held| held.id.as_str()).collect();
    let is_quarantine = queue.name == cloud.quarantine.name;
    world.note(if is_quarantine { "quarantine delivery" } else { "delivery" }, || format!("{ids:?}"));
    let (begun, was_stormy) = (world.elapsed(), world.is_stormy());
    let response = cloud.invoke(json!({"Records": records}), crash).await;
    if is_quarantine {
        let ended = response.as_ref().err().copied().flatten();
        // A call that went wrong just before the calm may have its effect after it.
        account_for_marks(cloud, ids[0], begun, ended, was_stormy);
    }
    let outcome = response.as_deref().map_err(|_| ());
    let verdict = settle(outcome, &ids, true);
    if response.is_ok() && !is_quarantine {
        for position in (0..batch.len()).filter(|position| !verdict.delete.contains(position)) {
            world.note("message given back", || batch[position].id.clone());
        }
    }
    world.note("messages settled", || format!("{} of {ids:?}", verdict.delete.len()));
    if verdict.delete.is_empty() {
        return;
    }
    if world.befalls(world.scenario.trouble / 2.0) {
        world.note("delete lost on the way", || format!("{ids:?}"));
        return;
    }
    let handles: Vec<String> = verdict.delete.iter().map(|position| batch[*position].handle.clone()).collect();
    queue.delete(&handles);
}

/// Notes what an invocation for one quarantined message tells of its mark.
fn account_for_marks(cloud: &Cloud, id: &str, begun: Duration, ended: Option<Ended>, was_stormy: bool) {
    let world = &cloud.world;
    if let Some(ended) = ended {
        let mut notes = world.notes();
        let (by_chance, by_itself) = notes.ended_alone.entry(id.to_owned()).or_default();
        *(if ended == Ended::Killed { by_itself } else { by_chance }) += 1;
    }
    let outage = world
        .scenario
        .outages
        .iter()
        .any(|outage| outage.service == Service::Table && outage.from <= world.elapsed() && begun <= outage.to);
    // One that took so long came to no end that could be noted, or is to be taken apart.
    let slow = world.elapsed() - begun > Duration::from_secs(30);
    if ended.is_some() || slow || (was_stormy && (outage || world.scenario.trouble > 0.0)) {
        world.notes().marks_explained.insert(id.to_owned());
    }
}

/// A message as Lambda hands it over.
fn record(queue: &SimQueue, held: &Held) -> Value {
    let mut record = json!({
        "messageId": held.id,
        "receiptHandle": held.handle,
        "body": &*held.body,
        "attributes": {
            "ApproximateReceiveCount": held.receives.to_string(),
            "SentTimestamp": held.sent_millis.to_string(),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:eu-west-1:123456789012:{}", queue.name),
        "awsRegion": "eu-west-1",
    });
    if !held.group.is_empty() {
        record["attributes"]["MessageGroupId"] = json!(held.group);
    }
    if let Some(redrive) = &held.redrive {
        record["messageAttributes"]["Redrive"] = json!({"stringValue": redrive, "dataType": "String"});
    }
    record
}

/// Sweeps the spill table every five minutes, for ever. A sweep that goes wrong is left to the next.
pub(crate) async fn sweep(cloud: Rc<Cloud>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let event = json!({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}});
        let swept = cloud.invoke(event, cloud.world.scenario.crash).await;
        cloud.world.note(if swept.is_ok() { "sweep" } else { "sweep without end" }, String::new);
    }
}
