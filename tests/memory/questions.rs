//! Questions to `receipts` that take much memory, each with the items that the answer has to read.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use consume::bundle::{BUNDLE_BYTES_MAX, BUNDLE_EVENTS_MAX, BUNDLES_MAX, encode, sort_of};
use consume::dynamo_table::attribute;
use consume::packed::LOGS_IN_FLIGHT;
use consume::receipts::item;
use consume::table::{Item, Key};
use serde_json::json;
use shared::clock::{Clock, SystemClock, Timestamp};
use shared::event::{Event, Identity, Kind};
use shared::limits::BATCH_EVENTS_MAX;
use shared::message::Message;
use shared::receipt::Receipt;

use crate::requests::called;

/// A question.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    /// The event's JSON.
    pub(crate) event: Vec<u8>,
    /// What is in the table beforehand.
    pub(crate) items: Vec<HashMap<String, AttributeValue>>,
}

const JSON: &str = "application/json";

fn listed(index: usize, received_at: Timestamp, wide: usize) -> Event {
    Event {
        index: u32::try_from(index).unwrap(),
        id: format!("{index:0wide$}"),
        identity: Identity::Window,
        kind: Kind::Track,
        subject: format!("{index:0wide$}"),
        device: None,
        address: None,
        name: None,
        target: None,
        data: None,
        context: None,
        extra: None,
        client_time: None,
        sent_at: None,
        timestamp: received_at,
    }
}

/// A receipt with as many items as there can be, their ids as long as a message has room for, and nothing found of them.
fn receipt(request: usize) -> Question {
    let mut message = Receipt::asking("dev", SystemClock.now());
    message.receipt = format!("of-{request}");
    message.lists_items = true;
    let wide = (request / BATCH_EVENTS_MAX / 2).min(400);
    let events: Vec<Event> = (0..BATCH_EVENTS_MAX).map(|index| listed(index, message.received_at, wide)).collect();
    let issued = Receipt::issue(&message, &events, &[], || "key".to_owned());
    message.list_key = issued.list_key.expect("there is no room for them");
    let lists = events.chunks(250).map(|events| Message { events: events.to_vec(), ..message.clone() });
    let items = lists.map(|message| {
        let item = item(&message).unwrap();
        let text = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
        HashMap::from([
            text("pk", &item.key.pk),
            text("sk", &item.key.sk),
            ("list".to_owned(), attribute(&item.attributes["list"])),
        ])
    });
    let items = items.collect();
    let path = format!("/v1/receipts/{}", issued.id);
    let event = called("a receipt with 2,500 items that wait", "GET", &path, JSON, "", false).event;
    Question { name: "a receipt with 2,500 items that wait", event, items }
}

fn missing(name: &'static str, body: &str) -> Question {
    let event = called(name, "POST", "/v1/receipts/missing", JSON, body, false).event;
    Question { name, event, items: vec![] }
}

/// Events that are not in the full logs in which they would be; so these are read to their ends, more of them than at a
/// time.
fn full_logs() -> Question {
    let users: Vec<String> = (0..LOGS_IN_FLIGHT + 2).map(|number| format!("full{number}")).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = |count: usize| -> String { (0..count).map(|_| random.alphanumeric()).collect() };
    let key = |user: &str, sk: String| Key { pk: format!("dev#{user}"), sk };
    let events: Vec<Item> = (0..BUNDLE_EVENTS_MAX)
        .map(|_| {
            let sort = format!("E#2024-05-01T10:15:00.000Z#{}", text(100));
            let mut item = Item { key: key("full", sort), attributes: BTreeMap::new() };
            item.text("rcpt", format!("{}.0", text(32)));
            item.text("data", format!("\"{}\"", text(BUNDLE_BYTES_MAX / BUNDLE_EVENTS_MAX - 400)));
            item
        })
        .collect();
    let bundle = encode(key("full", String::new()), 0, events.iter().map(|item| (&item.key, &item.attributes)));
    let of_user = |user: &String| {
        let numbers = (0..BUNDLES_MAX).map(|number| sort_of("E#2024-05-01T10#", number));
        let items = numbers.map(|sort| {
            let keys = [("pk", format!("dev#{user}")), ("sk", sort)];
            let keys = keys.map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
            let rest = bundle.attributes.iter().map(|(name, value)| ((*name).to_owned(), attribute(value)));
            keys.into_iter().chain(rest).collect()
        });
        items.collect::<Vec<_>>()
    };
    let items = users.iter().flat_map(of_user).collect();
    let time = "2024-05-01T10:20:00Z";
    let batch: Vec<_> = users.iter().map(|user| json!({"userId": user, "messageId": "m", "timestamp": time})).collect();
    Question { items, ..missing("events that are not in full logs", &json!({"batch": batch}).to_string()) }
}

/// Every shape, for a request and an event of the largest size allowed.
pub(crate) fn all(request: usize, event: usize) -> Vec<Question> {
    let each = (request - 100) / BATCH_EVENTS_MAX - 80;
    let ids = |index: usize| {
        let filling = "x".repeat((each / 2).min(380));
        json!({"userId": format!("{filling}{index}"), "messageId": format!("{filling}{index}"), "timestamp": index})
    };
    let many: Vec<_> = (0..BATCH_EVENTS_MAX).map(ids).collect();
    let members: String = (0..).map(|n| format!("\"{n:x}\":1,")).take(event / 12).collect();
    let outer: String = (0..).map(|n| format!("\"{n:x}\":1,")).take(request / 12).collect();
    let one = format!("{{{members}\"userId\":\"u\",\"messageId\":\"m\"}}");
    let one = &one[..];
    let large = vec![one; (request - 100) / (one.len() + 1)].join(",");
    vec![
        receipt(request),
        full_logs(),
        missing("2,500 events by their ids", &json!({"batch": many}).to_string()),
        missing("events of members that nobody reads", &format!(r#"{{"batch":[{large}]}}"#)),
        missing(
            "events with lists for ids",
            &format!(r#"{{"batch":[{{"userId":"u","messageId":[{}1]}}]}}"#, "1,".repeat((event - 100) / 2)),
        ),
        missing(
            "members that nobody reads, beside one event",
            &format!(r#"{{{outer}"batch":[{{"userId":"u","messageId":"m"}}]}}"#),
        ),
        missing("a batch of numbers", &format!(r#"{{"batch":[{}1]}}"#, "1,".repeat(request / 2 - 20))),
    ]
}
