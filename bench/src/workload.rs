//! Events as producers send them, and the payloads that Lambda makes of them.

use bytes::Bytes;
use ingest::parsed::Arrival;
use ingest::route::SegmentCall;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::limits::{EVENT_BYTES_DEFAULT, MESSAGE_BYTES_TARGET};
use shared::message::{Message, VERSION};
use shared::receipt::Receipt;

/// The moment of every request: 14 November 2023.
const RECEIVED_MS: i64 = 1_700_000_000_000;
/// A receipt as `ingest` gives them: a UUID of version 7.
const RECEIPT: &str = "018bcfe568007abcdef0123456789abc";
/// A typical event of Segment's browser library, in bytes.
pub const TYPICAL_BYTES: usize = 1_300;
/// The least that [`segment_event`] can be made to.
pub const LEAST_BYTES: usize = 300;
/// From here on, an event carries the context of a browser.
const CONTEXT_FROM: usize = 1_100;
/// How many people the events are about, in turn.
const PEOPLE: u64 = 10_007;

/// Products that a person looks at in one visit.
const PRODUCTS: u64 = 20;
/// What a person does there, in turn.
const NAMES: [&str; 5] = ["Product Added", "Product Viewed", "Product Clicked", "Cart Viewed", "Product Removed"];

/// Bits that look random and are the same for the same number (splitmix64).
fn random(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A UUID of version 4, as libraries make one for each message.
fn uuid(number: u64) -> String {
    let (high, low) = (random(2 * number), random(2 * number + 1));
    let digits = format!("{high:016x}{low:016x}");
    format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
}

/// Words that descriptions are made of, each as likely as any other: text from a hat, which no compression makes much of.
const WORDS: &str = "a the of for with and in game board player card dice map house street train city money bank turn lucky \
    wooden small large round family evening rule point token hotel railway classic edition box set strategy trade building \
    young old quick patient island bridge harbour ticket journey castle garden winter summer river mountain puzzle pattern \
    colour letter number story secret treasure captain market";

/// The description of a product, of so many bytes.
fn description(product: u64, bytes: usize) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        let place = random(product * 1_000_000 + number) % words.len() as u64;
        text.push_str(words[usize::try_from(place).unwrap_or(0)]);
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// A track call as Segment's libraries write them, of about so many bytes. Each number is another event, of another
/// person than those next to it.
#[must_use]
pub fn segment_event(number: u64, bytes: usize) -> Value {
    event_of(number.wrapping_mul(7_919) % PEOPLE, number, bytes)
}

/// A track call of a person. What it says differs from those next to it as in a visit to a shop: in its id and time, in
/// what is done, and in the product and its page.
fn event_of(person: u64, number: u64, bytes: usize) -> Value {
    let product = random(number) % PRODUCTS;
    let (second, milli) = (number / 2 % 60, random(number) % 1_000);
    let name = NAMES[usize::try_from(random(number) % 5).unwrap_or(0)];
    let mut event = json!({
        "type": "track",
        "messageId": format!("ajs-next-17000000{:05}-{}", random(number) % 100_000, uuid(number)),
        "anonymousId": format!("8f14e45f-ceea-467f-a0b1-{person:012x}"),
        "userId": format!("user-{person}"),
        "event": name,
        "timestamp": format!("2023-11-14T22:12:{second:02}.{milli:03}Z"),
        "properties": {
            "product_id": format!("507f1f77bcf8{:06}", random(product) % 1_000_000),
            "price": f64::from(u32::try_from(random(product) % 10_000).unwrap_or(0)) / 100.0,
            "quantity": 1 + random(number) % 3
        },
    });
    if bytes >= CONTEXT_FROM {
        event["originalTimestamp"] = format!("2023-11-14T22:12:{second:02}.{:03}Z", milli.saturating_sub(3)).into();
        event["integrations"] = json!({});
        event["context"] = json!({
            "ip": "203.0.113.17",
            "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36",
            "locale": "en-US",
            "timezone": "Europe/Berlin",
            "library": {"name": "analytics.js", "version": "npm:next-1.62.0"},
            "page": {
                "path": format!("/shop/games/monopoly-{product}"), "referrer": "https://www.example.com/shop/games",
                "search": "", "title": format!("Monopoly {product}: 3rd Edition"),
                "url": format!("https://www.example.com/shop/games/monopoly-{product}")
            }
        });
    }
    // What producers add of their own, up to the size that is asked for.
    let missing = bytes.saturating_sub(event.to_string().len() + r#","description":"""#.len());
    if missing > 0 {
        event["properties"]["description"] = description(product, missing).into();
    }
    event
}

/// A track call as Vero's libraries write them.
#[must_use]
pub fn vero_event(number: u64) -> Value {
    json!({
        "auth_token": "ZGV2ZWxvcG1lbnQ6a2V5",
        "identity": {"id": format!("{}", number % PEOPLE), "email": format!("ann.{}@example.com", number % PEOPLE)},
        "event_name": "viewed_product",
        "data": {"product_name": "Monopoly: 3rd Edition", "product_url": "https://www.example.com/shop/games/monopoly",
            "price": 18.99, "currency": "EUR"},
        "extras": {"source": "web", "created_at": "2023-11-14T22:13:10Z"}
    })
}

/// The body of a batch call with events from number `first` on.
#[must_use]
pub fn segment_batch(first: u64, events: usize, bytes: usize) -> String {
    let events: Vec<Value> = (first..).take(events).map(|number| segment_event(number, bytes)).collect();
    json!({"batch": events, "sentAt": "2023-11-14T22:13:20.000Z"}).to_string()
}

/// The body of a batch call with events of one person, another for each `first`.
#[must_use]
pub fn personal_batch(first: u64, events: usize, bytes: usize) -> String {
    let events: Vec<Value> = (first..).take(events).map(|number| event_of(first % PEOPLE, number, bytes)).collect();
    json!({"batch": events, "sentAt": "2023-11-14T22:13:20.000Z"}).to_string()
}

/// What API Gateway hands to `ingest` for a batch call by the write key `write_key`.
#[must_use]
pub fn http_payload(body: &str, write_key: &str) -> Bytes {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{write_key}:"));
    let payload = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/v1/batch", "rawQueryString": "",
        "headers": {
            "accept": "*/*", "accept-encoding": "gzip", "authorization": format!("Basic {credentials}"),
            "content-length": body.len().to_string(), "content-type": "application/json",
            "host": "abc123.execute-api.us-east-1.amazonaws.com", "user-agent": "analytics-node/2.1.0",
            "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
            "x-forwarded-for": "192.0.2.1", "x-forwarded-port": "443", "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "123456789012", "apiId": "abc123",
            "domainName": "abc123.execute-api.us-east-1.amazonaws.com", "domainPrefix": "abc123",
            "http": {"method": "POST", "path": "/v1/batch", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "analytics-node/2.1.0"},
            "requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": "$default",
            "time": "14/Nov/2023:22:13:20 +0000", "timeEpoch": RECEIVED_MS
        },
        "body": body, "isBase64Encoded": false
    });
    Bytes::from(payload.to_string())
}

fn arrival() -> Arrival<'static> {
    Arrival {
        received_at: Timestamp::from_millis_clamped(RECEIVED_MS),
        receipt: RECEIPT,
        event_bytes_max: EVENT_BYTES_DEFAULT,
    }
}

/// What our `ingest` knows of every event of a request.
fn envelope(project: &str) -> Message {
    Message {
        version: VERSION,
        project: project.to_owned(),
        source: "default".to_owned(),
        receipt: RECEIPT.to_owned(),
        received_at: arrival().received_at,
        code_version: shared::CODE_VERSION.to_owned(),
        verified: true,
        write_key_hash: None,
        lists_items: false,
        list_key: String::new(),
        events: vec![],
        refused: vec![],
    }
}

/// The messages that our `ingest` makes of a batch call.
///
/// # Errors
/// It refuses the call.
pub fn packed_messages(project: &str, body: &str) -> anyhow::Result<Vec<String>> {
    let parsed = ingest::segment::parse(SegmentCall::Batch, body, &arrival());
    let parsed = parsed.map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    anyhow::ensure!(parsed.refused.is_empty(), "the workload breaks a rule");
    let mut envelope = envelope(project);
    // Each request has its own, as long as that of any other.
    envelope.receipt = format!("018bcfe568{}", shared::keys::hash(&["request", body]));
    let issued = Receipt::issue(&envelope, &parsed.events, &[], || RECEIPT.to_owned());
    envelope.lists_items = issued.list_key.is_some();
    envelope.list_key = issued.list_key.unwrap_or_default();
    let entries = ingest::pack::pack(&envelope, parsed.events, vec![], MESSAGE_BYTES_TARGET);
    Ok(entries.into_iter().map(|entry| entry.body).collect())
}

/// The message that our `ingest` makes of a call of Vero's.
///
/// # Errors
/// It refuses the call.
pub fn vero_message(number: u64) -> anyhow::Result<Message> {
    let text = vero_event(number).to_string();
    let found =
        ingest::route::route("POST", "/api/v2/events/track").map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    let ingest::route::Route::Vero(call) = found.route else { anyhow::bail!("the path is not Vero's") };
    let parsed = ingest::vero::parse(call, &text, &arrival()).map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
    Ok(Message { events: parsed.events, ..envelope("dev") })
}

/// The message that the others make of one event.
#[must_use]
pub fn single_message(project: &str, number: u64, bytes: usize) -> String {
    let mut event = segment_event(number, bytes);
    event["project"] = project.into();
    event["received_at"] = "2023-11-14T22:13:20.000Z".into();
    event.to_string()
}

/// What the event source mapping hands to `consume` for messages.
#[must_use]
pub fn sqs_payload(messages: &[String]) -> Bytes {
    let record = |(number, body): (usize, &String)| {
        json!({
            "messageId": format!("19dd0b57-b21e-4ac1-bd88-{number:012x}"),
            "receiptHandle": format!("AQEB{}{number}", "wJnKyrHigUMZj6rYigCgxlaS3SLy0a".repeat(8)),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1700000000500", "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1700000000600", "MessageGroupId": "dev"
            },
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:events",
            "awsRegion": "us-east-1"
        })
    };
    let records: Vec<Value> = messages.iter().enumerate().map(record).collect();
    Bytes::from(json!({"Records": records}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_that_is_asked_for_and_a_person_of_its_own() {
        for bytes in [LEAST_BYTES + 100, TYPICAL_BYTES, 16_000] {
            assert_eq!(segment_event(3, bytes).to_string().len(), bytes);
        }
        assert!(segment_event(3, 0).to_string().len() <= LEAST_BYTES + 50);
        assert_ne!(segment_event(3, TYPICAL_BYTES)["userId"], segment_event(4, TYPICAL_BYTES)["userId"]);
    }

    #[test]
    fn a_request_of_a_hundred_typical_events_is_one_message_with_all_of_them() {
        let messages = packed_messages("dev", &segment_batch(0, 100, TYPICAL_BYTES)).unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!(Message::decode(&messages[0]).unwrap().events.len(), 100);
    }

    #[test]
    fn lambda_reads_what_is_handed_over() {
        let payload = http_payload("{}", "dev");
        let request = lambda_http::request::from_str(std::str::from_utf8(&payload).unwrap()).unwrap();
        assert_eq!(request.uri().path(), "/v1/batch");
        let payload = sqs_payload(&[single_message("dev", 1, TYPICAL_BYTES)]);
        let event: aws_lambda_events::sqs::SqsEvent = serde_json::from_slice(&payload).unwrap();
        assert_eq!(event.records.len(), 1);
        assert_eq!(vero_message(1).unwrap().events.len(), 1);
    }
}
