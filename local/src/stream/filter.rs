//! Which records of a stream reach the function: Lambda's event filtering, as far as it is used here. Pure.

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Map, Value};

/// The filter criteria of an event source mapping. A record passes if any pattern matches it, or if there is none.
///
/// Of the comparisons that Lambda knows, these are understood: equality of texts, `prefix` and `exists`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    patterns: Vec<Fields>,
}

/// What a pattern asks of an object: each of these fields must match.
type Fields = Vec<(String, Rule)>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// The field is an object with fields of its own.
    Nested(Fields),
    /// The field, or one element of a list, meets one of these.
    AnyOf(Vec<Comparison>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Equals(String),
    Prefix(String),
    Exists(bool),
}

impl Filter {
    /// Reads the JSON texts of all patterns.
    ///
    /// # Errors
    /// What is not a pattern, or a comparison that is not understood, by its field.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> anyhow::Result<Self> {
        let parse = |pattern: &T| {
            let pattern = pattern.as_ref();
            let value = serde_json::from_str(pattern).with_context(|| format!("the pattern {pattern} is not JSON"))?;
            let Value::Object(object) = value else { bail!("the pattern {pattern} is not an object") };
            fields(&object).with_context(|| format!("the pattern {pattern}"))
        };
        Ok(Self { patterns: patterns.iter().map(parse).collect::<anyhow::Result<_>>()? })
    }

    /// Whether the function is to see a record.
    #[must_use]
    pub fn passes(&self, record: &Value) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|fields| matches(fields, Some(record)))
    }
}

fn fields(object: &Map<String, Value>) -> anyhow::Result<Fields> {
    ensure!(!object.is_empty(), "an empty object matches nothing");
    let field = |(name, value): (&String, &Value)| {
        let rule = match value {
            Value::Object(object) => fields(object).map(Rule::Nested),
            Value::Array(list) if !list.is_empty() => {
                list.iter().map(comparison).collect::<anyhow::Result<_>>().map(Rule::AnyOf)
            }
            Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(anyhow!("it is neither an object nor a list of what the field may be"))
            }
        };
        Ok((name.clone(), rule.with_context(|| name.clone())?))
    };
    object.iter().map(field).collect()
}

fn comparison(value: &Value) -> anyhow::Result<Comparison> {
    if let Value::String(text) = value {
        return Ok(Comparison::Equals(text.clone()));
    }
    let only = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    match only.map(|(operator, operand)| (operator.as_str(), operand)) {
        Some(("prefix", Value::String(text))) => Ok(Comparison::Prefix(text.clone())),
        Some(("exists", Value::Bool(wanted))) => Ok(Comparison::Exists(*wanted)),
        _ => bail!("{value} is not known here, only texts, prefix and exists"),
    }
}

fn matches(fields: &Fields, value: Option<&Value>) -> bool {
    if let Some(Value::Array(items)) = value {
        return items.iter().any(|item| matches(fields, Some(item)));
    }
    fields.iter().all(|(name, rule)| {
        let field = value.and_then(|value| value.get(name));
        match rule {
            Rule::Nested(fields) => matches(fields, field),
            Rule::AnyOf(comparisons) => comparisons.iter().any(|comparison| meets(comparison, field)),
        }
    })
}

/// As on AWS, only a leaf can be compared or exist: an object is seen as its fields, a list as its elements.
fn meets(comparison: &Comparison, field: Option<&Value>) -> bool {
    let mut leaves = match field {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    };
    leaves.retain(|leaf| !leaf.is_object());
    match comparison {
        Comparison::Equals(wanted) => leaves.iter().any(|leaf| leaf.as_str() == Some(wanted)),
        Comparison::Prefix(wanted) => {
            leaves.iter().any(|leaf| leaf.as_str().is_some_and(|text| text.starts_with(wanted)))
        }
        Comparison::Exists(wanted) => *wanted != leaves.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_passes_if_any_pattern_matches_all_its_fields() {
        let record = json!({
            "eventName": "INSERT",
            "tags": ["a", "b"],
            "none": null,
            "dynamodb": {"Keys": {"pk": {"S": "dev#ann"}, "sk": {"S": "E#1"}}},
        });
        for (patterns, passes) in [
            (vec![], true),
            (vec![r#"{"eventName":["INSERT"]}"#], true),
            (vec![r#"{"eventName":["REMOVE","INSERT"]}"#], true),
            (vec![r#"{"eventName":["REMOVE"]}"#], false),
            (vec![r#"{"eventName":["REMOVE"]}"#, r#"{"eventName":["INSERT"]}"#], true),
            (vec![r#"{"eventName":["insert"]}"#], false),
            (vec![r#"{"eventName":["INSERT"],"other":["x"]}"#], false),
            (vec![r#"{"dynamodb":{"Keys":{"pk":{"S":["dev#ann"]}}}}"#], true),
            (vec![r#"{"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"dev#"}]},"sk":{"S":[{"prefix":"E#"}]}}}}"#], true),
            (vec![r#"{"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"prod#"}]}}}}"#], false),
            (vec![r#"{"dynamodb":{"Keys":{"pk":{"N":["dev#ann"]}}}}"#], false),
            (vec![r#"{"tags":["b"]}"#], true),
            (vec![r#"{"tags":["c"]}"#], false),
            (vec![r#"{"eventName":[{"exists":true}]}"#], true),
            (vec![r#"{"eventName":[{"exists":false}]}"#], false),
            (vec![r#"{"none":[{"exists":true}]}"#], true),
            (vec![r#"{"other":[{"exists":true}]}"#], false),
            (vec![r#"{"other":[{"exists":false}]}"#], true),
            (vec![r#"{"dynamodb":{"NewImage":{"a":{"S":[{"exists":false}]}}}}"#], true),
            (vec![r#"{"dynamodb":[{"exists":true}]}"#], false),
        ] {
            let filter = Filter::parse(&patterns).unwrap();
            assert_eq!(filter.passes(&record), passes, "{patterns:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_field() {
        for (pattern, said) in [
            ("{", "the pattern { is not JSON"),
            ("[]", "the pattern [] is not an object"),
            ("{}", "an empty object matches nothing"),
            (r#"{"a":"x"}"#, "a: it is neither an object nor a list"),
            (r#"{"a":[]}"#, "a: it is neither an object nor a list"),
            (r#"{"a":{"b":[{"suffix":"x"}]}}"#, r#"a: b: {"suffix":"x"} is not known here"#),
            (r#"{"a":[{"anything-but":["x"]}]}"#, "is not known here"),
            (r#"{"a":[{"prefix":"x","exists":true}]}"#, "is not known here"),
            (r#"{"a":[{"exists":"yes"}]}"#, "is not known here"),
            (r#"{"a":[1]}"#, "1 is not known here"),
            (r#"{"a":[null]}"#, "null is not known here"),
        ] {
            let error = format!("{:#}", Filter::parse(&[pattern]).unwrap_err());
            assert!(error.contains(said), "{pattern}: {error}");
        }
    }
}
