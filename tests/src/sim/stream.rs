//! The event source mapping of the spill table's stream: in order, bisecting, and passing over what goes wrong too often.

use std::rc::Rc;
use std::time::Duration;

use consume::table::Key;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::dynamo::until_streamed;
use super::lambda::Cloud;

/// The most records of a batch, as in the template.
const BATCH_MAX: usize = 10;
/// How often a batch is tried again, as in the template (`MaximumRetryAttempts`).
const RETRIES_MAX: u32 = 10;

/// A part of the stream that is still to be delivered: records with their sequence numbers, and how often they were tried.
struct Part {
    records: Vec<(usize, Key)>,
    tries: u32,
}

/// Reads the stream for ever.
pub(crate) async fn follow(cloud: Rc<Cloud>, position: Rc<std::cell::Cell<usize>>) {
    let world = &cloud.world;
    loop {
        let records = cloud.spill.records(position.get(), BATCH_MAX);
        if records.is_empty() {
            until_streamed(&cloud.spill).await;
            sleep(world.chance.millis(50, 1_500)).await;
            continue;
        }
        let count = records.len();
        let records = (position.get()..).zip(records).collect();
        let mut parts = vec![Part { records, tries: 0 }];
        while let Some(part) = parts.pop() {
            parts.extend(deliver(&cloud, part).await);
        }
        position.set(position.get() + count);
    }
}

/// Delivers a part. Returns what is left of it, the first to be delivered at the end.
async fn deliver(cloud: &Rc<Cloud>, part: Part) -> Vec<Part> {
    let world = &cloud.world;
    let Part { mut records, tries } = part;
    if tries > RETRIES_MAX {
        world.note("records passed over", || format!("{records:?}"));
        return vec![];
    }
    let pause = Duration::from_millis(200) * 2_u32.pow(tries.min(8));
    sleep(if tries == 0 { world.chance.millis(1, 20) } else { pause }).await;
    let changes: Vec<Value> = records.iter().map(|(number, key)| change(*number, key)).collect();
    world.note("stream delivery", || format!("{records:?}"));
    match cloud.invoke(json!({"Records": changes}), world.scenario.crash).await {
        Err(_) if records.len() > 1 => {
            world.note("records bisected", || format!("{records:?}"));
            let behind = records.split_off(records.len() / 2);
            vec![Part { records: behind, tries }, Part { records, tries }]
        }
        Err(_) => vec![Part { records, tries: tries + 1 }],
        Ok(response) => {
            let response: Value = serde_json::from_slice(&response).unwrap_or_default();
            let failures = response["batchItemFailures"].as_array().cloned().unwrap_or_default();
            let number = |failure: &Value| failure["itemIdentifier"].as_str()?.parse::<usize>().ok();
            let numbers = failures.iter().filter_map(number);
            let Some(lowest) = numbers.min() else { return vec![] };
            let first = records.iter().position(|(number, _)| *number == lowest).unwrap_or(0);
            vec![Part { records: records.split_off(first), tries: tries + 1 }]
        }
    }
}

/// A change as Lambda hands it over.
fn change(number: usize, key: &Key) -> Value {
    json!({
        "eventID": number.to_string(),
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
            "SequenceNumber": number.to_string(),
            "StreamViewType": "KEYS_ONLY",
        },
    })
}
