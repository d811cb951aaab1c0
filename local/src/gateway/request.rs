//! An HTTP request as an event of payload format 2.0. Pure: values in, values out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use serde_json::{Value, json};
use shared::clock::Timestamp;

use super::routes::Found;
use crate::lambda::{ACCOUNT, new_trace_root};

/// The trace header that API Gateway adds.
const TRACE: &str = "x-amzn-trace-id";

/// Headers that concern one connection only, and the one that travels as `cookies`.
const DROPPED: [HeaderName; 7] = [
    header::CONNECTION,
    header::COOKIE,
    header::EXPECT,
    header::TE,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A request that has arrived whole.
pub(super) struct Received<'a> {
    pub(super) head: &'a Parts,
    pub(super) body: &'a [u8],
    /// Where it came from.
    pub(super) peer: SocketAddr,
    /// The port it came to.
    pub(super) port: u16,
    pub(super) request_id: &'a str,
    /// The root of its trace.
    pub(super) root: &'a str,
    pub(super) now: Timestamp,
    /// The route that it takes.
    pub(super) found: Found<'a>,
}

impl Received<'_> {
    /// The event. Fields that have no value are absent, as API Gateway leaves them out.
    pub(super) fn event(&self) -> Value {
        let headers = self.headers();
        let path = raw_path(self.head.uri.path());
        let query = self.head.uri.query().unwrap_or_default();
        let host = headers.get("host").map_or("localhost", |host| host.split(':').next().unwrap_or_default());
        let mut event = json!({
            "version": "2.0",
            "routeKey": self.found.key,
            "rawPath": path,
            "rawQueryString": query,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": "local",
                "domainName": host,
                "domainPrefix": host.split('.').next().unwrap_or_default(),
                "http": {
                    "method": self.head.method.as_str(),
                    "path": path,
                    "protocol": format!("{:?}", self.head.version),
                    "sourceIp": self.peer.ip().to_string(),
                    "userAgent": headers.get("user-agent").map_or("", String::as_str),
                },
                "requestId": self.request_id,
                "routeKey": self.found.key,
                "stage": "$default",
                "time": log_time(self.now),
                "timeEpoch": self.now.as_millis(),
            },
            "isBase64Encoded": false,
        });
        if !self.found.parameters.is_empty() {
            event["pathParameters"] = json!(self.found.parameters);
        }
        let cookies = cookies(&self.head.headers);
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let parameters = query_parameters(query);
        if !parameters.is_empty() {
            event["queryStringParameters"] = json!(parameters);
        }
        if !self.body.is_empty() {
            let text = is_text(&self.head.headers).then(|| std::str::from_utf8(self.body).ok()).flatten();
            event["isBase64Encoded"] = json!(text.is_none());
            event["body"] = text.map_or_else(|| json!(STANDARD.encode(self.body)), |text| json!(text));
        }
        event["headers"] = json!(headers);
        event
    }

    /// The headers in lower case, several values of one joined with a comma, and those that API Gateway adds.
    fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for name in self.head.headers.keys().filter(|name| !DROPPED.contains(name)) {
            headers.insert(name.as_str().to_owned(), joined(&self.head.headers, name));
        }
        // A chunked body has no length on the wire; behind the gateway it has.
        headers.insert("content-length".to_owned(), self.body.len().to_string());
        let client = self.peer.ip().to_string();
        headers
            .entry("x-forwarded-for".to_owned())
            .and_modify(|via| *via = format!("{via}, {client}"))
            .or_insert(client);
        headers.insert("x-forwarded-port".to_owned(), self.port.to_string());
        headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
        headers.entry(TRACE.to_owned()).or_insert_with(|| format!("Root={}", self.root));
        headers
    }
}

/// The size of the request line and the headers on the wire, in bytes.
pub(super) fn head_bytes(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = head.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    head.headers.iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + ": \r\n".len())
}

/// The root that the client's trace header names, or a new one.
pub(super) fn trace_root(headers: &HeaderMap) -> String {
    let root = headers.get(TRACE).and_then(|value| value.to_str().ok()).and_then(|value| {
        value.split(';').find_map(|part| part.trim().strip_prefix("Root=")).filter(|root| is_trace_root(root))
    });
    root.map_or_else(new_trace_root, str::to_owned)
}

fn is_trace_root(root: &str) -> bool {
    let parts: Vec<&str> = root.split('-').collect();
    matches!(parts[..], ["1", time, random] if time.len() == 8 && random.len() == 24)
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(",")
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(header::COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    all.flat_map(|value| value.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// The path as an HTTP API gives it to the function: decoded, and without what follows a decoded `?`.
///
/// AWS does not document it. Events captured on AWS show it (hotsock/voker#8 on GitHub).
fn raw_path(path: &str) -> String {
    let decoded = decoded(path.as_bytes());
    decoded.split('?').next().unwrap_or_default().to_owned()
}

/// The parameters decoded, several values of one joined with a comma.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decoded(text.replace('+', " ").as_bytes()).into_owned();
        let value = plain(value);
        parameters
            .entry(plain(name))
            .and_modify(|values: &mut String| *values = format!("{values},{value}"))
            .or_insert(value);
    }
    parameters
}

/// Undoes percent-encoding; what is not validly encoded stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    if !text.contains(&b'%') {
        return String::from_utf8_lossy(text);
    }
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = if *byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        let (byte, length) = escaped.map_or((*byte, 1), |(high, low)| {
            (u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte"), 3)
        });
        bytes.push(byte);
        at += length;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether an HTTP API passes the body on as text. Only these types are text to it: a form, a missing type and every
/// `+json` are base64 (tried on AWS in ministackorg/ministack#766 on GitHub). So is what has a content encoding.
fn is_text(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let plain = matches!(value(header::CONTENT_ENCODING).as_str(), "" | "identity");
    let content_type = value(header::CONTENT_TYPE);
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let text = matches!(kind, "application/json" | "application/javascript" | "application/xml");
    plain && (text || kind.starts_with("text/"))
}

/// A moment as access logs write it: `12/Mar/2020:19:03:58 +0000`.
fn log_time(moment: Timestamp) -> String {
    let text = moment.to_string();
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let (year, day, time) = (&text[..4], &text[8..10], &text[11..19]);
    format!("{day}/{}/{year}:{time} +0000", month.unwrap_or(&"Jan"))
}
