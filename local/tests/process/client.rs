//! What a producer and an operator do from outside: HTTP calls, and looks into the tables.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use consume::bundle::unpack;
use consume::dynamo_table::{attribute, read};
use consume::table::{Attributes, Key};
use local::TEMPLATE;
use local::template::Template;
use serde_json::{Value, json};

use crate::process::PATIENCE;

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// An item of a table.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// A connection to the API at `http://127.0.0.1:PORT`.
pub(crate) fn connect(api: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = api.trim_start_matches("http://").parse().expect("an address of loopback");
    let stream = TcpStream::connect_timeout(&address, CALL_LIMIT)?;
    stream.set_read_timeout(Some(CALL_LIMIT))?;
    Ok(stream)
}

/// The head of a call with the write key `dev` and a body of a length.
pub(crate) fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ZGV2Og==\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Makes a call. An error means that nobody knows what became of it; otherwise the status.
pub(crate) fn post(api: &str, path: &str, body: &Value) -> io::Result<u16> {
    let mut stream = connect(api)?;
    let body = body.to_string();
    stream.write_all((head(path, body.len()) + &body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // What is cut off is no answer.
    let whole = answer.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}'));
    let status = answer.split(' ').nth(1).filter(|_| whole).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A track call with an id of its own. Half of them say when, so that both ways of telling duplicates are taken.
pub(crate) fn track(id: &str) -> Value {
    let mut event = json!({"type": "track", "userId": "ann", "event": "Did It", "messageId": id});
    if id.len().is_multiple_of(2) {
        event["timestamp"] = json!("2023-11-14T22:13:10.000Z");
    }
    event
}

/// Waits until a look gives something.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// Like [`eventually`], for what takes many steps.
pub(crate) async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match tokio::time::timeout(CALL_LIMIT, look()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(seen)) => assert!(started.elapsed() < limit, "{what}: {seen}"),
            Err(elapsed) => panic!("{what}: a look takes too long: {elapsed}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The ids of all events in the events table, sorted; one that is there twice is twice in the list.
pub(crate) async fn stored(dynamodb: &str) -> Vec<String> {
    let items = events_table(dynamodb).await;
    let id = |item: &Item| {
        let sort_key = item.get("sk")?.as_s().ok()?;
        Some(sort_key.strip_prefix("E#")?.split_once('#')?.1.to_owned())
    };
    let mut ids: Vec<String> = items.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids
}

/// Waits until events are in the table. Returns everything that is.
pub(crate) async fn wait_until_stored(dynamodb: &str, wanted: &[String]) -> Vec<String> {
    eventually("all events are stored", async || {
        let stored = stored(dynamodb).await;
        let missing: Vec<&String> = wanted.iter().filter(|id| stored.binary_search(id).is_err()).collect();
        if missing.is_empty() { Ok(stored) } else { Err(format!("{} of {} missing", missing.len(), wanted.len())) }
    })
    .await
}

/// All items of the events table, with events as items of their own, whichever way they are stored.
pub(crate) async fn events_table(dynamodb: &str) -> Vec<Item> {
    let event = |(key, attributes): (Key, Attributes)| {
        let keys = [("pk", key.pk), ("sk", key.sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
        keys.into_iter().chain(attributes.iter().map(|(name, value)| (name.clone(), attribute(value)))).collect()
    };
    let items = scan(dynamodb, "EventsTable").await;
    items.iter().filter_map(read).flat_map(|(key, item)| unpack(key, item)).map(event).collect()
}

/// All items of a table, by its logical id in the template.
pub(crate) async fn scan(dynamodb: &str, logical_id: &str) -> Vec<Item> {
    let template = Template::parse(TEMPLATE).expect("the template is understood");
    let table = &template.table(logical_id).expect("a table of the template").name;
    let scan = local::clients::dynamodb(dynamodb).scan().table_name(table).consistent_read(true);
    scan.into_paginator().items().send().collect::<Result<_, _>>().await.expect("the table answers")
}

/// Has messages move to the quarantine after so many receives.
pub(crate) async fn set_receives_max(sqs: &str, most: u32) {
    let target = local::sqs::queue_arn("holdfast-quarantine");
    let policy = json!({"deadLetterTargetArn": target, "maxReceiveCount": most}).to_string();
    let url = format!("{sqs}/{}/holdfast-events", local::lambda::ACCOUNT);
    let request = local::clients::sqs(sqs).set_queue_attributes().queue_url(url);
    request.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.expect("the queue takes a policy");
}

/// How many messages a queue holds, in flight ones included.
pub(crate) async fn depth(sqs: &str, queue: &str) -> u32 {
    let url = format!("{sqs}/{}/{queue}", local::lambda::ACCOUNT);
    let request = local::clients::sqs(sqs).get_queue_attributes().queue_url(url).attribute_names("All".into());
    let reply = request.send().await.expect("the queue answers");
    let attributes = reply.attributes().into_iter().flatten();
    let counts = attributes.filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
    counts.map(|(_, count)| count.parse::<u32>().expect("a count")).sum()
}

/// Waits until a queue holds nothing, so that everything received has been settled.
pub(crate) async fn wait_until_empty(sqs: &str, queue: &str) {
    eventually("the queue is empty", async || match depth(sqs, queue).await {
        0 => Ok(()),
        messages => Err(format!("{messages} messages")),
    })
    .await;
}
