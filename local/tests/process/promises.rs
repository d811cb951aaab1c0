//! What must hold when everything has drained: each acknowledged event has its one fate.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Item, events_table, scan};
use crate::load::Ledger;

/// The text of an attribute; empty if there is none.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

fn number(item: &Item, name: &str) -> i64 {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The reference that an event, or a profile's trait, was given by its producer.
fn reference(json: &str) -> String {
    let data: Value = serde_json::from_str(json).unwrap_or_default();
    data["ref"].as_str().unwrap_or_default().to_owned()
}

/// Asserts that the tables hold what producers were promised, and nothing else.
pub(crate) async fn assert_kept(dynamodb: &str, ledger: &Ledger) {
    let items = events_table(dynamodb).await;
    let events: Vec<&Item> = items.iter().filter(|item| item.contains_key("rcpt")).collect();
    let mut stored: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for event in &events {
        stored.entry(reference(text(event, "data"))).or_default().push(text(event, "sk"));
    }
    let twice: Vec<_> = stored.iter().filter(|(_, keys)| keys.len() > 1).collect();
    assert!(twice.is_empty(), "events are stored more than once: {twice:#?}");
    let lost: Vec<_> = ledger.acknowledged.iter().filter(|event| !stored.contains_key(*event)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are lost: {lost:?}", lost.len(), ledger.acknowledged.len());
    let known = |event: &&String| ledger.sent.contains(*event) || ledger.doomed.contains(*event);
    let unknown: Vec<_> = stored.keys().filter(|event| !known(event)).collect();
    assert!(unknown.is_empty(), "events are stored that nobody sent: {unknown:?}");
    for user in &ledger.deleted {
        let partition = format!("dev#{user}");
        let left: Vec<_> = events.iter().filter(|event| text(event, "pk") == partition).collect();
        assert!(left.is_empty(), "{user} is deleted, but there are {left:#?}");
    }
    assert_profiles(&items, &events);
    assert_letters(dynamodb, ledger).await;
}

/// Asserts that each profile says what the last of its stored events said, whatever order they came in.
fn assert_profiles(items: &[Item], events: &[&Item]) {
    let mut last: BTreeMap<&str, (i64, &str, String)> = BTreeMap::new();
    for event in events.iter().filter(|event| text(event, "kind") == "identify") {
        let id = text(event, "sk").splitn(3, '#').nth(2).unwrap_or_default();
        let said = (number(event, "time"), id, reference(text(event, "data")));
        let present = last.entry(text(event, "pk")).or_insert_with(|| said.clone());
        *present = said.max(present.clone());
    }
    let profiles: BTreeMap<&str, &Item> =
        items.iter().filter(|item| text(item, "sk") == "PROFILE").map(|item| (text(item, "pk"), item)).collect();
    for (user, (_, _, expected)) in &last {
        let profile = profiles.get(user).unwrap_or_else(|| panic!("{user} has no profile"));
        let traits: Value = serde_json::from_str(text(profile, "traits")).unwrap_or_default();
        assert_eq!(traits["ref"][0].as_str(), Some(expected.as_str()), "{user}: {profile:#?}");
    }
}

/// All dead letters, without the marks of the quarantine.
pub(crate) async fn dead_letters(dynamodb: &str) -> Vec<Item> {
    let items = scan(dynamodb, "DeadLettersTable").await;
    items.into_iter().filter(|item| !text(item, "pk").starts_with("QUARANTINE#")).collect()
}

/// Asserts that what can never be stored is a dead letter, once for each request at the most, and nothing else is.
async fn assert_letters(dynamodb: &str, ledger: &Ledger) {
    let mut letters: BTreeMap<String, u32> = BTreeMap::new();
    for letter in dead_letters(dynamodb).await {
        assert_eq!(text(&letter, "reason"), "event_not_defined", "{letter:#?}");
        let body: Value = serde_json::from_str(text(&letter, "body")).expect("a refused item is JSON");
        *letters.entry(body["messageId"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    for (id, count) in &letters {
        let sent = ledger.poison.get(id).copied().unwrap_or(0);
        assert!(*count <= sent, "{count} dead letters of {id}, which was sent {sent} times");
    }
    let lost: Vec<_> = ledger.poison_acknowledged.iter().filter(|id| !letters.contains_key(*id)).collect();
    assert!(lost.is_empty(), "acknowledged items are neither stored nor dead-lettered: {lost:?}");
}
