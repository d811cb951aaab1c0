//! Tests of the fault switches.

use super::super::{Action, Scope, Times};
use super::*;

async fn send_one(local: &Local, url: &str, body: &str) -> Reply {
    local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await
}

async fn receive_all(local: &Local, url: &str) -> Vec<Value> {
    let reply = local.call("ReceiveMessage", json!({"QueueUrl": url, "MaxNumberOfMessages": 10})).await;
    reply.body["Messages"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn throttling_strikes_the_next_calls_of_one_action_and_has_no_effect() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    local.server.faults().throttle(Action::SendMessage, Times::Next(2));
    for _ in 0..2 {
        assert!(receive_all(&local, &url).await.is_empty());
        let reply = send_one(&local, &url, "a").await;
        assert_eq!((reply.status, &reply.body["__type"]), (400, &json!("com.amazonaws.sqs#RequestThrottled")));
        assert!(reply.head.contains("x-amzn-query-error: requestthrottled;sender"), "{}", reply.head);
    }
    assert_eq!(send_one(&local, &url, "b").await.status, 200);
    assert!(local.server.faults().is_spent());
    assert_eq!(receive_all(&local, &url).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_of_every_action_lasts_until_it_is_cleared() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    local.server.faults().refuse(Scope::Every, Times::UntilCleared);
    for _ in 0..3 {
        assert_eq!(send_one(&local, &url, "a").await.status, 503);
        assert_eq!(local.call("ListQueues", json!({})).await.status, 503);
    }
    assert!(local.server.with_queues(|queues, now| queues.depth(now, "q")).is_ok(), "only the front refuses");
    local.server.faults().clear();
    assert_eq!(send_one(&local, &url, "a").await.status, 200);
}

#[tokio::test]
async fn picked_entries_of_a_batch_fail_as_the_services_fault_and_the_others_are_sent() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    local.server.faults().fail_entries(Action::SendMessageBatch, [0, 2], Times::Next(1));
    let entries = json!([
        {"Id": "a", "MessageBody": "a"}, {"Id": "b", "MessageBody": "b"}, {"Id": "c", "MessageBody": "c"}
    ]);
    let batch = json!({"QueueUrl": url, "Entries": entries});
    let reply = local.call("SendMessageBatch", batch.clone()).await.body;
    assert_eq!(reply["Successful"].as_array().unwrap().len(), 1);
    for (index, id) in ["a", "c"].into_iter().enumerate() {
        let failed = &reply["Failed"][index];
        assert_eq!((&failed["Id"], &failed["Code"]), (&json!(id), &json!("InternalError")));
        assert_eq!(failed["SenderFault"], false);
    }
    assert_eq!(receive_all(&local, &url).await.len(), 1);
    local.server.faults().fail_entries(Action::SendMessageBatch, 0..10, Times::Next(1));
    let reply = local.call("SendMessageBatch", batch.clone()).await.body;
    assert_eq!(reply["Failed"].as_array().unwrap().len(), 3);
    assert_eq!(local.call("SendMessageBatch", batch).await.body["Failed"], json!([]));
}

#[tokio::test]
async fn a_dropped_reply_leaves_the_effect_and_closes_the_connection() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    local.server.faults().drop_reply(Action::SendMessage, Times::Next(1));
    let reply = local.try_call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await;
    assert!(reply.is_none(), "{reply:?}");
    assert_eq!(receive_all(&local, &url).await[0]["Body"], "a");
    assert_eq!(send_one(&local, &url, "b").await.status, 200);
}

#[tokio::test]
async fn a_delayed_reply_comes_late_and_whole() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    let delay = Duration::from_millis(200);
    local.server.faults().delay_reply(Action::SendMessage, delay, Times::Next(1));
    let began = std::time::Instant::now();
    assert_eq!(send_one(&local, &url, "a").await.status, 200);
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn a_duplicate_is_delivered_once_more_while_in_flight_and_only_the_latest_handle_deletes() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    send_one(&local, &url, "a").await;
    local.server.faults().duplicate(Times::Next(1));
    let first = receive_all(&local, &url).await.remove(0);
    let second = receive_all(&local, &url).await.remove(0);
    assert_eq!(first["MessageId"], second["MessageId"]);
    assert_ne!(first["ReceiptHandle"], second["ReceiptHandle"]);
    assert!(receive_all(&local, &url).await.is_empty());
    for (message, left) in [(first, 1), (second, 0)] {
        let request = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
        assert_eq!(local.call("DeleteMessage", request).await.status, 200);
        let depth = local.server.with_queues(|queues, now| queues.depth(now, "q")).unwrap();
        assert_eq!(depth.in_flight, left);
    }
}

#[tokio::test]
async fn a_duplicate_comes_even_after_its_message_was_deleted() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    send_one(&local, &url, "a").await;
    local.server.faults().duplicate(Times::Next(1));
    let first = receive_all(&local, &url).await.remove(0);
    local.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": first["ReceiptHandle"]})).await;
    let copy = receive_all(&local, &url).await.remove(0);
    assert_eq!((&copy["MessageId"], &copy["Body"]), (&first["MessageId"], &json!("a")));
    let request = json!({"QueueUrl": url, "ReceiptHandle": copy["ReceiptHandle"]});
    assert_eq!(local.call("DeleteMessage", request).await.status, 200);
    assert!(receive_all(&local, &url).await.is_empty());
}

#[tokio::test]
async fn reordering_shuffles_what_is_delivered_and_loses_nothing() {
    let local = Local::start().await;
    let url = local.queue("q", json!({})).await;
    for index in 0..30 {
        local.pass(1);
        send_one(&local, &url, &format!("{index:02}")).await;
    }
    local.server.faults().reorder(Some(7));
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(
            receive_all(&local, &url).await.into_iter().map(|message| message["Body"].as_str().unwrap().to_owned()),
        );
    }
    let mut sorted = order.clone();
    sorted.sort();
    assert_ne!(order, sorted);
    assert_eq!(sorted, (0..30).map(|index| format!("{index:02}")).collect::<Vec<_>>());
}
