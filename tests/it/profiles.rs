//! Profiles as the table holds them.

use std::time::Duration;

use consume::profile::Section;
use ingest::accept::Call;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::{Pipeline, track};

fn identify(id: &str, seconds: u32, traits: &Value) -> Value {
    let time = format!("2023-11-14T22:12:{seconds:02}.000Z");
    json!({"type": "identify", "userId": "ann", "messageId": id, "timestamp": time, "traits": traits})
}

#[tokio::test]
async fn later_traits_stay_whenever_they_come() {
    let pipeline = Pipeline::start().await;
    for (id, seconds, traits) in [
        ("late", 30, json!({"plan": "pro", "seats": 5})),
        ("early", 10, json!({"plan": "free", "name": "Ann"})),
        ("clears", 40, json!({"seats": null})),
    ] {
        pipeline.post("/v1/identify", &identify(id, seconds, &traits)).await;
        pipeline.drain().await;
    }
    assert_eq!(pipeline.traits("ann").await, json!({"plan": "pro", "name": "Ann", "seats": null}));
    pipeline.finish().await;
}

#[tokio::test]
async fn what_would_outgrow_a_profile_is_stored_and_the_profile_goes_without() {
    let pipeline = Pipeline::start().await;
    for n in 0..3 {
        let traits = json!({format!("t{n}"): "x".repeat(24_000), "plan": n});
        assert_eq!(pipeline.post("/v1/identify", &identify(&format!("i{n}"), 10 + n, &traits)).await.0, 200);
        pipeline.drain().await;
    }
    let traits = pipeline.traits("ann").await;
    assert_eq!(traits.as_object().unwrap().keys().collect::<Vec<_>>(), ["plan", "t0", "t1"]);
    assert_eq!(traits["plan"], json!(2), "what has a place in it is kept up to date");
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (3, 0));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_retry_that_is_a_duplicate_does_not_undo_what_happened_in_between() {
    let pipeline = Pipeline::start().await;
    let identify = |id: &str, plan: &str| json!({"userId": "ann", "messageId": id, "traits": {"plan": plan}});
    for (id, plan) in [("m1", "free"), ("m2", "pro"), ("m1", "free")] {
        pipeline.post("/v1/identify", &identify(id, plan)).await;
        pipeline.drain().await;
        pipeline.pass(Duration::from_secs(10));
    }
    assert_eq!(pipeline.traits("ann").await, json!({"plan": "pro"}));
    pipeline.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Through the queue, the function and the table: any order, split into requests, and repetition of a history ends
    /// in the profile that the history in order gives.
    #[test]
    fn any_order_split_and_repetition_of_a_history_ends_in_the_same_profile(
        history in prop::collection::vec((0_u32..8, "[a-c]", 0_u32..9), 2..10),
        order in any::<prop::sample::Index>(),
        split in 1_usize..4,
        seed in any::<u64>(),
    ) {
        let calls: Vec<Value> = (0..).zip(&history).map(|(n, (seconds, name, value)): (usize, _)| identify(&format!("i{n}"), *seconds, &json!({name: value}))).collect();
        let mut expected = std::collections::BTreeMap::new();
        for (n, (seconds, name, value)) in history.iter().enumerate() {
            let last = expected.entry(name.clone()).or_insert((*seconds, format!("i{n}"), *value));
            *last = last.clone().max((*seconds, format!("i{n}"), *value));
        }
        let expected: std::collections::BTreeMap<_, _> = expected.into_iter().map(|(name, (_, _, value))| (name, value)).collect();
        let mut shuffled = calls.clone();
        shuffled.rotate_left(order.index(calls.len()));
        shuffled.push(calls[0].clone());
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let pipeline = Pipeline::start().await;
            for part in shuffled.chunks(split) {
                pipeline.post("/v1/batch", &json!({"batch": part})).await;
            }
            pipeline.sqs_faults.reorder(Some(seed));
            pipeline.drain().await;
            assert_eq!(pipeline.traits("ann").await, json!(expected));
            pipeline.finish().await;
        });
    }
}

fn vero(path: &str, body: &Value) -> Call {
    let mut body = body.clone();
    body["auth_token"] = json!("dev");
    Call {
        method: "POST".into(),
        path: format!("/api/v2/{path}"),
        body: body.to_string().into_bytes(),
        ..Call::default()
    }
}

#[tokio::test]
async fn tags_groups_and_subscription_are_parts_of_a_profile() {
    let pipeline = Pipeline::start().await;
    for (path, body) in [
        ("users/track", json!({"id": "ann", "email": "ann@example.com", "data": {"plan": "free"}})),
        ("users/edit", json!({"id": "ann", "changes": {"plan": "pro"}})),
        ("users/tags/edit", json!({"id": "ann", "add": ["vip", "beta"], "remove": ["new"]})),
        ("users/tags/edit", json!({"id": "ann", "remove": ["beta"]})),
        ("users/unsubscribe", json!({"id": "ann"})),
    ] {
        assert_eq!(pipeline.call(&vero(path, &body)).await.0, 200, "{path}");
        pipeline.pass(Duration::from_secs(1));
    }
    let group = json!({"userId": "ann", "groupId": "acme", "traits": {"seats": 5}});
    pipeline.post("/v1/group", &group).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"plan": "pro", "email": "ann@example.com"}));
    assert_eq!(pipeline.profile("ann", Section::Tags).await, json!({"vip": true, "beta": false, "new": false}));
    assert_eq!(pipeline.profile("ann", Section::Subscription).await, json!({"subscribed": false}));
    assert_eq!(pipeline.profile("ann", Section::Groups).await, json!({"acme": {"seats": 5}}));
    pipeline.call(&vero("users/resubscribe", &json!({"id": "ann"}))).await;
    pipeline.drain().await;
    assert_eq!(pipeline.profile("ann", Section::Subscription).await, json!({"subscribed": true}));
    pipeline.finish().await;
}

#[tokio::test]
async fn what_is_known_of_a_former_id_holds_for_the_later_one_before_and_after_the_alias() {
    let pipeline = Pipeline::start().await;
    let identify = |user: &str, traits: Value| json!({"userId": user, "traits": traits});
    pipeline.post("/v1/identify", &identify("anon", json!({"a": 1}))).await;
    pipeline.post("/v1/identify", &identify("ann", json!({"b": 2}))).await;
    pipeline.drain().await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "anon"})).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"a": 1, "b": 2}));
    pipeline.post("/v1/identify", &identify("anon", json!({"c": 3}))).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"a": 1, "b": 2, "c": 3}));
    assert_eq!(pipeline.traits("anon").await, json!({"a": 1, "c": 3}));
    // The later of two values, whichever id it came by.
    pipeline.pass(Duration::from_secs(1));
    pipeline.post("/v1/identify", &identify("anon", json!({"b": 4}))).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"a": 1, "b": 4, "c": 3}));
    // Vero's word for the same, in a chain.
    pipeline.call(&vero("users/reidentify", &json!({"id": "ann", "new_id": "ann@example.com"}))).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann@example.com").await, json!({"a": 1, "b": 4, "c": 3}));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_deleted_user_is_erased_and_nothing_older_comes_back() {
    let pipeline = Pipeline::start().await;
    let old = json!({"batch": (0..600).map(|n| track("ann", &format!("m{n}"))).collect::<Vec<_>>()});
    pipeline.post("/v1/batch", &old).await;
    pipeline.post("/v1/identify", &json!({"userId": "ann", "traits": {"a": 1}})).await;
    pipeline.post("/v1/track", &track("bo", "other")).await;
    pipeline.drain().await;
    // Still in the queue when the deletion is carried out.
    pipeline.post("/v1/track", &track("ann", "late")).await;
    let late = pipeline.deliver_later().await;
    pipeline.pass(Duration::from_secs(10));
    assert_eq!(pipeline.call(&vero("users/delete", &json!({"id": "ann"}))).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.stored().await.len(), 1, "bo's");
    assert_eq!(pipeline.traits("ann").await, Value::Null);
    pipeline.enqueue(&late).await;
    pipeline.post("/v1/batch", &old).await;
    pipeline.post("/v1/identify", &identify("before", 10, &json!({"a": 1}))).await;
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.traits("ann").await), (1, Value::Null));
    // The same id may begin anew.
    pipeline.pass(Duration::from_secs(10));
    pipeline.post("/v1/identify", &json!({"userId": "ann", "traits": {"again": true}})).await;
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"again": true}));
    assert_eq!(pipeline.stored().await.len(), 2);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_deletion_holds_for_every_id_that_became_the_deleted_one() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [track("anon", "m1"), track("ann", "m2"), track("bo", "m3")]})).await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "anon"})).await;
    pipeline.drain().await;
    pipeline.pass(Duration::from_secs(10));
    pipeline.call(&vero("users/delete", &json!({"id": "ann"}))).await;
    pipeline.drain().await;
    let left: Vec<String> = pipeline.stored().await.iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
    assert_eq!(left, ["dev#bo"]);
    // An id that turns out to have been theirs only now.
    pipeline.pass(Duration::from_secs(10));
    pipeline.post("/v1/track", &track("phone", "m4")).await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "phone"})).await;
    pipeline.drain().await;
    let left: Vec<String> = pipeline.stored().await.iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
    assert!(!left.contains(&"dev#phone".to_owned()), "{left:?}");
    pipeline.finish().await;
}

#[tokio::test]
async fn any_number_of_ids_become_one_user_and_who_looks_is_told_if_there_are_more_than_are_read() {
    let pipeline = Pipeline::start().await;
    let alias = |n: usize| json!({"type": "alias", "userId": "ann", "previousId": format!("p{n}"), "messageId": format!("a{n}"), "timestamp": "2023-11-14T22:13:10Z"});
    let batch: Vec<Value> = (0..55).map(alias).collect();
    pipeline.post("/v1/batch", &json!({"batch": batch})).await;
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (55, 0));
    let links = pipeline.items().await.into_iter().filter(|item| item["sk"].as_s().unwrap().starts_with("FORMER#"));
    assert_eq!(links.count(), 55);
    let homes = cli::people::homes(&pipeline.events_table(), "dev", "ann").await.unwrap();
    assert_eq!((homes.ids.len(), homes.is_whole), (50, false));
    pipeline.finish().await;
}

#[tokio::test]
async fn saying_the_same_again_after_something_else_holds() {
    let pipeline = Pipeline::start().await;
    for plan in ["free", "pro", "free"] {
        pipeline.call(&vero("users/track", &json!({"id": "ann", "data": {"plan": plan}}))).await;
        pipeline.pass(Duration::from_secs(1));
    }
    pipeline.drain().await;
    assert_eq!(pipeline.traits("ann").await, json!({"plan": "free"}));
    assert_eq!(pipeline.stored().await.len(), 2, "the third is the first again, for Vero's five minutes");
    pipeline.finish().await;
}

#[tokio::test]
async fn an_alias_that_comes_after_the_deletion_that_it_was_before_still_joins() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/track", &track("anon", "m1")).await;
    pipeline.post("/v1/identify", &json!({"userId": "anon", "traits": {"a": 1}})).await;
    pipeline.post("/v1/alias", &json!({"userId": "ann", "previousId": "anon"})).await;
    let (first, second, alias) =
        (pipeline.deliver_later().await, pipeline.deliver_later().await, pipeline.deliver_later().await);
    pipeline.pass(Duration::from_secs(10));
    pipeline.call(&vero("users/delete", &json!({"id": "ann"}))).await;
    pipeline.drain().await;
    for message in [first, second, alias] {
        pipeline.enqueue(&message).await;
        pipeline.drain().await;
    }
    assert!(pipeline.stored().await.is_empty());
    assert_eq!((pipeline.traits("ann").await, pipeline.traits("anon").await), (Value::Null, Value::Null));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_deletion_does_not_reach_another_who_shared_a_device() {
    let pipeline = Pipeline::start().await;
    for (user, id) in [("device", "m1"), ("ann", "m2"), ("bo", "m3")] {
        pipeline.post("/v1/track", &track(user, id)).await;
    }
    for user in ["ann", "bo"] {
        pipeline.post("/v1/alias", &json!({"userId": user, "previousId": "device"})).await;
    }
    pipeline.drain().await;
    pipeline.pass(Duration::from_secs(10));
    pipeline.call(&vero("users/delete", &json!({"id": "ann"}))).await;
    pipeline.drain().await;
    let left: Vec<String> = pipeline.stored().await.iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
    assert_eq!(left, ["dev#bo", "dev#bo"], "the event and the alias");
    pipeline.finish().await;
}
