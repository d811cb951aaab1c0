//! A function's response as an HTTP response, by the rules of payload format 2.0. Pure: values in, values out.

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

/// Headers that the connection to the client decides on.
const DROPPED: [HeaderName; 3] = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Makes the HTTP response; `None` where API Gateway answers 500, because the response is not well formed.
///
/// Whatever has no `statusCode` is the body of a 200, be it JSON or not: API Gateway does not look.
pub(super) fn from_function(response: &Bytes) -> Option<Response> {
    let fields = match serde_json::from_slice(response) {
        Ok(Value::Object(fields)) if fields.contains_key("statusCode") => fields,
        _ => {
            let mut whole = Response::new(Body::from(response.clone()));
            whole.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Some(whole);
        }
    };
    let status = status(&fields["statusCode"])?;
    let mut headers = headers(&fields)?;
    for cookie in strings(fields.get("cookies"))? {
        headers.append(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    let body = body(&fields)?;
    if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Some(response)
}

/// A final status, as a number or in digits.
fn status(value: &Value) -> Option<StatusCode> {
    let code = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(code).ok().filter(|code| (200..600).contains(code)).and_then(|code| StatusCode::from_u16(code).ok())
}

/// `headers`, with those that `multiValueHeaders` names taken from there. Format 2.0 knows only the former, but
/// runtimes that serve both formats fill in both.
fn headers(fields: &Map<String, Value>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in object(fields.get("headers"))? {
        if !value.is_null() {
            headers.insert(HeaderName::try_from(name).ok()?, scalar(value)?);
        }
    }
    for (name, values) in object(fields.get("multiValueHeaders"))? {
        let name = HeaderName::try_from(name).ok()?;
        let values = values.as_array()?;
        if !values.is_empty() {
            headers.remove(&name);
        }
        for value in values {
            headers.append(&name, scalar(value)?);
        }
    }
    for name in DROPPED {
        headers.remove(name);
    }
    Some(headers)
}

fn body(fields: &Map<String, Value>) -> Option<Bytes> {
    let text = match fields.get("body") {
        None | Some(Value::Null) => return Some(Bytes::new()),
        Some(body) => body.as_str()?,
    };
    match fields.get("isBase64Encoded") {
        Some(Value::Bool(true)) => STANDARD.decode(text).ok().map(Bytes::from),
        None | Some(Value::Null | Value::Bool(false)) => Some(Bytes::from(text.to_owned())),
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => None,
    }
}

/// The members of an object; none where it is absent or null, `None` where it is something else.
fn object(value: Option<&Value>) -> Option<Vec<(&String, &Value)>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(value) => Some(value.as_object()?.iter().collect()),
    }
}

/// The strings of an array; none where it is absent or null, `None` where it is something else.
fn strings(value: Option<&Value>) -> Option<Vec<&str>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(value) => value.as_array()?.iter().map(Value::as_str).collect(),
    }
}

fn scalar(value: &Value) -> Option<HeaderValue> {
    match value {
        Value::String(text) => HeaderValue::try_from(text).ok(),
        Value::Number(number) => HeaderValue::try_from(number.to_string()).ok(),
        Value::Bool(flag) => Some(HeaderValue::from_static(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
