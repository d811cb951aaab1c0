//! Tests of the stand-in: each rule of SQS by its sentence, then the journal, then what goes over the wire.

mod attributes;
mod dead_letters;
mod faults;
mod fifo;
mod history;
mod http;
mod journal;
mod move_tasks;
mod polling;
mod receiving;
mod sdk;
mod sending;
mod settling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Code, NewMessage, Options, Queues, Receive, Received, Refusal, Server, queue_arn};

/// When every test begins, in Unix milliseconds.
const START: i64 = 1_800_000_000_000;
const SECOND: i64 = 1_000;

fn pairs(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn empty() -> Queues {
    let mut count = 0;
    Queues::new(move || {
        count += 1;
        format!("id-{count}")
    })
}

/// A state with one queue, `q`.
fn with_queue(attributes: &[(&str, &str)]) -> Queues {
    let mut queues = empty();
    queues.create_queue(START, "q", &pairs(attributes), BTreeMap::new()).unwrap();
    queues
}

/// A state with `q`, whose messages go to `dlq` when received more often than allowed.
fn with_dead_letter_queue(max_receive_count: u32) -> Queues {
    let mut queues = empty();
    queues.create_queue(START, "dlq", &pairs(&[]), BTreeMap::new()).unwrap();
    let policy = redrive_policy("dlq", max_receive_count);
    queues.create_queue(START, "q", &pairs(&[("RedrivePolicy", &policy)]), BTreeMap::new()).unwrap();
    queues
}

fn redrive_policy(target: &str, max_receive_count: u32) -> String {
    json!({"deadLetterTargetArn": queue_arn(target), "maxReceiveCount": max_receive_count}).to_string()
}

fn send(queues: &mut Queues, now_ms: i64, queue: &str, body: &str) -> String {
    queues.send(now_ms, queue, NewMessage::of(body)).unwrap().message_id
}

/// Receives up to 10.
fn receive(queues: &mut Queues, now_ms: i64, queue: &str) -> Vec<Received> {
    queues.receive(now_ms, queue, &Receive { max_messages: Some(10), ..Receive::default() }).unwrap()
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|received| received.message.body.as_str()).collect()
}

/// Visible, in flight, delayed.
fn counts(queues: &mut Queues, now_ms: i64, queue: &str) -> (usize, usize, usize) {
    let depth = queues.depth(now_ms, queue).unwrap();
    (depth.visible, depth.in_flight, depth.delayed)
}

fn code<T>(outcome: Result<T, Refusal>) -> Option<Code> {
    outcome.err().map(|refusal| refusal.code)
}

/// A server with a clock that is set by hand.
struct Local {
    server: Server,
    now_ms: Arc<AtomicI64>,
}

impl Local {
    async fn start() -> Local {
        Local::start_in(None).await.unwrap()
    }

    async fn start_in(data: Option<std::path::PathBuf>) -> anyhow::Result<Local> {
        let now_ms = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&now_ms);
        let clock = Arc::new(move || clock.load(Ordering::SeqCst));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Local { server: Server::start(listener, Options { clock, data }).await?, now_ms })
    }

    fn pass(&self, duration_ms: i64) {
        self.now_ms.fetch_add(duration_ms, Ordering::SeqCst);
        self.server.poke();
    }

    async fn queue(&self, name: &str, attributes: Value) -> String {
        let created = self.call("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        assert_eq!(created.status, 200, "{}", created.body);
        created.body["QueueUrl"].as_str().unwrap().to_owned()
    }

    async fn call(&self, action: &str, body: Value) -> Reply {
        self.try_call(action, body).await.expect("the connection was closed without a reply")
    }

    /// Calls over a connection of its own; `None` if it was closed without a reply.
    async fn try_call(&self, action: &str, body: Value) -> Option<Reply> {
        self.try_call_text(&format!("AmazonSQS.{action}"), &body.to_string()).await
    }

    async fn try_call_text(&self, target: &str, body: &str) -> Option<Reply> {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: {target}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            let mut reply = Vec::new();
            // A connection that is cut may end in an error instead of an end.
            let _ = stream.read_to_end(&mut reply).await;
            String::from_utf8(reply).unwrap()
        };
        let reply = tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("a reply within 30 seconds");
        let (head, body) = reply.split_once("\r\n\r\n")?;
        Some(Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        })
    }
}

/// What a call was answered.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// Status line and headers, in lower case.
    head: String,
    body: Value,
}
