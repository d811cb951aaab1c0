//! The law that every test ends with: each accepted event has exactly one fate (promise P2).
//!
//! It is checked against the tables as they are, not against what the functions say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use consume::bundle::trace_of;
use consume::dead_letter::{State, attribute};
use consume::marker::Claim;
use consume::table::Key;
use consume::{store, tombstone};
use shared::event::Event;
use shared::keys::{USER_HOME, write_key_attribute, write_key_partition};
use shared::message::Message;

use crate::pipeline::{Item, text};

/// What was accepted, and what came out of the queue.
#[derive(Default)]
pub(crate) struct Ledger {
    accepted: BTreeSet<String>,
    events: BTreeMap<String, (Message, Event)>,
}

impl Ledger {
    /// Notes that every one of a request's items was accepted.
    pub(crate) fn accept(&mut self, receipt: &str, items: usize) {
        self.accepted.extend((0..items).map(|index| format!("{receipt}.{index}")));
    }

    /// Does what `consume` does with messages whose write key was not checked, by the items of the keys.
    pub(crate) fn verify(&mut self, items: &[Item]) {
        let keys: BTreeMap<String, &Item> = items.iter().map(|item| (text(item, "pk"), item)).collect();
        for (message, event) in self.events.values_mut().filter(|(message, _)| !message.verified) {
            let partition = message.write_key_hash.as_deref().map(write_key_partition);
            let Some(key) = partition.and_then(|partition| keys.get(&partition)) else { continue };
            message.project = text(key, write_key_attribute::PROJECT);
            if text(key, write_key_attribute::HOME) == USER_HOME {
                event.live_with_user();
            }
        }
    }

    /// Notes what a message carries.
    pub(crate) fn see(&mut self, message: &Message) {
        for event in &message.events {
            self.events.insert(store::origin(message, event), (message.clone(), event.clone()));
        }
    }
}

/// Checks the law. `traces` are what is left in bundles of events that were erased, each with its partition.
pub(crate) fn check(ledger: &Ledger, items: &[Item], traces: &BTreeSet<(String, String)>, letters: &[Item]) {
    let mut stored = BTreeMap::new();
    for item in items.iter().filter(|item| item.contains_key(store::ORIGIN)) {
        *stored.entry(text(item, store::ORIGIN)).or_insert(0) += 1;
    }
    let dead = dead_lettered(letters);
    let keys: BTreeMap<(String, String), &Item> =
        items.iter().map(|item| ((text(item, "pk"), text(item, "sk")), item)).collect();
    let at = |key: Key| keys.get(&(key.pk, key.sk)).copied();
    let deleted_until = |message: &Message, event: &Event| {
        let tombstones = tombstone::tombstone_keys(&message.project, event)
            .into_iter()
            .filter_map(|key| at(key)?.get("until")?.as_n().ok()?.parse::<i64>().ok());
        tombstones.max()
    };
    // Its identity is claimed by another, and that one has a fate: a claim alone is no event.
    let claimed_by_another = |message: &Message, event: &Event| {
        let claim = Claim::of(event, message)?;
        let windows: Vec<(i64, String)> = serde_json::from_str(&text(at(claim.key)?, "seen")).ok()?;
        let others = windows.iter().filter(|(_, origin)| *origin != claim.origin);
        Some(others.into_iter().any(|(_, origin)| stored.contains_key(origin) || dead.contains(origin)))
    };
    let claimed_by_another = |message: &Message, event: &Event| claimed_by_another(message, event).unwrap_or(false);
    for origin in ledger.accepted.iter().chain(ledger.events.keys()) {
        let is_stored = stored.get(origin).copied().unwrap_or(0);
        let is_dead = usize::from(dead.contains(origin));
        let is_erased = ledger.events.get(origin).is_some_and(|(message, event)| {
            let until = deleted_until(message, event);
            is_stored == 0 && is_dead == 0 && until.is_some_and(|until| event.timestamp.as_millis() <= until)
        });
        let is_duplicate = ledger.events.get(origin).is_some_and(|(message, event)| {
            let key = store::item(message, event).key;
            let trace = (key.pk.clone(), trace_of(&key.sk));
            let is_there = keys.contains_key(&(key.pk, key.sk)) || traces.contains(&trace);
            let taken = is_there || claimed_by_another(message, event);
            is_stored == 0 && is_dead == 0 && !is_erased && taken
        });
        let fates = is_stored + is_dead + usize::from(is_duplicate) + usize::from(is_erased);
        assert_eq!(
            fates, 1,
            "{origin}: stored {is_stored}, dead {is_dead}, duplicate {is_duplicate}, erased {is_erased}"
        );
    }
}

/// What the letters stand for that wait, were discarded or erased: an item each, or all items of a message that was kept whole.
fn dead_lettered(letters: &[Item]) -> BTreeSet<String> {
    let mut dead = BTreeSet::new();
    let ended = [State::Waiting, State::Discarded, State::Erased].map(State::tag);
    for letter in letters.iter().filter(|letter| ended.contains(&text(letter, attribute::STATE).as_str())) {
        match Message::decode(&text(letter, attribute::BODY)) {
            Ok(message) => {
                let events = message.events.iter().map(|event| event.index);
                let indexes = events.chain(message.refused.iter().map(|item| item.index));
                dead.extend(indexes.map(|index| format!("{}.{index}", message.receipt)));
            }
            Err(_) => dead.extend(text(letter, "sk").split_once('#').map(|(_, id)| id.to_owned())),
        }
    }
    dead
}
