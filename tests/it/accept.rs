//! What is accepted, and what it becomes.

use ingest::accept::Call;
use serde_json::json;
use tests::{Pipeline, track};

#[tokio::test]
async fn an_accepted_event_is_one_item_with_everything_it_carried() {
    let pipeline = Pipeline::start().await;
    let mut body = track("ann", "m1");
    body["context"] = json!({"ip": "192.0.2.1"});
    body["sentAt"] = json!("2023-11-14T22:13:20.000Z");
    body["anonymousId"] = json!("anon");
    assert_eq!(pipeline.post("/v1/track", &body).await, (200, json!({"success": true})));
    assert!(pipeline.stored().await.is_empty(), "it is in the queue, not yet in the table");
    pipeline.drain().await;
    let items = pipeline.stored().await;
    let [item] = items.as_slice() else { panic!("{items:?}") };
    let text = |name: &str| item[name].as_s().unwrap().as_str();
    let number = |name: &str| item[name].as_n().unwrap().as_str();
    assert_eq!((text("pk"), text("sk")), ("dev#anon", "E#2023-11-14T22:13:10.000Z#m1"));
    assert_eq!((text("kind"), text("name"), text("src")), ("track", "Did It", "default"));
    assert_eq!(
        (text("user"), text("data"), text("ctx"), item.get("more")),
        ("ann", r#"{"id":"m1"}"#, r#"{"ip":"192.0.2.1"}"#, None)
    );
    assert_eq!((number("recv"), number("sent"), number("time")), ("1700000000000", "1700000000000", "1699999990000"));
    assert_eq!(text("rcpt"), "receipt000001.0");
    pipeline.finish().await;
}

#[tokio::test]
async fn a_large_batch_is_packed_into_few_messages_and_stored_whole() {
    let pipeline = Pipeline::start().await;
    let batch: Vec<_> = (0..600)
        .map(|n| {
            let mut event = track(&format!("user{}", n % 7), &format!("m{n}"));
            event["properties"] = json!({"filler": "x".repeat(1_000)});
            event
        })
        .collect();
    let (status, _) = pipeline.post("/v1/batch", &json!({"batch": batch})).await;
    assert_eq!(status, 200);
    assert_eq!(pipeline.waiting().await, 3, "750 KB by 256 KiB");
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 600);
    pipeline.finish().await;
}

#[tokio::test]
async fn the_bad_items_of_a_batch_become_dead_letters_with_reason_and_body() {
    let pipeline = Pipeline::start().await;
    let batch = json!({"batch": [track("ann", "good"), {"type": "track", "event": "Nobody"}, 7, {"type": "nonsense", "userId": "u"}]});
    assert_eq!(pipeline.post("/v1/batch", &batch).await, (200, json!({"success": true})));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1);
    assert_eq!(pipeline.reasons().await, ["bad_request", "no_user_anon_id", "unsupported_event_type"]);
    let letters = pipeline.letters().await;
    let nobody = letters.iter().find(|letter| letter["reason"].as_s().unwrap() == "no_user_anon_id").unwrap();
    assert_eq!(nobody["pk"].as_s().unwrap(), "dev#2023-11-14");
    assert_eq!(nobody["sk"].as_s().unwrap(), "2023-11-14T22:13:20.000Z#receipt000001.1");
    let body: serde_json::Value = serde_json::from_str(nobody["body"].as_s().unwrap()).unwrap();
    assert_eq!(body, json!({"type": "track", "event": "Nobody"}));
    assert_eq!(nobody["stage"].as_s().unwrap(), "ingest");
    pipeline.finish().await;
}

#[tokio::test]
async fn veros_calls_are_answered_as_vero_answers_them() {
    let pipeline = Pipeline::start().await;
    let call = |path: &str, query: &str, body: serde_json::Value| Call {
        method: "POST".into(),
        path: path.into(),
        query: query.into(),
        body: body.to_string().into_bytes(),
        ..Call::default()
    };
    let success = json!({"status": 200, "message": "Success."});
    for call in [
        call("/api/v2/events/track", "", json!({"auth_token": "dev", "identity": {"id": 1}, "event_name": "e"})),
        call(
            "/api/v2/events/track.json",
            "",
            json!({"tracking_api_key": "dev", "identity": {"id": 2}, "event_name": "e"}),
        ),
        call("/api/v2/users/track", "tracking_api_key=dev", json!({"id": 3, "data": {"a": 1}})),
    ] {
        let (status, body, _) = pipeline.call(&call).await;
        assert_eq!((status, body), (200, success.clone()), "{}", call.path);
    }
    // As with Vero, a parameter that is missing is said before a key that is wrong.
    let (status, body, _) = pipeline.call(&call("/api/v2/users/track", "", json!({"auth_token": "wrong"}))).await;
    assert_eq!((status, &body["status"], &body["code"]), (400, &json!(400), &json!("bad_parameter")));
    let (status, body, _) =
        pipeline.call(&call("/api/v2/users/track", "", json!({"auth_token": "wrong", "id": 1}))).await;
    assert_eq!((status, &body["code"]), (401, &json!("unknown_write_key")));
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 3);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_request_without_a_valid_key_leaves_nothing_behind() {
    let pipeline = Pipeline::start().await;
    for (authorization, code) in
        [(None, "no_write_key"), (Some("Basic bm9ib2R5Og=="), "unknown_write_key"), (Some("Bearer x"), "no_write_key")]
    {
        let call = Call {
            method: "POST".into(),
            path: "/v1/track".into(),
            authorization: authorization.map(str::to_owned),
            body: track("u", "m").to_string().into_bytes(),
            ..Call::default()
        };
        let (status, body, _) = pipeline.call(&call).await;
        assert_eq!((status, &body["code"]), (401, &json!(code)));
    }
    assert_eq!(pipeline.waiting().await, 0);
    pipeline.finish().await;
}

#[tokio::test]
async fn ready_means_that_an_event_would_be_taken() {
    use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
    use local::sqs::{Action, Times};
    let pipeline = Pipeline::start().await;
    let get = |path: &str| Call { method: "GET".into(), path: path.into(), ..Call::default() };
    assert_eq!(pipeline.call(&get("/health")).await.0, 200);
    assert_eq!(pipeline.call(&get("/ready")).await.0, 200);
    assert_eq!(pipeline.waiting().await, 1, "it was tried, not guessed");
    pipeline.call(&get("/ready")).await;
    assert_eq!(pipeline.waiting().await, 1, "but not each time");

    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::UntilCleared);
    pipeline.pass(std::time::Duration::from_secs(10));
    assert_eq!(pipeline.call(&get("/ready")).await.0, 200, "the spill table would take it");
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::Throttling), Calls::UntilCleared);
    pipeline.pass(std::time::Duration::from_secs(10));
    let (status, body, _) = pipeline.call(&get("/ready")).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
    assert_eq!(pipeline.call(&get("/health")).await.0, 200);
    pipeline.finish().await;
}

#[tokio::test]
async fn what_a_batch_says_once_is_bounded_as_often_as_it_has_items() {
    let pipeline = Pipeline::start().await;
    let batch = |items: usize, context: usize| {
        let batch: Vec<_> = (0..items).map(|n| track("ann", &format!("m{n}"))).collect();
        json!({"batch": batch, "context": {"x": "x".repeat(context)}})
    };
    let (status, answer) = pipeline.post("/v1/batch", &batch(400, 50_000)).await;
    assert_eq!((status, &answer["code"]), (413, &json!("batch_too_large")));
    assert_eq!(pipeline.waiting().await, 0);
    assert_eq!(pipeline.post("/v1/batch", &batch(80, 50_000)).await.0, 200);
    // With what the batch says, each of these is larger than an event may be.
    assert_eq!(pipeline.post("/v1/batch", &batch(2, 262_144)).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 80);
    assert_eq!(pipeline.reasons().await, ["event_too_large"; 2]);
    pipeline.finish().await;
}

#[tokio::test]
async fn events_that_differ_only_beyond_the_millisecond_or_in_their_category_are_two() {
    let pipeline = Pipeline::start().await;
    for (time, category) in [
        ("2023-11-14T22:13:10.123456789Z", "a"),
        ("2023-11-14T22:13:10.123999999Z", "a"),
        ("2023-11-14T22:13:10.123999999Z", "b"),
        ("2023-11-14T23:13:10.123999999+01:00", "b"),
    ] {
        let page = json!({"userId": "ann", "name": "Home", "category": category, "timestamp": time});
        pipeline.post("/v1/page", &page).await;
    }
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 3, "the last is the third, in another zone");
    pipeline.finish().await;
}

#[tokio::test]
async fn a_write_key_is_kept_nowhere() {
    let pipeline = Pipeline::start().await;
    let item = json!({"type": "track", "event": "nobody", "writeKey": "very secret"});
    let batch = json!({"writeKey": "dev", "batch": [item, {"type": "track", "userId": "u", "event": "e", "writeKey": "very secret"}]});
    pipeline.post("/v1/batch", &batch).await;
    pipeline.drain().await;
    let all = format!("{:?}{:?}", pipeline.letters().await, pipeline.items().await);
    assert!(!all.contains("very secret"));
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (1, 1));
    pipeline.finish().await;
}
