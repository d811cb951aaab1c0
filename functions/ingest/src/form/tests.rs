//! Pairs, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::json::nesting_depth;

use super::*;

fn of(query: &str, notation: Notation) -> Value {
    let text = object(form_urlencoded::parse(query.as_bytes()), notation).unwrap();
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

#[test]
fn brackets_are_read_as_rails_and_php_read_them() {
    for (form, expected) in [
        ("", Value::Null),
        ("&&", Value::Null),
        ("id=1&email=", json!({"id": "1", "email": ""})),
        ("identity[id]=7&identity[email]=a%40b.c", json!({"identity": {"id": "7", "email": "a@b.c"}})),
        ("identity%5Bid%5D=7", json!({"identity": {"id": "7"}})),
        ("data[a][b][c]=1&data[a][d]=2", json!({"data": {"a": {"b": {"c": "1"}, "d": "2"}}})),
        ("add[]=x&add[]=y&remove[]=z", json!({"add": ["x", "y"], "remove": ["z"]})),
        ("add[1]=b&add[0]=a&add[10]=c&add[2]=d", json!({"add": ["a", "b", "d", "c"]})),
        ("data[0]=a", json!({"data": {"0": "a"}})),
        ("channels[0][type]=push&channels[0][address]=t", json!({"channels": [{"type": "push", "address": "t"}]})),
        (
            "channels[][type]=push&channels[][address]=t&channels[][type]=sms",
            json!({"channels": [{"type": "push", "address": "t"}, {"type": "sms"}]}),
        ),
        ("a[][]=1&a[][]=2", json!({"a": [["1"], ["2"]]})),
        // The last value for a place counts, whatever stood there.
        ("a=1&a=2", json!({"a": "2"})),
        ("a=1&a[b]=2", json!({"a": {"b": "2"}})),
        ("a[b]=2&a=1", json!({"a": "1"})),
        ("a[]=1&a[b]=2", json!({"a": {"b": "2"}})),
        ("a[b]=2&a[]=1", json!({"a": ["1"]})),
        // What does not keep to the notation means just itself.
        ("a[=1", json!({"a[": "1"})),
        ("[a]=1", json!({"[a]": "1"})),
        ("a]=1", json!({"a]": "1"})),
        ("a[b]c=1", json!({"a[b]c": "1"})),
        ("a[b[c]]=1", json!({"a[b[c]]": "1"})),
        ("a.b=1", json!({"a.b": "1"})),
        ("=1&name", json!({"": "1", "name": ""})),
        ("a=%zz%e9+", json!({"a": "%zz\u{FFFD} "})),
    ] {
        assert_eq!(of(form, Notation::Brackets), expected, "{form}");
    }
}

#[test]
fn the_members_that_may_be_json_are_read_as_json_and_no_others() {
    for (name, value, expected) in [
        ("data", r#" {"a":[1,null]} "#, json!({"a": [1, null]})),
        ("identity", r#"{"id":1000}"#, json!({"id": 1000})),
        ("add", r#"["a","b"]"#, json!(["a", "b"])),
        ("extras", "null", Value::Null),
        ("changes", "", Value::Null),
        ("channels", "  ", Value::Null),
        // What is no JSON stays the text it is, for the rules of the call to judge.
        ("data", r#"{"a":1"#, json!("{\"a\":1")),
        ("data", "{}{}", json!("{}{}")),
        ("data", "7", json!("7")),
        ("add", "vip", json!("vip")),
        ("id", r#"{"a":1}"#, json!("{\"a\":1}")),
        ("data[x]", r#"{"a":1}"#, json!("{\"a\":1}")),
    ] {
        let text = object([(name, value)], Notation::Brackets).unwrap().unwrap();
        let object: Value = serde_json::from_str(&text).unwrap();
        let (first, inner) = name.strip_suffix("[x]").map_or((name, None), |first| (first, Some("x")));
        let member = inner.map_or(&object[first], |inner| &object[first][inner]);
        assert_eq!(member, &expected, "{name}={value}");
    }
}

#[test]
fn dots_are_read_as_pixels_write_them() {
    for (query, expected) in [
        ("userId=u&properties.a.b=1", json!({"userId": "u", "properties": {"a": {"b": "1"}}})),
        ("a..b=1&.c=2&d.=3", json!({"a..b": "1", ".c": "2", "d.": "3"})),
        ("add=[]&a[]=1", json!({"add": "[]", "a[]": "1"})),
    ] {
        assert_eq!(of(query, Notation::Dots), expected, "{query}");
    }
}

#[test]
fn the_bounds_are_kept() {
    let pairs = |count| (0..count).map(|n| (format!("data[{n}]"), "v"));
    assert!(object(pairs(PAIRS_MAX), Notation::Brackets).is_ok());
    let over = object(pairs(PAIRS_MAX + 1), Notation::Brackets);
    assert_eq!(over, Err(Problem::Malformed("more than 10000 parameters".into())));
    let steps = |depth: usize| {
        let names = (0..STEPS_MAX / 30).map(move |n| format!("{n}{}", "[b]".repeat(depth - 1)));
        object(names.map(|name| (name, "v")), Notation::Brackets)
    };
    assert!(steps(30).is_ok());
    let over = "names of more than 30000 steps in its parameters";
    assert_eq!(steps(31), Err(Problem::Malformed(over.into())));
    let deep = |depth: usize| object([(format!("a{}", "[b]".repeat(depth - 1)), "v")], Notation::Brackets);
    let text = deep(NESTING_DEPTH_MAX).unwrap().unwrap();
    assert_eq!(nesting_depth(text.as_bytes()), NESTING_DEPTH_MAX);
    assert_eq!(deep(NESTING_DEPTH_MAX + 1), Err(Problem::NestedTooDeeply));
    assert_eq!(object([("a.".repeat(500_000) + "b", "v")], Notation::Dots), Err(Problem::NestedTooDeeply));
}

proptest! {
    #[test]
    fn any_pairs_become_one_json_object(
        pairs in prop::collection::vec(
            ("[a-c.\\[\\]0-1]{0,8}|\\PC{0,8}|add|data", "\\PC{0,12}|[\\[\\]{}\",:0-9]{0,8}"),
            1..20,
        ),
        dots in any::<bool>(),
    ) {
        let notation = if dots { Notation::Dots } else { Notation::Brackets };
        let text = object(pairs, notation).unwrap().unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(value.is_object());
    }
}
