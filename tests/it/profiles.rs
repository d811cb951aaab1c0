//! Profiles as the table holds them.

use proptest::prelude::*;
use serde_json::{Value, json};
use tests::Pipeline;

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
async fn what_would_outgrow_a_profile_is_dead_lettered_and_the_profile_stays() {
    let pipeline = Pipeline::start().await;
    for n in 0..3 {
        let traits = json!({format!("t{n}"): "x".repeat(120_000)});
        assert_eq!(pipeline.post("/v1/identify", &identify(&format!("i{n}"), 10 + n, &traits)).await.0, 200);
        pipeline.drain().await;
    }
    assert_eq!(pipeline.reasons().await, ["profile_too_large"]);
    let traits = pipeline.traits("ann").await;
    assert_eq!(traits.as_object().unwrap().len(), 2);
    assert_eq!(pipeline.stored().await.len(), 2);
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
