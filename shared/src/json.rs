//! Looking at JSON without parsing what no rule needs: the members of one object, each value left as its text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one JSON object in their order, values unparsed. Where a name stands twice, the last counts, as in
/// most parsers.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// So few members are compared with each other in less time than it takes to index them.
const FEW_MEMBERS: usize = 32;

impl<'a> Members<'a> {
    /// Reads the members of an object.
    ///
    /// # Errors
    /// `text` is not a JSON object.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Reads the members of an object, and the value of the one named `apart` as a `T` in the same go, which spares a
    /// large value being read twice. It is not among the members; where it stands twice, the last counts.
    ///
    /// # Errors
    /// `text` is not a JSON object, or that value is no `T`.
    pub fn parse_apart<T: Deserialize<'a>>(text: &'a str, apart: &str) -> Result<(Self, Option<T>), serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(MembersVisitor { apart: Some(apart), found: None })?;
        deserializer.end()?;
        Ok(read)
    }

    /// The value of a member; `None` where it is absent or `null`, which mean the same to every protocol here.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let value = self.0.iter().rev().find(|(key, _)| key == name)?.1;
        (value.get() != "null").then_some(value)
    }

    /// Each name once, with the value that counts, in the order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let mut unique: Vec<(&str, &'a RawValue)> = Vec::with_capacity(self.0.len());
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (name, value) in &self.0 {
            let place = if self.0.len() <= FEW_MEMBERS {
                unique.iter().position(|(known, _)| known == name).unwrap_or(unique.len())
            } else {
                *places.entry(name).or_insert(unique.len())
            };
            match unique.get_mut(place) {
                Some((_, last)) => *last = value,
                None => unique.push((name, value)),
            }
        }
        unique.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = MembersVisitor::<IgnoredAny> { apart: None, found: None };
        deserializer.deserialize_map(visitor).map(|(members, _)| members)
    }
}

/// Collects members, and reads the one named `apart` at once.
struct MembersVisitor<'n, T> {
    apart: Option<&'n str>,
    found: Option<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<'_, T> {
    type Value = (Members<'de>, Option<T>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        // As many as a call commonly has.
        let mut members = Vec::with_capacity(16);
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if self.apart == Some(&*name.0) {
                self.found = Some(map.next_value()?);
            } else {
                members.push((name.0, map.next_value()?));
            }
        }
        Ok((Members(members), self.found))
    }
}

/// A member's name, borrowed where it has no escapes; serde's own `Cow` always copies.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

/// Writes one JSON object member by member, values as the text they are.
#[derive(Debug, Default)]
pub struct ObjectWriter(String);

impl ObjectWriter {
    /// Adds a member.
    pub fn member(&mut self, name: &str, value: &RawValue) {
        self.0.reserve(name.len() + value.get().len() + r#"{"":}"#.len());
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        push_string(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(value.get());
    }

    /// The object; `None` if no member was added.
    #[must_use]
    pub fn finish(mut self) -> Option<Box<RawValue>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Some(RawValue::from_string(self.0).expect("names are escaped and values are JSON"))
    }
}

/// Writes the JSON text of a string; most names are their own but for the quotation marks.
fn push_string(out: &mut String, string: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if string.bytes().all(is_plain) {
        out.push('"');
        out.push_str(string);
        out.push('"');
    } else {
        out.push_str(&string_text(string));
    }
}

/// The JSON text of a string.
#[must_use]
pub fn string_text(string: &str) -> String {
    serde_json::to_string(string).expect("a string always has a JSON text")
}

/// A string as a JSON value.
#[must_use]
pub fn string_value(string: &str) -> Box<RawValue> {
    RawValue::from_string(string_text(string)).expect("the text of a string is JSON")
}

/// Whether the value is an object, judged by its first character.
#[must_use]
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// An object, or the empty array that PHP writes for an empty object: the object. `None` for every other value.
#[must_use]
pub fn as_object(value: &RawValue) -> Option<&RawValue> {
    let empty_array = || value.get().strip_prefix('[')?.strip_suffix(']').filter(|inside| inside.trim().is_empty());
    if is_object(value) {
        return Some(value);
    }
    empty_array().and_then(|_| serde_json::from_str("{}").ok())
}

/// The deepest nesting of arrays and objects in a text, which need not be valid JSON. One pass, no recursion.
#[must_use]
pub fn nesting_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                // Inside a string only its end and escapes matter.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether arrays and objects nest deeper in a text than so many levels.
#[must_use]
pub fn nests_deeper_than(levels: usize, text: &[u8]) -> bool {
    // Hardly a text has even so many brackets, and they are counted far faster than followed.
    memchr::memchr2_iter(b'{', b'[', text).nth(levels).is_some() && nesting_depth(text) > levels
}

/// How many levels of a value [`canonical`] makes alike. Producers that write the same value in two ways do so in the
/// first few.
const CANONICAL_DEPTH: usize = 16;

/// One text for all texts of the same value: members sorted by name, strings escaped alike, no white space.
///
/// Below sixteen levels values keep their text as it is, since each level reads all that is below it once
/// more. Numbers keep theirs, since two large numbers may differ only in digits that a float has no room for. So `1` and
/// `1.0` are two values here, which can only keep two events apart.
///
/// # Errors
/// A string in it is not valid Unicode (a lone surrogate).
pub fn canonical(value: &RawValue) -> Result<String, serde_json::Error> {
    let mut text = String::with_capacity(value.get().len());
    write_canonical(value, CANONICAL_DEPTH, &mut text)?;
    Ok(text)
}

fn write_canonical(value: &RawValue, levels: usize, out: &mut String) -> Result<(), serde_json::Error> {
    let text = value.get();
    match text.as_bytes().first() {
        _ if levels == 0 => out.push_str(text),
        Some(b'{') => {
            let members = Members::parse(text)?;
            let sorted: BTreeMap<&str, &RawValue> = members.iter().collect();
            out.push('{');
            for (position, (name, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                out.push_str(&string_text(name));
                out.push(':');
                write_canonical(member, levels - 1, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (position, element) in serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_canonical(element, levels - 1, out)?;
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&string_text(&serde_json::from_str::<String>(text)?)),
        _ => out.push_str(text),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_last_of_two_members_of_one_name_counts_and_null_is_absence() {
        let members = Members::parse(r#"{"a":1,"b":null,"a":2,"\u0063":3}"#).unwrap();
        assert_eq!(members.get("a").unwrap().get(), "2");
        assert!(members.get("b").is_none());
        assert_eq!(members.get("c").unwrap().get(), "3");
        assert_eq!(
            members.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            ["a=2", "b=null", "c=3"]
        );
    }

    #[test]
    fn a_member_can_be_read_apart_from_the_others() {
        for (text, found) in [
            (r#"{"a":1,"list":[1,2],"b":2}"#, Some(vec![1, 2])),
            (r#"{"list":[],"a":1,"b":2,"l\u0069st":[3]}"#, Some(vec![3])),
            (r#"{"a":1,"b":2}"#, None),
        ] {
            let (members, list) = Members::parse_apart::<Vec<u8>>(text, "list").unwrap();
            assert_eq!(members.iter().map(|(name, _)| name).collect::<String>(), "ab", "{text}");
            assert_eq!(list, found, "{text}");
        }
        for text in [r#"{"list":1}"#, r#"{"list":[]"#, r#"{"list":[]}1"#, r#"{"a":}"#, "[]"] {
            assert!(Members::parse_apart::<Vec<u8>>(text, "list").is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_object_has_no_members() {
        for text in ["[]", "1", "\"a\"", "null", "", "{", "{\"a\"}", "{} {}", "{\"\\ud800\":1}"] {
            assert!(Members::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_empty_array_of_php_is_an_empty_object() {
        for (text, object) in
            [("{ }", Some("{ }")), ("[]", Some("{}")), ("[ ]", Some("{}")), ("[1]", None), ("\"\"", None)]
        {
            assert_eq!(as_object(&raw(text)).map(RawValue::get), object, "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, depth) in [("1", 0), ("{}", 1), (r#"{"a":[{}]}"#, 3), (r#""[[[\"[[""#, 0), ("[[[[", 4), ("]]", 0)] {
            assert_eq!(nesting_depth(text.as_bytes()), depth, "{text}");
        }
    }

    #[test]
    fn the_limit_of_depth_is_that_of_the_depth() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!nests_deeper_than(3, nested(3).as_bytes()) && nests_deeper_than(3, nested(4).as_bytes()));
        assert!(!nests_deeper_than(3, nested(1).repeat(50).as_bytes()));
        assert!(!nests_deeper_than(3, br#"["[[[[[["]"#));
    }

    #[test]
    fn canonical_text_is_the_same_for_the_same_value() {
        for (text, expected) in [
            (r#"{ "b" : [ 1 , "\u0061" ] , "a" : { } }"#, r#"{"a":{},"b":[1,"a"]}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("{}", "{}"),
            ("[{},{}]", "[{},{}]"),
            ("[]", "[]"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"{"a":null}"#, r#"{"a":null}"#),
        ] {
            assert_eq!(canonical(&raw(text)).unwrap(), expected, "{text}");
        }
        assert!(canonical(&raw(r#""\ud800""#)).is_err());
    }

    #[test]
    fn canonical_text_of_a_deep_value_costs_little_more_than_its_length() {
        let deep = format!("{}{}{}", "[".repeat(95), vec!["1 "; 200_000].join(","), "]".repeat(95));
        let text = canonical(&raw(&deep)).unwrap();
        assert_eq!(text.len(), deep.len(), "what lies deep keeps its text, white space included");
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_members_that_count_are_the_same_among_few_and_many(names in prop::collection::vec("[ab]?[a-e]", 0..2 * FEW_MEMBERS)) {
            let body: Vec<String> = names.iter().enumerate().map(|(place, name)| format!("\"{name}\":{place}")).collect();
            let text = format!("{{{}}}", body.join(","));
            let members = Members::parse(&text).unwrap();
            let mut expected: Vec<(&str, String)> = Vec::new();
            for name in &names {
                let last = names.iter().rposition(|other| other == name).unwrap().to_string();
                if !expected.iter().any(|(known, _)| known == name) {
                    expected.push((name, last));
                }
            }
            let found: Vec<(&str, String)> = members.iter().map(|(name, value)| (name, value.get().to_owned())).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_written_object_reads_back(name in "\\PC*|[\u{0}-\u{ff}]*") {
            let mut object = ObjectWriter::default();
            object.member(&name, &raw("[1]"));
            let object = object.finish().unwrap();
            prop_assert_eq!(Members::parse(object.get()).unwrap().get(&name).unwrap().get(), "[1]");
        }

        #[test]
        fn canonical_text_ignores_layout_and_keeps_the_value(value in any_json()) {
            let compact = canonical(&raw(&value.to_string())).unwrap();
            let pretty = canonical(&raw(&serde_json::to_string_pretty(&value).unwrap())).unwrap();
            prop_assert_eq!(&compact, &pretty);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&compact).unwrap(), value);
        }
    }
}
