//! Requests of every kind, from the call to the answer and what has been enqueued.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::event::{Event, Kind};
use shared::keys::write_key_hash;

use super::*;
use crate::auth::LookupError;
use crate::queue::QueueError;
use crate::response::Reply;

/// The keys `dev`, and `signed`, whose webhooks are signed with `secret`.
struct Table;

impl KeyLookup for Table {
    async fn find(&self, hash: &str) -> Result<Option<Owner>, LookupError> {
        let owner = |source: &str, secret| Owner {
            project: "dev".into(),
            source: source.into(),
            secret,
            lives_with_user: false,
        };
        Ok(if hash == write_key_hash("dev") {
            Some(owner("default", None))
        } else if hash == write_key_hash("signed") {
            Some(owner("signed", Some("secret".into())))
        } else {
            None
        })
    }
}

#[derive(Default)]
struct Queue {
    away: AtomicBool,
    bodies: Mutex<Vec<String>>,
}

impl EventQueue for &Queue {
    async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(QueueError::Call("away".into()));
        }
        self.bodies.lock().unwrap().extend(batch.iter().map(|entry| entry.body.clone()));
        Ok(vec![])
    }
}

impl Queue {
    /// Everything that was enqueued since the last time, and how many items were refused.
    fn taken(&self) -> (Vec<Event>, usize) {
        let messages: Vec<Message> =
            self.bodies.lock().unwrap().drain(..).map(|body| Message::decode(&body).unwrap()).collect();
        let refused = messages.iter().map(|message| message.refused.len()).sum();
        (messages.into_iter().flat_map(|message| message.events).collect(), refused)
    }
}

/// The spill table is away; what it does is tested with `durable`.
struct NoSpill;

impl crate::spill::SpillStore for NoSpill {
    async fn keep(&self, _: &str, _: &Entry, _: Timestamp) -> Result<(), crate::spill::SpillError> {
        Err(crate::spill::SpillError("away".into()))
    }
}

fn ingest(queue: &Queue) -> Ingest<Table, &Queue, NoSpill> {
    let required = ["EVENTS_QUEUE_URL", "EVENTS_TABLE_NAME", "SPILL_TABLE_NAME"];
    let variables = |name: &str| required.contains(&name).then(|| "x".to_owned());
    let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000).unwrap());
    Ingest::new(Config::from_lookup(&variables).unwrap(), Table, queue, NoSpill, Arc::new(clock))
}

fn call(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Call {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        host: Some("events.example.com".into()),
        body: body.into(),
        ..Call::default()
    }
}

async fn reply(queue: &Queue, call: &Call) -> Reply {
    ingest(queue).answer(call, "r1").await.0.reply()
}

fn code(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body["code"].as_str().unwrap_or_default().to_owned()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn a_browser_may_ask_before_it_sends() {
    let queue = Queue::default();
    for path in ["/v1/t", "/api/v2/users/delete.json", "/webhooks/segment/x", "/nowhere"] {
        let reply = reply(&queue, &call("OPTIONS", path, "")).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(header(&reply, "Access-Control-Allow-Headers").unwrap().contains("Authorization"));
    }
    let reply = reply(&queue, &call("GET", "/nowhere", "")).await;
    assert_eq!((reply.status, header(&reply, "Access-Control-Allow-Origin")), (404, Some("*")));
}

#[tokio::test]
async fn what_is_too_large_in_utf_8_is_refused_whatever_it_was_before() {
    let body = [&b"{\"a\":\""[..], &[0xe9; 600_000], b"\"}"].concat();
    let content_type = Some("application/json; charset=iso-8859-1".to_owned());
    let reply = reply(&Queue::default(), &Call { content_type, ..call("POST", "/v1/batch", body) }).await;
    assert_eq!((reply.status, code(&reply).as_str()), (413, "request_too_large"));
}

#[tokio::test]
async fn veros_heartbeat_needs_no_key() {
    let reply = reply(&Queue::default(), &call("GET", "/api/v2/heartbeat", "")).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, &br#"{"status":200,"message":"Vero api is up"}"#[..]));
}

#[tokio::test]
async fn a_pixel_is_seen_whatever_it_says_and_a_200_means_durable() {
    let queue = Queue::default();
    let data = |json: Value| format!("/v1/pixel/track?data={}", STANDARD.encode(json.to_string()));
    let seen = json!({"userId": "u", "event": "Opened", "writeKey": "dev"});
    for (method, target, events, refused) in [
        ("GET", data(seen.clone()), 1, 0),
        ("GET", "/v1/pixel/page?userId=u&name=Mail&properties.campaign=x&writeKey=dev".into(), 1, 0),
        ("GET", data(json!({"event": "of nobody", "writeKey": "dev"})), 0, 1),
        // Who only asks for the headers has not looked at it.
        ("HEAD", data(seen.clone()), 0, 0),
        ("GET", data(json!({"userId": "u", "event": "Opened", "writeKey": "nobody's"})), 0, 0),
        ("GET", data(json!({"userId": "u", "event": "Opened"})), 0, 0),
        ("GET", "/v1/pixel/track?data=%21".into(), 0, 0),
        ("GET", "/v1/pixel/track".into(), 0, 0),
    ] {
        let reply = reply(&queue, &call(method, &target, "")).await;
        assert_eq!((reply.status, reply.content_type, &reply.body[..3]), (200, "image/gif", &b"GIF"[..]), "{target}");
        let (taken, kept) = queue.taken();
        assert_eq!((taken.len(), kept), (events, refused), "{target}");
    }
    queue.away.store(true, Ordering::SeqCst);
    let reply = reply(&queue, &call("GET", &data(seen), "")).await;
    assert_eq!((reply.status, reply.content_type, header(&reply, "Retry-After")), (503, "image/gif", Some("1")));
}

#[tokio::test]
async fn an_sdk_learns_where_to_send() {
    let queue = Queue::default();
    let found = reply(&queue, &call("GET", "/v1/projects/dev/settings", "")).await;
    let settings: Value = serde_json::from_slice(&found.body).unwrap();
    let segment = &settings["integrations"]["Segment.io"];
    assert_eq!((found.status, &segment["apiHost"]), (200, &json!("events.example.com/v1")));
    let missing = reply(&queue, &call("GET", "/v1/projects/nobody/settings", "")).await;
    assert_eq!((missing.status, code(&missing)), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn segment_knows_three_ways_to_carry_a_key() {
    let queue = Queue::default();
    let bare = json!({"userId": "u", "event": "e"});
    let keyed = json!({"userId": "u", "event": "e", "writeKey": "dev"});
    let in_item = json!({"batch": [{"type": "track", "userId": "u", "event": "e", "writeKey": "dev"}]});
    for (path, authorization, body, status) in [
        ("/v1/track", Some("Basic ZGV2Og=="), &bare, 200),
        ("/v1/track", Some("Basic ZGV2"), &bare, 200),
        ("/v1/t/", None, &keyed, 200),
        ("/v1/track", Some("Basic ZGV2Og=="), &keyed, 200),
        ("/v1/track", Some("Bearer token"), &keyed, 200),
        ("/v1/b", None, &in_item, 200),
        ("/v1/track", Some("Bearer token"), &bare, 401),
        ("/v1/track", Some("Basic bm9ib2R5"), &keyed, 401),
    ] {
        let authorization = authorization.map(str::to_owned);
        let call = Call { authorization, ..call("POST", path, body.to_string()) };
        assert_eq!(reply(&queue, &call).await.status, status, "{path} {body}");
        assert_eq!(queue.taken().0.len(), usize::from(status == 200));
    }
}

#[tokio::test]
async fn a_webhook_has_its_key_in_the_path_or_the_header_but_not_in_its_events() {
    let queue = Queue::default();
    let event = json!({"type": "track", "userId": "u", "event": "e", "writeKey": "of another source"}).to_string();
    let delete = json!([{"type": "delete", "userId": "u"}]).to_string();
    let basic = Some("Basic ZGV2Og==".to_owned());
    for (method, path, authorization, body, status, kind) in [
        ("POST", "/webhooks/segment/dev", None, &event, 200, Some(Kind::Track)),
        ("PATCH", "/webhooks/segment/dev", None, &delete, 200, Some(Kind::Delete)),
        ("PUT", "/webhooks/segment", basic.clone(), &event, 200, Some(Kind::Track)),
        ("POST", "/webhooks/segment/nobody", basic, &event, 401, None),
        ("POST", "/webhooks/segment", None, &event, 401, None),
    ] {
        let call = Call { authorization, ..call(method, path, body.as_bytes()) };
        let reply = reply(&queue, &call).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(queue.taken().0.first().map(|event| event.kind), kind, "{path}");
        assert_eq!(reply.body == br#"{"success":true}"#, status == 200);
    }
}

#[tokio::test]
async fn a_source_with_a_secret_takes_only_webhooks_that_are_signed() {
    use std::io::Write;
    let queue = Queue::default();
    let body = br#"{"type":"track","userId":"u","event":"e"}"#;
    // Made with `openssl dgst -sha1 -hmac secret`.
    let right = Some("6e6ef4862720ec2ab05df61a1b9d7320b2126282".to_owned());
    let mut zipped = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    zipped.write_all(body).unwrap();
    let zipped = zipped.finish().unwrap();
    // Put by somebody behind an event whose signature they have seen.
    let behind = |more: &str| [b"[", &body[..], b",", more.as_bytes(), b"]"].concat();
    for (key, signature, body, status) in [
        ("signed", right.clone(), &body[..], 200),
        ("signed", right.clone(), &zipped, 200),
        ("signed", None, body, 401),
        ("signed", Some("0".repeat(40)), body, 401),
        ("signed", right.clone(), br#"{"type":"track","userId":"v","event":"e"}"#, 401),
        ("signed", right.clone(), &behind(r#"{"type":"track","userId":"v","event":"e"}"#), 200),
        ("signed", right, &behind(r#"{"type":"delete","userId":"v"}"#), 401),
        ("dev", None, body, 200),
        ("dev", Some("anything".into()), body, 200),
    ] {
        let call = Call { signature, ..call("POST", &format!("/webhooks/segment/{key}"), body) };
        let reply = reply(&queue, &call).await;
        assert_eq!((reply.status, code(&reply) == "bad_signature"), (status, status == 401), "{key}");
        assert_eq!(queue.taken().0.is_empty(), status != 200);
    }
    // Other calls cannot be signed, so they are no way round the signature.
    let call = call("POST", "/v1/track", json!({"userId": "u", "event": "e", "writeKey": "signed"}).to_string());
    assert_eq!(code(&reply(&queue, &call).await), "bad_signature");
}

#[tokio::test]
async fn a_call_of_veros_may_be_all_in_the_query() {
    let queue = Queue::default();
    for (method, target) in [
        ("DELETE", "/api/v2/users/delete?auth_token=dev&id=7"),
        ("POST", "/api/v2/events/track?auth_token=dev&event_name=e&identity=%7B%22id%22%3A7%7D&data=%7B%22a%22%3A1%7D"),
        ("POST", "/api/v2/users/track.json?tracking_api_key=dev&id=7&data[plan]=pro"),
    ] {
        assert_eq!(reply(&queue, &call(method, target, "")).await.status, 200, "{target}");
        let (events, _) = queue.taken();
        let [event] = events.as_slice() else { panic!("{target}") };
        assert_eq!(event.subject, "7");
        assert!(!serde_json::to_string(event).unwrap().contains("dev"), "a key is never kept: {event:?}");
    }
    let wrong = reply(&queue, &call("DELETE", "/api/v2/users/delete?auth_token=nobody&id=7", "")).await;
    assert_eq!((wrong.status, code(&wrong)), (401, "unknown_write_key".to_owned()));
    let missing = reply(&queue, &call("DELETE", "/api/v2/users/delete?auth_token=nobody", "")).await;
    assert_eq!((missing.status, code(&missing)), (400, "bad_parameter".to_owned()));
    let empty = reply(&queue, &call("POST", "/api/v2/users/track", "")).await;
    assert_eq!((empty.status, code(&empty)), (400, "empty_body".to_owned()));
}

fn any_call() -> impl Strategy<Value = Call> {
    let paths: Vec<&str> = crate::route::ROUTES.iter().map(|(path, _, _)| *path).collect();
    let methods = vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let content_types = vec![
        None,
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=b"),
        Some("text/plain"),
    ];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "([\\[\\]{}:,=&]|\"(id|userId|type|track|data|batch|event)\"|id|[0-9]|--b|\r\n|name=\"){0,20}"
            .prop_map(String::into_bytes),
    ];
    let text = "(data=|id=7|writeKey=dev|auth_token=dev|&|%|[\\[\\]{}.a-z0-9+]){0,12}";
    let (path, method) = (prop::sample::select(paths), prop::sample::select(methods));
    (method, path, text, prop::sample::select(content_types), body, any::<bool>()).prop_map(
        |(method, path, query, content_type, body, gzip)| Call {
            method: method.into(),
            path: path.replace("{writeKey}", "signed"),
            query,
            authorization: Some("Basic ZGV2Og==".into()),
            signature: Some("0".repeat(40)),
            content_type: content_type.map(str::to_owned),
            content_encoding: gzip.then(|| "gzip".into()),
            body,
            ..Call::default()
        },
    )
}

proptest! {
    #[test]
    fn any_request_gets_a_documented_answer(call in any_call()) {
        let queue = Queue::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (answer, account) = runtime.block_on(ingest(&queue).answer(&call, "r1"));
        let reply = answer.reply();
        prop_assert!(matches!(reply.status, 200 | 400 | 401 | 404 | 405 | 413), "{:?}", reply);
        prop_assert_eq!(reply.content_type == "image/gif", call.path.contains("pixel") && reply.status == 200 && call.method != "OPTIONS");
        // An answer of 200 to what has a receipt means that everything of it is in the queue.
        let (events, refused) = queue.taken();
        let ready = call.path == "/ready";
        prop_assert!(ready || account.receipt.is_empty() || (account.events, account.refused) == (events.len(), refused));
    }
}
