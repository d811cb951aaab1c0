//! What a receipt tells of each fate, and what is said to be missing.

use std::time::Duration;

use ingest::accept::Call;
use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
use local::sqs::{Action, Times};
use serde_json::{Value, json};
use shared::receipt::Receipt;
use tests::{Pipeline, track};

const DEV: &str = "Basic ZGV2Og==";

/// A question with the key `dev`.
fn question(path: &str) -> Call {
    Call {
        method: "GET".into(),
        path: format!("/v1/receipts/{path}"),
        authorization: Some(DEV.into()),
        ..Call::default()
    }
}

/// Sends a call that is accepted; the id of its receipt.
pub(crate) async fn accepted(pipeline: &Pipeline, call: &Call) -> String {
    let (status, body, account) = pipeline.call(call).await;
    assert_eq!(status, 200, "{body}");
    account.receipt_id.unwrap()
}

pub(crate) async fn sent(pipeline: &Pipeline, path: &str, body: &Value) -> String {
    accepted(pipeline, &pipeline.segment_call(path, body)).await
}

/// The fates that a receipt tells, with the reasons of those that have one.
pub(crate) async fn fates(pipeline: &Pipeline, id: &str) -> Vec<String> {
    let (status, body) = pipeline.ask(&question(id)).await;
    assert_eq!(status, 200, "{body}");
    let items = body["items"].as_array().unwrap();
    let fate = |(index, item): (usize, &Value)| {
        assert_eq!(item["index"], json!(index));
        let fate = item["fate"].as_str().unwrap();
        item["reason"].as_str().map_or(fate.to_owned(), |reason| format!("{fate} {reason}"))
    };
    items.iter().enumerate().map(fate).collect()
}

#[tokio::test]
async fn what_is_stored_waits_first_and_its_repetition_is_a_duplicate() {
    let pipeline = Pipeline::start().await;
    let first = sent(&pipeline, "/v1/track", &track("ann", "m1")).await;
    assert_eq!(fates(&pipeline, &first).await, ["waiting"]);
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &first).await, ["stored"]);
    let again = sent(&pipeline, "/v1/batch", &json!({"batch": [track("ann", "m1"), track("ann", "m2")]})).await;
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &again).await, ["duplicate", "stored"]);
    assert_eq!(fates(&pipeline, &first).await, ["stored"]);
    let (_, body) = pipeline.ask(&question(&again)).await;
    assert_eq!((&body["receivedAt"], &body["success"]), (&json!("2023-11-14T22:13:20.000Z"), &json!(true)));
    assert_eq!(body["items"][1], json!({"index": 1, "fate": "stored", "kind": "track", "eventId": "m2"}));
    pipeline.finish().await;
}

#[tokio::test]
async fn what_was_refused_is_a_dead_letter_with_its_reason() {
    let pipeline = Pipeline::start().await;
    let batch = json!({"batch": [7, track("ann", "m1"), {"type": "track", "event": "Nobody"}]});
    let id = sent(&pipeline, "/v1/batch", &batch).await;
    assert_eq!(fates(&pipeline, &id).await, ["waiting"; 3]);
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &id).await, ["dead_lettered bad_request", "stored", "dead_lettered no_user_anon_id"]);
    let (_, body) = pipeline.ask(&question(&id)).await;
    let letter = json!({"index": 0, "fate": "dead_lettered", "reason": "bad_request", "state": "waiting"});
    assert_eq!(body["items"][0], letter);
    pipeline.finish().await;
}

#[tokio::test]
async fn what_was_erased_says_so_and_a_deletion_is_stored() {
    let pipeline = Pipeline::start().await;
    let id = sent(&pipeline, "/v1/batch", &json!({"batch": [track("1", "m1"), track("2", "m2")]})).await;
    pipeline.drain().await;
    let delete = Call {
        method: "POST".into(),
        path: "/api/v2/users/delete".into(),
        body: json!({"auth_token": "dev", "id": 1}).to_string().into_bytes(),
        ..Call::default()
    };
    let deletion = accepted(&pipeline, &delete).await;
    assert_eq!(fates(&pipeline, &deletion).await, ["waiting"]);
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &deletion).await, ["stored"]);
    assert_eq!(fates(&pipeline, &id).await, ["erased", "stored"]);
    let late = sent(&pipeline, "/v1/track", &track("1", "m3")).await;
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &late).await, ["erased"]);
    // By a clock that is behind, it would have happened after the deletion; but it is the same event.
    pipeline.pass(Duration::from_secs(60));
    let mut again = track("1", "m1");
    again["sentAt"] = json!("2023-11-14T22:13:11.000Z");
    let again = sent(&pipeline, "/v1/track", &again).await;
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &again).await, ["erased"]);
    pipeline.finish().await;
}

#[tokio::test]
async fn what_is_told_apart_by_markers_is_a_duplicate_too() {
    let pipeline = Pipeline::start().await;
    let vero = Call {
        method: "POST".into(),
        path: "/api/v2/events/track".into(),
        query: "auth_token=dev".into(),
        body: json!({"identity": {"id": 1}, "event_name": "Opened"}).to_string().into_bytes(),
        ..Call::default()
    };
    let timeless = json!({"userId": "ann", "event": "e", "messageId": "m1"});
    let calls = [vero, pipeline.segment_call("/v1/track", &timeless)];
    for call in calls {
        let first = accepted(&pipeline, &call).await;
        pipeline.pass(Duration::from_secs(60));
        let second = accepted(&pipeline, &call).await;
        assert_eq!(fates(&pipeline, &second).await, ["waiting"]);
        pipeline.drain().await;
        assert_eq!(
            (fates(&pipeline, &first).await, fates(&pipeline, &second).await),
            (vec!["stored".to_owned()], vec!["duplicate".to_owned()])
        );
        // A key that came in the query may ask in the query.
        let asked = Call { authorization: None, query: "tracking_api_key=dev".into(), ..question(&second) };
        assert_eq!(pipeline.ask(&asked).await.1["items"][0]["fate"], "duplicate");
    }
    pipeline.finish().await;
}

#[tokio::test]
async fn while_a_table_is_away_events_wait_and_nobody_is_told_anything_wrong() {
    let pipeline = Pipeline::start().await;
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::Next(2));
    let spilled = sent(&pipeline, "/v1/track", &track("ann", "m1")).await;
    pipeline.pass(Duration::from_secs(60));
    let id = sent(&pipeline, "/v1/track", &track("ann", "m2")).await;
    assert_eq!(pipeline.ask(&question(&id)).await.0, 200, "the key is known from here on");
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::Throttling), Calls::UntilCleared);
    pipeline.deliver().await;
    let (status, body) = pipeline.ask(&question(&id)).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
    pipeline.dynamodb_faults.clear_all();
    assert_eq!(
        (fates(&pipeline, &id).await, fates(&pipeline, &spilled).await),
        (vec!["waiting".to_owned()], vec!["waiting".to_owned()])
    );
    pipeline.drain().await;
    assert_eq!(
        (fates(&pipeline, &id).await, fates(&pipeline, &spilled).await),
        (vec!["stored".to_owned()], vec!["stored".to_owned()])
    );
    pipeline.finish().await;
}

#[tokio::test]
async fn the_items_of_a_large_request_are_listed_message_by_message() {
    let pipeline = Pipeline::start().await;
    let mut batch: Vec<Value> = (0..400).map(|n| track(&format!("user{}", n % 7), &format!("m{n}"))).collect();
    for event in &mut batch {
        event["properties"] = json!({"filler": "x".repeat(1_000)});
    }
    batch[5] = json!("no event");
    let id = sent(&pipeline, "/v1/batch", &json!({"batch": batch})).await;
    assert!(id.len() < 64, "{id}");
    assert_eq!(fates(&pipeline, &id).await, vec!["waiting"; 400]);
    pipeline.drain().await;
    let told = fates(&pipeline, &id).await;
    let stored = told.iter().filter(|fate| *fate == "stored").count();
    assert_eq!((stored, told[5].as_str()), (399, "dead_lettered bad_request"));
    let items = pipeline.items().await;
    let lists: Vec<usize> = items
        .iter()
        .filter(|item| item["sk"].as_s().unwrap().starts_with("RECEIPT#"))
        .map(|item| item["list"].as_b().unwrap().as_ref().len())
        .collect();
    let bytes: usize = lists.iter().sum();
    assert!(lists.len() == 2 && bytes / 400 < 20, "one a message, {bytes} bytes in all");
    // A receipt without a list is one whose items nobody knows of any more.
    pipeline.pass(Duration::from_secs(15 * 86_400));
    assert_eq!(fates(&pipeline, &id).await[0], "stored");
    pipeline.finish().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_written_brings_the_message_again() {
    let pipeline = Pipeline::start().await;
    let event = |n: usize| track(&format!("user{n}"), &format!("an-event-of-a-large-request-{n}"));
    let batch: Vec<Value> = (0..150).map(event).collect();
    let id = sent(&pipeline, "/v1/batch", &json!({"batch": batch})).await;
    // The list is the first item of its call, and so is one event in 25.
    let first = Fault::RefuseStatements { indexes: vec![0], refusal: Refusal::Throttling };
    pipeline.dynamodb_faults.inject(Target::All, first, Calls::UntilCleared);
    assert_eq!(pipeline.deliver().await.kept, 1);
    assert!(pipeline.stored().await.len() > 100);
    assert_eq!(fates(&pipeline, &id).await, vec!["waiting"; 150], "what is stored by now is not listed yet");
    pipeline.dynamodb_faults.clear_all();
    pipeline.pass(Duration::from_secs(600));
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &id).await, vec!["stored"; 150]);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_receipt_is_for_its_own_project_and_a_made_up_one_shows_nothing() {
    let pipeline = Pipeline::start().await;
    pipeline.create_project("other", "their-key").await;
    let id = sent(&pipeline, "/v1/track", &track("ann", "m1")).await;
    pipeline.drain().await;
    let theirs = Some("Basic dGhlaXIta2V5Og==".to_owned());
    let ask = async |id: &str, authorization: Option<String>| {
        let (status, body) = pipeline.ask(&Call { authorization, ..question(id) }).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&id, theirs.clone()).await, (404, "not_found".to_owned()));
    assert_eq!(ask(&id, None).await, (401, "no_write_key".to_owned()));
    assert_eq!(ask(&id, Some("Basic bm9ib2R5Og==".to_owned())).await, (401, "unknown_write_key".to_owned()));
    assert_eq!(ask("garbage", Some(DEV.into())).await, (400, "invalid_request".to_owned()));
    // Somebody who makes a receipt up for their own project learns nothing of another's event.
    let read = Receipt::read(&id).unwrap();
    let events: Vec<_> = read.listed.unwrap().into_iter().filter_map(|item| item.event).collect();
    let envelope = shared::message::Message { receipt: read.receipt, ..Receipt::asking("other", read.received_at) };
    let forged = Receipt::issue(&envelope, &events, &[], String::new).id;
    let (_, body) = pipeline.ask(&Call { authorization: theirs, ..question(&forged) }).await;
    assert_eq!(body["items"][0]["fate"], "waiting");
    pipeline.finish().await;
}

#[tokio::test]
async fn an_operator_needs_no_key_but_the_names_of_the_projects() {
    let pipeline = Pipeline::start().await;
    let id = sent(&pipeline, "/v1/track", &track("ann", "m1")).await;
    pipeline.drain().await;
    let (receipt, now) = (Receipt::read(&id).unwrap(), shared::clock::Clock::now(pipeline.clock.as_ref()));
    let (events, letters) = (pipeline.events_table(), pipeline.dead_letters_table());
    let look_up = async |projects: &[&str]| {
        let projects: Vec<String> = projects.iter().map(|project| (*project).to_owned()).collect();
        let found = receipts::fates::fates_in_any(&events, &letters, &projects, &receipt, now).await.unwrap();
        found.map(|(project, items)| (project, items[0].fate.tag()))
    };
    assert_eq!(look_up(&["other", "dev"]).await, Some(("dev".to_owned(), "stored")));
    assert_eq!(look_up(&["other"]).await, None);
    // While the table of keys was away, it could not be told whose the request is.
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::Throttling), Calls::UntilCleared);
    pipeline.pass(Duration::from_secs(3_600));
    let mut call = pipeline.segment_call("/v1/track", &track("ann", "m2"));
    call.authorization = Some("Basic dGhlaXIta2V5Og==".to_owned());
    let unchecked = Receipt::read(&accepted(&pipeline, &call).await).unwrap();
    pipeline.dynamodb_faults.clear_all();
    pipeline.create_project("other", "their-key").await;
    pipeline.drain().await;
    let projects = ["dev".to_owned(), "other".to_owned()];
    let now = shared::clock::Clock::now(pipeline.clock.as_ref());
    let found = receipts::fates::fates_in_any(&events, &letters, &projects, &unchecked, now).await.unwrap();
    let (project, items) = found.unwrap();
    assert_eq!((project.as_str(), &items[0].fate), ("other", &receipts::fates::Fate::Stored));
    pipeline.finish().await;
}

#[tokio::test]
async fn what_is_not_found_for_longer_than_anything_waits_is_unknown() {
    let pipeline = Pipeline::start().await;
    let id = sent(&pipeline, "/v1/track", &track("ann", "m1")).await;
    let body = pipeline.deliver_later().await;
    pipeline.pass(Duration::from_secs(14 * 86_400));
    assert_eq!(fates(&pipeline, &id).await, ["waiting"]);
    pipeline.pass(Duration::from_secs(1));
    assert_eq!(fates(&pipeline, &id).await, ["unknown"]);
    pipeline.enqueue(&body).await;
    pipeline.drain().await;
    assert_eq!(fates(&pipeline, &id).await, ["stored"]);
    pipeline.finish().await;
}

/// What is missing of a batch, and what nothing can be told of.
pub(crate) async fn missing(pipeline: &Pipeline, batch: &Value) -> (Value, Value) {
    let body = json!({"batch": batch}).to_string().into_bytes();
    let (status, mut body) = pipeline.ask(&Call { method: "POST".into(), body, ..question("missing") }).await;
    assert_eq!(status, 200, "{body}");
    (body["missing"].take(), body["untold"].take())
}

#[tokio::test]
async fn what_is_missing_is_what_is_not_there() {
    let pipeline = Pipeline::start().await;
    let by_content = json!({"type": "page", "userId": "ann", "name": "Home", "timestamp": "2023-11-14T22:13:10Z"});
    let timeless = json!({"type": "track", "userId": "ann", "event": "e", "messageId": "timeless"});
    let neither = json!({"type": "track", "userId": "ann", "event": "e"});
    let short = json!({"userId": "ann", "messageId": "m1", "timestamp": "2023-11-14T22:13:10Z"});
    let batch = json!([track("ann", "m1"), by_content, timeless, short, neither, 7]);
    let untold = json!([{"index": 4, "reason": "no_identity"}, {"index": 5, "reason": "bad_request"}]);
    let all = json!([
        {"index": 0, "messageId": "m1"}, {"index": 1}, {"index": 2, "messageId": "timeless"},
        {"index": 3, "messageId": "m1"},
    ]);
    assert_eq!(missing(&pipeline, &batch).await, (all.clone(), untold.clone()));
    sent(&pipeline, "/v1/batch", &json!({"batch": batch})).await;
    assert_eq!(missing(&pipeline, &batch).await, (all, untold.clone()), "what waits is not there yet");
    pipeline.drain().await;
    assert_eq!(missing(&pipeline, &batch).await, (json!([]), untold));
    let other = json!([track("bob", "m1"), track("ann", "m2")]);
    let both = json!([{"index": 0, "messageId": "m1"}, {"index": 1, "messageId": "m2"}]);
    assert_eq!(missing(&pipeline, &other).await, (both, json!([])));
    pipeline.finish().await;
}

#[tokio::test]
async fn what_was_erased_is_not_missing() {
    let pipeline = Pipeline::start().await;
    let delete = Call {
        method: "POST".into(),
        path: "/api/v2/users/delete".into(),
        body: json!({"auth_token": "dev", "id": "ann"}).to_string().into_bytes(),
        ..Call::default()
    };
    accepted(&pipeline, &delete).await;
    pipeline.drain().await;
    let later = json!({"userId": "ann", "messageId": "m2", "timestamp": "2023-11-14T22:14:00Z"});
    pipeline.pass(Duration::from_secs(3_600));
    let (missing, _) = missing(&pipeline, &json!([track("ann", "m1"), later])).await;
    assert_eq!(missing, json!([{"index": 1, "messageId": "m2"}]));
    pipeline.finish().await;
}
