//! Events as texts → calls of the API. The texts stay as they were written, but for what must be added.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use shared::json::Members;

/// How events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Segment's HTTP API.
    Segment,
    /// Vero's Track API v2.
    Vero,
}

/// A request that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The path.
    pub path: String,
    /// The header `Authorization`; empty for Vero, which has the key in the body.
    pub authorization: String,
    /// The body.
    pub body: Bytes,
    /// How many events are in it.
    pub events: usize,
}

/// A text that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not a JSON object.
    #[error("it is not a JSON object: {0}")]
    NoObject(String),
    /// The type is not one of Segment's calls.
    #[error("its type {0:?} is not one of track, identify, page, screen, group and alias")]
    UnknownType(String),
}

const TYPES: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

/// The call that sends one event: with Segment to the path of its `type` (`track` if it has none), with Vero to `vero_call`,
/// such as `events/track`. One of Segment's without a `messageId` gets `id` for it, so that sending it again makes no
/// duplicate.
///
/// # Errors
/// It is no event.
pub fn single(protocol: Protocol, vero_call: &str, write_key: &str, text: &str, id: &str) -> Result<Call, Malformed> {
    match protocol {
        Protocol::Segment => {
            let kind = kind(text)?.unwrap_or_else(|| "track".to_owned());
            let body = with_missing(text, &[("messageId", id)])?;
            Ok(Call { path: format!("/v1/{kind}"), authorization: basic(write_key), body: body.into(), events: 1 })
        }
        Protocol::Vero => {
            let body = with_missing(text, &[("auth_token", write_key)])?;
            let path = format!("/api/v2/{}", vero_call.trim_matches('/'));
            Ok(Call { path, authorization: String::new(), body: body.into(), events: 1 })
        }
    }
}

/// An event of Segment's as an item of a batch, with `type` and `messageId`.
///
/// # Errors
/// It is no event.
pub(super) fn item(text: &str, id: &str) -> Result<String, Malformed> {
    kind(text)?;
    with_missing(text, &[("type", "track"), ("messageId", id)])
}

/// The call that sends items of Segment's as a batch.
#[must_use]
pub fn batch(write_key: &str, items: &[String]) -> Call {
    let body = format!("{{\"batch\":[{}]}}", items.join(","));
    Call { path: "/v1/batch".to_owned(), authorization: basic(write_key), body: body.into(), events: items.len() }
}

fn basic(write_key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{write_key}:")))
}

fn members(text: &str) -> Result<Members<'_>, Malformed> {
    Members::parse(text).map_err(|error| Malformed::NoObject(error.to_string()))
}

fn kind(text: &str) -> Result<Option<String>, Malformed> {
    let members = members(text)?;
    let Some(kind) = members.get("type") else { return Ok(None) };
    let kind: String = serde_json::from_str(kind.get()).map_err(|_| Malformed::UnknownType(kind.get().to_owned()))?;
    if TYPES.contains(&kind.as_str()) { Ok(Some(kind)) } else { Err(Malformed::UnknownType(kind)) }
}

/// The object with those of the members put in front that it has not. Its own text stays: reading and writing it anew would
/// change its numbers.
fn with_missing(text: &str, wanted: &[(&str, &str)]) -> Result<String, Malformed> {
    let members = members(text)?;
    let missing = wanted.iter().filter(|(name, _)| members.get(name).is_none());
    let added: Vec<String> = missing.map(|(name, value)| format!("\"{name}\":{}", serde_json::json!(value))).collect();
    let rest = text.trim().trim_start_matches('{').trim_start();
    let comma = if rest.starts_with('}') || added.is_empty() { "" } else { "," };
    Ok(format!("{{{}{comma}{rest}", added.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_the_path_of_its_type_and_keeps_its_text() {
        let call = single(Protocol::Segment, "", "dev", r#" {"type":"identify","traits":{"n":1.50}} "#, "i1").unwrap();
        assert_eq!((call.path.as_str(), call.authorization.as_str()), ("/v1/identify", "Basic ZGV2Og=="));
        assert_eq!(call.body, r#"{"messageId":"i1","type":"identify","traits":{"n":1.50}}"#);
        let call = single(Protocol::Segment, "", "dev", r#"{"messageId":"own"}"#, "i1").unwrap();
        assert_eq!((call.path.as_str(), &call.body[..]), ("/v1/track", &br#"{"messageId":"own"}"#[..]));
    }

    #[test]
    fn vero_has_the_key_in_the_body() {
        let call = single(Protocol::Vero, "users/track", "k\"1", "{}", "").unwrap();
        assert_eq!((call.path.as_str(), &call.body[..]), ("/api/v2/users/track", &br#"{"auth_token":"k\"1"}"#[..]));
        assert!(call.authorization.is_empty());
    }

    #[test]
    fn items_of_a_batch_say_what_they_are() {
        let items = [item("{}", "a").unwrap(), item(r#"{"type":"page"}"#, "b").unwrap()];
        let call = batch("dev", &items);
        assert_eq!(call.body, r#"{"batch":[{"type":"track","messageId":"a"},{"messageId":"b","type":"page"}]}"#);
        assert_eq!(call.events, 2);
    }

    #[test]
    fn what_is_no_event_is_not_sent() {
        for text in ["", "1", "[]", "{", r#"{"a":1} {"b":2}"#] {
            assert!(matches!(item(text, "a"), Err(Malformed::NoObject(_))), "{text}");
        }
        for text in [r#"{"type":"delete"}"#, r#"{"type":1}"#] {
            assert!(matches!(item(text, "a"), Err(Malformed::UnknownType(_))), "{text}");
        }
    }
}
