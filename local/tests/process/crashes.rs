//! Sudden deaths: of the pipeline, and of its functions' environments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::client::{depth, post, scan, stored, track, wait_until_empty, wait_until_stored};
use crate::inside::{self, Ahead, VISIBILITY, let_visibility_pass};
use crate::proc::{environments, signal, wait_for_no_environments};
use crate::process::Process;

/// Events of one request.
const BATCH: usize = 5;

/// Requests that a producer sends at the most.
const REQUESTS_MAX: usize = 200;

/// A producer: sends request after request until it is stopped or gets no answer. Returns the ids that were
/// acknowledged.
fn produce(api: String, prefix: String, stop: Arc<AtomicBool>) -> JoinHandle<BTreeSet<String>> {
    spawn(move || {
        let mut acknowledged = BTreeSet::new();
        for request in 0..REQUESTS_MAX {
            let ids: Vec<String> = (0..BATCH).map(|event| format!("{prefix}-{}", request * BATCH + event)).collect();
            let events: Vec<_> = ids.iter().map(|id| track(id)).collect();
            match post(&api, "/v1/batch", &json!({"batch": events})) {
                Ok(200) => acknowledged.extend(ids),
                // A refusal promises nothing and is no reason to stop.
                Ok(_) => {}
                Err(_) => break,
            }
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
        acknowledged
    })
}

/// Asserts that events are in the table once each, and nothing is anywhere else.
async fn assert_each_is_stored_once(sqs: &str, dynamodb: &str, acknowledged: &BTreeSet<String>) {
    let wanted: Vec<String> = acknowledged.iter().cloned().collect();
    wait_until_stored(dynamodb, &wanted).await;
    wait_until_empty(sqs, "holdfast-events").await;
    let stored = stored(dynamodb).await;
    let different: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(stored.len(), different.len(), "each event is stored once");
    assert_eq!(depth(sqs, "holdfast-quarantine").await, 0);
    assert_eq!(scan(dynamodb, "DeadLettersTable").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_death_of_the_pipeline() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let mut process = Process::on(data.path());
        let (api, sqs) = (process.api(), process.sqs());
        let producer = produce(api, format!("r{round}"), Arc::default());
        // Any moment will do: during the first cold start, or in the midst of batches.
        sleep(Duration::from_millis(100 + 6 * u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
        // The last end is an orderly one, under the same load.
        let last = round == 4;
        process.signal(if last { Signal::TERM } else { Signal::KILL });
        let (code, _) = process.ended();
        assert_eq!(code, last.then_some(0), "{:#?}", process.lines());
        acknowledged.extend(producer.join().expect("the producer does not panic"));
        wait_for_no_environments(&sqs);
    }
    assert!(acknowledged.len() > 50, "{} events are too few to show anything", acknowledged.len());

    // What was in flight at a death comes back when its visibility time-out is over.
    let clock = Arc::new(Ahead::default());
    clock.advance(VISIBILITY);
    let pipeline = inside::start(Some(data.path()), &clock).await;
    assert_each_is_stored_once(&pipeline.sqs().endpoint(), &pipeline.dynamodb().endpoint(), &acknowledged).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_deaths_of_environments() {
    let clock = Arc::new(Ahead::default());
    let pipeline = inside::start(None, &clock).await;
    let (sqs, dynamodb) = (pipeline.sqs().endpoint(), pipeline.dynamodb().endpoint());
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> =
        (0..2).map(|number| produce(pipeline.api(), format!("p{number}"), Arc::clone(&stop))).collect();
    let mut killed = [("ingest", 0), ("consume", 0)];
    for _ in 0..20 {
        for (function, count) in &mut killed {
            if let Some((pid, _)) = environments(&sqs).iter().find(|(_, name)| name == function) {
                signal(*pid, Signal::KILL);
                *count += 1;
            }
        }
        // The producers, who send again, meet the death of each, the last one too.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(killed.iter().all(|(_, count)| *count > 3), "{killed:?}");
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeSet::new();
    for producer in producers {
        acknowledged.extend(producer.join().expect("the producer does not panic"));
    }
    assert!(acknowledged.len() > 50, "{} events are too few to show anything", acknowledged.len());
    // The pipeline goes on for new events at once, and for those that were in flight after their visibility time-out.
    assert_eq!(post(&pipeline.api(), "/v1/track", &track("after")).expect("an answer"), 200);
    wait_until_stored(&dynamodb, &["after".to_owned()]).await;
    let_visibility_pass(&pipeline, &clock);
    assert_each_is_stored_once(&sqs, &dynamodb, &acknowledged).await;
    pipeline.stop().await;
    wait_for_no_environments(&sqs);
}
