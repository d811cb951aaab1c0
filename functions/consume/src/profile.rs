//! A profile: what is known of one id, as registers whose joining commutes. Any order, repetition or split of a
//! history gives the same profile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::outcome::Cause;

use crate::operation::Operation;
use crate::remains::REMAINS_FOR;
use crate::store::partition;
use crate::table::{Attributes, Item, Key, Value};

/// The number that changes with every write of a profile.
pub const VERSION: &str = "ver";
/// The sort key of the profile of a user.
pub const SORT: &str = "PROFILE";
/// The sort key of what is known of a device before any user is named: a text can be a user's id and a device's.
pub const DEVICE_SORT: &str = "PROFILE#DEVICE";
/// The most values that one profile keeps. In memory each takes about [`VALUE_BYTES`] beyond its text, which for short
/// values is many times the text.
pub const VALUES_MAX: usize = 2_000;
/// What a value takes in memory beyond its text: its place in a tree whose nodes may be half empty (150), and what the
/// allocator adds to its two small texts (50).
pub const VALUE_BYTES: usize = 200;

/// Where the profile of an id is: that of a user, or what is known of a device before any user is named.
#[must_use]
pub fn key(project: &str, id: &str, is_anonymous: bool) -> Key {
    let sk = if is_anonymous { DEVICE_SORT } else { SORT };
    Key { pk: partition(project, id), sk: sk.to_owned() }
}

/// The parts of a profile, each an attribute of its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Traits by name.
    Traits,
    /// Tags, each `true` (on) or `false` (taken off).
    Tags,
    /// Groups by id, each with the group's traits.
    Groups,
    /// `subscribed`: `true` or `false`.
    Subscription,
}

const SECTIONS: [(Section, &str); 4] = [
    (Section::Traits, "traits"),
    (Section::Tags, "tags"),
    (Section::Groups, "groups"),
    (Section::Subscription, "subscription"),
];
/// The events that the values come from.
const EVENTS: &str = "events";
const DELETED: &str = "deleted";

/// One value with what decides which of two values stays: the later one, by corrected time, then by event id, then by
/// its text, so that the order is total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register {
    /// When it was so, by our clock.
    pub time: Timestamp,
    /// The event that says so. An event often sets thousands of values, so they share its id.
    pub event: Arc<str>,
    /// The value: JSON text.
    pub value: String,
}

/// What is known of one id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Shared by copies until one of them is changed.
    registers: Arc<BTreeMap<(Section, String), Register>>,
    /// The moment up to which everything is forgotten.
    pub deleted: Option<Timestamp>,
}

/// The stored form of a register: value, milliseconds, and the place of its event among [`EVENTS`]. An event often sets
/// many values, so its id is stored once.
#[derive(Serialize, Deserialize)]
struct Stored(Box<RawValue>, i64, usize);

impl Profile {
    /// Keeps what an operation says of this very id.
    pub fn apply(&mut self, operation: &Operation) {
        for (section, name, register) in &operation.registers {
            self.keep(*section, name, register);
        }
    }

    fn keep(&mut self, section: Section, name: &str, register: &Register) {
        if self.deleted.is_some_and(|moment| register.time <= moment) {
            return;
        }
        let key = (section, name.to_owned());
        if self.registers.get(&key).is_none_or(|present| present < register) {
            Arc::make_mut(&mut self.registers).insert(key, register.clone());
        }
    }

    /// Forgets everything up to a moment, and whatever may come of it later.
    pub fn forget(&mut self, moment: Timestamp) {
        let moment = self.deleted.map_or(moment, |before| before.max(moment));
        self.deleted = Some(moment);
        if self.registers.values().any(|register| register.time <= moment) {
            Arc::make_mut(&mut self.registers).retain(|_, register| register.time > moment);
        }
    }

    /// Keeps of another profile's values those that are later.
    pub fn join(&mut self, other: &Self) {
        for ((section, name), register) in &*other.registers {
            self.keep(*section, name, register);
        }
    }

    /// Whether there is a value for what a register is for.
    #[must_use]
    pub fn has(&self, section: Section, name: &str) -> bool {
        self.registers.contains_key(&(section, name.to_owned()))
    }

    /// How many values it keeps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registers.len()
    }

    /// Whether it keeps none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// Whether it keeps no more values than a profile may.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.registers.len() <= VALUES_MAX
    }

    /// The values of a part, by name, as JSON texts.
    pub fn values(&self, section: Section) -> impl Iterator<Item = (&str, &str)> {
        let registers = self.registers.iter().filter(move |((of, _), _)| *of == section);
        registers.map(|((_, name), register)| (name.as_str(), register.value.as_str()))
    }

    /// A value as JSON text.
    #[must_use]
    pub fn value(&self, section: Section, name: &str) -> Option<&str> {
        self.registers.get(&(section, name.to_owned())).map(|register| register.value.as_str())
    }

    /// The profile's item: each part an attribute, each value with its time in milliseconds and its event. One from which
    /// everything was erased stays for a day after `now`, for a write that began before and is still under way.
    #[must_use]
    pub fn item(&self, key: Key, version: i64, now: Timestamp) -> Item {
        let mut item = Item { key, attributes: BTreeMap::new() };
        let events: BTreeSet<&str> = self.registers.values().map(|register| &*register.event).collect();
        let places: BTreeMap<&str, usize> = events.iter().enumerate().map(|(place, event)| (*event, place)).collect();
        if !events.is_empty() {
            item.text(EVENTS, json(&events));
        }
        for (section, attribute) in SECTIONS {
            let part: BTreeMap<&str, Stored> = self
                .registers
                .iter()
                .filter(|((of, _), _)| *of == section)
                .map(|((_, name), register)| {
                    let value = RawValue::from_string(register.value.clone()).expect("the value was read from JSON");
                    (name.as_str(), Stored(value, register.time.as_millis(), places[&*register.event]))
                })
                .collect();
            if !part.is_empty() {
                item.text(attribute, json(&part));
            }
        }
        if let Some(moment) = self.deleted {
            item.number(DELETED, moment.as_millis());
            if self.registers.is_empty() {
                item.number("ttl", now.plus(REMAINS_FOR).as_millis() / 1_000);
            }
        }
        item.number(VERSION, version);
        item
    }

    /// Reads a profile's item, with its version; `None` if it is not one.
    #[must_use]
    pub fn read(attributes: &Attributes) -> Option<(Self, i64)> {
        let text = |name: &str| attributes.get(name).and_then(Value::text);
        let events: Vec<String> = serde_json::from_str(text(EVENTS).unwrap_or("[]")).ok()?;
        let events: Vec<Arc<str>> = events.into_iter().map(Arc::from).collect();
        let mut registers = BTreeMap::new();
        for (section, attribute) in SECTIONS {
            let part: BTreeMap<String, Stored> = serde_json::from_str(text(attribute).unwrap_or("{}")).ok()?;
            for (name, Stored(value, millis, place)) in part {
                let time = Timestamp::from_millis_clamped(millis);
                let event = Arc::clone(events.get(place)?);
                let register = Register { time, event, value: value.get().to_owned() };
                registers.insert((section, name), register);
            }
        }
        let mut profile = Self { registers: Arc::new(registers), ..Self::default() };
        profile.deleted = attributes.get(DELETED).and_then(Value::number).map(Timestamp::from_millis_clamped);
        Some((profile, attributes.get(VERSION)?.number()?))
    }
}

/// Says that a stored profile cannot be read. Without it nothing can be said of whom it is of; it is tried again.
pub fn unreadable(project: &str) -> Cause {
    tracing::error!(project, "a stored profile cannot be read");
    Cause::Denied
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a profile has only text and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(millis: i64, value: &str) -> Register {
        Register { time: Timestamp::from_millis(millis).unwrap(), event: "e".into(), value: value.into() }
    }

    fn set(name: &str, millis: i64, value: &str) -> Operation {
        Operation { registers: vec![(Section::Traits, name.into(), register(millis, value))] }
    }

    #[test]
    fn the_later_value_stays_whatever_came_first() {
        for order in [[0, 1], [1, 0]] {
            let operations = [set("plan", 1, "\"free\""), set("plan", 2, "\"pro\"")];
            let mut profile = Profile::default();
            for index in order {
                profile.apply(&operations[index]);
            }
            assert_eq!(profile.value(Section::Traits, "plan"), Some("\"pro\""));
        }
    }

    #[test]
    fn nothing_up_to_a_deletion_is_kept_whatever_came_first() {
        let operations = [Some(set("old", 5, "1")), None, Some(set("new", 6, "2"))];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
            let mut profile = Profile::default();
            for index in order {
                match &operations[index] {
                    Some(operation) => profile.apply(operation),
                    None => profile.forget(Timestamp::from_millis(5).unwrap()),
                }
            }
            assert_eq!(
                (profile.value(Section::Traits, "old"), profile.value(Section::Traits, "new")),
                (None, Some("2"))
            );
        }
    }

    #[test]
    fn an_item_keeps_the_text_of_values_and_reads_back() {
        let mut profile = Profile::default();
        for (name, value) in [("n", "1.50"), ("big", "12345678901234567890"), ("gone", "null"), ("o", "{ \"x\":1 }")] {
            profile.apply(&set(name, 1, value));
        }
        Arc::make_mut(&mut profile.registers).insert((Section::Tags, "vip".into()), register(2, "true"));
        profile.deleted = Timestamp::from_millis(0);
        let item = profile.item(Key { pk: "dev#a".into(), sk: SORT.into() }, 7, Timestamp::from_millis(0).unwrap());
        assert!(!item.attributes.contains_key("ttl"));
        assert_eq!(
            item.attributes["traits"].text(),
            Some(r#"{"big":[12345678901234567890,1,0],"gone":[null,1,0],"n":[1.50,1,0],"o":[{ "x":1 },1,0]}"#)
        );
        assert_eq!(item.attributes["events"].text(), Some(r#"["e"]"#));
        let attributes = crate::table::as_read(&item.attributes);
        assert_eq!(Profile::read(&attributes), Some((profile, 7)));
    }

    #[test]
    fn of_a_profile_that_was_forgotten_an_item_is_left_for_a_day() {
        let mut profile = Profile::default();
        profile.apply(&set("plan", 1, "1"));
        profile.forget(Timestamp::from_millis(5).unwrap());
        let now = Timestamp::from_millis(10_000).unwrap();
        let item = profile.item(Key { pk: "dev#a".into(), sk: SORT.into() }, 2, now);
        assert_eq!(item.attributes["ttl"].number(), Some(10 + 86_400));
        assert_eq!(item.attributes.len(), 3, "{item:?}");
    }

    #[test]
    fn what_is_no_profile_is_not_read() {
        for (name, value) in [("traits", "[]"), ("tags", "{\"a\":1}"), ("tags", "{\"a\":[true,1,0]}")] {
            let attributes =
                Attributes::from([(VERSION.into(), Value::Number(1)), (name.to_owned(), Value::Text(value.into()))]);
            assert_eq!(Profile::read(&attributes), None, "{name}");
        }
    }
}
