//! Batches of `consume` that take much memory, each as the event that Lambda hands over.

use serde_json::{Value, json};
use shared::limits::{
    BATCH_EVENTS_MAX, EVENT_BYTES_CEILING, EVENT_ID_BYTES_MAX, LAMBDA_PAYLOAD_BYTES_MAX, REFUSED_BYTES_MAX,
    SQS_MESSAGE_BYTES_MAX,
};

/// A batch.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The texts of its messages.
    pub(crate) messages: Vec<String>,
}

/// Somebody who has had many ids, each with a full profile.
pub(crate) const JOINED: &str = "joined";
/// How many ids they have had.
const FORMERS: usize = 49;
/// People who are known by one id, as full as may be.
pub(crate) const FULL: &str = "full";
/// How many of those there are: as many as are folded at a time.
pub(crate) const FULL_COUNT: usize = 16;
/// Somebody with many events.
pub(crate) const BUSY: &str = "busy";

/// The mapping's event for messages. What does not fit an invocation is left out, as the mapping does.
pub(crate) fn event(messages: &[String], queue_arn: &str) -> Vec<u8> {
    let mut bytes = 64;
    let mut records = Vec::new();
    for (number, body) in messages.iter().enumerate() {
        let record = json!({
            "messageId": format!("00000000-0000-0000-0000-{number:012}"), "receiptHandle": "h".repeat(200), "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1735689600000", "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1735689600000", "MessageGroupId": "dev",
            },
            "messageAttributes": {}, "md5OfBody": "0".repeat(32), "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn, "awsRegion": "us-east-1",
        });
        bytes += serde_json::to_vec(&record).unwrap().len() + 1;
        if bytes > LAMBDA_PAYLOAD_BYTES_MAX {
            break;
        }
        records.push(record);
    }
    serde_json::to_vec(&json!({"Records": records})).unwrap()
}

/// A message of events and refused items, each given as JSON text. `receipt` is no other's.
fn message(receipt: &str, verified: bool, events: &[String], refused: &[String]) -> String {
    let owner = if verified {
        r#""project":"dev","source":"default","verified":true"#.to_owned()
    } else {
        let hash = shared::keys::write_key_hash(local::provision::DEV);
        format!(r#""project":"","source":"","verified":false,"write_key_hash":"{hash}""#)
    };
    let (events, refused) = (events.join(","), refused.join(","));
    format!(
        r#"{{"version":1,{owner},"receipt":"{receipt}","received_at":"2025-01-01T00:00:00.000Z","code_version":"0.1.0","events":[{events}],"refused":[{refused}]}}"#
    )
}

/// An event as it stands in a message; `inside` says what else it carries.
fn one(kind: &str, index: usize, id: &str, subject: &str, inside: &str) -> String {
    format!(
        r#"{{"index":{index},"id":"{id}","identity":"forever","kind":"{kind}","subject":"{subject}","client_time":"2025-01-01T00:00:00.000Z","timestamp":"2025-01-01T00:00:00.000Z"{inside}}}"#
    )
}

/// Traits as short as can be, as many as fit.
pub(crate) fn short_traits(bytes: usize, value: &str) -> String {
    let mut text = String::from("{");
    for number in 0.. {
        if text.len() + value.len() + 12 > bytes {
            break;
        }
        text.push_str(&format!("\"{number:x}\":{value},"));
    }
    text + "\"z\":" + value + "}"
}

fn data(json: &str) -> String {
    format!(r#","data":{json}"#)
}

/// Six messages as large as SQS allows, of events as large as the table allows, each of `data`.
fn large(name: &'static str, subject: impl Fn(usize) -> String, inside: &str) -> Shape {
    let id = |number: usize| format!("{name}{number}{}", "i".repeat(EVENT_ID_BYTES_MAX - name.len() - 2));
    let each = (SQS_MESSAGE_BYTES_MAX - 400) / (inside.len() + 1_000);
    let events = |first: usize| {
        (0..each).map(|index| one("identify", index, &id(first + index), &subject(first + index), inside)).collect()
    };
    let messages =
        (0..10).map(|number| message(&format!("{name}{number}"), true, &events(number * each) as &Vec<_>, &[]));
    Shape { name, messages: messages.collect() }
}

fn many(name: &'static str, kind: &str, subject: impl Fn(usize) -> String, inside: &str) -> Shape {
    let message = |number: usize, count: usize| {
        let events: Vec<String> = (0..count)
            .map(|index| one(kind, index, &format!("{name}{number}.{index}"), &subject(index), inside))
            .collect();
        message(&format!("{name}{number}"), true, &events, &[])
    };
    // The first does not make a group full, so that the second comes along.
    Shape { name, messages: vec![message(0, 499), message(1, BATCH_EVENTS_MAX)] }
}

fn alone(name: &'static str, kind: &str, subject: &str, inside: &str) -> Shape {
    Shape { name, messages: vec![message(name, true, &[one(kind, 0, name, subject, inside)], &[])] }
}

fn refused(name: &'static str, number: usize, count: usize, bytes: usize) -> String {
    let body = "\\\"".repeat(bytes / 2);
    let items: Vec<String> = (0..count)
        .map(|index| {
            format!(r#"{{"index":{index},"reason":"bad_request","detail":"d","call":"batch","body":{{"a":"{body}"}}}}"#)
        })
        .collect();
    message(&format!("{name}{number}"), true, &[], &items)
}

/// Every shape.
pub(crate) fn all() -> Vec<Shape> {
    let nobody = |_| "somebody".to_owned();
    let each = |number: usize| format!("s{number}");
    let full = |number: usize| format!("{FULL}{number}");
    let (kib, event) = (1_024, EVENT_BYTES_CEILING);
    let quotes = data(&format!("{{\"a\":\"{}\"}}", "\\\"".repeat(event / 2 - 10)));
    let small = data(&format!("{{\"a\":\"{}\"}}", "x".repeat(300)));
    let short = data(&short_traits(event, "1"));
    let full_events: Vec<String> = (0..FULL_COUNT)
        .map(|number| one("identify", number, &format!("full{number}"), &full(number), &data("{\"old\":2}")))
        .collect();
    let by_many = |kind: &str, count: usize, inside: &str| -> Vec<String> {
        (0..count).map(|number| one(kind, number, &format!("{kind}{number}"), &each(number), inside)).collect()
    };
    let (deletions, traits) = (by_many("delete", 200, ""), by_many("identify", 400, &small));
    let unverified: Vec<String> = (0..2).map(|index| one("track", index, &format!("u{index}"), "u", &quotes)).collect();
    let poison = |letter: &str| vec![letter.repeat((SQS_MESSAGE_BYTES_MAX - 1) / letter.len()); 10];
    let aliases = |count: usize, later: &str| -> Vec<String> {
        let target = |number: usize| format!(r#","target":"{later}{number}""#);
        (0..count).map(|number| one("alias", number, &format!("a{later}{number}"), later, &target(number))).collect()
    };
    vec![
        Shape { name: "poison as large as may be", messages: poison("x") },
        Shape { name: "poison of quotation marks", messages: poison("\"") },
        large("large events, of quotation marks", each, &quotes),
        large("large events, of short traits, one person", nobody, &short),
        large("large events, of short traits, many people", each, &short),
        large("events of 64 KiB, of short traits", each, &data(&short_traits(64 * kib, "1"))),
        large("events of 15 KiB, of short traits", each, &data(&short_traits(15 * kib, "1"))),
        many("2,999 small events of one person", "track", nobody, ""),
        many("2,999 small events of many people", "track", each, ""),
        many("2,999 events with traits, of one person", "identify", nobody, &small),
        Shape { name: "400 events with traits, of many people", messages: vec![message("t", true, &traits, &[])] },
        Shape { name: "200 deletions of many people", messages: vec![message("deletions", true, &deletions, &[])] },
        Shape { name: "full profiles at the same time", messages: vec![message("full", true, &full_events, &[])] },
        Shape {
            name: "aliases of full profiles",
            messages: vec![message("aliases", true, &aliases(FORMERS, JOINED), &[])],
        },
        Shape {
            name: "2,500 aliases to one person",
            messages: vec![message("many", true, &aliases(BATCH_EVENTS_MAX, FULL), &[])],
        },
        alone("a deletion of fifty full profiles", "delete", JOINED, ""),
        alone("a deletion of somebody with many events", "delete", BUSY, ""),
        Shape {
            name: "2,500 refused items, twice",
            messages: vec![refused("few", 0, 499, kib), refused("few", 1, BATCH_EVENTS_MAX, 200)],
        },
        Shape {
            name: "large refused items",
            messages: (0..10).map(|number| refused("large", number, 2, REFUSED_BYTES_MAX - kib)).collect(),
        },
        Shape {
            name: "large events of a key to be checked",
            messages: (0..10).map(|number| message(&format!("u{number}"), false, &unverified, &[])).collect(),
        },
    ]
}

/// What is in the table before: profiles by id, each its attributes.
pub(crate) fn profiles(bytes: usize, values: usize) -> Vec<(String, Value)> {
    let id = "i".repeat(EVENT_ID_BYTES_MAX);
    // All but one are later than a deletion, so that a profile that forgets is there twice.
    let value = format!("[\"{}\",2000000000000,0]", "v".repeat((bytes / values).saturating_sub(24)));
    let traits = short_traits(bytes - EVENT_ID_BYTES_MAX - 4 * 1_024, &value);
    let traits = format!("{{\"old\":[1,0,0],{}", &traits[1..]);
    let profile = || json!({"events": json!([id]).to_string(), "traits": traits});
    let formers = (0..FORMERS).map(|number| format!("{JOINED}{number}"));
    let full = (0..FULL_COUNT).map(|number| format!("{FULL}{number}"));
    [JOINED.to_owned()].into_iter().chain(formers).chain(full).map(|id| (id, profile())).collect()
}
