//! A stored event, as its item says it.

use consume::store::{Named, ORIGIN, named};
use consume::table::{Attributes, Key, Value};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use shared::clock::Timestamp;

/// A stored event. Words are as they stand in the item, so that what a newer code has written can be shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// The event's id.
    pub id: String,
    /// Where it lives: its device, or the user that it names if it has none.
    pub home: String,
    /// The user that it names; absent if it names nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the call says: the tag of a [`shared::event::Kind`].
    pub kind: String,
    /// The event's name, or the name of the page or screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The group of a group call, the former id of an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When it happened, by our clock.
    pub time: Timestamp,
    /// When it happened as its producer says it, or when it came where they say nothing: the time in its key.
    pub said_time: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// The source that it came by.
    pub source: String,
    /// The receipt of its request, and its place in that.
    pub origin: String,
    /// Properties, traits or tags, as its producer wrote them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Segment's context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Box<RawValue>>,
    /// Everything else of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<RawValue>>,
}

impl StoredEvent {
    /// Reads an item; `None` if it is no stored event. What is left of one that was erased has no origin, and is none.
    #[must_use]
    pub fn read(key: &Key, attributes: &Attributes) -> Option<Self> {
        let (_, home) = key.pk.split_once('#')?;
        let user = match named(attributes) {
            Named::Home => Some(home),
            Named::User(user) => Some(user),
            Named::Nobody => None,
        };
        let (said_time, id) = key.sk.strip_prefix("E#")?.split_once('#')?;
        let text = |name: &str| attributes.get(name).and_then(Value::text);
        let moment = |name: &str| {
            let millis = attributes.get(name).and_then(Value::number);
            millis.map_or(Timestamp::from_millis_clamped(0), Timestamp::from_millis_clamped)
        };
        // A text that is no JSON is shown as the text that it is.
        let json = |name: &str| {
            let text = text(name)?;
            RawValue::from_string(text.to_owned()).or_else(|_| to_raw_value(text)).ok()
        };
        Some(Self {
            id: id.to_owned(),
            home: home.to_owned(),
            user: user.map(str::to_owned),
            kind: text("kind").unwrap_or_default().to_owned(),
            name: text("name").map(str::to_owned),
            target: text("target").map(str::to_owned),
            time: moment("time"),
            said_time: said_time.parse().ok()?,
            received_at: moment("recv"),
            source: text("src").unwrap_or_default().to_owned(),
            origin: text(ORIGIN)?.to_owned(),
            data: json("data"),
            context: json("ctx"),
            extra: json("more"),
        })
    }
}
