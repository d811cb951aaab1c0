//! Whom a dead letter names, so that a deletion of them finds it.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use shared::event::{Event, Kind};
use shared::json::Members;
use shared::limits::SUBJECT_CHARS_MAX;

/// Whom a letter names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Ids: of the user and, of an alias, of both; of the device where no user is named.
    pub ids: BTreeSet<String>,
    /// Whether no user is named but the device itself.
    pub is_anonymous: bool,
}

impl Names {
    /// Whom an event names.
    #[must_use]
    pub fn of_event(event: &Event) -> Self {
        let former = event.target.iter().filter(|_| event.kind == Kind::Alias);
        let ids = [&event.subject].into_iter().chain(former).cloned().collect();
        Self { ids, is_anonymous: event.is_anonymous() }
    }

    /// Reads an item as its producer wrote it, by the members of either protocol that name somebody. An item that names no
    /// user is found by its device, and by an e-mail address as by a device.
    #[must_use]
    pub fn of_item(item: &RawValue) -> Self {
        // The name of some member may be no text.
        let readable = Members::parse(item.get()).is_err().then(|| without_lone_surrogates(item.get()));
        let Ok(members) = Members::parse(readable.as_deref().unwrap_or(item.get())) else { return Self::default() };
        let id = |members: &Members<'_>, name: &str| {
            let raw = members.get(name)?.get();
            let text = serde_json::from_str::<String>(raw).ok();
            let number =
                || raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| raw.to_owned());
            text.or_else(number).filter(|id| !id.is_empty() && id.chars().count() <= SUBJECT_CHARS_MAX)
        };
        let inner =
            |name: &str| members.get(name).and_then(|value| Members::parse(value.get()).ok()).unwrap_or_default();
        let (identity, traits) = (inner("identity"), inner("traits"));
        let users = ["userId", "previousId", "id", "new_id"].iter().filter_map(|name| id(&members, name));
        let users: BTreeSet<String> = users.chain(id(&identity, "id")).collect();
        let device = id(&members, "anonymousId");
        let is_anonymous = users.iter().all(|user| Some(user) == device.as_ref());
        let addresses = [id(&members, "email"), id(&identity, "email"), id(&traits, "email")];
        let homes = addresses.into_iter().flatten().chain(device).filter(|_| is_anonymous);
        let ids: BTreeSet<String> = users.iter().cloned().chain(homes).collect();
        Self { is_anonymous: is_anonymous && !ids.is_empty(), ids }
    }
}

/// JSON in which escapes of half a character, which no text can hold, are replaced.
fn without_lone_surrogates(json: &str) -> String {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit))
    };
    let (mut text, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let is_pair = |high: u32| high < 0xDC00 && escape.get(6..).and_then(unit).is_some_and(|low| low >= 0xDC00);
        let length = match unit(escape) {
            Some(high) if is_pair(high) => 12,
            Some(_) => {
                text.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            // The character behind a backslash may be another, which begins nothing.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        text.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(item: &str) -> (Vec<String>, bool) {
        let names = Names::of_item(&RawValue::from_string(item.to_owned()).unwrap());
        (names.ids.into_iter().collect(), names.is_anonymous)
    }

    #[test]
    fn an_item_names_its_users_or_else_its_device_and_addresses() {
        for (item, ids, is_anonymous) in [
            (r#"{"userId":"ann","anonymousId":"d"}"#, &["ann"][..], false),
            (r#"{"userId":7,"previousId":"was"}"#, &["7", "was"], false),
            (r#"{"identity":{"id":"ann","email":"a@x.io"}}"#, &["ann"], false),
            (r#"{"id":"was","new_id":"ann"}"#, &["ann", "was"], false),
            (r#"{"anonymousId":"d","traits":{"email":"a@x.io"}}"#, &["a@x.io", "d"], true),
            (r#"{"email":"a@x.io"}"#, &["a@x.io"], true),
            (r#"{"userId":"d","anonymousId":"d"}"#, &["d"], true),
            (r#"{"userId":[],"event":"e"}"#, &[], false),
            ("7", &[], false),
        ] {
            assert_eq!(of(item), (ids.iter().map(|id| (*id).to_owned()).collect(), is_anonymous), "{item}");
        }
    }

    #[test]
    fn a_member_whose_name_is_no_text_hides_nobody() {
        let ann = (vec!["ann".to_owned()], false);
        for name in [r"\udc00", r"\ud83d", r"\\\udfff", r"\uD800\u0041"] {
            assert_eq!(of(&format!(r#"{{"{name}":"secret","userId":"ann"}}"#)), ann, "{name}");
        }
        let emoji = r"\ud83d\ude00";
        let item = format!(r#"{{"\udc00":1,"userId":"{emoji}"}}"#);
        assert_eq!(of(&item).0, ["\u{1F600}"], "a whole pair is a character");
    }
}
