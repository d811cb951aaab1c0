//! A part behind us throttles, fails, or loses its answers.

use std::time::Duration;

use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
use local::sqs::{Action, Times};
use serde_json::json;
use tests::{Pipeline, track};

#[tokio::test]
async fn entries_that_the_queue_refuses_are_sent_again() {
    let pipeline = Pipeline::start().await;
    let batch: Vec<_> = (0..500)
        .map(|n| {
            let mut event = track("ann", &format!("m{n}"));
            event["properties"] = json!({"filler": "x".repeat(1_500)});
            event
        })
        .collect();
    pipeline.sqs_faults.fail_entries(Action::SendMessageBatch, [0, 2], Times::Next(1));
    assert_eq!(pipeline.post("/v1/batch", &json!({"batch": batch})).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 500);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_queue_that_refuses_is_a_503_with_retry_after_and_the_retry_makes_no_duplicate() {
    let pipeline = Pipeline::start().await;
    let body = track("ann", "m1");
    pipeline.sqs_faults.fail_entries(Action::SendMessageBatch, [0], Times::Next(3));
    let (status, answer) = pipeline.post("/v1/track", &body).await;
    assert_eq!((status, &answer["code"], &answer["success"]), (503, &json!("unavailable"), &json!(false)));
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::Next(2));
    assert_eq!(pipeline.post("/v1/track", &body).await.0, 503);
    pipeline.sqs_faults.throttle(Action::SendMessageBatch, Times::Next(2));
    assert_eq!(pipeline.post("/v1/track", &body).await.0, 503);
    // Enqueued, but the confirmation is lost, twice: it is there, and nobody may say so.
    pipeline.sqs_faults.drop_reply(Action::SendMessageBatch, Times::Next(2));
    assert_eq!(pipeline.post("/v1/track", &body).await.0, 503);
    assert_eq!(pipeline.waiting().await, 2);
    assert_eq!(pipeline.post("/v1/track", &body).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_table_that_throttles_delays_events_and_loses_none() {
    for refusal in [
        Refusal::ProvisionedThroughputExceeded,
        Refusal::Throttling,
        Refusal::InternalServerError,
        Refusal::AccessDenied,
    ] {
        let pipeline = Pipeline::start().await;
        pipeline.post("/v1/batch", &json!({"batch": [track("ann", "m1"), track("bo", "m2"), {"type": "track"}]})).await;
        pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(refusal), Calls::UntilCleared);
        let delivered = pipeline.deliver().await;
        assert_eq!((delivered.messages, delivered.kept), (1, 1));
        pipeline.dynamodb_faults.clear_all();
        assert!(pipeline.letters().await.is_empty(), "no trouble of ours makes a dead letter of an event");
        pipeline.pass(Duration::from_secs(3_600));
        pipeline.drain().await;
        assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (2, 1));
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn statements_that_fail_alone_are_tried_again_alone() {
    let pipeline = Pipeline::start().await;
    let batch: Vec<_> = (0..60).map(|n| track("ann", &format!("m{n}"))).collect();
    pipeline.post("/v1/batch", &json!({"batch": batch})).await;
    let fault = Fault::RefuseStatements { indexes: vec![0, 3, 24], refusal: Refusal::Throttling };
    pipeline.dynamodb_faults.inject(Target::All, fault, Calls::Calls(3));
    assert_eq!(pipeline.deliver().await.kept, 0);
    assert_eq!(pipeline.stored().await.len(), 60);
    pipeline.finish().await;
}

#[tokio::test]
async fn one_message_that_fails_does_not_hold_back_its_neighbours() {
    let pipeline = Pipeline::start().await;
    for n in 0..5 {
        pipeline.post("/v1/track", &track("ann", &format!("m{n}"))).await;
    }
    // The first statement fails in every round.
    let fault = Fault::RefuseStatements { indexes: vec![0], refusal: Refusal::Throttling };
    pipeline.dynamodb_faults.inject(Target::All, fault, Calls::UntilCleared);
    let delivered = pipeline.deliver().await;
    assert_eq!((delivered.messages, delivered.kept), (5, 1));
    assert_eq!(pipeline.stored().await.len(), 4);
    pipeline.finish().await;
}

#[tokio::test]
async fn writes_whose_answers_are_lost_have_one_effect() {
    let pipeline = Pipeline::start().await;
    let mut batch: Vec<_> = (0..30).map(|n| track("ann", &format!("m{n}"))).collect();
    batch.push(json!({"type": "identify", "userId": "ann", "traits": {"a": 1}, "messageId": "i", "timestamp": "2023-11-14T22:13:10.000Z"}));
    batch.push(json!({"type": "track", "userId": "ann", "event": "No time", "messageId": "n"}));
    batch.push(json!({"type": "track", "userId": "ann"}));
    pipeline.post("/v1/batch", &json!({"batch": batch})).await;
    for operation in ["BatchExecuteStatement", "PutItem", "BatchGetItem"] {
        pipeline.dynamodb_faults.inject(Target::operation(operation), Fault::DropReply, Calls::Calls(2));
    }
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (32, 1));
    assert_eq!(pipeline.traits("ann").await, json!({"a": 1}));
    pipeline.finish().await;
}

#[tokio::test]
async fn keys_that_were_known_are_taken_while_the_table_is_away() {
    let pipeline = Pipeline::start().await;
    assert_eq!(pipeline.post("/v1/track", &track("ann", "m1")).await.0, 200);
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    pipeline.pass(Duration::from_secs(3_600));
    assert_eq!(pipeline.post("/v1/track", &track("ann", "m2")).await.0, 200);
    pipeline.finish().await;
}

#[tokio::test]
async fn reads_that_come_back_in_part_are_read_on() {
    let pipeline = Pipeline::start().await;
    let batch: Vec<_> = (0..20).map(|n| track("ann", &format!("m{n}"))).collect();
    for _ in 0..2 {
        pipeline.post("/v1/batch", &json!({"batch": batch})).await;
    }
    pipeline.dynamodb_faults.inject(
        Target::operation("BatchGetItem"),
        Fault::LeaveUnprocessed { taken_max: 9 },
        Calls::UntilCleared,
    );
    assert_eq!(pipeline.deliver().await.kept, 0);
    assert_eq!(pipeline.stored().await.len(), 20);
    pipeline.finish().await;
}
