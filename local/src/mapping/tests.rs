//! Tests of the whole mapping: a queue of a few lines behind SQS's protocol, and a real child process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Spec, start};
use crate::lambda::Lambda;
use crate::lambda::tests::{Log, fake};
use crate::running;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Value>,
    deleted: Vec<String>,
    /// How many calls fail from now on.
    outage: u32,
    /// How many entries of the next deletes fail.
    refused: usize,
    deletes: usize,
}

type Shared = Arc<Mutex<Queue>>;

async fn sqs(State(queue): State<Shared>, request: Request) -> Response {
    let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
    let input: Value = serde_json::from_slice(&to_bytes(request.into_body(), 1 << 20).await.unwrap()).unwrap();
    {
        let mut queue = queue.lock().unwrap();
        if queue.outage > 0 {
            queue.outage -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    let output = match target.as_str() {
        "AmazonSQS.ReceiveMessage" => {
            let most = usize::try_from(input["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
            let give_up = Instant::now() + Duration::from_secs(input["WaitTimeSeconds"].as_u64().unwrap().min(2));
            loop {
                let messages: Vec<Value> = {
                    let waiting = &mut queue.lock().unwrap().waiting;
                    let length = waiting.len().min(most);
                    waiting.drain(..length).collect()
                };
                if !messages.is_empty() || Instant::now() >= give_up {
                    break json!({ "Messages": messages });
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        "AmazonSQS.DeleteMessageBatch" => {
            let mut queue = queue.lock().unwrap();
            let entries = input["Entries"].as_array().unwrap();
            assert!(entries.len() <= 10);
            let refused = queue.refused.min(entries.len());
            queue.refused -= refused;
            queue.deletes += 1;
            let (failed, done) = entries.split_at(refused);
            queue.deleted.extend(done.iter().map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned()));
            let failed = failed.iter().map(|e| json!({ "Id": e["Id"], "Code": "Internal", "SenderFault": false }));
            let done = done.iter().map(|entry| json!({ "Id": entry["Id"] }));
            json!({ "Failed": failed.collect::<Vec<_>>(), "Successful": done.collect::<Vec<_>>() })
        }
        other => panic!("{other} is not for a mapping to call"),
    };
    ([("content-type", "application/x-amz-json-1.0")], output.to_string()).into_response()
}

struct Running {
    queue: Shared,
    mapping: running::Running,
    lambda: Lambda,
    server: tokio::task::JoinHandle<()>,
}

async fn run(messages: impl IntoIterator<Item = Value>, change: impl FnOnce(&mut Spec, &mut Queue)) -> Running {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut queue = Queue { waiting: messages.into_iter().collect(), ..Queue::default() };
    let mut spec = Spec {
        queue_url: format!("{url}/000000000000/events"),
        queue_arn: "arn:aws:sqs:us-east-1:000000000000:events".to_owned(),
        function: "fake".to_owned(),
        batch_size: 10,
        batching_window: Duration::ZERO,
        concurrency_max: 2,
        report_batch_item_failures: true,
    };
    change(&mut spec, &mut queue);
    let queue = Arc::new(Mutex::new(queue));
    let routes = Router::new().fallback(sqs).with_state(Arc::clone(&queue));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url)
        .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled());
    let lambda = Lambda::start([fake("plain", 2, Duration::from_secs(5))], Log::default().sink());
    let mapping = start(spec, Client::from_conf(config.build()), lambda.clone());
    Running { queue, mapping, lambda, server }
}

impl Running {
    /// Waits for 10 s at the most until so many are deleted, then a little for more, and returns all of them, sorted.
    async fn deleted(&self, at_least: usize) -> Vec<String> {
        let started = Instant::now();
        while self.queue.lock().unwrap().deleted.len() < at_least {
            let deleted = &self.queue.lock().unwrap().deleted.clone();
            assert!(started.elapsed() < Duration::from_secs(10), "only {deleted:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut deleted = self.queue.lock().unwrap().deleted.clone();
        deleted.sort();
        deleted
    }

    async fn stop(self) {
        let started = Instant::now();
        self.mapping.stop().await;
        assert!(started.elapsed() < Duration::from_secs(2), "a long poll is not waited for");
        self.lambda.stop().await;
        self.server.abort();
    }
}

fn message(id: &str, body: &Value) -> Value {
    json!({ "MessageId": id, "ReceiptHandle": format!("handle-{id}"), "Body": body.to_string(), "MD5OfBody": "" })
}

/// A message on whose account the function answers with `response`, if it comes first in its batch.
fn answering(id: &str, response: &str) -> Value {
    message(id, &json!({ "do": "respond", "with": response }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_well_is_deleted_and_the_rest_is_left() {
    let failures = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
    let running = run(["a", "b", "c"].map(|id| answering(id, failures)), |_, _| {}).await;
    assert_eq!(running.deleted(2).await, ["handle-a", "handle-c"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_or_a_crash_deletes_nothing_and_the_next_batch_goes_on() {
    let bad = ["fail", "exit"].map(|order| message(order, &json!({ "do": order })));
    let running = run(bad.into_iter().chain([answering("good", "{}")]), |spec, _| spec.batch_size = 1).await;
    assert_eq!(running.deleted(1).await, ["handle-good"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receives_are_joined_into_one_batch_within_the_window() {
    let messages = (0..25).map(|n| answering(&format!("{n:02}"), "{}"));
    let running = run(messages, |spec, _| {
        spec.batch_size = 100;
        spec.batching_window = Duration::from_secs(1);
    })
    .await;
    assert_eq!(running.deleted(25).await.len(), 25);
    assert_eq!(running.queue.lock().unwrap().deletes, 3, "one batch of 25, deleted by tens");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_stays_below_the_payload_limit_and_loses_nothing() {
    // Ten of 900 KB are more than one invocation takes.
    let padding = "x".repeat(900_000);
    let body = json!({ "do": "respond", "with": "{}", "padding": padding });
    let running = run((0..10).map(|n| message(&n.to_string(), &body)), |_, _| {}).await;
    assert_eq!(running.deleted(10).await.len(), 10);
    assert_eq!(running.queue.lock().unwrap().deletes, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_of_the_queue_and_refused_deletes_are_waited_out() {
    let running = run(["a", "b"].map(|id| answering(id, "")), |_, queue| {
        queue.outage = 3;
        queue.refused = 2;
    })
    .await;
    assert_eq!(running.deleted(2).await, ["handle-a", "handle-b"]);
    assert_eq!(running.queue.lock().unwrap().deletes, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_lets_a_running_invocation_end() {
    let slow = message("slow", &json!({ "do": "sleep", "ms": 600 }));
    let running = run([slow], |spec, _| spec.report_batch_item_failures = false).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(running.queue.lock().unwrap().waiting.is_empty());
    let queue = Arc::clone(&running.queue);
    running.stop().await;
    assert_eq!(queue.lock().unwrap().deleted, ["handle-slow"]);
}
