//! The server as the AWS SDK sees it: tables of the template, each fault, and what the store of events relies on.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse, KeysAndAttributes,
    PutRequest, ReturnValuesOnConditionCheckFailure, StreamViewType, TimeToLiveStatus, WriteRequest,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use super::*;
use crate::template::Template;

const TABLE: &str = "holdfast-EventsTable";

async fn server(data: Option<&Path>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::start(listener, Options { data: data.map(Path::to_owned) }).await.unwrap()
}

/// A client that tries once, so that a test sees every error.
fn client(server: &Server) -> Client {
    let credentials = Credentials::builder().access_key_id("x").secret_access_key("x").provider_name("test").build();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(server.endpoint())
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

async fn with_tables(data: Option<&Path>) -> (Server, Client) {
    let server = server(data).await;
    let client = client(&server);
    let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
    create_tables(&client, &template.tables).await.unwrap();
    (server, client)
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

async fn put(client: &Client, sort: &str) -> Result<(), String> {
    let put = client.put_item().table_name(TABLE).item("pk", text("p")).item("sk", text(sort)).send().await;
    put.map(|_| ()).map_err(|error| error.code().unwrap_or("no answer").to_owned())
}

async fn exists(client: &Client, sort: &str) -> bool {
    let got = client.get_item().table_name(TABLE).key("pk", text("p")).key("sk", text(sort)).send().await;
    got.unwrap().item.is_some()
}

fn insert(sort: &str, name: &str) -> BatchStatementRequest {
    BatchStatementRequest::builder()
        .statement(format!("INSERT INTO \"{TABLE}\" VALUE {{'pk': ?, 'sk': ?, 'name': ?}}"))
        .set_parameters(Some(vec![text("p"), text(sort), text(name)]))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap()
}

async fn execute(client: &Client, statements: Vec<BatchStatementRequest>) -> Vec<BatchStatementResponse> {
    let executed = client.batch_execute_statement().set_statements(Some(statements)).send().await;
    executed.unwrap().responses.unwrap()
}

fn codes(responses: &[BatchStatementResponse]) -> Vec<Option<&BatchStatementErrorCodeEnum>> {
    responses.iter().map(|response| response.error.as_ref().and_then(|error| error.code.as_ref())).collect()
}

fn write_request(sort: &str) -> WriteRequest {
    let put = PutRequest::builder().item("pk", text("p")).item("sk", text(sort)).build().unwrap();
    WriteRequest::builder().put_request(put).build()
}

#[tokio::test]
async fn the_tables_of_the_template_are_created_once_and_described() {
    let (server, client) = with_tables(None).await;
    put(&client, "kept").await.unwrap();
    let template = Template::parse(include_str!("../../../template.yaml")).unwrap();
    create_tables(&client, &template.tables).await.unwrap();
    assert!(exists(&client, "kept").await);
    for table in &template.tables {
        let described = client.describe_table().table_name(&table.name).send().await.unwrap().table.unwrap();
        let keys: Vec<_> = described.key_schema().iter().map(|key| key.attribute_name.as_str()).collect();
        assert_eq!(keys, ["pk", "sk"]);
        let view = described.stream_specification.and_then(|stream| stream.stream_view_type);
        assert_eq!(view, (table.logical_id == "SpillTable").then_some(StreamViewType::KeysOnly));
        let ttl = client.describe_time_to_live().table_name(&table.name).send().await.unwrap();
        let ttl = ttl.time_to_live_description.unwrap();
        let enabled = ttl.time_to_live_status == Some(TimeToLiveStatus::Enabled);
        assert_eq!(ttl.attribute_name.filter(|_| enabled), table.ttl_attribute);
    }
    server.stop().await;
}

/// Streams over HTTP, as the AWS CLI reads them.
#[tokio::test]
async fn faults_of_the_tables_let_calls_of_streams_pass() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (server, client) = with_tables(None).await;
    let fault = server.faults().inject(Target::All, Fault::Refuse(Refusal::Throttling), Times::UntilCleared);
    assert_eq!(put(&client, "a").await, Err("ThrottlingException".to_owned()));
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let authorization = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, \
                         Signature=x";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDBStreams_20120810.ListStreams\r\n\
         Content-Type: application/x-amz-json-1.0\r\nAuthorization: {authorization}\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(5), socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("holdfast-SpillTable/stream/"), "{answer}");
    assert_eq!(fault.applied(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_refused_call_has_no_effect_and_the_fault_ends_after_its_calls() {
    let (server, client) = with_tables(None).await;
    for (refusal, code) in [
        (Refusal::ProvisionedThroughputExceeded, "ProvisionedThroughputExceededException"),
        (Refusal::Throttling, "ThrottlingException"),
        (Refusal::RequestLimitExceeded, "RequestLimitExceeded"),
        (Refusal::AccessDenied, "AccessDeniedException"),
        (Refusal::InternalServerError, "InternalServerError"),
    ] {
        let fault = server.faults().inject(Target::operation("PutItem"), Fault::Refuse(refusal), Times::Calls(2));
        for _ in 0..2 {
            assert_eq!(put(&client, code).await, Err(code.to_owned()));
        }
        assert!(!exists(&client, code).await, "reads go on");
        assert_eq!(put(&client, code).await, Ok(()));
        assert_eq!(fault.applied(), 2);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_fault_for_all_operations_lasts_until_it_is_cleared() {
    let (server, client) = with_tables(None).await;
    let fault = server.faults().inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Times::UntilCleared);
    assert_eq!(put(&client, "a").await, Err("InternalServerError".to_owned()));
    assert!(client.list_tables().send().await.is_err());
    assert_eq!(fault.applied(), 2);
    fault.clear();
    assert_eq!(put(&client, "a").await, Ok(()));
    server.faults().inject(Target::All, Fault::Refuse(Refusal::Throttling), Times::UntilCleared);
    server.faults().clear_all();
    assert_eq!(put(&client, "b").await, Ok(()));
    server.stop().await;
}

#[tokio::test]
async fn the_sdk_tries_again_what_is_throttled() {
    let (server, _) = with_tables(None).await;
    let client = client(&server);
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(1));
    let client = Client::from_conf(client.config().to_builder().retry_config(retries).build());
    let throttling = Fault::Refuse(Refusal::ProvisionedThroughputExceeded);
    let fault = server.faults().inject(Target::All, throttling, Times::Calls(2));
    assert_eq!(put(&client, "a").await, Ok(()));
    assert_eq!(fault.applied(), 2);
    server.stop().await;
}

#[tokio::test]
async fn chosen_statements_are_refused_and_not_applied() {
    let (server, client) = with_tables(None).await;
    let fault = Fault::RefuseStatements { indexes: vec![0, 2, 9], refusal: Refusal::Throttling };
    server.faults().inject(Target::All, fault, Times::Calls(1));
    put(&client, "b").await.unwrap();
    let names = ["a", "b", "c", "d"];
    let responses = execute(&client, names.map(|sort| insert(sort, "first")).to_vec()).await;
    let (throttled, duplicate) =
        (BatchStatementErrorCodeEnum::ThrottlingError, BatchStatementErrorCodeEnum::DuplicateItem);
    assert_eq!(codes(&responses), [Some(&throttled), Some(&duplicate), Some(&throttled), None]);
    for (sort, there) in [("a", false), ("c", false), ("d", true)] {
        assert_eq!(exists(&client, sort).await, there, "{sort}");
    }
    let refusal = Refusal::ProvisionedThroughputExceeded;
    server.faults().inject(Target::All, Fault::RefuseStatements { indexes: vec![0], refusal }, Times::Calls(1));
    let responses = execute(&client, vec![insert("a", "first")]).await;
    assert_eq!(codes(&responses), [Some(&BatchStatementErrorCodeEnum::ProvisionedThroughputExceeded)]);
    assert_eq!(codes(&execute(&client, vec![insert("a", "first")]).await), [None]);
    server.stop().await;
}

#[tokio::test]
async fn items_of_a_batch_are_left_unprocessed() {
    let (server, client) = with_tables(None).await;
    let leave = |taken_max| server.faults().inject(Target::All, Fault::LeaveUnprocessed { taken_max }, Times::Calls(1));
    leave(2);
    let writes = ["a", "b", "c"].map(write_request).to_vec();
    let written = client.batch_write_item().request_items(TABLE, writes.clone()).send().await.unwrap();
    assert_eq!(written.unprocessed_items.unwrap()[TABLE], [write_request("c")]);
    assert!(exists(&client, "b").await && !exists(&client, "c").await);

    let key = |sort: &str| [("pk".to_owned(), text("p")), ("sk".to_owned(), text(sort))].into();
    let keys = ["a", "b"].map(key).to_vec();
    let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build().unwrap();
    leave(1);
    let got = client.batch_get_item().request_items(TABLE, keys.clone()).send().await.unwrap();
    assert_eq!(got.responses.unwrap()[TABLE].len(), 1);
    let unprocessed = &got.unprocessed_keys.unwrap()[TABLE];
    assert_eq!((unprocessed.keys().len(), unprocessed.consistent_read), (1, Some(true)));
    assert_eq!(unprocessed.keys()[0]["sk"], text("b"));

    leave(0);
    let refused = client.batch_write_item().request_items(TABLE, writes.clone()).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("ProvisionedThroughputExceededException"));
    let written = client.batch_write_item().request_items(TABLE, writes).send().await.unwrap();
    assert!(written.unprocessed_items.unwrap_or_default().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn leftovers_span_tables() {
    let (server, client) = with_tables(None).await;
    server.faults().inject(Target::All, Fault::LeaveUnprocessed { taken_max: 1 }, Times::Calls(1));
    let (first, second) = ("holdfast-DeadLettersTable", TABLE);
    let batch = client.batch_write_item();
    let batch = batch.request_items(second, vec![write_request("a")]);
    let batch = batch.request_items(first, ["a", "b"].map(write_request).to_vec());
    let unprocessed = batch.send().await.unwrap().unprocessed_items.unwrap();
    assert_eq!((unprocessed[first].len(), unprocessed[second].len()), (1, 1));
    assert!(!exists(&client, "a").await);
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_reply_leaves_the_effect() {
    let (server, client) = with_tables(None).await;
    let fault = server.faults().inject(Target::operation("PutItem"), Fault::DropReply, Times::Calls(1));
    assert_eq!(put(&client, "a").await, Err("no answer".to_owned()));
    assert_eq!(fault.applied(), 1);
    assert!(exists(&client, "a").await);
    server.stop().await;
}

#[tokio::test]
async fn a_delay_holds_up_the_call() {
    let (server, client) = with_tables(None).await;
    let delay = Duration::from_millis(80);
    server.faults().inject(Target::operation("PutItem"), Fault::Delay(delay), Times::Calls(1));
    let start = Instant::now();
    put(&client, "a").await.unwrap();
    assert!(start.elapsed() >= delay);
    server.stop().await;
}

#[tokio::test]
async fn a_duplicate_insert_is_told_per_statement() {
    let (server, client) = with_tables(None).await;
    assert_eq!(codes(&execute(&client, vec![insert("a", "first")]).await), [None]);
    let responses = execute(&client, vec![insert("a", "second"), insert("b", "second")]).await;
    assert_eq!(codes(&responses), [Some(&BatchStatementErrorCodeEnum::DuplicateItem), None]);
    let got = client.get_item().table_name(TABLE).key("pk", text("p")).key("sk", text("a")).send().await.unwrap();
    assert_eq!(got.item.unwrap()["name"], text("first"));
    server.stop().await;
}

#[tokio::test]
async fn of_concurrent_inserts_one_wins() {
    let (server, client) = with_tables(None).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let client = client.clone();
        writers.spawn(async move {
            let statements = (0..10).map(|sort| insert(&sort.to_string(), &writer.to_string())).collect();
            let responses = execute(&client, statements).await;
            codes(&responses).into_iter().filter(Option::is_none).count()
        });
    }
    assert_eq!(writers.join_all().await.into_iter().sum::<usize>(), 10);
    server.stop().await;
}

#[tokio::test]
async fn awkward_texts_come_back_unchanged() {
    let (server, client) = with_tables(None).await;
    let large = "x".repeat(399 * 1024);
    let awkward = "nul \0, quote \", backslash \\, astral \u{1f980}, line separator \u{2028}";
    for (sort, name) in [("large", large.as_str()), ("awkward \0 key", awkward)] {
        assert_eq!(codes(&execute(&client, vec![insert(sort, name)]).await), [None]);
        let got = client.get_item().table_name(TABLE).key("pk", text("p")).key("sk", text(sort)).send().await.unwrap();
        assert!(got.item.unwrap()["name"] == text(name), "{sort}");
    }
    let responses = execute(&client, vec![insert("larger", &"x".repeat(400 * 1024))]).await;
    assert_eq!(codes(&responses), [Some(&BatchStatementErrorCodeEnum::ValidationError)]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_stored_in_a_directory_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("made when missing");
    let (first, client) = with_tables(Some(&data)).await;
    put(&client, "a").await.unwrap();
    first.stop().await;
    let (second, client) = with_tables(Some(&data)).await;
    assert!(exists(&client, "a").await);
    second.stop().await;
}

/// The files of a folder that hold some bytes.
fn files_with(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = paths.filter(|path| std::fs::read(path).unwrap().windows(bytes.len()).any(|part| part == bytes));
    found.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn after_a_stop_nothing_is_left_on_the_disk_of_what_was_deleted_or_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = with_tables(Some(directory.path())).await;
    let put = async |sort: &str, value: AttributeValue| {
        let put = client.put_item().table_name(TABLE).item("pk", text("p")).item("sk", text(sort)).item("said", value);
        put.send().await.unwrap();
    };
    // On a page that others are on too, on pages of its own, and in the form that the engine gives bytes.
    let bytes = b"bytes that were deleted";
    put("deleted", text("deleted-text")).await;
    put("deleted long", text("deleted-long-text-".repeat(10_000))).await;
    put("deleted bytes", AttributeValue::B(bytes.to_vec().into())).await;
    put("replaced", text("replaced-text")).await;
    for number in 0..50 {
        put(&format!("kept {number}"), text("kept-text")).await;
    }
    put("replaced", text("the-new-text")).await;
    for sort in ["deleted", "deleted long", "deleted bytes"] {
        client.delete_item().table_name(TABLE).key("pk", text("p")).key("sk", text(sort)).send().await.unwrap();
    }
    let encoded = STANDARD.encode(bytes);
    let gone = ["deleted-text", "deleted-long-text", "replaced-text", encoded.as_str()];
    for gone in gone {
        assert!(!files_with(directory.path(), gone.as_bytes()).is_empty(), "{gone} was never on the disk");
    }
    server.stop().await;
    for gone in gone {
        assert!(files_with(directory.path(), gone.as_bytes()).is_empty(), "{gone}");
    }
    for kept in ["the-new-text", "kept-text"] {
        assert_eq!(files_with(directory.path(), kept.as_bytes()), ["dynamodb.sqlite"]);
    }
    let server = self::server(Some(directory.path())).await;
    let client = self::client(&server);
    assert!(exists(&client, "kept 49").await && exists(&client, "replaced").await && !exists(&client, "deleted").await);
    server.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("dynamodb");
    let (server, client) = with_tables(Some(&data)).await;
    put(&client, "a").await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "the database, its log and the log's index: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    server.stop().await;
}

#[tokio::test]
async fn expired_items_stay_until_somebody_deletes_them() {
    let (server, client) = with_tables(None).await;
    let item = client.put_item().table_name(TABLE).item("pk", text("p")).item("sk", text("old"));
    item.item("ttl", AttributeValue::N("1".to_owned())).send().await.unwrap();
    assert!(exists(&client, "old").await);
    server.stop().await;
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    for address in ["0.0.0.0:8000", "192.0.2.1:8000", "[::]:8000"] {
        let error = server::loopback_only(address.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("DynamoDB is served on loopback only, not on {address}"));
    }
    assert!(server::loopback_only("127.0.0.1:8000".parse().unwrap()).is_ok());
}
