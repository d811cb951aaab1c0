//! A person: an id with all ids that became it.
//!
//! An alias makes a link from the former id to the later one that is never taken back. What is known of an id is kept
//! in its own profile alone; what is known of a person is the join of the profiles of its ids, made when it is read. So
//! an alias moves nothing, and there is nothing to undo. A deletion of an id holds for all that became it; both it and
//! the join are joins of a semilattice, so that no order of events can tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::Operation;
use crate::profile::Profile;

/// Profiles by id.
pub type Person = BTreeMap<String, Profile>;

/// Applies operations of one id to the profiles of a person. Where one of them reaches former ids, all of those must be
/// in `person`; otherwise the id alone is enough.
pub fn apply<'a>(person: &mut Person, id: &str, operations: impl IntoIterator<Item = &'a Operation>) {
    for operation in operations {
        person.entry(id.to_owned()).or_default().apply(operation);
    }
    let links: Vec<(String, String)> = person
        .iter()
        .flat_map(|(later, profile)| profile.former_ids.iter().map(move |former| (former.clone(), later.clone())))
        .collect();
    for (former, later) in links {
        if let Some(profile) = person.get_mut(&former) {
            profile.later_ids.insert(later);
        }
    }
    if let Some(moment) = person.get(id).and_then(|profile| profile.deleted) {
        for former in ids(person, id) {
            if let Some(profile) = person.get_mut(&former) {
                profile.forget(moment);
            }
        }
    }
}

/// An id and all that became it, as far as `person` has them.
#[must_use]
pub fn ids(person: &Person, id: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![id.to_owned()];
    while let Some(id) = waiting.pop() {
        let former = person.get(&id).into_iter().flat_map(|profile| profile.former_ids.iter().cloned());
        if found.insert(id.clone()) {
            waiting.extend(former);
        }
    }
    found
}

/// What is known of a person: of two values that its ids have for one thing, the later.
#[must_use]
pub fn view(person: &Person, id: &str) -> Profile {
    let mut view = person.get(id).cloned().unwrap_or_default();
    // Each profile has forgotten on its own what it must; a deletion of one id says nothing of the values of another.
    view.deleted = None;
    for former in ids(person, id) {
        if let Some(profile) = person.get(&former) {
            view.join(profile);
        }
    }
    view
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
                if operation.reaches_others() {
                    wanted.extend(profile.former_ids.iter().filter(|id| !person.contains_key(*id)).cloned());
                }
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
            let sources = closure(id, &|at, a, b| (at == b).then_some(a));
            // A deletion of an id holds for those that became it.
            let deleted = |source: u8| {
                let became = closure(source, &|at, a, b| (at == a).then_some(b));
                let deletions =
                    history.iter().filter(|(of, _, what)| became.contains(of) && matches!(what, Happened::Deleted));
                deletions.map(|(_, millis, _)| *millis).max().unwrap_or(-1)
            };
            for name in 0..3_u8 {
                let written = history.iter().filter_map(|(of, millis, what)| match what {
                    Happened::Set { name: n, value }
                        if *n == name && sources.contains(of) && *millis > deleted(*of) =>
                    {
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
        let views = world.keys().map(|id| (id, view(world, id)));
        let ids = views.flat_map(|(id, profile)| (0..3).map(move |name: u8| (id, profile.clone(), name.to_string())));
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
        assert_eq!(view(&world, "0").value(Section::Traits, "1"), Some("2"));
        assert_eq!(view(&world, "1").value(Section::Traits, "0"), Some("1"));
    }

    #[test]
    fn two_who_shared_a_device_are_two_people() {
        let set = |name, value| Happened::Set { name, value };
        let history = [
            (0, 1, set(0, 1)),
            (1, 1, set(1, 1)),
            (2, 1, set(2, 1)),
            (0, 2, Happened::Became(1)),
            (0, 3, Happened::Became(2)),
            (1, 9, Happened::Deleted),
        ];
        let world = replayed(&history);
        assert_eq!(values(&world), BTreeMap::from([(("2".to_owned(), "2".to_owned()), "1".to_owned())]));
    }
}
