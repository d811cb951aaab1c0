//! Requests of `ingest` that take much memory, each as the event that Lambda hands over.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use shared::limits::{BATCH_EVENTS_MAX, LAMBDA_PAYLOAD_BYTES_MAX, SHARED_BYTES_MAX};

/// A request.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The event's JSON.
    pub(crate) event: Vec<u8>,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Room for what an item says besides its filling.
const MARGIN: usize = 400;

fn text(name: &'static str, path: &str, content_type: &str, body: &str) -> Shape {
    event(name, path, content_type, body, false)
}

fn binary(name: &'static str, path: &str, content_type: &str, body: &[u8]) -> Shape {
    event(name, path, content_type, &STANDARD.encode(body), true)
}

fn event(name: &'static str, path: &str, content_type: &str, body: &str, is_base64: bool) -> Shape {
    called(name, "POST", path, content_type, body, is_base64)
}

/// The event of a request with the key `dev`.
pub(crate) fn called(
    name: &'static str,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
    is_base64: bool,
) -> Shape {
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {"authorization": "Basic ZGV2Og==", "content-type": content_type, "host": "localhost"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "local", "domainName": "localhost", "domainPrefix": "localhost",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t",
            },
            "requestId": "r", "routeKey": "$default", "stage": "$default", "time": "01/Jan/2025:00:00:00 +0000",
            "timeEpoch": 1_735_689_600_000_i64,
        },
        "body": body, "isBase64Encoded": is_base64,
    });
    let mut event = serde_json::to_vec(&event).unwrap();
    event.shrink_to_fit();
    Shape { name, event }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// As many members as fit, each of another name and as short as can be.
fn members(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    for number in 0.. {
        if text.len() + 16 > bytes {
            break;
        }
        text.push_str(&format!("\"{number:x}\":1,"));
    }
    text + "\"z\":1"
}

/// Lists in lists, with as many elements as fit at every level.
fn nested(bytes: usize) -> String {
    let level = "1,".repeat(bytes / 2 / 14);
    let open: String = (0..14).map(|_| format!("[{level}")).collect();
    format!("{open}1{}", "]".repeat(14))
}

fn item(call: &str, inside: &str) -> String {
    format!(r#"{{"type":"{call}","userId":"u","event":"e","timestamp":"2025-01-01T00:00:00Z",{inside}}}"#)
}

fn batch(items: &[String], beside: &str) -> String {
    format!(r#"{{"batch":[{}]{beside}}}"#, items.join(","))
}

/// Items of the largest size, until the body is full.
fn large(request: usize, event: usize, inside: impl Fn(usize) -> String) -> String {
    let items: Vec<String> =
        std::iter::repeat_with(|| item("identify", &inside(event - MARGIN))).take((request - 200) / event).collect();
    batch(&items, "")
}

/// As many items as may be, of a size that fills the body, with as much beside them as may be.
fn many(request: usize, call: &str) -> String {
    let context = format!(r#","context":{{"a":"{}"}}"#, "x".repeat(SHARED_BYTES_MAX / BATCH_EVENTS_MAX - 60));
    let each = (request - 4_000) / BATCH_EVENTS_MAX;
    let filling = each.saturating_sub(item(call, "").len() + 32);
    let inside = format!(r#""properties":{{"a":"{}"}}"#, "\\\"".repeat(filling / 2));
    batch(&vec![item(call, &inside); BATCH_EVENTS_MAX], &context)
}

/// Every shape, for a request and an event of the largest size allowed.
pub(crate) fn all(request: usize, event: usize) -> Vec<Shape> {
    let plain = |bytes: usize| format!(r#""traits":{{"a":"{}"}}"#, "x".repeat(bytes - 20));
    let quotes = |bytes: usize| format!(r#""traits":{{"a":"{}"}}"#, "\\\"".repeat(bytes / 2 - 10));
    let nonchars = |bytes: usize| format!(r#""traits":{{"a":"{}"}}"#, "\u{FFFE}".repeat(bytes / 6 - 10));
    let short = |bytes: usize| format!(r#""traits":{{{}}}"#, members(bytes - 20));
    let lists = |bytes: usize| format!(r#""traits":{{"a":{}}}"#, nested(bytes - 20));
    let one = |inside: String| item("identify", &inside);
    let (inner, v1) = (event - MARGIN, "/v1/batch");
    let steps: String = (0..9_000)
        .map(|number| format!("data[{number}][a]={}&", "x".repeat((request / 9_000).saturating_sub(16))))
        .collect();
    let form = format!("auth_token=dev&id=u&{}", &steps[..steps.len().min(request - 100)]);
    let parts: String = (0..9_000)
        .map(|number| format!("--b\r\nContent-Disposition: form-data; name=\"data[{number}][a]\"\r\n\r\nx\r\n"))
        .collect();
    let parts = format!("{}--b--\r\n", &parts[..parts[..parts.len().min(request - 100)].rfind("--b\r\n").unwrap()]);
    let object = format!("{{{}}}", members(request - 100));
    // Characters that become twice as long.
    let latin = large(request / 2, event / 2, plain);
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == b'x' { 0xe9 } else { byte }).collect();
    vec![
        text("one event of one text", "/v1/identify", JSON, &one(plain(inner))),
        text("one event of short traits", "/v1/identify", JSON, &one(short(inner))),
        text("one event of nested lists", "/v1/identify", JSON, &one(lists(inner))),
        text("a batch of events as large as may be", v1, JSON, &large(request, event, plain)),
        text("the same, of quotation marks", v1, JSON, &large(request, event, quotes)),
        text("the same, of U+FFFE", v1, JSON, &large(request, event, nonchars)),
        text("the same, of short traits", v1, JSON, &large(request, event, short)),
        text("the same, of nested lists", v1, JSON, &large(request, event, lists)),
        binary("the same, in gzip", v1, JSON, &gzip(&large(request, event, short))),
        text("2,500 events, with a context for all", v1, JSON, &many(request, "track")),
        text("2,500 refused items, with a context for all", v1, JSON, &many(request, "trick")),
        binary("the same, in gzip", v1, JSON, &gzip(&many(request, "trick"))),
        text("a batch of members that nobody reads", v1, JSON, &object),
        text("an event of members that nobody reads", "/v1/track", JSON, &object),
        text("a batch of numbers", v1, JSON, &format!(r#"{{"batch":[{}1]}}"#, "1,".repeat(request / 2 - 20))),
        text("a webhook of numbers", "/webhooks/segment", JSON, &format!("[{}1]", "1,".repeat(request / 2 - 20))),
        text("a call of Vero's of nobody's members", "/api/v2/users/track", JSON, &object),
        text("a form of many steps", "/api/v2/users/track", FORM, &form),
        binary("a form of control characters", "/api/v2/users/track", FORM, &vec![1; request - 100]),
        text("multipart of many steps", "/api/v2/users/track", "multipart/form-data; boundary=b", &parts),
        binary("ISO-8859-1", v1, "application/json; charset=iso-8859-1", &latin),
        text("as large as Lambda lets through", v1, JSON, &"\"".repeat((LAMBDA_PAYLOAD_BYTES_MAX - 2_000) / 2)),
        text("the same, without quotation marks", v1, JSON, &"x".repeat(LAMBDA_PAYLOAD_BYTES_MAX - 2_000)),
    ]
}
