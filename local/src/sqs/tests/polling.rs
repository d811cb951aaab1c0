//! Tests of long polling. The clock is set by hand, so no test waits for real seconds to pass.

use super::*;
use crate::sqs::{Scope, Times};

/// Real time after which a waiting receive has surely begun to wait.
const SETTLED: Duration = Duration::from_millis(100);

async fn poll(local: &Local, url: &str, wait_seconds: i64) -> Vec<Value> {
    let request = json!({"QueueUrl": url, "WaitTimeSeconds": wait_seconds, "MaxNumberOfMessages": 10});
    let reply = local.call("ReceiveMessage", request).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["Messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_long_poll_wakes_on_arrival() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    let (messages, ()) = tokio::join!(poll(&local, &url, 20), async {
        tokio::time::sleep(SETTLED).await;
        // Other calls are answered meanwhile.
        local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
    });
    assert_eq!(messages[0]["Body"], "a");
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_becomes_visible_again() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"VisibilityTimeout": "5"})).await;
    local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
    assert_eq!(poll(&local, &url, 0).await.len(), 1);
    let (messages, ()) = tokio::join!(poll(&local, &url, 20), async {
        tokio::time::sleep(SETTLED).await;
        local.pass(5 * SECOND);
    });
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_is_returned_and_when_one_is_dead_lettered() {
    let local = Local::start().await;
    let dlq = local.queue("dlq", json!({})).await;
    let url = local.queue("q", json!({"RedrivePolicy": redrive_policy("dlq", 1)})).await;
    local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
    let received = poll(&local, &url, 0).await;
    let (messages, ()) = tokio::join!(poll(&local, &dlq, 20), async {
        tokio::time::sleep(SETTLED).await;
        let change = json!({"QueueUrl": url, "ReceiptHandle": received[0]["ReceiptHandle"], "VisibilityTimeout": 0});
        local.call("ChangeMessageVisibility", change).await;
        assert!(poll(&local, &url, 0).await.is_empty());
    });
    assert_eq!(messages[0]["Body"], "a");
}

#[tokio::test]
async fn a_long_poll_ends_empty_when_its_time_or_the_queues_own_is_over() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"ReceiveMessageWaitTimeSeconds": "7"})).await;
    for (wait, seconds) in [(json!({"QueueUrl": url, "WaitTimeSeconds": 3}), 3), (json!({"QueueUrl": url}), 7)] {
        let reply = local.call("ReceiveMessage", wait);
        let (reply, ended_early) = tokio::join!(reply, async {
            tokio::time::sleep(SETTLED).await;
            local.pass(seconds * SECOND - 1);
            tokio::time::sleep(SETTLED).await;
            let early = local.now_ms.load(Ordering::SeqCst);
            local.pass(1);
            early
        });
        assert_eq!(reply.body, json!({}));
        assert!(ended_early < local.now_ms.load(Ordering::SeqCst));
    }
    let too_long = json!({"QueueUrl": url, "WaitTimeSeconds": 21});
    assert_eq!(local.call("ReceiveMessage", too_long).await.status, 400);
}

#[tokio::test]
async fn one_message_goes_to_one_of_many_long_polls() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    let polls = async {
        tokio::join!(poll(&local, &url, 10), poll(&local, &url, 10), poll(&local, &url, 10), poll(&local, &url, 10))
    };
    let (found, ()) = tokio::join!(polls, async {
        tokio::time::sleep(SETTLED).await;
        local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
        tokio::time::sleep(SETTLED).await;
        local.pass(10 * SECOND);
    });
    assert_eq!([found.0, found.1, found.2, found.3].iter().map(Vec::len).sum::<usize>(), 1);
}

#[tokio::test]
async fn deleting_the_queue_or_stopping_the_server_ends_a_long_poll() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    let (reply, ()) =
        tokio::join!(local.call("ReceiveMessage", json!({"QueueUrl": url, "WaitTimeSeconds": 20})), async {
            tokio::time::sleep(SETTLED).await;
            local.call("DeleteQueue", json!({"QueueUrl": url})).await;
        });
    assert_eq!(reply.body["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
    let url = local.queue("r", json!({})).await;
    let address = local.server.address();
    let body = json!({"QueueUrl": url, "WaitTimeSeconds": 20}).to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    tokio::time::sleep(SETTLED).await;
    local.server.stop().await;
    let mut reply = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut reply)).await.unwrap().unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_window_sees_past_the_faults_and_ends_the_wait_of_what_is_in_flight() {
    let local = Local::start().await;
    let url = local.queue("q", json!({"VisibilityTimeout": "500"})).await;
    for body in ["a", "b"] {
        local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await;
    }
    assert_eq!(poll(&local, &url, 0).await.len(), 2);
    local.server.faults().refuse(Scope::Every, Times::UntilCleared);
    let window = local.server.window();
    let mut seen = Vec::new();
    let depth = window.look("q", |message| seen.push(message.body.clone())).unwrap();
    seen.sort_unstable();
    assert_eq!((seen.join(""), depth.visible, depth.in_flight), ("ab".to_owned(), 0, 2));

    assert_eq!(window.reveal("q").unwrap(), 2);
    assert_eq!(window.look("q", |_| ()).unwrap().visible, 2);
    local.server.faults().clear();
    assert_eq!(poll(&local, &url, 0).await.len(), 2);
    assert!(window.look("none", |_| ()).is_err() && window.reveal("none").is_err());
}
