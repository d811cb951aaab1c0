//! Tests of the whole mapping: the real engine's stream, and a function that answers as it is told.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::dynamodb::{Options, Server, create_tables};
use crate::template::{Key, Table};

const TABLE: &str = "spill";
const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/spill/stream/label";

fn table(view: Option<&str>) -> Table {
    let key = |attribute: &str| Key { attribute: attribute.to_owned(), kind: "S".to_owned() };
    Table {
        logical_id: "SpillTable".to_owned(),
        name: TABLE.to_owned(),
        partition_key: key("pk"),
        sort_key: Some(key("sk")),
        ttl_attribute: None,
        stream_view_type: view.map(str::to_owned),
        stream_arn: view.map(|_| ARN.to_owned()),
    }
}

async fn server(data: Option<&Path>, view: Option<&str>) -> (Server, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(listener, Options { data: data.map(Path::to_owned) }).await.unwrap();
    let client = crate::clients::dynamodb(&server.endpoint());
    create_tables(&client, &[table(view)]).await.unwrap();
    (server, client)
}

async fn put(client: &Client, sort: &str) {
    put_in(client, "p", sort).await;
}

async fn put_in(client: &Client, partition: &str, sort: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = client.put_item().table_name(TABLE).item("pk", text(partition)).item("sk", text(sort));
    put.item("body", text("secret")).send().await.unwrap();
}

async fn delete(client: &Client, sort: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    client.delete_item().table_name(TABLE).key("pk", text("p")).key("sk", text(sort)).send().await.unwrap();
}

fn spec() -> Spec {
    Spec {
        table: TABLE.to_owned(),
        partition_key: "pk".to_owned(),
        stream_arn: ARN.to_owned(),
        function: "fake".to_owned(),
        batch_size: 4,
        lanes: 1,
        batching_window: Duration::ZERO,
        retry: Retry { bisect: true, attempts_max: Some(1) },
        record_age_max: RETENTION,
        report_batch_item_failures: true,
        filter: Filter::parse(&[r#"{"eventName":["INSERT"]}"#]).unwrap(),
    }
}

/// What the function does with one invocation.
enum Answer {
    Says(&'static str),
    /// It names the record at this place.
    Names(usize),
    Fails,
    Throttled,
}

/// A function that answers in this order, and then that all is well; and the events that it has seen.
#[derive(Clone, Default)]
struct Function {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Function {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), events: Arc::default() }
    }

    async fn start(&self, spec: Spec, server: &Server) -> Running {
        let function = self.clone();
        run(spec, server.streams(), move |event| std::future::ready(function.answer(&event))).await.unwrap()
    }

    fn answer(&self, event: &Bytes) -> Result<Bytes, InvokeError> {
        let event: Value = serde_json::from_slice(event).unwrap();
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Says("{}"));
        let number = |place: usize| event["Records"][place]["dynamodb"]["SequenceNumber"].clone();
        let result = match answer {
            Answer::Says(text) => Ok(Bytes::from(text)),
            Answer::Names(place) => {
                Ok(json!({"batchItemFailures": [{"itemIdentifier": number(place)}]}).to_string().into())
            }
            Answer::Fails => Err(InvokeError::FunctionError { payload: Bytes::new() }),
            Answer::Throttled => Err(InvokeError::Throttled),
        };
        self.events.lock().unwrap().push(event);
        result
    }

    /// Waits, for 10 s at the most, for so many invocations, and a little for more. Returns the sort keys of each.
    async fn seen(&self, invocations: usize) -> Vec<String> {
        let started = Instant::now();
        while self.events.lock().unwrap().len() < invocations {
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", self.events.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let events = self.events.lock().unwrap();
        let key = |record: &Value| record["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap().to_owned();
        let keys = |event: &Value| event["Records"].as_array().unwrap().iter().map(key).collect::<Vec<_>>().join(" ");
        events.iter().map(keys).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_an_error_and_a_record_that_never_goes_well() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    for sort in ["a", "b", "c", "d", "e"] {
        put(&client, sort).await;
    }
    let answers = [Answer::Names(2), Answer::Fails, Answer::Throttled, Answer::Fails, Answer::Names(0)];
    let function = Function::new(answers);
    let mapping = function.start(spec(), &server).await;
    assert_eq!(function.seen(7).await, ["a b c d", "c d", "c", "c", "c", "d", "e"]);
    mapping.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_each_partition_stay_in_order() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    for round in ["1", "2", "3"] {
        for partition in ["p", "q", "r", "s"] {
            put_in(&client, partition, &format!("{partition}{round}")).await;
        }
    }
    let function = Function::new([]);
    let mapping = function.start(Spec { batch_size: 1, lanes: 4, ..spec() }, &server).await;
    let seen = function.seen(12).await;
    for partition in ["p", "q", "r", "s"] {
        let of_partition: Vec<&String> = seen.iter().filter(|sort| sort.starts_with(partition)).collect();
        assert_eq!(of_partition, [&format!("{partition}1"), &format!("{partition}2"), &format!("{partition}3")]);
    }
    mapping.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_of_a_shard_go_side_by_side() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    let record = |partition: &str| {
        let keys = json!({"dynamodb": {"ApproximateCreationDateTime": 0, "Keys": {"pk": {"S": partition}}}});
        Record::new(keys, ARN, "pk")
    };
    let apart = |other: &str| lanes(vec![record("p"), record(other)], 4).iter().all(|lane| lane.len() < 2);
    let other = (0..64).map(|number| number.to_string()).find(|other| apart(other)).unwrap();
    put(&client, "a").await;
    put_in(&client, &other, "b").await;
    let (both, meeting) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(tokio::sync::Barrier::new(2)));
    let met = Arc::clone(&both);
    // Each waits for the other, which would never come after it.
    let invoke = move |_| {
        let (met, meeting) = (Arc::clone(&met), Arc::clone(&meeting));
        async move {
            meeting.wait().await;
            met.add_permits(1);
            Ok(Bytes::from("{}"))
        }
    };
    let mapping = run(Spec { batch_size: 1, lanes: 4, ..spec() }, server.streams(), invoke).await.unwrap();
    let met = tokio::time::timeout(Duration::from_secs(10), both.acquire_many(2)).await;
    assert!(met.expect("two batches at a time within 10 s").is_ok());
    mapping.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_records_arrive_as_the_event_of_lambda_and_only_those_that_pass_the_filter() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    let function = Function::default();
    let mapping = function.start(spec(), &server).await;
    put(&client, "a").await;
    assert_eq!(function.seen(1).await, ["a"]);
    let record = function.events.lock().unwrap()[0]["Records"][0].clone();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&record), "awsRegion dynamodb eventID eventName eventSource eventSourceARN eventVersion");
    let change = &record["dynamodb"];
    let expected = "ApproximateCreationDateTime Keys SequenceNumber SizeBytes StreamViewType";
    assert_eq!(names(change), expected);
    assert_eq!(record["eventName"], "INSERT");
    assert_eq!(record["eventSource"], "aws:dynamodb");
    assert_eq!(record["eventSourceARN"], ARN);
    assert_eq!(record["awsRegion"], "us-east-1");
    assert_eq!(change["Keys"], json!({"pk": {"S": "p"}, "sk": {"S": "a"}}));
    assert_eq!(change["StreamViewType"], "KEYS_ONLY");
    assert!(change["ApproximateCreationDateTime"].is_u64(), "{change}");

    delete(&client, "a").await;
    put(&client, "b").await;
    assert_eq!(function.seen(2).await, ["a", "b"]);
    mapping.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_gather_within_the_window() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    let function = Function::default();
    let mapping = function.start(Spec { batching_window: Duration::from_mins(5), ..spec() }, &server).await;
    for sort in ["a", "b", "c", "d"] {
        put(&client, sort).await;
        // So that they come with different reads.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(function.seen(1).await, ["a b c d"]);
    mapping.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_an_earlier_start_is_found_and_read_from_its_beginning() {
    let data = tempfile::tempdir().unwrap();
    for (sort, seen) in [("a", "a"), ("b", "a b")] {
        let (server, client) = server(Some(data.path()), Some("KEYS_ONLY")).await;
        put(&client, sort).await;
        let function = Function::default();
        let mapping = function.start(spec(), &server).await;
        assert_eq!(function.seen(1).await, [seen]);
        mapping.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_an_earlier_start_gets_the_stream_that_it_lacks() {
    let data = tempfile::tempdir().unwrap();
    for (view, sort) in [(None, "a"), (Some("NEW_IMAGE"), "b"), (Some("KEYS_ONLY"), "c")] {
        let (server, client) = server(Some(data.path()), view).await;
        put(&client, sort).await;
        let found = server.streams().shards(TABLE).await;
        assert_eq!(found.is_ok(), view.is_some(), "{found:?}");
        if view == Some("KEYS_ONLY") {
            let page = server.streams().read(&found.unwrap()[0]).await.unwrap();
            let last = &page.records.last().unwrap()["dynamodb"];
            assert_eq!((&last["StreamViewType"], &last["NewImage"]), (&json!("KEYS_ONLY"), &Value::Null));
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_does_not_wait_for_tries_that_are_to_come() {
    let (server, client) = server(None, Some("KEYS_ONLY")).await;
    put(&client, "a").await;
    let function = Function::new((0..1_000).map(|_| Answer::Fails));
    let retry = Retry { bisect: true, attempts_max: None };
    let mapping = function.start(Spec { retry, ..spec() }, &server).await;
    function.seen(2).await;
    mapping.stop().await;
    let tries = function.events.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(function.events.lock().unwrap().len(), tries);
    server.stop().await;
}

#[tokio::test]
async fn records_that_are_too_old_are_passed_over() {
    let now = epoch_millis() / 1000;
    let record = |sort: &str, age| {
        let keys = json!({"pk": {"S": "p"}, "sk": {"S": sort}});
        let change = json!({"SequenceNumber": sort, "ApproximateCreationDateTime": now - age, "Keys": keys});
        Record::new(json!({ "dynamodb": change }), ARN, "pk")
    };
    let records = [record("a", 500), record("b", 400), record("c", 0), record("d", 0)];
    let function = Function::default();
    let answer = function.clone();
    let (_running, stop) = tokio::sync::watch::channel(false);
    let spec = Arc::new(Spec { record_age_max: Duration::from_secs(300), ..spec() });
    let invoke = Arc::new(move |event: Bytes| std::future::ready(answer.answer(&event)));
    Consumer { spec, invoke, stop }.run(&records).await;
    assert_eq!(function.seen(1).await, ["c d"]);
}
