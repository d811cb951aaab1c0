//! The template as it is written, with CloudFormation's functions left as they are.

use serde_yaml_ng::Value;

/// A template that was parsed and not resolved.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, serde_yaml_ng::Error> {
        serde_yaml_ng::from_str(text).map(Self)
    }

    /// What stands at a path of names from the top.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Value> {
        at(&self.0, path)
    }

    /// The resources of a type, each with its properties.
    pub(super) fn resources<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let all = self.at(&["Resources"]).and_then(Value::as_mapping).into_iter().flatten();
        all.filter(move |(_, resource)| text(resource, &["Type"]) == Some(kind))
            .filter_map(|(id, resource)| Some((id.as_str()?, resource)))
    }

    /// Whether there is a resource of that name.
    pub(super) fn has_resource(&self, id: &str) -> bool {
        self.at(&["Resources", id]).is_some()
    }

    /// A whole number of a parameter's declaration.
    pub(super) fn parameter(&self, name: &str, attribute: &str) -> Option<usize> {
        let number = self.at(&["Parameters", name, attribute])?.as_u64()?;
        usize::try_from(number).ok()
    }
}

/// What stands at a path of names.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.as_mapping()?.get(*name))
}

/// The text at a path of names.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// Whether `true` stands at a path of names.
pub(super) fn is_true(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool) == Some(true)
}

/// The name that `!Ref` or `!GetAtt` refers to, without an attribute.
pub(super) fn target(value: &Value) -> Option<&str> {
    let Value::Tagged(tagged) = value else { return None };
    let name = tagged.value.as_str()?;
    (tagged.tag == "Ref" || tagged.tag == "GetAtt").then(|| name.split('.').next().unwrap_or(name))
}

/// The text within `!Sub`, or a plain text.
pub(super) fn pattern(value: &Value) -> Option<&str> {
    if let Value::Tagged(tagged) = value {
        return tagged.value.as_str().filter(|_| tagged.tag == "Sub");
    }
    value.as_str()
}

/// The items of a list, or the value itself as the only one; CloudFormation allows both in policies.
pub(super) fn items(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Sequence(items)) => items.iter().collect(),
        Some(one) => vec![one],
        None => vec![],
    }
}
