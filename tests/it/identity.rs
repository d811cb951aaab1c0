//! Which events are one: what a library fills in between two tries makes no second event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consume::deliver::Report;
use consume::store::USER;
use ingest::accept::Call;
use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock, Timestamp};
use tests::watched::{Turns, deliver_at_once};
use tests::{Item, Pipeline};

use crate::receipts::{accepted, fates, missing, sent};

/// What a library gives an event to tell it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    IdAndTime,
    Id,
    Time,
}

const ALL: [Carries; 3] = [Carries::IdAndTime, Carries::Id, Carries::Time];

/// Whom the first try of an event names, and whom the second.
const TRIES: [[Option<&str>; 2]; 5] =
    [[None, Some("ann")], [Some("ann"), Some("bob")], [Some("ann"), None], [None, None], [Some("ann"), Some("ann")]];

/// Everybody of whom it may be asked whether an event is missing.
const ANYBODY: [Option<&str>; 4] = [None, Some("ann"), Some("bob"), Some("never seen")];

/// An event of a device, as its library sends it while it knows of this user.
fn tried(carries: Carries, name: &str, user: Option<&str>) -> Value {
    let mut event = json!({
        "type": "track", "event": name, "userId": user, "anonymousId": format!("device of {name}"),
        "properties": {"price": 1.50},
    });
    if carries != Carries::Time {
        event["messageId"] = json!(format!("id of {name}"));
    }
    if carries != Carries::Id {
        event["timestamp"] = json!("2023-11-14T22:13:10.000Z");
    }
    event
}

fn deadline(pipeline: &Pipeline) -> Timestamp {
    pipeline.clock.now().plus(Duration::from_secs(60))
}

fn failed(report: &Report) -> usize {
    report.failed.iter().count()
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).map(|value| value.as_s().unwrap().as_str())
}

/// Checks that of two tries one is stored and the other is a duplicate, and that neither is missing.
async fn are_one(pipeline: &Pipeline, carries: Carries, name: &str, told: &[String]) {
    let mut told = told.to_vec();
    told.sort_unstable();
    assert_eq!(told, ["duplicate", "stored"], "{carries:?} {name}");
    for user in ANYBODY {
        let asked = missing(pipeline, &json!([tried(carries, name, user)])).await;
        assert_eq!(asked, (json!([]), json!([])), "{carries:?} {name}, asked for {user:?}");
    }
}

#[tokio::test]
async fn a_second_try_that_names_another_user_is_a_duplicate_in_any_order() {
    #[derive(Clone, Copy, Debug)]
    enum Way {
        Together,
        InTurn,
        Reversed,
    }
    let pipeline = Pipeline::start().await;
    let consume = pipeline.environment(Arc::<ManualClock>::clone(&pipeline.clock), |table| table);
    let mut events = 0;
    for carries in ALL {
        for users in TRIES {
            for way in [Way::Together, Way::InTurn, Way::Reversed] {
                events += 1;
                let name = format!("event {events}: {users:?} {way:?}");
                let mut receipts = Vec::new();
                for user in users {
                    receipts.push(sent(&pipeline, "/v1/track", &tried(carries, &name, user)).await);
                    pipeline.pass(Duration::from_secs(1));
                }
                let mut deliveries = pipeline.take().await;
                assert_eq!(deliveries.len(), 2);
                if matches!(way, Way::Reversed) {
                    deliveries.reverse();
                }
                let at_once = if matches!(way, Way::Together) { 2 } else { 1 };
                for some in deliveries.chunks(at_once) {
                    assert_eq!(failed(&consume.deliver(some, deadline(&pipeline)).await), 0);
                }
                let told = [fates(&pipeline, &receipts[0]).await, fates(&pipeline, &receipts[1]).await].concat();
                are_one(&pipeline, carries, &name, &told).await;
                // Delivered again, nothing changes.
                for delivery in &mut deliveries {
                    delivery.receive_count = 2;
                }
                assert_eq!(failed(&consume.deliver(&deliveries, deadline(&pipeline)).await), 0);
                let again = [fates(&pipeline, &receipts[0]).await, fates(&pipeline, &receipts[1]).await].concat();
                assert_eq!(again, told, "{name}");
            }
        }
    }
    assert_eq!(pipeline.stored().await.len(), events);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_batch_that_is_sent_again_after_a_login_is_the_same_events() {
    let pipeline = Pipeline::start().await;
    for carries in ALL {
        let name = |n: usize| format!("{carries:?} {n}");
        let batch = |which: usize| -> Vec<Value> {
            TRIES.iter().enumerate().map(|(n, users)| tried(carries, &name(n), users[which])).collect()
        };
        let first = sent(&pipeline, "/v1/batch", &json!({"batch": batch(0)})).await;
        let second = sent(&pipeline, "/v1/batch", &json!({"batch": batch(1)})).await;
        pipeline.drain().await;
        let (first, second) = (fates(&pipeline, &first).await, fates(&pipeline, &second).await);
        for (n, told) in first.iter().zip(&second).enumerate() {
            are_one(&pipeline, carries, &name(n), &[told.0.clone(), told.1.clone()]).await;
        }
    }
    assert_eq!(pipeline.stored().await.len(), ALL.len() * TRIES.len());
    pipeline.finish().await;
}

#[tokio::test]
async fn two_tries_in_one_batch_are_one_event() {
    let pipeline = Pipeline::start().await;
    for carries in ALL {
        let name = |n: usize| format!("{carries:?} {n}");
        let tries = TRIES.iter().enumerate().flat_map(|(n, users)| users.map(|user| tried(carries, &name(n), user)));
        let receipt = sent(&pipeline, "/v1/batch", &json!({"batch": tries.collect::<Vec<Value>>()})).await;
        pipeline.drain().await;
        let told = fates(&pipeline, &receipt).await;
        for (n, told) in told.chunks(2).enumerate() {
            are_one(&pipeline, carries, &name(n), told).await;
        }
    }
    assert_eq!(pipeline.stored().await.len(), ALL.len() * TRIES.len());
    pipeline.finish().await;
}

#[tokio::test]
async fn what_only_a_duplicate_names_is_seen_with_the_device() {
    let pipeline = Pipeline::start().await;
    for user in [None, Some("ann")] {
        sent(&pipeline, "/v1/track", &tried(Carries::IdAndTime, "e", user)).await;
        pipeline.drain().await;
    }
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.pass(Duration::from_secs(10));
    accepted(&pipeline, &delete("ann")).await;
    pipeline.drain().await;
    assert!(pipeline.stored().await.is_empty(), "the event names nobody, on a device where only ann was seen");
    pipeline.finish().await;
}

fn delete(id: &str) -> Call {
    Call {
        method: "POST".into(),
        path: "/api/v2/users/delete".into(),
        body: json!({"auth_token": "dev", "id": id}).to_string().into_bytes(),
        ..Call::default()
    }
}

/// Sends two tries of one event, and delivers each to an environment of its own, at the same time.
async fn race(pipeline: &Pipeline, carries: Carries, name: &str, users: [Option<&str>; 2], turns: Turns) {
    let mut receipts = Vec::new();
    for user in users {
        receipts.push(sent(pipeline, "/v1/track", &tried(carries, name, user)).await);
    }
    let deliveries = pipeline.take().await;
    let [first, second] = deliveries.as_slice() else { panic!("two messages") };
    deliver_at_once(pipeline, [first, second], turns).await;
    let told = [fates(pipeline, &receipts[0]).await, fates(pipeline, &receipts[1]).await].concat();
    are_one(pipeline, carries, name, &told).await;
}

const RACES: [[Option<&str>; 2]; 3] = [[None, Some("ann")], [Some("ann"), Some("bob")], [Some("ann"), None]];

#[tokio::test]
async fn of_two_environments_one_of_which_does_all_between_two_calls_of_the_other_one_stores_the_event() {
    /// More calls than a message with one event takes.
    const CALLS_MAX: u32 = 16;
    let pipeline = Pipeline::start().await;
    for carries in ALL {
        for users in RACES {
            for call in 0..CALLS_MAX {
                race(&pipeline, carries, &format!("{users:?} {call} {carries:?}"), users, Turns::StopsBefore(call))
                    .await;
            }
        }
    }
    assert_eq!(pipeline.stored().await.len(), ALL.len() * RACES.len() * CALLS_MAX as usize);
    pipeline.finish().await;
}

#[tokio::test]
async fn of_two_environments_at_the_same_time_one_stores_the_event() {
    let pipeline = Pipeline::start().await;
    for seed in 0..60_u8 {
        let (carries, users) = (ALL[usize::from(seed % 3)], RACES[usize::from(seed / 3 % 3)]);
        race(&pipeline, carries, &format!("seed {seed}"), users, Turns::Random(u64::from(seed))).await;
    }
    assert_eq!(pipeline.stored().await.len(), 60);
    pipeline.finish().await;
}

/// The homes of what is stored, each with whom the event names there.
async fn homes(pipeline: &Pipeline) -> Vec<(String, Option<String>)> {
    let stored = pipeline.stored().await;
    let home = |item: &Item| (text(item, "pk").unwrap().to_owned(), text(item, USER).map(str::to_owned));
    let mut homes: Vec<_> = stored.iter().map(home).collect();
    homes.sort_unstable();
    homes
}

fn with_key(pipeline: &Pipeline, key: &str, path: &str, body: &Value) -> Call {
    let authorization = Some(format!("Basic {}", STANDARD.encode(format!("{key}:"))));
    Call { authorization, ..pipeline.segment_call(path, body) }
}

/// The fates that a receipt tells who asks with this key.
async fn fates_with(pipeline: &Pipeline, key: &str, id: &str) -> Vec<String> {
    let call = Call { method: "GET".into(), ..with_key(pipeline, key, &format!("/v1/receipts/{id}"), &Value::Null) };
    let (status, body) = pipeline.ask(&call).await;
    assert_eq!(status, 200, "{body}");
    body["items"].as_array().unwrap().iter().map(|item| item["fate"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn users_of_a_source_with_one_constant_device_are_not_mixed() {
    let pipeline = Pipeline::start().await;
    pipeline.create_write_key_of_users("server").await;
    let event = |user: &str, id: &str| {
        json!({
            "type": "track", "event": "e", "userId": user, "anonymousId": "the server", "messageId": id,
            "timestamp": "2023-11-14T22:13:10.000Z", "other": 1,
        })
    };
    let batch = json!({"batch": [event("ann", "m1"), event("bob", "m1"), event("bob", "m2")]});
    let call = with_key(&pipeline, "server", "/v1/batch", &batch);
    // Nobody can say yet that the key is one of users: the first of these is judged by `consume`, the second by `ingest`.
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    let unverified = accepted(&pipeline, &call).await;
    pipeline.dynamodb_faults.clear_all();
    pipeline.drain().await;
    assert_eq!(fates_with(&pipeline, "server", &unverified).await, ["stored"; 3]);
    pipeline.pass(Duration::from_secs(600));
    let (status, _, account) = pipeline.call(&call).await;
    assert_eq!((status, account.verified), (200, true));
    let verified = account.receipt_id.unwrap();
    pipeline.drain().await;
    assert_eq!(fates_with(&pipeline, "server", &verified).await, ["duplicate"; 3]);
    assert_eq!(fates_with(&pipeline, "server", &unverified).await, ["stored"; 3]);
    let home = |user: &str| (format!("dev#{user}"), None);
    assert_eq!(homes(&pipeline).await, [home("ann"), home("bob"), home("bob")]);
    for item in pipeline.stored().await {
        let more: BTreeMap<String, Value> = serde_json::from_str(text(&item, "more").unwrap()).unwrap();
        assert_eq!(more, BTreeMap::from([("anonymousId".into(), json!("the server")), ("other".into(), json!(1))]));
    }
    let asked = with_key(&pipeline, "server", "/v1/receipts/missing", &batch);
    let (status, body) = pipeline.ask(&asked).await;
    assert_eq!((status, &body["missing"]), (200, &json!([])), "{body}");
    let other = with_key(&pipeline, "server", "/v1/receipts/missing", &json!({"batch": [event("carol", "m1")]}));
    assert_eq!(pipeline.ask(&other).await.1["missing"], json!([{"index": 0, "messageId": "m1"}]));
    // What one of them is deleted for stays with that one.
    pipeline.pass(Duration::from_secs(10));
    accepted(&pipeline, &delete("ann")).await;
    pipeline.drain().await;
    assert_eq!(homes(&pipeline).await, [home("bob"), home("bob")]);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_large_request_of_a_source_of_users_is_found_by_its_receipt_however_its_key_was_checked() {
    let pipeline = Pipeline::start().await;
    pipeline.create_write_key_of_users("server").await;
    let event = |n: usize| {
        json!({
            "type": "track", "event": "e", "userId": format!("the user with the number {n}"), "anonymousId": "the server",
            "messageId": format!("an event of a large request {n}"), "timestamp": "2023-11-14T22:13:10.000Z",
        })
    };
    let batch = json!({"batch": (0..150).map(event).collect::<Vec<Value>>()});
    let call = with_key(&pipeline, "server", "/v1/batch", &batch);
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    let unverified = accepted(&pipeline, &call).await;
    pipeline.dynamodb_faults.clear_all();
    pipeline.drain().await;
    assert_eq!(fates_with(&pipeline, "server", &unverified).await, vec!["stored"; 150]);
    pipeline.pass(Duration::from_secs(600));
    let verified = accepted(&pipeline, &call).await;
    pipeline.drain().await;
    assert_eq!(fates_with(&pipeline, "server", &verified).await, vec!["duplicate"; 150]);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_device_that_says_nothing_is_none() {
    let pipeline = Pipeline::start().await;
    let nothing = [
        json!(""),
        json!("0"),
        json!(0),
        json!("-1"),
        json!(-1),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("undefined"),
        json!("Undefined"),
        json!("null"),
        json!("NULL"),
        json!(null),
        json!("nil"),
        json!("none"),
        json!("None"),
        json!("NaN"),
        json!("<nil>"),
        json!("false"),
        json!(false),
        json!("true"),
        json!("[object Object]"),
        json!({"id": "x"}),
        json!("unknown"),
        json!("anonymous"),
        json!("anonymousId"),
        json!("guest"),
        json!("test"),
        json!(" undefined \n"),
    ];
    let event = |user: &str, n: usize, device: &Value| {
        json!({
            "type": "track", "event": "e", "userId": user, "anonymousId": device, "messageId": format!("m{n}"),
            "timestamp": "2023-11-14T22:13:10.000Z",
        })
    };
    let of =
        |user: &str| -> Vec<Value> { nothing.iter().enumerate().map(|(n, device)| event(user, n, device)).collect() };
    let mut told = Vec::new();
    for user in ["ann", "bob", "ann"] {
        let receipt = sent(&pipeline, "/v1/batch", &json!({"batch": of(user)})).await;
        pipeline.drain().await;
        told.push(fates(&pipeline, &receipt).await);
        assert_eq!(missing(&pipeline, &json!(of(user))).await.0, json!([]));
    }
    assert_eq!(told, ["stored", "stored", "duplicate"].map(|fate| vec![fate; nothing.len()]));
    let expected = ["ann", "bob"].map(|user| vec![(format!("dev#{user}"), None); nothing.len()]).concat();
    assert_eq!(homes(&pipeline).await, expected);
    pipeline.pass(Duration::from_secs(10));
    accepted(&pipeline, &delete("ann")).await;
    pipeline.drain().await;
    assert_eq!(homes(&pipeline).await, vec![("dev#bob".to_owned(), None); nothing.len()]);
    // Of nobody and with no device, it is nobody's.
    let nobodys: Vec<Value> = nothing.iter().enumerate().map(|(n, device)| event("", n + 100, device)).collect();
    sent(&pipeline, "/v1/batch", &json!({"batch": nobodys})).await;
    pipeline.drain().await;
    assert_eq!(pipeline.letters().await.len(), nothing.len());
    pipeline.finish().await;
}
