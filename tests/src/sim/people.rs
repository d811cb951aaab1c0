//! Profiles, tombstones and links: that they say of everybody what the stored events say, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use consume::table::Key;
use serde_json::Value as Json;

use super::calls::{Identity, Nature};
use super::check::{Evidence, expect, number, text};
use super::dynamo::Row;
use super::model::{Latest, People, Person};
use super::{Promise, Violation};

/// The parts of a profile, by the names of their attributes.
const PARTS: [&str; 4] = ["traits", "tags", "groups", "subscription"];

/// The values of somebody, as found: each with its time.
type Values = BTreeMap<(&'static str, String), (i64, Json)>;

/// Checks what is known of everybody. `known` has heard of aliases and deletions; it now hears of the rest.
pub(crate) fn check(evidence: &Evidence<'_>, mut known: People, findings: &mut Vec<Violation>) {
    for (origin, occurrence) in &evidence.occurrences {
        let said = occurrence.said;
        let is_heard = said.nature == Nature::Good && !matches!(said.kind, "alias" | "delete");
        // What is known by its content alone is said anew each time.
        let is_repeated = matches!(said.identity, Identity::Window(_));
        if is_heard && (is_repeated || evidence.stored.contains_key(origin)) {
            known.hear(*occurrence);
        }
    }
    let mut people = known.everybody();
    people.extend(evidence.events.keys().filter(|key| key.sk == "PROFILE" || key.sk == "DELETED").filter_map(person));
    let mut values = known.values();
    for person in people {
        let key = |sk: &str| Key { pk: format!("{}#{}", person.0, person.1), sk: sk.to_owned() };
        let profile = evidence.events.get(&key("PROFILE"));
        let found = profile.map(read).unwrap_or_default();
        let expected = values.remove(&person).unwrap_or_default();
        expect(agree(&found, &expected), findings, Promise::P3, || {
            format!("of {person:?} {found:?} is known, but should be {expected:?}")
        });
        let forgotten = known.forgotten(&person);
        let deleted = profile.and_then(|row| number(row, "deleted"));
        let tombstone = evidence.events.get(&key("DELETED")).and_then(|row| number(row, "until"));
        expect(deleted == forgotten && tombstone == forgotten, findings, Promise::P3, || {
            format!("{person:?} is forgotten up to {deleted:?} and {tombstone:?}, but should be up to {forgotten:?}")
        });
        let former: BTreeSet<String> =
            profile.and_then(|row| serde_json::from_str(text(row, "from")).ok()).unwrap_or_default();
        let expected = known.former.get(&person).cloned().unwrap_or_default();
        expect(former == expected, findings, Promise::P3, || {
            format!("{former:?} became {person:?}, but should be {expected:?}")
        });
    }
}

fn person(key: &Key) -> Option<Person> {
    let (project, id) = key.pk.split_once('#')?;
    let project = ["one", "two"].into_iter().find(|known| *known == project)?;
    Some((project, id.to_owned()))
}

fn read(row: &Row) -> Values {
    let mut values = Values::new();
    for part in PARTS {
        let stored: BTreeMap<String, (Json, i64, usize)> = serde_json::from_str(text(row, part)).unwrap_or_default();
        values.extend(stored.into_iter().map(|(name, (value, millis, _))| ((part, name), (millis, value))));
    }
    values
}

fn agree(found: &Values, expected: &BTreeMap<(&'static str, String), Latest>) -> bool {
    found.keys().eq(expected.keys())
        && found
            .iter()
            .zip(expected.values())
            .all(|((_, (millis, value)), latest)| *millis == latest.millis && latest.values.contains(value))
}
