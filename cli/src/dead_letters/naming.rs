//! Whether a letter names somebody, and whether everything in it is theirs.
//!
//! `consume` notes a letter under the ids that it could read in it. Of a message that nobody read it could read none; so all
//! there is to go by is the text.

use std::collections::{BTreeSet, HashSet};

use consume::dead_letter::Head;
use consume::names::Names;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::event::Kind;
use shared::json::Members;
use shared::message::VERSION;

/// The ids by which somebody is named.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// Ids of theirs: the one that was asked for, and those that became it.
    pub ids: BTreeSet<String>,
    /// Devices that are theirs alone, and addresses.
    pub devices: BTreeSet<String>,
    /// What stands between quotation marks where a text names them: each id as it is, and as JSON writes it.
    quoted: HashSet<String>,
    /// Those of the ids that can stand in JSON as numbers.
    numbers: HashSet<String>,
}

/// How a text names somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a text of its own: it is hardly there by chance.
    Text,
    /// As a number, which may be that of something else.
    Number,
}

/// Why a letter that names somebody is not theirs altogether, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is about others, too, or only about others.
    Others,
    /// It says in no way that is known here whom it is about.
    Unreadable,
    /// Only a number in it is theirs.
    Number,
    /// Parts of its body are missing.
    Damaged,
}

impl Doubt {
    /// It in words, as the end of a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Others => "it is about others, at least in part",
            Self::Unreadable => "it cannot be read whom it is about",
            Self::Number => "only a number in it is that id",
            Self::Damaged => "a part of its body is missing",
        }
    }
}

impl Naming {
    /// Somebody with these ids and these devices.
    #[must_use]
    pub fn new(ids: BTreeSet<String>, devices: BTreeSet<String>) -> Self {
        let (mut quoted, mut numbers) = (HashSet::new(), HashSet::new());
        for id in ids.iter().chain(&devices) {
            quoted.extend(written(id));
            if is_number(id) {
                numbers.insert(id.clone());
            }
        }
        Self { ids, devices, quoted, numbers }
    }

    /// Whether this id or device is theirs.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.ids.contains(id) || self.devices.contains(id)
    }

    /// How a text names them, if it does: as a string or a number of JSON, and not as a part of a longer one. What is no
    /// JSON is looked through as if it were.
    #[must_use]
    pub fn in_text(&self, text: &str) -> Option<Form> {
        // The marks of a string may be escaped, where JSON stands in a string of JSON.
        let closed = text.rfind('"').map_or("", |end| &text[..end]);
        let mut strings = closed.split('"').skip(1);
        if strings.any(|string| self.quoted.contains(string.trim_end_matches('\\'))) {
            return Some(Form::Text);
        }
        // A string can be written in many ways; what reads JSON knows them all.
        let value = text.contains('\\').then(|| serde_json::from_str::<serde_json::Value>(text).ok()).flatten();
        if value.is_some_and(|value| self.in_value(&value)) {
            return Some(Form::Text);
        }
        let is_end = |character: char| character.is_whitespace() || ",:[]{}\"".contains(character);
        let has_number = !self.numbers.is_empty() && text.split(is_end).any(|word| self.numbers.contains(word));
        has_number.then_some(Form::Number)
    }

    fn in_value(&self, value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => self.has(text),
            serde_json::Value::Array(values) => values.iter().any(|value| self.in_value(value)),
            serde_json::Value::Object(members) => {
                members.iter().any(|(name, value)| self.has(name) || self.in_value(value))
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
        }
    }

    /// Whether everything in a letter that names them is theirs; otherwise why not.
    pub(super) fn owns(&self, head: &Head, body: &str) -> Result<(), Doubt> {
        if head.holds_item() {
            let item: &RawValue = serde_json::from_str(body).map_err(|_| Doubt::Unreadable)?;
            return self.owns_item(item);
        }
        let Some(message) = Bare::read(body) else { return self.owns_unread(body) };
        let is_theirs = message.events.iter().all(|event| self.is_about(event))
            && message.refused.iter().all(|item| self.owns_item(&item.body).is_ok());
        if is_theirs { Ok(()) } else { Err(Doubt::Others) }
    }

    fn is_about(&self, event: &BareEvent) -> bool {
        let former = event.target.as_ref().filter(|_| event.kind == Kind::Alias.tag());
        self.has(&event.subject) || former.is_some_and(|former| self.has(former))
    }

    /// Whether an item as its producer wrote it is about them.
    fn owns_item(&self, item: &RawValue) -> Result<(), Doubt> {
        let names = Names::of_item(item).ids;
        match self.in_text(item.get()) {
            _ if names.iter().any(|id| self.has(id)) => Ok(()),
            Some(Form::Text) if names.is_empty() => Ok(()),
            Some(Form::Number) if names.is_empty() => Err(Doubt::Number),
            Some(_) | None => Err(Doubt::Others),
        }
    }

    /// Whether a text that is no message of ours is a single event of theirs.
    fn owns_unread(&self, body: &str) -> Result<(), Doubt> {
        let item: &RawValue = serde_json::from_str(body).map_err(|_| Doubt::Unreadable)?;
        let members = Members::parse(body).map_err(|_| Doubt::Unreadable)?;
        // A message, or a batch, that is not as we know it.
        if ["events", "refused", "batch", "version"].iter().any(|name| members.get(name).is_some()) {
            return Err(Doubt::Unreadable);
        }
        let names = Names::of_item(item).ids;
        match (names.is_empty(), names.iter().any(|id| self.has(id))) {
            (_, true) => Ok(()),
            (true, false) => Err(Doubt::Unreadable),
            (false, false) => Err(Doubt::Others),
        }
    }
}

/// The ways in which a text of JSON commonly has an id: as it is, with what must be escaped, and with all that is not ASCII.
fn written(id: &str) -> impl Iterator<Item = String> {
    let escaped = serde_json::to_string(id).unwrap_or_default();
    let escaped = escaped.trim_matches('"').to_owned();
    let in_ascii = |hex: fn(u16) -> String| {
        let character = |character: char| -> String {
            if character.is_ascii() {
                return character.to_string();
            }
            character.encode_utf16(&mut [0; 2]).iter().map(|unit| hex(*unit)).collect()
        };
        escaped.chars().map(character).collect::<String>()
    };
    let (lower, upper) = (in_ascii(|unit| format!("\\u{unit:04x}")), in_ascii(|unit| format!("\\u{unit:04X}")));
    [id.to_owned(), escaped, lower, upper].into_iter()
}

/// Whether an id can stand in JSON as a number.
fn is_number(id: &str) -> bool {
    id.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && serde_json::from_str::<f64>(id).is_ok()
}

/// As much of a message as tells whom it is about. What ended the function may be in the rest of it.
#[derive(Deserialize)]
pub(super) struct Bare {
    version: u32,
    #[serde(default)]
    pub(super) project: String,
    #[serde(default)]
    pub(super) write_key_hash: Option<String>,
    #[serde(default)]
    events: Vec<BareEvent>,
    #[serde(default)]
    refused: Vec<BareItem>,
}

#[derive(Deserialize)]
struct BareEvent {
    kind: String,
    subject: String,
    #[serde(default)]
    target: Option<String>,
}

#[derive(Deserialize)]
struct BareItem {
    body: Box<RawValue>,
}

impl Bare {
    /// Reads a message of a version that is known here, with anything in it.
    pub(super) fn read(body: &str) -> Option<Self> {
        let message: Self = serde_json::from_str(body).ok()?;
        let is_known = (1..=VERSION).contains(&message.version);
        (is_known && !(message.events.is_empty() && message.refused.is_empty())).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(ids: &[&str]) -> Naming {
        Naming::new(ids.iter().map(|id| (*id).to_owned()).collect(), BTreeSet::from(["phone-1".to_owned()]))
    }

    #[test]
    fn an_id_is_found_as_a_whole_string_or_number_and_in_no_longer_one() {
        let ids = naming(&["ann", "ann@example.com", "42", "é\"x"]);
        for (text, found) in [
            (r#"{"userId":"ann"}"#, Some(Form::Text)),
            (r#"{"ann":1}"#, Some(Form::Text)),
            (r#"no JSON {"to":"ann@example.com"#, None),
            (r#"no JSON {"to":"ann@example.com" "#, Some(Form::Text)),
            (r#"{"inner":"{\"userId\":\"ann\"}"}"#, Some(Form::Text)),
            (r#"{"inner":"{\"userId\":\\\"ann\\\"}"#, Some(Form::Text)),
            (r#"{"userId":"\u0061nn"}"#, Some(Form::Text)),
            (r#"{"userId":"\u00e9\"x"}"#, Some(Form::Text)),
            (r#"{"userId":"phone-1"}"#, Some(Form::Text)),
            (r#"{"userId":"anna","other":"hi ann","more":"ann "}"#, None),
            (r#"{"userId":"42"}"#, Some(Form::Text)),
            (r#"{"userId": 42 }"#, Some(Form::Number)),
            (r#"{"userId":142,"n":[4.2,-42,420]}"#, None),
            ("ann", None),
            ("", None),
        ] {
            assert_eq!(ids.in_text(text), found, "{text}");
        }
    }

    fn head(call: &str) -> Head {
        let key = consume::table::Key { pk: "dev#2023-11-14".into(), sk: "2023-11-14T22:13:20.000Z#m:a".into() };
        let attributes = [("reason", "crashed_consumer"), ("call", call)];
        let text = |(name, text): (&str, &str)| (name.to_owned(), consume::table::Value::Text(text.to_owned()));
        Head::read(&key, &attributes.map(text).into()).unwrap()
    }

    #[test]
    fn a_letter_is_theirs_if_everything_in_it_is() {
        let ids = naming(&["ann", "42"]);
        let message = |events: &str| format!(r#"{{"version":2,"events":[{events}]}}"#);
        let event = |subject: &str| format!(r#"{{"kind":"track","subject":"{subject}","data":{{"to":"ann"}}}}"#);
        let (ann, bob) = (event("ann"), event("bob"));
        let alias = r#"{"kind":"alias","subject":"bob","target":"ann"}"#;
        let group = r#"{"kind":"group","subject":"bob","target":"ann"}"#;
        for (call, body, owns) in [
            ("", message(&ann), Ok(())),
            ("", message(&event("phone-1")), Ok(())),
            ("", message(alias), Ok(())),
            ("", message(group), Err(Doubt::Others)),
            ("", message(&format!("{ann},{bob}")), Err(Doubt::Others)),
            ("", message(&bob), Err(Doubt::Others)),
            ("", message(&ann).replace(":2", ":9"), Err(Doubt::Unreadable)),
            ("", r#"{"version":2,"events":"ann"}"#.into(), Err(Doubt::Unreadable)),
            ("", r#"{"version":2,"events":[],"refused":[{"body":{"userId":"ann"}}]}"#.into(), Ok(())),
            ("", r#"{"version":2,"refused":[{"body":["ann"]},{"body":7}]}"#.into(), Err(Doubt::Others)),
            ("", r#"{"userId":"ann","event":"e"}"#.into(), Ok(())),
            ("", r#"{"userId":"bob","friend":"ann"}"#.into(), Err(Doubt::Others)),
            ("", r#"{"friend":"ann"}"#.into(), Err(Doubt::Unreadable)),
            ("", r#"["ann"]"#.into(), Err(Doubt::Unreadable)),
            ("", r#"to "ann""#.into(), Err(Doubt::Unreadable)),
            ("track", r#"{"userId":"ann"}"#.into(), Ok(())),
            ("track", r#"{"userId":["ann"]}"#.into(), Ok(())),
            ("track", r#"{"userId":42}"#.into(), Ok(())),
            ("track", r#"{"count":42}"#.into(), Err(Doubt::Number)),
            ("track", r#"{"userId":"bob","friend":"ann"}"#.into(), Err(Doubt::Others)),
        ] {
            assert_eq!(ids.owns(&head(call), &body), owns, "{body}");
        }
    }
}
