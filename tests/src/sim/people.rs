//! Profiles, tombstones and links: that they say of everybody what the stored events say, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use consume::links::Kind;
use consume::table::Key;
use serde_json::Value as Json;

use super::calls::{Identity, Nature};
use super::check::{Evidence, expect, number, text};
use super::dynamo::Row;
use super::model::{Erased, Latest, Of, People};
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
    let profiles = evidence.events.keys().filter_map(of);
    let mut values = known.values();
    let people: BTreeSet<Of> = profiles.chain(values.keys().cloned()).collect();
    for of in people {
        let (project, id) = (&of.person.0, &of.person.1);
        let profile = evidence.events.get(&consume::profile::key(project, id, of.is_anonymous));
        let found = profile.map(read).unwrap_or_default();
        let mut expected = values.remove(&of).unwrap_or_default();
        // What may have been erased with the last user of a device need not be there.
        expected.retain(|name, latest| {
            found.contains_key(name) || known.erased(&of.person, of.is_anonymous, latest.millis) == Erased::Never
        });
        expect(agree(&found, &expected), findings, Promise::P3, || {
            format!("of {of:?} {found:?} is known, but should be {expected:?}")
        });
    }
    for person in known.everybody() {
        let forgotten = known.forgotten(&person);
        let row = |key: &Key, name: &str| evidence.events.get(key).and_then(|row| number(row, name));
        let deleted = row(&consume::profile::key(person.0, &person.1, false), "deleted");
        let tombstone = row(&consume::tombstone::tombstone_key(person.0, &person.1), "until");
        expect(deleted == forgotten && tombstone == forgotten, findings, Promise::P3, || {
            format!("{person:?} is forgotten up to {deleted:?} and {tombstone:?}, but should be up to {forgotten:?}")
        });
    }
    links(evidence, &known, findings);
}

/// Checks that there is a link, each way, of all who were seen to be somebody's, and no other.
fn links(evidence: &Evidence<'_>, known: &People, findings: &mut Vec<Violation>) {
    let mut expected = BTreeSet::new();
    let mut link = |project: &str, id: &str, kind: Kind, other: &str| {
        expected.insert(consume::links::item(project, id, kind, other).key);
    };
    for ((project, later), formers) in &known.former {
        for former in formers {
            link(project, later, Kind::Former, former);
            link(project, former, Kind::Later, later);
        }
    }
    for ((project, device), users) in &known.users {
        for user in users {
            link(project, user, Kind::Device, device);
            link(project, device, Kind::User, user);
        }
    }
    let is_link = |key: &&Key| key.pk.contains("#LINKS#") && !key.sk.starts_with("LETTER#");
    let found: BTreeSet<Key> = evidence.events.keys().filter(is_link).cloned().collect();
    expect(found == expected, findings, Promise::P3, || {
        let (lacking, surplus): (Vec<_>, Vec<_>) =
            (expected.difference(&found).collect(), found.difference(&expected).collect());
        format!("these links lack: {lacking:?}; and these should not be: {surplus:?}")
    });
}

/// Whose a profile is.
fn of(key: &Key) -> Option<Of> {
    let is_anonymous = key.sk == consume::profile::DEVICE_SORT;
    let (project, id) = key.pk.split_once('#').filter(|_| is_anonymous || key.sk == consume::profile::SORT)?;
    let project = ["one", "two"].into_iter().find(|known| *known == project)?;
    Some(Of { person: (project, id.to_owned()), is_anonymous })
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
