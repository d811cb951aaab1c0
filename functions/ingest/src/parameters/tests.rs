//! Bodies and queries, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::json::Members;
use shared::limits::NESTING_DEPTH_MAX;

use super::*;
use crate::vero::write_key as vero_key;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=UTF-8");
const MULTIPART: Option<&str> = Some("multipart/form-data; boundary=b");

fn vero(body: &str, content_type: Option<&str>, query: &str) -> Value {
    serde_json::from_str(&of_vero(body.as_bytes(), content_type, query).unwrap()).unwrap()
}

#[test]
fn the_same_call_is_read_from_everywhere() {
    let expected = json!({"auth_token": "k", "identity": {"id": "7"}, "event_name": "e", "data": {"a": "b"}});
    let brackets = "auth_token=k&identity[id]=7&event_name=e&data[a]=b";
    let embedded = "auth_token=k&identity={%22id%22:%227%22}&event_name=e&data=%7B%22a%22%3A%22b%22%7D";
    let json = expected.to_string();
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let multipart = [
        part("auth_token", "k"),
        part("identity", r#"{"id":"7"}"#),
        part("event_name", "e"),
        part("data[a]", "b"),
        "--b--\r\n".into(),
    ]
    .concat();
    for (body, content_type, query) in [
        (json.as_str(), Some("application/json"), ""),
        (&json, None, ""),
        (&json, Some("text/plain; charset=ISO-8859-1"), ""),
        (&json, Some("application/json; encoding=utf-8"), ""),
        // `curl -d` says that everything is a form.
        (&json, FORM, ""),
        (&format!("\n {json}"), FORM, ""),
        (&json, MULTIPART, ""),
        (brackets, FORM, ""),
        (&format!("{brackets}\r\n"), Some("APPLICATION/X-WWW-FORM-URLENCODED"), ""),
        (embedded, FORM, ""),
        (&multipart, MULTIPART, ""),
        ("", None, brackets),
        (" ", FORM, embedded),
        (r#"{"identity":{"id":"7"},"event_name":"e"}"#, None, "auth_token=k&data[a]=b"),
        ("identity[id]=7&event_name=e", FORM, "auth_token=k&data={\"a\":\"b\"}"),
    ] {
        assert_eq!(vero(body, content_type, query), expected, "{body} {content_type:?} {query}");
    }
}

#[test]
fn the_body_wins_member_by_member() {
    let body = r#"{"id":1,"email":null,"data":{"a":1}}"#;
    assert_eq!(
        vero(body, None, "id=2&email=a@b.c&data[b]=2&auth_token=q"),
        json!({"id": 1, "data": {"a": 1}, "email": "a@b.c", "auth_token": "q"})
    );
    for (body, query, key) in [
        (r#"{"tracking_api_key":"b"}"#, "auth_token=q", Some("b")),
        (r#"{"auth_token":"b"}"#, "tracking_api_key=q&auth_token=q", Some("b")),
        (r#"{"auth_token":""}"#, "tracking_api_key=q", Some("q")),
        (r#"{"auth_token":null,"tracking_api_key":7}"#, "auth_token=q", Some("q")),
        (r#"{"auth_token":"","tracking_api_key":"b"}"#, "", Some("b")),
        ("{}", "tracking_api_key=", None),
        ("{}", "x=%zz", None),
    ] {
        let text = of_vero(body.as_bytes(), None, query).unwrap();
        assert_eq!(vero_key(&Members::parse(&text).unwrap()).as_deref(), key, "{body} {query}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_what_is_wrong() {
    let deep = "[".repeat(NESTING_DEPTH_MAX + 1);
    let deep_form = format!("data={{\"a\":{deep}{}}}", "]".repeat(NESTING_DEPTH_MAX + 1));
    let malformed = |what: &str| Problem::Malformed(what.to_owned());
    for (body, content_type, query, expected) in [
        (&b""[..], None, "", Problem::EmptyBody),
        (b" \r\n", FORM, "&", Problem::EmptyBody),
        (b"\xff=1", FORM, "", malformed("not UTF-8")),
        (b"\xff", None, "id=1", malformed("not UTF-8")),
        (b"id=1", None, "email=a", malformed("malformed JSON (line 1, column 1)")),
        (b"id=1", Some("multipart/form-data"), "", malformed("not multipart/form-data: it has no boundary")),
        (deep.as_bytes(), None, "", Problem::NestedTooDeeply),
        (deep_form.as_bytes(), FORM, "", Problem::NestedTooDeeply),
        (b"", None, &deep_form, Problem::NestedTooDeeply),
    ] {
        assert_eq!(of_vero(body, content_type, query), Err(expected), "{body:?} {query}");
    }
}

#[test]
fn a_pixel_is_base64_of_either_alphabet_or_dotted_names() {
    let expected = json!({"userId": "u", "event": "Ünread>>?", "writeKey": "k"});
    let text = expected.to_string();
    let standard = base64::engine::general_purpose::STANDARD.encode(&text);
    let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text);
    let escaped: String = form_urlencoded::byte_serialize(standard.as_bytes()).collect();
    for query in [
        format!("data={standard}"),
        format!("data={url_safe}"),
        format!("data={escaped}"),
        format!("data=AAAA&data={url_safe}"),
        format!("data={}", form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()),
        "userId=u&event=%C3%9Cnread%3E%3E?&writeKey=k".to_owned(),
    ] {
        let read: Value = serde_json::from_str(&of_pixel(&query).unwrap()).unwrap();
        assert_eq!(read, expected, "{query}");
    }
    assert!(standard.contains('+') || standard.contains('/'), "the case is about the alphabets: {standard}");

    let beside = format!("data={url_safe}&userId=other&properties.a.b=1");
    let read: Value = serde_json::from_str(&of_pixel(&beside).unwrap()).unwrap();
    assert_eq!((&read["userId"], &read["properties"]), (&json!("u"), &json!({"a": {"b": "1"}})));
}

#[test]
fn a_pixel_that_cannot_be_read_is_refused() {
    for (query, expected) in [
        ("", Problem::EmptyBody),
        ("data=", Problem::EmptyBody),
        ("data=%21", Problem::Malformed("data is not base64".into())),
        ("data=A", Problem::Malformed("data is not base64".into())),
        ("data=__79", Problem::Malformed("not UTF-8".into())),
        ("data=W10&a=1", Problem::Malformed("not a JSON object (line 1, column 0)".into())),
    ] {
        assert_eq!(of_pixel(query), Err(expected), "{query}");
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[a-c\\[\\]{}\",:=&%0-9.+-]{0,60}|(--b|\r\n|id=|;|name=\"|[{}]){0,20}".prop_map(String::into_bytes),
        ],
        content_type in prop_oneof![Just(None), Just(FORM), Just(MULTIPART), Just(Some(""))],
        query in "[a-c\\[\\]{}\",:=&%0-9.+-]{0,40}|data=[A-Za-z0-9_+/=-]{0,40}",
    ) {
        let _ = of_vero(&body, content_type, &query);
        if let Ok(text) = of_pixel(&query) {
            prop_assert!(!text.is_empty());
        }
    }
}
