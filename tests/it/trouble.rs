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
async fn with_the_queue_away_requests_are_taken_through_the_spill_table_and_stored_from_there() {
    let pipeline = Pipeline::start().await;
    let large = {
        let mut event = track("ann", "large");
        event["properties"] = json!({"filler": "é".repeat(125_000)});
        event
    };
    for (n, fault) in [
        pipeline_fault(|faults| faults.refuse(Action::SendMessageBatch, Times::Next(2))),
        pipeline_fault(|faults| faults.throttle(Action::SendMessageBatch, Times::Next(2))),
        pipeline_fault(|faults| faults.fail_entries(Action::SendMessageBatch, [0], Times::Next(3))),
        // Enqueued, but the confirmation is lost: it is there, and nobody may say so.
        pipeline_fault(|faults| faults.drop_reply(Action::SendMessageBatch, Times::Next(2))),
    ]
    .into_iter()
    .enumerate()
    {
        fault(&pipeline.sqs_faults);
        let batch = json!({"batch": [track("ann", &format!("m{n}")), large]});
        assert_eq!(pipeline.post("/v1/batch", &batch).await.0, 200);
        assert!(!pipeline.spilled().await.is_empty());
        pipeline.pass(Duration::from_secs(60));
        pipeline.deliver_spilled().await;
        assert!(pipeline.spilled().await.is_empty());
        assert_eq!(pipeline.stored().await.len(), n + 2);
    }
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 5);
    pipeline.finish().await;
}

fn pipeline_fault<F: Fn(&local::sqs::Faults) + 'static>(fault: F) -> Box<dyn Fn(&local::sqs::Faults)> {
    Box::new(fault)
}

#[tokio::test]
async fn what_the_stream_has_not_brought_is_swept_into_the_queue() {
    let pipeline = Pipeline::start().await;
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::UntilCleared);
    pipeline.post("/v1/track", &track("ann", "m1")).await;
    pipeline.pass(Duration::from_secs(3_600));
    assert!(!pipeline.sweep().await, "the queue is still away");
    pipeline.sqs_faults.clear();
    assert!(pipeline.sweep().await);
    assert_eq!((pipeline.spilled().await.len(), pipeline.waiting().await), (0, 1));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn with_queue_and_table_away_it_is_503_with_a_time_that_grows_and_the_retry_makes_no_duplicate() {
    let pipeline = Pipeline::start().await;
    let body = track("ann", "m1");
    assert_eq!(pipeline.post("/v1/track", &track("ann", "m0")).await.0, 200);
    pipeline.sqs_faults.drop_reply(Action::SendMessageBatch, Times::UntilCleared);
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    for retry_after in [1, 2, 4] {
        let (answer, _) = pipeline.ingest.answer(&pipeline.segment_call("/v1/track", &body), "refused").await;
        let reply = answer.reply();
        let header = reply.headers.iter().find(|(name, _)| *name == "Retry-After");
        assert_eq!((reply.status, header.unwrap().1.as_str()), (503, retry_after.to_string().as_str()));
        pipeline.pass(Duration::from_secs(retry_after));
    }
    pipeline.sqs_faults.clear();
    pipeline.dynamodb_faults.clear_all();
    assert_eq!(pipeline.post("/v1/track", &body).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 2);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_checked_is_taken_and_judged_later() {
    let pipeline = Pipeline::start().await;
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    assert_eq!(pipeline.post("/v1/track", &track("ann", "m1")).await.0, 200);
    let mut call = pipeline.segment_call("/v1/track", &track("ann", "m2"));
    call.authorization = Some("Basic bm9ib2R5Og==".to_owned());
    assert_eq!(pipeline.call(&call).await.0, 200);
    // What only the table could tell of a webhook cannot be told later: whether its signature is right.
    let webhook = ingest::accept::Call { path: "/webhooks/segment/dev".into(), ..call.clone() };
    assert_eq!(pipeline.call(&webhook).await.0, 503);
    pipeline.deliver().await;
    pipeline.dynamodb_faults.clear_all();
    assert_eq!((pipeline.waiting().await, pipeline.letters().await.len()), (2, 0));
    pipeline.pass(Duration::from_secs(60));
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.reasons().await), (1, vec!["unknown_write_key".to_owned()]));
    // With the table back, such a key is refused at once.
    assert_eq!(pipeline.call(&call).await.0, 401);
    pipeline.finish().await;
}

#[tokio::test]
async fn an_outage_of_six_hours_sends_nothing_to_the_quarantine() {
    let pipeline = Pipeline::start().await;
    for n in 0..6 {
        pipeline.post("/v1/track", &track("ann", &format!("m{n}"))).await;
    }
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::Throttling), Calls::UntilCleared);
    let mut receives = 0;
    for _ in 0..6 * 30 {
        receives += pipeline.deliver().await.messages + pipeline.deliver().await.messages;
        pipeline.pass(Duration::from_secs(120));
    }
    assert!(receives > 100, "it has been tried again and again: {receives}");
    assert_eq!((pipeline.waiting().await, pipeline.quarantined().await), (6, 0));
    pipeline.dynamodb_faults.clear_all();
    pipeline.pass(Duration::from_secs(600));
    for _ in 0..4 {
        pipeline.deliver().await;
    }
    assert_eq!(pipeline.stored().await.len(), 6, "within ten minutes of its end everything is stored");
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
        pipeline.post("/v1/track", &track(&format!("user{n}"), &format!("m{n}"))).await;
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
