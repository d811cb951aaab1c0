//! What messages come to: once, again, out of order, beside poison.

use std::time::Duration;

use consume::incoming::Payload;
use local::sqs::{Action, Times};
use serde_json::json;
use tests::{Delivered, Pipeline, track};

#[tokio::test]
async fn a_retry_of_a_request_makes_no_duplicate() {
    let pipeline = Pipeline::start().await;
    let batch = json!({"batch": [track("ann", "m1"), track("ann", "m2")]});
    for _ in 0..3 {
        pipeline.post("/v1/batch", &batch).await;
    }
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 2);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_message_delivered_again_changes_nothing() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [track("ann", "m1"), {"type": "track"}, {"type": "identify", "userId": "ann", "traits": {"a": 1}}]})).await;
    pipeline.post("/v1/track", &json!({"userId": "ann", "event": "Without id or time"})).await;
    pipeline.sqs_faults.duplicate(Times::Next(3));
    pipeline.deliver().await;
    let (items, letters) = (pipeline.items().await.len(), pipeline.letters().await.len());
    // Two events, a profile, a marker, and the note of the latest deletion.
    assert_eq!((items, letters), (5, 1));
    pipeline.drain().await;
    assert_eq!((pipeline.items().await.len(), pipeline.letters().await.len()), (items, letters));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_message_whose_settling_was_lost_is_delivered_again_without_effect() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/track", &track("ann", "m1")).await;
    // Received, stored, and then the environment dies before it answers: the message comes back.
    pipeline.sqs_faults.duplicate(Times::Next(1));
    pipeline.deliver().await;
    pipeline.pass(Duration::from_secs(3_600));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn messages_in_any_order_leave_the_same_tables() {
    let mut outcomes = Vec::new();
    for seed in [None, Some(1), Some(2), Some(3)] {
        let pipeline = Pipeline::start().await;
        for n in 0..25 {
            let time = format!("2023-11-14T22:13:{:02}.000Z", n % 20);
            pipeline.post("/v1/track", &track("ann", &format!("m{}", n % 18))).await;
            let identify = json!({"userId": "ann", "messageId": format!("i{n}"), "timestamp": time, "traits": {"plan": n, format!("t{n}"): n}});
            pipeline.post("/v1/identify", &identify).await;
        }
        pipeline.sqs_faults.reorder(seed);
        pipeline.drain().await;
        let mut keys: Vec<String> =
            pipeline.stored().await.iter().map(|item| item["sk"].as_s().unwrap().clone()).collect();
        keys.sort_unstable();
        outcomes.push((keys, pipeline.traits("ann").await));
        pipeline.finish().await;
    }
    assert_eq!(outcomes[0].0.len(), 18 + 25);
    assert_eq!(outcomes[0].1["plan"], json!(19));
    for outcome in &outcomes[1..] {
        assert_eq!(outcome, &outcomes[0]);
    }
}

#[tokio::test]
async fn a_poison_message_does_not_hold_back_its_batch() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/track", &track("ann", "m1")).await;
    for poison in ["not json", "{}", r#"{"version":9}"#, "[[[[[", r#"{"version":1,"project":"dev#KEY","events":[]}"#] {
        pipeline.enqueue(poison).await;
    }
    pipeline.post("/v1/track", &track("ann", "m2")).await;
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 2);
    let mut expected = vec!["undecodable_message"; 4];
    expected.push("unknown_version");
    assert_eq!(pipeline.reasons().await, expected);
    let bodies: Vec<String> =
        pipeline.letters().await.iter().map(|letter| letter["body"].as_s().unwrap().clone()).collect();
    assert!(bodies.contains(&"not json".to_owned()));
    pipeline.finish().await;
}

#[tokio::test]
async fn the_largest_poison_is_kept_whole() {
    let pipeline = Pipeline::start().await;
    let body = "é".repeat(500_000);
    pipeline.enqueue(&body).await;
    pipeline.drain().await;
    let letters = pipeline.letters().await;
    assert_eq!(letters[0]["parts"].as_n().unwrap(), "4");
    pipeline.finish().await;
}

#[tokio::test]
async fn the_same_call_to_vero_is_one_event_for_five_minutes_from_the_first() {
    let pipeline = Pipeline::start().await;
    let call = ingest::accept::Call {
        method: "POST".into(),
        path: "/api/v2/events/track".into(),
        body: json!({"auth_token": "dev", "identity": {"id": 1}, "event_name": "e", "data": {"a": 1}})
            .to_string()
            .into_bytes(),
        ..Default::default()
    };
    // Received at 0, 2, 4, 6 and 11 minutes: 0 begins a window, 6 another, 11 a third.
    for minutes in [0, 2, 2, 2, 5] {
        pipeline.pass(Duration::from_secs(minutes * 60));
        assert_eq!(pipeline.call(&call).await.0, 200);
    }
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 3);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_window_is_by_arrival_and_not_by_delivery() {
    let pipeline = Pipeline::start().await;
    let call = ingest::accept::Call {
        method: "POST".into(),
        path: "/api/v2/users/track".into(),
        body: json!({"auth_token": "dev", "id": 1, "data": {"a": 1}}).to_string().into_bytes(),
        ..Default::default()
    };
    pipeline.call(&call).await;
    pipeline.deliver().await;
    pipeline.pass(Duration::from_secs(60));
    pipeline.call(&call).await;
    // The second waits for an hour in the queue, and is a duplicate all the same.
    pipeline.pass(Duration::from_secs(3_600));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn an_event_with_an_id_but_no_time_is_recognised_for_ever() {
    let pipeline = Pipeline::start().await;
    let body = json!({"userId": "ann", "event": "e", "messageId": "m1"});
    for _ in 0..3 {
        pipeline.post("/v1/track", &body).await;
        pipeline.drain().await;
        pipeline.pass(Duration::from_secs(40 * 86_400));
    }
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn an_event_with_neither_id_nor_time_is_its_own_each_time_it_is_sent() {
    let pipeline = Pipeline::start().await;
    for _ in 0..2 {
        pipeline.post("/v1/track", &json!({"userId": "ann", "event": "e"})).await;
    }
    pipeline.sqs_faults.duplicate(Times::Next(2));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 2, "sent twice is two events, delivered twice is not");
    pipeline.finish().await;
}

#[tokio::test]
async fn a_failed_message_without_an_id_fails_the_batch_and_any_other_is_named() {
    use local::dynamodb::{Fault, Refusal, Target, Times};
    let pipeline = Pipeline::start().await;
    let event = |ids: &[&str]| -> Payload {
        let body = include_str!("../../events/sqs/one_track.json");
        let sample: serde_json::Value = serde_json::from_str(body).unwrap();
        let records: Vec<_> = ids
            .iter()
            .map(|id| {
                let mut record = sample["Records"][0].clone();
                record["messageId"] = json!(id);
                record
            })
            .collect();
        serde_json::from_value(json!({"Records": records})).unwrap()
    };
    pipeline.dynamodb_faults.inject(
        Target::All,
        Fault::Refuse(Refusal::ProvisionedThroughputExceeded),
        Times::UntilCleared,
    );
    let response = pipeline.invoke(event(&["a", "b"])).await.unwrap();
    assert_eq!(
        String::from_utf8(response).unwrap(),
        r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#
    );
    assert_eq!(pipeline.invoke(event(&["a", ""])).await, Err(()));
    pipeline.dynamodb_faults.clear_all();
    let response = pipeline.invoke(event(&["a", ""])).await.unwrap();
    assert_eq!(String::from_utf8(response).unwrap(), r#"{"batchItemFailures":[]}"#);
    pipeline.finish().await;
}

#[tokio::test]
async fn an_empty_queue_delivers_nothing() {
    let pipeline = Pipeline::start().await;
    assert_eq!(pipeline.deliver().await, Delivered::default());
    pipeline.sqs_faults.throttle(Action::SendMessageBatch, Times::Next(1));
    pipeline.finish().await;
}
