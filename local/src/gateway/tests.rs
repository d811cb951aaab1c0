//! Tests of the gateway: both mappings as tables, and requests on the wire to a real child process.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::request::{Received, head_bytes, trace_root};
use super::response::from_function;
use super::routes::Routes;
use super::{BODY_BYTES_MAX, Gateway, GatewaySpec, HEAD_BYTES_MAX, serve};
use crate::lambda::Lambda;
use crate::lambda::tests::{Log, fake};

fn event(request: &Request<()>, body: &[u8]) -> Value {
    let (head, ()) = request.clone().into_parts();
    let routes = Routes::new("fake".to_owned(), vec![("ANY /things/{path+}".to_owned(), "other".to_owned())]);
    Received {
        head: &head,
        body,
        peer: "192.0.2.7:50000".parse().unwrap(),
        port: 3000,
        request_id: "JKJaXmPLvHcESHA=",
        root: "1-5e6b67ad-2d4a5560cf6fb7a02780c3a0",
        now: Timestamp::from_millis(1_583_348_638_390).unwrap(),
        found: routes.find(head.method.as_str(), head.uri.path()),
    }
    .event()
}

#[test]
fn a_route_of_its_own_is_named_with_what_its_path_says() {
    let event = event(&Request::get("/things/a/b").body(()).unwrap(), b"");
    assert_eq!(
        (&event["routeKey"], &event["requestContext"]["routeKey"]),
        (&json!("ANY /things/{path+}"), &event["routeKey"])
    );
    assert_eq!(event["pathParameters"], json!({"path": "a/b"}));
}

#[test]
fn a_request_becomes_the_event_of_format_2() {
    let request = Request::post("/v1/a%20b?x=1&x=2%2C3&y=a+b&z")
        .header("Host", "api.example.com:3000")
        .header("User-Agent", "test/1")
        .header("Cookie", "a=1; b=2")
        .header("Cookie", "c=3")
        .header("X-Two", "one")
        .header("X-Two", "two")
        .header("X-Forwarded-For", "198.51.100.1")
        .header("X-Forwarded-Proto", "https")
        .header("Transfer-Encoding", "chunked")
        .header("Content-Type", "application/json; charset=utf-8")
        .body(())
        .unwrap();
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v1/a b",
        "rawQueryString": "x=1&x=2%2C3&y=a+b&z",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "content-length": "8",
            "content-type": "application/json; charset=utf-8",
            "host": "api.example.com:3000",
            "user-agent": "test/1",
            "x-amzn-trace-id": "Root=1-5e6b67ad-2d4a5560cf6fb7a02780c3a0",
            "x-forwarded-for": "198.51.100.1, 192.0.2.7",
            "x-forwarded-port": "3000",
            "x-forwarded-proto": "http",
            "x-two": "one,two",
        },
        "queryStringParameters": { "x": "1,2,3", "y": "a b", "z": "" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": "POST",
                "path": "/v1/a b",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "test/1",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_i64,
        },
        "body": "{\"a\":1} ",
        "isBase64Encoded": false,
    });
    assert_eq!(event(&request, b"{\"a\":1} "), expected);
}

#[test]
fn what_a_request_lacks_is_absent_from_the_event() {
    let event = event(&Request::get("/").body(()).unwrap(), b"");
    for field in ["body", "cookies", "queryStringParameters", "pathParameters", "stageVariables"] {
        assert!(event.get(field).is_none(), "{field}");
    }
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["headers"]["content-length"], "0");
}

#[test]
fn a_body_is_text_only_for_the_types_that_api_gateway_knows() {
    for (content_type, encoding, body, text) in [
        ("application/json", "", &b"{}"[..], true),
        ("Application/JSON;charset=UTF-8", "", b"{}", true),
        ("text/plain", "", b"x", true),
        ("text/csv; header=present", "", "ü".as_bytes(), true),
        ("application/xml", "", b"<a/>", true),
        ("application/javascript", "", b"1", true),
        ("application/json", "identity", b"{}", true),
        ("application/json", "gzip", b"\x1f\x8b\x08", false),
        ("text/plain", "br", b"x", false),
        ("text/plain", "", b"\xff\xfe", false),
        ("application/x-www-form-urlencoded", "", b"a=1", false),
        ("multipart/form-data; boundary=x", "", b"--x--", false),
        ("application/octet-stream", "", b"x", false),
        ("application/vnd.api+json", "", b"{}", false),
        ("", "", b"x", false),
    ] {
        let mut request = Request::post("/");
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let event = event(&request.body(()).unwrap(), body);
        assert_eq!(event["isBase64Encoded"], !text, "{content_type} {encoding}");
        let expected = if text { String::from_utf8(body.to_vec()).unwrap() } else { STANDARD.encode(body) };
        assert_eq!(event["body"], expected, "{content_type} {encoding}");
    }
}

#[test]
fn paths_are_decoded_and_end_at_a_decoded_question_mark() {
    for (path, expected) in [
        ("/a%2Fb", "/a/b"),
        ("/100%", "/100%"),
        ("/%zz%4", "/%zz%4"),
        ("/%C3%BC", "/ü"),
        ("/%FF", "/\u{fffd}"),
        ("/me%3Fadmin", "/me"),
        ("/a+b", "/a+b"),
    ] {
        assert_eq!(event(&Request::get(path).body(()).unwrap(), b"")["rawPath"], expected, "{path}");
    }
}

#[test]
fn a_trace_is_continued_if_its_root_is_sound() {
    let root = "1-5e6b67ad-2d4a5560cf6fb7a02780c3a0";
    let with = |value: &str| {
        let (head, ()) = Request::get("/").header("X-Amzn-Trace-Id", value).body(()).unwrap().into_parts();
        trace_root(&head.headers)
    };
    assert_eq!(with(&format!("Self=1-2-3; Root={root};Sampled=1")), root);
    assert_ne!(with("Root=1-5e6b67ad"), "1-5e6b67ad");
    assert_eq!(with("Root=").len(), root.len());
}

#[test]
fn the_head_is_measured_as_on_the_wire() {
    let (head, ()) = Request::get("/a?b=c").header("host", "x").body(()).unwrap().into_parts();
    assert_eq!(head_bytes(&head), "GET /a?b=c HTTP/1.1\r\nhost: x\r\n".len());
}

#[tokio::test]
async fn a_response_is_mapped_by_the_rules_of_format_2() {
    let text = "text/plain; charset=utf-8";
    for (response, expected) in [
        // Without a status code, the whole is the body.
        (r#"{"a":1}"#, Some((200, "application/json", r#"{"a":1}"#))),
        (r#""hello""#, Some((200, "application/json", r#""hello""#))),
        ("null", Some((200, "application/json", "null"))),
        ("not json", Some((200, "application/json", "not json"))),
        // With one, the fields count.
        (r#"{"statusCode":201,"body":"x"}"#, Some((201, text, "x"))),
        (r#"{"statusCode":"202","body":"x","headers":{"Content-Type":"a/b"}}"#, Some((202, "a/b", "x"))),
        (r#"{"statusCode":200}"#, Some((200, "", ""))),
        (r#"{"statusCode":200,"headers":null,"cookies":null,"body":null}"#, Some((200, "", ""))),
        (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, Some((200, text, "hi"))),
        (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":false}"#, Some((200, text, "aGk="))),
        (r#"{"statusCode":200,"body":"x","headers":{"content-length":"7","n":1}}"#, Some((200, text, "x"))),
        // What is not well formed is the function's fault.
        (r#"{"statusCode":"ok"}"#, None),
        (r#"{"statusCode":null}"#, None),
        (r#"{"statusCode":99}"#, None),
        (r#"{"statusCode":600}"#, None),
        (r#"{"statusCode":200,"body":{"a":1}}"#, None),
        (r#"{"statusCode":200,"body":"!","isBase64Encoded":true}"#, None),
        (r#"{"statusCode":200,"headers":["a"]}"#, None),
        (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, None),
        (r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#, None),
        (r#"{"statusCode":200,"cookies":"a=1"}"#, None),
    ] {
        let Some(mapped) = from_function(&Bytes::from(response)) else {
            assert!(expected.is_none(), "{response}");
            continue;
        };
        let (head, body) = mapped.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let content_type = head.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        let body = std::str::from_utf8(&body).unwrap();
        assert_eq!(Some((head.status.as_u16(), content_type, body)), expected, "{response}");
        assert!(!head.headers.contains_key("content-length"));
    }
}

#[test]
fn cookies_and_values_of_one_header_stay_apart() {
    let response = json!({
        "statusCode": 200,
        "headers": { "vary": "first", "x": "y" },
        "multiValueHeaders": { "Vary": ["a", "b"] },
        "cookies": ["a=1; Secure", "b=2"],
    });
    let mapped = from_function(&Bytes::from(response.to_string())).unwrap();
    let all = |name: &str| mapped.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("vary"), ["a", "b"]);
    assert_eq!(all("x"), ["y"]);
    assert_eq!(all("set-cookie"), ["a=1; Secure", "b=2"]);
}

struct Running {
    gateway: Gateway,
    lambda: Lambda,
}

async fn run(environments_max: usize, timeout: Duration, change: impl FnOnce(&mut GatewaySpec)) -> Running {
    let lambda = Lambda::start([fake("plain", environments_max, timeout)], Log::default().sink());
    let mut spec = GatewaySpec::new("fake");
    change(&mut spec);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Running { gateway: serve(listener, lambda.clone(), spec).unwrap(), lambda }
}

impl Running {
    /// Sends a request as it stands, and returns the status, the head and the body.
    async fn send(&self, head: &str, body: &[u8]) -> (u16, String, String) {
        let mut socket = TcpStream::connect(self.gateway.address()).await.unwrap();
        let exchange = async {
            let head = format!("{head}\r\nhost: local.test\r\nconnection: close\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(body).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    /// Has the child do something, and returns the status and the body.
    async fn order(&self, order: Value) -> (u16, String) {
        let body = order.to_string();
        let head = format!("POST / HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        let (status, _, body) = self.send(&head, body.as_bytes()).await;
        (status, body)
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.lambda.stop().await;
    }
}

const INTERNAL: &str = r#"{"message":"Internal Server Error"}"#;
const UNAVAILABLE: &str = r#"{"message":"Service Unavailable"}"#;
const TOO_LARGE: &str = r#"{"message":"Request Entity Too Large"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_kind_reach_the_function() {
    let running = run(1, Duration::from_secs(10), |_| {}).await;
    for (head, body, expected) in [
        ("POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-type: text/a", "2\r\nhi\r\n0\r\n\r\n", "hi"),
        ("DELETE /a HTTP/1.1\r\ncontent-length: 2\r\ncontent-type: text/a", "hi", "hi"),
        ("OPTIONS /a HTTP/1.1", "", ""),
        ("GET /a HTTP/1.1", "", ""),
        ("POST /a HTTP/1.1\r\ncontent-length: 0", "", ""),
    ] {
        let (status, answer, report) = running.send(head, body.as_bytes()).await;
        assert_eq!(status, 200, "{head}: {report}");
        assert!(answer.contains("apigw-requestid: "), "{answer}");
        let report: Value = serde_json::from_str(&report).unwrap();
        let event = &report["event"];
        assert_eq!(event["body"].as_str().unwrap_or_default(), expected, "{head}");
        assert_eq!(event["requestContext"]["http"]["method"], head.split(' ').next().unwrap());
        assert_eq!(event["headers"]["content-length"], expected.len().to_string());
        let root = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
        let trace = report["headers"]["lambda-runtime-trace-id"].as_str().unwrap();
        assert!(trace.starts_with(root), "the function is in the request's trace: {trace} {root}");
    }
    let (status, head, body) = running.send("HEAD /a HTTP/1.1", b"").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(!head.contains("content-length: 0"), "{head}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_function_are_500_and_lack_of_time_or_room_503() {
    let running = run(1, Duration::from_millis(3_500), |spec| spec.integration_timeout = Duration::from_secs(8)).await;
    for order in ["fail", "exit", "respond-large", "sleep"] {
        let answer = running.order(json!({ "do": order, "ms": 8_000 })).await;
        assert_eq!(answer, (500, INTERNAL.to_owned()), "{order}");
    }
    let malformed = json!({ "do": "respond", "with": r#"{"statusCode":"?"}"# });
    assert_eq!(running.order(malformed).await, (500, INTERNAL.to_owned()));
    let fine = json!({ "do": "respond", "with": r#"{"statusCode":429,"body":"later"}"# });
    assert_eq!(running.order(fine).await, (429, "later".to_owned()));

    // The one environment is busy: a request waits for a moment, and no longer than that.
    let (short, waited) = tokio::join!(running.order(json!({ "do": "sleep", "ms": 400 })), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.order(json!({})).await
    });
    assert_eq!((short.0, waited.0), (200, 200));
    let (long, refused) = tokio::join!(running.order(json!({ "do": "sleep", "ms": 2_000 })), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.order(json!({})).await
    });
    assert_eq!((long.0, refused), (200, (503, UNAVAILABLE.to_owned())));
    running.stop().await;

    let running = run(1, Duration::from_secs(5), |spec| spec.integration_timeout = Duration::from_millis(500)).await;
    running.order(json!({})).await;
    let late = running.order(json!({ "do": "sleep", "ms": 1_000 })).await;
    assert_eq!(late, (503, UNAVAILABLE.to_owned()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_as_api_gateway_does() {
    let running = run(1, Duration::from_secs(10), |_| {}).await;
    for (length, expected) in [(BODY_BYTES_MAX + 1, 413), (7_000_000, 413), (6_000_000, 200)] {
        let head = format!("POST / HTTP/1.1\r\ncontent-type: text/plain\r\ncontent-length: {length}");
        // The child answers with less than it got, so that the response is not too large in turn.
        let order = json!({ "do": "respond", "with": "1" }).to_string();
        let body = [order.as_bytes(), &vec![b' '; length - order.len()]].concat();
        let (status, _, answer) = running.send(&head, &body).await;
        assert_eq!(status, expected, "{length}");
        assert!(status == 200 || answer == TOO_LARGE, "{answer}");
    }
    for (padding, expected) in [(HEAD_BYTES_MAX - 100, 200), (HEAD_BYTES_MAX, 431)] {
        let (status, _, _) = running.send(&format!("GET /?{} HTTP/1.1", "x".repeat(padding)), b"").await;
        assert_eq!(status, expected, "{padding}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routes_can_share_the_port() {
    let routes = axum::Router::new().route("/console", axum::routing::get(|| async { "here" }));
    let running = run(1, Duration::from_secs(10), |spec| spec.routes = routes).await;
    let (status, _, body) = running.send("GET /console HTTP/1.1", b"").await;
    assert_eq!((status, body.as_str()), (200, "here"));
    let (status, _, body) = running.send("GET /other HTTP/1.1", b"").await;
    assert!(status == 200 && body.contains("rawPath"));
    running.stop().await;
}
