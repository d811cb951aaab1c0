//! A person: all the ids that are joined by aliases, with their profiles brought into agreement.
//!
//! An alias makes a link from the former id to the later one that is never taken back. Two rules hold over links, each
//! the join of a semilattice, so that no order of events can tell: what is known of an id holds for every id that it
//! became, and a deletion of any id holds for all of them.

use std::collections::BTreeMap;

use crate::operation::Operation;
use crate::profile::Profile;

/// The profiles of a person by id.
pub type Person = BTreeMap<String, Profile>;

/// Applies operations of one id. Every id that they or the profiles name must be in `person`.
pub fn apply<'a>(person: &mut Person, id: &str, operations: impl IntoIterator<Item = &'a Operation>) {
    let profile = person.entry(id.to_owned()).or_default();
    for operation in operations {
        profile.apply(operation);
    }
    agree(person);
}

/// Brings the profiles into agreement. Doing it again changes nothing.
fn agree(person: &mut Person) {
    let links: Vec<(String, String)> = person
        .iter()
        .flat_map(|(id, profile)| {
            let forward = profile.later_ids.iter().map(|later| (id.clone(), later.clone()));
            let backward = profile.former_ids.iter().map(|former| (former.clone(), id.clone()));
            forward.chain(backward).collect::<Vec<_>>()
        })
        .collect();
    for (former, later) in &links {
        person.entry(former.clone()).or_default().later_ids.insert(later.clone());
        person.entry(later.clone()).or_default().former_ids.insert(former.clone());
    }
    if let Some(moment) = person.values().filter_map(|profile| profile.deleted).max() {
        for profile in person.values_mut() {
            profile.forget(moment);
        }
    }
    // Each round carries every value one link further, so as many rounds as there are ids carry it everywhere.
    for _ in 0..person.len() {
        let before = person.clone();
        for (former, later) in &links {
            if let Some(profile) = person.get_mut(later) {
                profile.join(&before[former]);
            }
        }
        if *person == before {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use shared::clock::Timestamp;

    use super::*;
    use crate::profile::{Register, Section};

    /// One thing that happened to an id.
    #[derive(Clone, Debug)]
    enum Happened {
        Set { name: u8, value: u8 },
        Became(u8),
        Deleted,
    }

    type Event = (u8, i64, Happened);

    fn moment(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn operation((id, millis, happened): &Event) -> Option<(String, Operation)> {
        let mut operation = Operation::default();
        let mut subject = id.to_string();
        match happened {
            Happened::Set { name, value } => {
                let register = Register { time: moment(*millis), event: "e".into(), value: value.to_string() };
                operation.registers.push((Section::Traits, name.to_string(), register));
            }
            Happened::Became(later) if later != id => {
                operation.former = Some(subject);
                subject = later.to_string();
            }
            Happened::Became(_) => return None,
            Happened::Deleted => operation.deleted = Some(moment(*millis)),
        }
        Some((subject, operation))
    }

    /// All profiles there are, changed person by person as the function does: it reads what is joined, and no more.
    fn replayed(history: &[Event]) -> Person {
        let mut world = Person::new();
        for (id, operation) in history.iter().filter_map(operation) {
            let mut wanted: Vec<String> = std::iter::once(id.clone()).chain(operation.former.clone()).collect();
            let mut person = Person::new();
            while let Some(id) = wanted.pop() {
                let profile = world.get(&id).cloned().unwrap_or_default();
                wanted.extend(profile.neighbours().filter(|id| !person.contains_key(*id)).cloned());
                person.insert(id, profile);
            }
            apply(&mut person, &id, [&operation]);
            world.extend(person);
        }
        world.retain(|_, profile| *profile != Profile::default());
        world
    }

    /// The same by the rules alone, from the whole set of events at once.
    fn by_the_rules(history: &[Event]) -> BTreeMap<(String, String), String> {
        let links: BTreeSet<(u8, u8)> = history
            .iter()
            .filter_map(|(id, _, happened)| match happened {
                Happened::Became(later) if later != id => Some((*id, *later)),
                Happened::Set { .. } | Happened::Became(_) | Happened::Deleted => None,
            })
            .collect();
        let closure = |start: u8, follow: &dyn Fn(u8, u8, u8) -> Option<u8>| {
            let mut reached = BTreeSet::from([start]);
            for _ in 0..8 {
                let next: Vec<u8> =
                    reached.iter().flat_map(|at| links.iter().filter_map(|(a, b)| follow(*at, *a, *b))).collect();
                reached.extend(next);
            }
            reached
        };
        let mut values = BTreeMap::new();
        for id in 0..5_u8 {
            let joined = closure(id, &|at, a, b| {
                if at == a {
                    Some(b)
                } else if at == b {
                    Some(a)
                } else {
                    None
                }
            });
            let sources = closure(id, &|at, a, b| (at == b).then_some(a));
            let deletions =
                history.iter().filter(|(of, _, what)| joined.contains(of) && matches!(what, Happened::Deleted));
            let deleted = deletions.map(|(_, millis, _)| *millis).max().unwrap_or(-1);
            for name in 0..3_u8 {
                let written = history.iter().filter_map(|(of, millis, what)| match what {
                    Happened::Set { name: n, value } if *n == name && sources.contains(of) && *millis > deleted => {
                        Some((*millis, value.to_string()))
                    }
                    Happened::Set { .. } | Happened::Became(_) | Happened::Deleted => None,
                });
                if let Some((_, value)) = written.max() {
                    values.insert((id.to_string(), name.to_string()), value);
                }
            }
        }
        values
    }

    fn values(world: &Person) -> BTreeMap<(String, String), String> {
        let ids = world.iter().flat_map(|(id, profile)| (0..3).map(move |name: u8| (id, profile, name.to_string())));
        ids.filter_map(|(id, profile, name)| {
            profile.value(Section::Traits, &name).map(|value| ((id.clone(), name.clone()), value.to_owned()))
        })
        .collect()
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let happened = prop_oneof![
            5 => (0_u8..3, 0_u8..4).prop_map(|(name, value)| Happened::Set { name, value }),
            2 => (0_u8..5).prop_map(Happened::Became),
            1 => Just(Happened::Deleted),
        ];
        (0_u8..5, 0_i64..8, happened)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_order_and_repetition_of_a_history_ends_in_what_the_rules_say(
            (history, shuffled) in prop::collection::vec(any_event(), 1..14)
                .prop_flat_map(|history| (Just(history.clone()), Just(history).prop_shuffle())),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let expected = by_the_rules(&history);
            let in_order = replayed(&history);
            prop_assert_eq!(values(&in_order), expected);
            // Redelivered years later, in any order.
            let repeated: Vec<Event> =
                shuffled.into_iter().chain(again.iter().map(|index| index.get(&history).clone())).collect();
            prop_assert_eq!(replayed(&repeated), in_order);
        }
    }

    #[test]
    fn ids_that_became_each_other_agree() {
        let history = [
            (0, 1, Happened::Set { name: 0, value: 1 }),
            (0, 2, Happened::Became(1)),
            (1, 3, Happened::Became(0)),
            (1, 4, Happened::Set { name: 1, value: 2 }),
        ];
        let world = replayed(&history);
        assert_eq!(world["0"].value(Section::Traits, "1"), Some("2"));
        assert_eq!(world["1"].value(Section::Traits, "0"), Some("1"));
    }
}
