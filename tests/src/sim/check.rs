//! The verdict on a history: what is in the tables, held against what was sent.

use std::collections::{BTreeMap, BTreeSet};

use consume::bundle::unpack;
use consume::dead_letter::{attribute, part_key};
use consume::remains::ERASED;
use consume::store::{EVENT_SORT, ORIGIN};
use consume::table::{Key, Value, as_read};

use super::calls::Nature;
use super::dynamo::Row;
use super::lambda::Cloud;
use super::model::{Occurrence, People};
use super::world::{Carried, Notes};
use super::{Promise, Violation, fates, people};

/// A dead letter as it is found.
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) reason: String,
    pub(crate) stage: String,
    pub(crate) state: String,
    /// All parts of it.
    pub(crate) body: String,
    /// What is in it.
    pub(crate) origins: Vec<String>,
}

impl Found {
    /// Whether it stands for what is in it: nothing else has come of that yet.
    pub(crate) fn counts(&self) -> bool {
        ["waiting", "discarded", "erased"].contains(&self.state.as_str())
    }
}

/// All that is known in the end.
pub(crate) struct Evidence<'a> {
    pub(crate) notes: &'a Notes,
    pub(crate) events: &'a BTreeMap<Key, Row>,
    pub(crate) marks: Vec<&'a Key>,
    pub(crate) letters: Vec<Found>,
    /// Everything that became durable, by its origin.
    pub(crate) occurrences: BTreeMap<String, Occurrence<'a>>,
    /// The items of events, by their origins.
    pub(crate) stored: BTreeMap<String, Vec<(&'a Key, &'a Row)>>,
    /// What lies in letters that were written because chance ended three deliveries of an innocent message.
    pub(crate) unlucky: BTreeSet<String>,
}

pub(crate) fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(Value::text).unwrap_or_default()
}

pub(crate) fn number(row: &Row, name: &str) -> Option<i64> {
    row.get(name).and_then(Value::number)
}

/// Judges a history that has drained.
pub(crate) fn check(cloud: &Cloud) {
    let mut findings = Vec::new();
    let (events, letters) = (unpacked(&cloud.events.rows(), &mut findings), cloud.letters.rows());
    let mut notes = cloud.world.notes();
    let evidence = gather(&notes, &events, &letters);
    // What is known of people before anything is looked at: who became whom, and who was deleted.
    let (mut known, mut with_doubts) = (People::default(), People::default());
    for (origin, occurrence) in evidence.occurrences.iter().filter(|(_, one)| one.said.nature == Nature::Good) {
        let is_certain = !evidence.unlucky.contains(origin);
        for people in [Some(&mut with_doubts), Some(&mut known).filter(|_| is_certain)].into_iter().flatten() {
            if matches!(occurrence.said.kind, "alias" | "delete") {
                people.hear(*occurrence);
            }
            people.see(*occurrence);
        }
    }
    if !evidence.unlucky.is_empty() {
        known.with_doubts = Some(Box::new(with_doubts));
    }
    let tally = fates::check(&evidence, &known, &mut findings);
    let lucky = evidence.unlucky.is_empty();
    if lucky {
        people::check(&evidence, known, &mut findings);
    }
    drop(evidence);
    for (what, count) in tally {
        *notes.counts.entry(what).or_insert(0) += count;
    }
    if !lucky {
        *notes.counts.entry("history with innocents in letters").or_insert(0) += 1;
    }
    drop(notes);
    for Violation { promise, what } in findings {
        cloud.world.violated(promise, &what);
    }
}

/// The attributes of events.
const NAMES: [&str; 12] =
    ["ctx", "data", "kind", "more", "name", "rcpt", "recv", "sent", "src", "target", "time", "user"];

/// The items of a table, with events as they would be as items of their own, and without compression.
fn unpacked(rows: &BTreeMap<Key, Row>, findings: &mut Vec<Violation>) -> BTreeMap<Key, Row> {
    let mut all = BTreeMap::new();
    for (key, row) in rows {
        if !key.sk.starts_with(EVENT_SORT) || row.contains_key(ERASED) {
            all.insert(key.clone(), row.clone());
            continue;
        }
        for (key, event) in unpack(key.clone(), as_read(row)) {
            let of_event = |name: &'static str| Some((name, event.get(name)?.clone()));
            let row: Row = NAMES.into_iter().filter_map(of_event).collect();
            // What is compressed and cannot be read has others.
            assert_eq!(row.len(), event.len(), "an attribute that no event has: {event:?}");
            let before = all.insert(key.clone(), row);
            expect(before.is_none(), findings, Promise::P3, || format!("{key:?} is stored twice, as {before:?} too"));
        }
    }
    all
}

/// Notes a violation unless something holds.
pub(crate) fn expect(holds: bool, findings: &mut Vec<Violation>, promise: Promise, what: impl FnOnce() -> String) {
    if !holds {
        findings.push(Violation { promise, what: what() });
    }
}

fn gather<'a>(notes: &'a Notes, events: &'a BTreeMap<Key, Row>, letters: &'a BTreeMap<Key, Row>) -> Evidence<'a> {
    let mut occurrences = BTreeMap::new();
    for (receipt, attempt) in &notes.attempts {
        for (index, said) in attempt.request.said.iter().enumerate() {
            let origin = format!("{receipt}.{index}");
            if notes.durable.contains(&origin) {
                occurrences.insert(origin, Occurrence { attempt, said });
            }
        }
    }
    let mut stored: BTreeMap<String, Vec<(&Key, &Row)>> = BTreeMap::new();
    let is_event = |(key, row): &(&Key, &Row)| key.sk.starts_with(EVENT_SORT) && !row.contains_key(ERASED);
    for (key, row) in events.iter().filter(is_event) {
        stored.entry(text(row, ORIGIN).to_owned()).or_default().push((key, row));
    }
    let heads = letters.iter().filter(|(_, row)| row.contains_key(attribute::REASON));
    let letters_found: Vec<Found> = heads.map(|(key, row)| found(key, row, letters)).collect();
    let unlucky =
        letters_found.iter().filter(|letter| is_unlucky(letter, notes)).flat_map(|letter| letter.origins.clone());
    Evidence {
        notes,
        events,
        marks: letters
            .iter()
            .filter(|(key, row)| is_mark(key) && text(row, "begun") != "[]")
            .map(|(key, _)| key)
            .collect(),
        unlucky: unlucky.collect(),
        letters: letters_found,
        occurrences,
        stored,
    }
}

/// Whether an item notes the deliveries of a quarantined message.
fn is_mark(key: &Key) -> bool {
    key.pk.starts_with("QUARANTINE#")
}

fn found(key: &Key, row: &Row, letters: &BTreeMap<Key, Row>) -> Found {
    let mut body = text(row, attribute::BODY).to_owned();
    for part in 1..number(row, attribute::PARTS).and_then(|parts| usize::try_from(parts).ok()).unwrap_or(1) {
        body.push_str(letters.get(&part_key(key, part)).map_or("", |row| text(row, attribute::BODY)));
    }
    let stage = text(row, attribute::STAGE).to_owned();
    // What `ingest` refused is kept as it was sent; every other letter holds a message, unless it was erased.
    let origins = if stage == "ingest" || text(row, attribute::STATE) == "erased" {
        key.sk.split_once('#').map(|(_, origin)| origin.to_owned()).into_iter().collect()
    } else {
        Carried::read(&body).map(|carried| carried.origins().collect()).unwrap_or_default()
    };
    let (reason, state) = (text(row, attribute::REASON).to_owned(), text(row, attribute::STATE).to_owned());
    Found { key: key.clone(), reason, stage, state, body, origins }
}

/// Whether chance alone explains a letter of a message that ended the function: three deliveries of it were ended, and
/// not all of them by the message itself.
fn is_unlucky(letter: &Found, notes: &Notes) -> bool {
    if letter.stage != "quarantine" {
        return false;
    }
    let own = letter.key.sk.split_once("#m:").map(|(_, id)| id.to_owned());
    let redriven = notes.redriven.get(&letter.key.sk).into_iter().flatten().cloned();
    let ended = |id: &String| {
        let (by_chance, by_itself) = notes.ended_alone.get(id).copied().unwrap_or_default();
        by_chance > 0 && by_chance + by_itself >= 3
    };
    own.into_iter().chain(redriven).any(|id| ended(&id))
}
