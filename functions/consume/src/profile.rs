//! A profile as a fold of operations that commutes: any order, repetition or split of a history gives the same profile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::event::{Event, Kind};
use shared::json::Members;

/// What is known of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    traits: BTreeMap<String, Register>,
}

/// One value with what decides which of two values stays: the later one, by corrected time, then by event id, then by
/// its text, so that the order is total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Register {
    time: Timestamp,
    event: String,
    value: String,
}

/// What an event does to its subject's profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    time: Timestamp,
    event: String,
    traits: Vec<(String, String)>,
}

/// Why a stored profile cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored profile cannot be read")]
pub struct UnreadableProfile(#[from] serde_json::Error);

/// The stored form of a register: value, milliseconds, event id.
#[derive(Serialize, Deserialize)]
struct Stored(Box<RawValue>, i64, String);

impl Operation {
    /// What an event does to its subject's profile; `None` if nothing. Traits whose text cannot be read change nothing:
    /// `ingest` lets only objects through.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.kind != Kind::Identify {
            return None;
        }
        let traits = Members::parse(event.data.as_ref()?.get()).ok()?;
        let traits: Vec<_> = traits.iter().map(|(name, value)| (name.to_owned(), value.get().to_owned())).collect();
        (!traits.is_empty()).then(|| Self { time: event.timestamp, event: event.id.clone(), traits })
    }
}

impl Profile {
    /// Applies an operation. Returns whether anything changed.
    pub fn apply(&mut self, operation: &Operation) -> bool {
        let mut changed = false;
        for (name, value) in &operation.traits {
            let register = Register { time: operation.time, event: operation.event.clone(), value: value.clone() };
            let stays = self.traits.get(name).is_some_and(|present| *present >= register);
            if !stays {
                self.traits.insert(name.clone(), register);
                changed = true;
            }
        }
        changed
    }

    /// The value of a trait as JSON text.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.traits.get(name).map(|register| register.value.as_str())
    }

    /// The stored form: each trait with its value, its time in milliseconds and its event, readable in the console.
    #[must_use]
    pub fn encode(&self) -> String {
        let stored: BTreeMap<&str, Stored> = self
            .traits
            .iter()
            .map(|(name, register)| {
                let value = RawValue::from_string(register.value.clone()).expect("the value was read from JSON");
                (name.as_str(), Stored(value, register.time.as_millis(), register.event.clone()))
            })
            .collect();
        serde_json::to_string(&stored).expect("a profile has only text and numbers")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is not a profile.
    pub fn decode(text: &str) -> Result<Self, UnreadableProfile> {
        let stored: BTreeMap<String, Stored> = serde_json::from_str(text)?;
        let traits = stored.into_iter().map(|(name, Stored(value, millis, event))| {
            let time = Timestamp::from_millis_clamped(millis);
            (name, Register { time, event, value: value.get().to_owned() })
        });
        Ok(Self { traits: traits.collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::event::Identity;

    use super::*;

    fn identify(millis: i64, id: &str, traits: &str) -> Event {
        let time = Timestamp::from_millis(millis).unwrap();
        Event {
            index: 0,
            id: id.to_owned(),
            identity: Identity::Forever,
            kind: Kind::Identify,
            subject: "u".into(),
            name: None,
            target: None,
            data: Some(serde_json::from_str(traits).unwrap()),
            context: None,
            extra: None,
            client_time: Some(time),
            sent_at: None,
            timestamp: time,
        }
    }

    fn folded<'a>(history: impl IntoIterator<Item = &'a Event>) -> Profile {
        let mut profile = Profile::default();
        for event in history {
            profile.apply(&Operation::of(event).unwrap());
        }
        profile
    }

    #[test]
    fn the_later_value_of_a_trait_stays_whatever_came_first() {
        let early = identify(1_000, "a", r#"{"plan":"free","name":"Ann"}"#);
        let late = identify(2_000, "b", r#"{"plan":"pro"}"#);
        for history in [[&early, &late], [&late, &early]] {
            let profile = folded(history);
            assert_eq!((profile.value("plan"), profile.value("name")), (Some("\"pro\""), Some("\"Ann\"")));
        }
    }

    #[test]
    fn only_identify_with_traits_changes_a_profile() {
        let mut event = identify(1_000, "a", "{}");
        assert_eq!(Operation::of(&event), None);
        event.data = None;
        assert_eq!(Operation::of(&event), None);
        let mut event = identify(1_000, "a", r#"{"plan":"pro"}"#);
        event.kind = Kind::Track;
        assert_eq!(Operation::of(&event), None);
    }

    #[test]
    fn values_keep_their_text_and_a_null_is_a_value() {
        let profile = folded([&identify(1, "a", r#"{"n":1.50,"big":12345678901234567890,"gone":null,"o":{ "x":1 }}"#)]);
        let text = profile.encode();
        assert_eq!(
            text,
            r#"{"big":[12345678901234567890,1,"a"],"gone":[null,1,"a"],"n":[1.50,1,"a"],"o":[{ "x":1 },1,"a"]}"#
        );
        assert_eq!(Profile::decode(&text).unwrap(), profile);
        assert!(Profile::decode("[]").is_err());
    }

    prop_compose! {
        fn any_identify()(
            millis in 0_i64..5,
            id in "[a-c]",
            traits in prop::collection::btree_map("[a-d]", "[0-9]|null|\"[xy]\"", 1..4),
        ) -> Event {
            let members: Vec<String> = traits.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            identify(millis, &id, &format!("{{{}}}", members.join(",")))
        }
    }

    proptest! {
        #[test]
        fn any_order_repetition_and_split_of_a_history_gives_the_same_profile(
            (history, shuffled) in prop::collection::vec(any_identify(), 1..12)
                .prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle())),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            split in any::<prop::sample::Index>(),
        ) {
            let expected = folded(&history);
            let repeated = shuffled.iter().chain(again.iter().map(|index| index.get(&history)));
            prop_assert_eq!(&folded(repeated), &expected);
            // Stored and read back at any point, as between two invocations.
            let at = split.index(shuffled.len());
            let mut profile = Profile::decode(&folded(&shuffled[..at]).encode()).unwrap();
            for event in &shuffled[at..] {
                profile.apply(&Operation::of(event).unwrap());
            }
            prop_assert_eq!(profile, expected);
        }
    }
}
