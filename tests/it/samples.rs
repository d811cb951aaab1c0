//! The samples in `events/`: what each one is answered, and what it leaves behind, so that none of them can rot. What
//! that is stands in `events/outcomes.json`, for whoever invokes the functions with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use consume::incoming::Payload;
use local::sqs::{Action, Times};
use serde::Deserialize;
use serde_json::Value;
use tests::Pipeline;

/// The answer of `consume` that gives nothing back to the queue.
const SETTLED: &str = r#"{"batchItemFailures":[]}"#;

/// What comes of a sample. What is not named is none.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
struct Outcome {
    /// The status of an answer.
    status: u16,
    /// The `code` of an error.
    code: String,
    /// Items of events.
    events: usize,
    /// Items of profiles.
    profiles: usize,
    /// Dead letters.
    dead_letters: usize,
    /// The sample of a call whose message is in the spill table beforehand.
    spilled: Option<String>,
    /// Messages that are put into the queue.
    enqueued: usize,
    /// Events that an answer says are missing.
    missing: usize,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events")
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sample(kind: &str, name: &str) -> String {
    read(&format!("{kind}/{name}.json"))
}

/// The outcomes of the samples of a kind, of which each has one.
fn outcomes(kind: &str) -> BTreeMap<String, Outcome> {
    let mut all: BTreeMap<String, BTreeMap<String, Outcome>> = serde_json::from_str(&read("outcomes.json")).unwrap();
    let outcomes = all.remove(kind).unwrap();
    let files = std::fs::read_dir(folder().join(kind)).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, outcomes.keys().cloned().collect());
    outcomes
}

/// What is in the tables.
async fn left(pipeline: &Pipeline) -> (usize, usize) {
    (pipeline.stored().await.len(), pipeline.letters().await.len())
}

async fn respond(pipeline: &Pipeline, name: &str) -> lambda_http::http::Response<Vec<u8>> {
    let request = lambda_http::request::from_str(&sample("http", name)).unwrap();
    let response = ingest::handler::respond(&pipeline.ingest, request, false).await.unwrap();
    response.map(|body| body.to_vec())
}

/// Has `consume` take a sample, which must have nothing to give back.
async fn invoke(pipeline: &Pipeline, event: &str) -> String {
    let event: Payload = serde_json::from_str(event).unwrap();
    String::from_utf8(pipeline.invoke(event).await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_http_sample_has_its_outcome() {
    for (name, outcome) in outcomes("http") {
        let pipeline = Pipeline::start().await;
        let response = respond(&pipeline, &name).await;
        let is_image = name.starts_with("segment_pixel");
        assert_eq!(response.headers()["content-type"], if is_image { "image/gif" } else { "application/json" });
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let body: Value = if is_image { Value::Null } else { serde_json::from_slice(response.body()).unwrap() };
        let answer = (response.status().as_u16(), body["code"].as_str().unwrap_or_default());
        assert_eq!(answer, (outcome.status, outcome.code.as_str()), "{name}: {body}");
        pipeline.drain().await;
        assert_eq!(left(&pipeline).await, (outcome.events, outcome.dead_letters), "{name}");
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn every_receipts_sample_has_its_outcome() {
    for (name, outcome) in outcomes("receipts") {
        let pipeline = Pipeline::start().await;
        let request = lambda_http::request::from_str(&sample("receipts", &name)).unwrap();
        let response = receipts::handler::respond(&pipeline.receipts, request, false).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let missing = body["missing"].as_array().map_or(0, Vec::len);
        let answer = (response.status().as_u16(), body["code"].as_str().unwrap_or_default(), missing);
        assert_eq!(answer, (outcome.status, outcome.code.as_str(), outcome.missing), "{name}: {body}");
        assert_eq!((left(&pipeline).await, pipeline.waiting().await), ((0, 0), 0), "{name}: it only reads");
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn every_sqs_sample_has_its_outcome() {
    for (name, outcome) in outcomes("sqs") {
        let pipeline = Pipeline::start().await;
        // Twice, as SQS may: the second time nothing more comes of it.
        for _ in 0..2 {
            assert_eq!(invoke(&pipeline, &sample("sqs", &name)).await, SETTLED, "{name}");
            let items = pipeline.items().await;
            let profiles = items.iter().filter(|item| item["sk"].as_s().unwrap() == "PROFILE").count();
            assert_eq!(profiles, outcome.profiles, "{name}");
            assert_eq!(left(&pipeline).await, (outcome.events, outcome.dead_letters), "{name}");
        }
        pipeline.finish().await;
    }
}

/// Has the message of a call go to the spill table, as it does while the queue refuses. Returns its id there.
async fn spill(pipeline: &Pipeline, call: &str) -> String {
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::UntilCleared);
    assert_eq!(respond(pipeline, call).await.status().as_u16(), 200, "{call}");
    pipeline.sqs_faults.clear();
    let spilled = pipeline.spilled().await;
    assert_eq!(spilled.len(), 1, "{call}");
    spilled[0]["pk"].as_s().unwrap().clone()
}

#[tokio::test]
async fn every_stream_sample_has_its_outcome() {
    for (name, outcome) in outcomes("stream") {
        let pipeline = Pipeline::start().await;
        let mut event = sample("stream", &name);
        if let Some(call) = &outcome.spilled {
            // The id is made anew in each run.
            let parsed: Value = serde_json::from_str(&event).unwrap();
            let id = parsed["Records"][0]["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap();
            event = event.replace(id, &spill(&pipeline, call).await);
        }
        for _ in 0..2 {
            assert_eq!(invoke(&pipeline, &event).await, SETTLED, "{name}");
            assert_eq!(left(&pipeline).await, (outcome.events, outcome.dead_letters), "{name}");
            assert_eq!((pipeline.spilled().await.len(), pipeline.waiting().await), (0, outcome.enqueued), "{name}");
        }
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn every_schedule_sample_has_its_outcome() {
    for (name, outcome) in outcomes("schedule") {
        let pipeline = Pipeline::start().await;
        if let Some(call) = &outcome.spilled {
            spill(&pipeline, call).await;
            // A message is left to the stream for a while.
            pipeline.pass(Duration::from_secs(20 * 60));
        }
        invoke(&pipeline, &sample("schedule", &name)).await;
        assert_eq!(left(&pipeline).await, (outcome.events, outcome.dead_letters), "{name}");
        assert_eq!((pipeline.spilled().await.len(), pipeline.waiting().await), (0, outcome.enqueued), "{name}");
        pipeline.finish().await;
    }
}
