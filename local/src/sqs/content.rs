//! What a message carries: which characters and attributes are allowed, how large it is, and the MD5 digests by which
//! clients check that it arrived unharmed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::error::{Code, Refusal};
use super::limits;

/// A message attribute or message system attribute, as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, with an optional label after a dot.
    #[serde(default)]
    pub data_type: String,
    /// The value, unless the type is `Binary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value in base64, if the type is `Binary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl MessageAttribute {
    /// Creates an attribute of type `String`.
    pub fn text(value: impl Into<String>) -> MessageAttribute {
        MessageAttribute { data_type: "String".into(), string_value: Some(value.into()), binary_value: None }
    }

    /// The value's bytes and the transport byte of the digest: 1 for text, 2 for binary. `None` if the value does not
    /// fit the type.
    fn value(&self) -> Option<(u8, Vec<u8>)> {
        let label = self.data_type.split('.').next().unwrap_or_default();
        match (label, &self.string_value, &self.binary_value) {
            ("String" | "Number", Some(text), None) => Some((1, text.clone().into_bytes())),
            ("Binary", None, Some(encoded)) => Some((2, STANDARD.decode(encoded).ok()?)),
            _ => None,
        }
    }
}

/// Whether SQS takes the text: the characters of XML 1.0, which leave out most control characters.
pub(crate) fn is_legal(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}'))
}

/// Refuses text with characters that SQS does not take.
pub(crate) fn check_text(text: &str) -> Result<(), Refusal> {
    if is_legal(text) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InvalidMessageContents,
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD \
         | #x10000 to #x10FFFF.",
    ))
}

/// Checks the attributes and returns how many bytes of the message's size they take: names, types and values.
pub(crate) fn check_attributes(attributes: &BTreeMap<String, MessageAttribute>) -> Result<usize, Refusal> {
    if attributes.len() > limits::MESSAGE_ATTRIBUTES_MAX {
        return Err(Refusal::invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{}].",
            attributes.len(),
            limits::MESSAGE_ATTRIBUTES_MAX
        )));
    }
    let mut bytes = 0;
    for (name, attribute) in attributes {
        check_attribute_name(name)?;
        bytes += name.len() + attribute.data_type.len() + check_attribute(name, attribute)?;
    }
    Ok(bytes)
}

fn check_attribute_name(name: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let lower = name.to_ascii_lowercase();
    let shaped = !name.is_empty() && name.len() <= limits::ATTRIBUTE_NAME_CHARS_MAX && name.chars().all(legal);
    let dotted = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if !shaped || dotted || lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(Refusal::invalid(format!("The message attribute name '{name:.300}' is invalid.")));
    }
    Ok(())
}

/// Checks one attribute and returns the length of its value in bytes.
fn check_attribute(name: &str, attribute: &MessageAttribute) -> Result<usize, Refusal> {
    let kind = attribute.data_type.as_str();
    let label = kind.split('.').next().unwrap_or_default();
    if !["String", "Number", "Binary"].contains(&label) || kind.len() > limits::ATTRIBUTE_NAME_CHARS_MAX {
        return Err(Refusal::invalid(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        )));
    }
    let Some((_, value)) = attribute.value().filter(|(_, value)| !value.is_empty()) else {
        return Err(Refusal::invalid(format!(
            "The message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        )));
    };
    if let Some(text) = &attribute.string_value {
        check_text(text)?;
        if label == "Number" && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Refusal::invalid(format!(
                "Can't cast the value of message (user) attribute '{name}' to a number."
            )));
        }
    }
    Ok(value.len())
}

/// Checks the system attributes, of which a sender can set only `AWSTraceHeader`, and returns that one. They do not
/// count towards the message's size.
pub(crate) fn check_system_attributes(
    mut attributes: BTreeMap<String, MessageAttribute>,
) -> Result<Option<MessageAttribute>, Refusal> {
    let trace = attributes.remove("AWSTraceHeader");
    if let Some(name) = attributes.keys().next() {
        return Err(Refusal::invalid(format!("Message system attribute name '{name:.300}' is invalid.")));
    }
    if let Some(trace) = &trace {
        if trace.data_type != "String" {
            return Err(Refusal::invalid("Message system attribute 'AWSTraceHeader' must be of type String."));
        }
        check_attribute("AWSTraceHeader", trace)?;
    }
    Ok(trace)
}

/// MD5 of the text in hexadecimal.
pub(crate) fn md5_of_text(text: &str) -> String {
    hexadecimal(&Md5::digest(text.as_bytes()))
}

/// MD5 of attributes as the developer guide defines it: sorted by name, each part preceded by its length. `None` if
/// there are no attributes, for then SQS gives no digest.
pub(crate) fn md5_of_attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a MessageAttribute)>,
) -> Option<String> {
    let sorted: BTreeMap<&str, &MessageAttribute> = attributes.into_iter().collect();
    if sorted.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    let mut part = |bytes: &[u8], transport: Option<u8>| {
        if let Some(byte) = transport {
            digest.update([byte]);
        }
        // No attribute is longer than a message, which is far below what 32 bits can say.
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in sorted {
        let (transport, value) = attribute.value().unwrap_or_default();
        part(name.as_bytes(), None);
        part(attribute.data_type.as_bytes(), None);
        part(&value, Some(transport));
    }
    Some(hexadecimal(&digest.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}
