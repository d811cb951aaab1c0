//! Fates: that everything durable has exactly one, and the right one.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use shared::clock::Timestamp;
use shared::limits::IDENTITY_WINDOW;

use super::calls::{Identity, Nature};
use super::check::{Evidence, Found, expect, number, text};
use super::dynamo::Row;
use super::model::{Erased, Occurrence, People, Person};
use super::{Promise, Violation};
use consume::table::Key;

/// How many came to which fate.
type Tally = BTreeMap<&'static str, u64>;

/// Checks the fate of everything.
pub(crate) fn check(evidence: &Evidence<'_>, known: &People, findings: &mut Vec<Violation>) -> Tally {
    let mut tally = Tally::new();
    for (origin, items) in &evidence.stored {
        expect(items.len() == 1, findings, Promise::P3, || format!("{origin} is stored {} times", items.len()));
        for (key, row) in items {
            faithful(evidence, origin, key, row, findings);
        }
    }
    for key in evidence.events.keys() {
        let kinds = ["E#", "RECEIPT#", "DEVICE#", "FORMER#", "LATER#", "USER#", "LETTER#", "REACHED#"];
        let sorts = ["PROFILE", "PROFILE#DEVICE", "DELETED", "DELETED#DEVICE", "LATEST", "SEEN", "KEY"];
        let is_known = kinds.iter().any(|kind| key.sk.starts_with(kind)) || sorts.contains(&key.sk.as_str());
        expect(is_known, findings, Promise::P2, || format!("an item of no known kind: {key:?}"));
    }
    letters(evidence, known, findings);
    let mut same: BTreeMap<String, Vec<(&String, Occurrence<'_>)>> = BTreeMap::new();
    for (origin, occurrence) in &evidence.occurrences {
        if occurrence.project().is_some() && occurrence.said.nature == Nature::Good {
            same.entry(occurrence.identity(origin)).or_default().push((origin, *occurrence));
        } else {
            unstorable(evidence, known, origin, *occurrence, findings, &mut tally);
        }
    }
    for members in same.values() {
        match members[0].1.said.identity {
            _ if members[0].1.said.kind == "delete" => *tally.entry("fate: deletion applied").or_insert(0) += 1,
            Identity::Window(_) => windows(evidence, known, members, findings, &mut tally),
            Identity::Forever(_) | Identity::Fresh => group(evidence, known, members, findings, &mut tally),
        }
    }
    tally
}

/// Checks that an item says what its producer said, and is where it belongs.
fn faithful(evidence: &Evidence<'_>, origin: &str, key: &Key, row: &Row, findings: &mut Vec<Violation>) {
    let Some(occurrence) = evidence.occurrences.get(origin) else {
        expect(false, findings, Promise::P2, || format!("{key:?} is stored, but nobody sent it"));
        return;
    };
    let (said, attempt) = (occurrence.said, occurrence.attempt);
    let project = occurrence.project().unwrap_or("nobody's");
    let is_apart = key.pk == format!("{project}#{}", said.home()) && text(row, "src") == format!("source-{project}");
    expect(is_apart, findings, Promise::P8, || format!("{origin} of {project} is stored as {key:?}"));
    let time = Timestamp::from_millis_clamped(said.client_millis.unwrap_or(attempt.received_millis));
    let optional = |name: &str, value: Option<&String>| text(row, name) == value.map_or("", String::as_str);
    let data: Option<Json> = row.get("data").and_then(|data| serde_json::from_str(data.text()?).ok());
    let is_faithful = key.sk.starts_with(&format!("E#{time}#"))
        && said.id.as_ref().is_none_or(|id| key.sk == format!("E#{time}#{id}"))
        && text(row, "kind") == said.kind
        && row.get("user").and_then(|user| user.text())
            == said.device.as_ref().map(|_| if said.is_anonymous() { "" } else { &said.subject })
        && number(row, "time") == Some(occurrence.millis())
        && number(row, "recv") == Some(attempt.received_millis)
        && number(row, "sent") == attempt.sent_millis
        && optional("name", said.name.as_ref())
        && optional("target", said.target.as_ref())
        && data == said.data;
    expect(is_faithful, findings, Promise::P2, || {
        format!("{origin} is stored as {key:?} {row:?}, but was sent as {said:?} in {attempt:?}")
    });
}

/// Checks what is in letters: that somebody sent it, that it is whole, and that it is to blame.
fn letters(evidence: &Evidence<'_>, known: &People, findings: &mut Vec<Violation>) {
    for letter in &evidence.letters {
        let Found { key, reason, state, stage, .. } = letter;
        expect(state != "redriven", findings, Promise::P2, || {
            format!("{key:?} was sent round, and nothing came of it")
        });
        let is_foreign = evidence.notes.foreign.contains(&letter.body);
        let is_ours =
            !letter.origins.is_empty() && letter.origins.iter().all(|origin| evidence.occurrences.contains_key(origin));
        expect(is_foreign || is_ours, findings, Promise::P2, || format!("a letter that nobody sent: {key:?} {reason}"));
        for origin in &letter.origins {
            let Some(occurrence) = evidence.occurrences.get(origin).filter(|_| letter.counts()) else { continue };
            let nature = occurrence.said.nature;
            let blamed = match (occurrence.project(), nature) {
                (None, _) => reason == "unknown_write_key",
                (_, Nature::Refused(why)) => {
                    let is_whole = state == "erased" || has_whole(letter, occurrence);
                    stage == "ingest" && reason == why && is_whole
                }
                (_, Nature::Deadly) => reason == "crashed_consumer",
                (_, Nature::Unstorable) => reason == "unstorable",
                (_, Nature::Good) => false,
            };
            expect(blamed || evidence.unlucky.contains(origin), findings, Promise::P4, || {
                format!("{origin}, which is {nature:?}, lies in {key:?} for {reason}")
            });
            let erased = erased_letter(known, letter, occurrence);
            let (is_erased, has_body) = (state == "erased", !letter.body.is_empty());
            let is_right = if is_erased { erased >= Erased::Perhaps && !has_body } else { erased < Erased::Surely };
            // What is known of deletions is not certain while one of them lies in a letter itself.
            expect(is_right || !evidence.unlucky.is_empty(), findings, Promise::P3, || {
                format!("the letter {key:?} is {state}, but should be erased: {erased:?}; {:?}", occurrence.said)
            });
        }
    }
    for text in &evidence.notes.foreign {
        let reason = if text.contains("\"version\":99") { "unknown_version" } else { "undecodable_message" };
        let is_found =
            evidence.letters.iter().any(|letter| letter.body == *text && letter.reason == reason && letter.counts());
        expect(is_found || !evidence.unlucky.is_empty(), findings, Promise::P2, || format!("no letter of {text}"));
    }
    for mark in &evidence.marks {
        let id = mark.pk.trim_start_matches("QUARANTINE#");
        expect(evidence.notes.marks_explained.contains(id), findings, Promise::P2, || {
            format!("the mark of {id} is left, and nothing explains it")
        });
    }
}

/// Whether a letter must have been erased: whom it names was deleted later than it came. Nobody has read a message that is
/// kept whole.
fn erased_letter(known: &People, letter: &Found, occurrence: &Occurrence<'_>) -> Erased {
    let Some((project, subject)) =
        occurrence.person().filter(|_| letter.stage != "quarantine" && letter.stage != "decode")
    else {
        return Erased::Never;
    };
    let (said, millis) = (occurrence.said, occurrence.attempt.received_millis);
    // Of an item that lacks what it is refused for, the letter has what is left.
    let is_written = |member: &str| said.written.get(member).is_some_and(Json::is_string);
    let names_nobody = letter.stage == "ingest" && !is_written("userId") && !is_written("anonymousId");
    if names_nobody {
        return Erased::Never;
    }
    known.erased(&(project, subject), said.is_anonymous(), millis)
}

/// Whether the letter of a refused item holds all that its producer wrote, but for the write key.
fn has_whole(letter: &Found, occurrence: &Occurrence<'_>) -> bool {
    let body: Json = serde_json::from_str(&letter.body).unwrap_or_default();
    let written = occurrence.said.written.as_object();
    written.into_iter().flatten().all(|(name, value)| body.get(name) == Some(value))
}

fn is_dead(evidence: &Evidence<'_>, origin: &String) -> bool {
    evidence.letters.iter().any(|letter| letter.counts() && letter.origins.contains(origin))
}

/// Checks what can never be stored: it has a letter, and no item. An event whose person was deleted later need not even be
/// tried.
fn unstorable(
    evidence: &Evidence<'_>,
    known: &People,
    origin: &String,
    occurrence: Occurrence<'_>,
    findings: &mut Vec<Violation>,
    tally: &mut Tally,
) {
    let fate = match (occurrence.project(), occurrence.said.nature) {
        (None, _) => "fate: letter of an unknown key",
        (_, Nature::Refused(_)) => "fate: letter of a refused item",
        (_, Nature::Deadly) => "fate: letter of a killer",
        _ => "fate: letter of an unstorable event",
    };
    *tally.entry(fate).or_insert(0) += 1;
    let (stored, dead) = (evidence.stored.contains_key(origin), is_dead(evidence, origin));
    let is_event = matches!(occurrence.said.nature, Nature::Deadly | Nature::Unstorable);
    let erased = occurrence.project().is_some() && is_event && is_forgotten(known, occurrence) >= Erased::Perhaps;
    expect(!stored && (dead || erased), findings, Promise::P2, || {
        format!("{origin} ({fate}): stored {stored}, dead {dead}: {:?}", occurrence.said)
    });
}

/// Whether an event was erased, or would have been: whom it is about was deleted later than it happened.
fn is_forgotten(known: &People, occurrence: Occurrence<'_>) -> Erased {
    let erased = |person: Person| known.erased(&person, occurrence.said.is_anonymous(), occurrence.millis());
    occurrence.person().map_or(Erased::Never, erased)
}

/// Checks events that are one event for ever: at most one is stored, and the others are duplicates of it, or of one that
/// was erased.
fn group(
    evidence: &Evidence<'_>,
    known: &People,
    members: &[(&String, Occurrence<'_>)],
    findings: &mut Vec<Violation>,
    tally: &mut Tally,
) {
    let stored: Vec<&String> =
        members.iter().map(|(origin, _)| *origin).filter(|origin| evidence.stored.contains_key(*origin)).collect();
    expect(stored.len() <= 1, findings, Promise::P3, || format!("one event is stored as {stored:?}"));
    fates_of(evidence, known, members, findings, tally, |_| !stored.is_empty());
}

/// Checks events that are one event for five minutes: of those stored, none is within the window of another, and of the
/// others each is.
fn windows(
    evidence: &Evidence<'_>,
    known: &People,
    members: &[(&String, Occurrence<'_>)],
    findings: &mut Vec<Violation>,
    tally: &mut Tally,
) {
    let width = i64::try_from(IDENTITY_WINDOW.as_millis()).unwrap_or(i64::MAX);
    let stored: Vec<(&String, i64)> = members
        .iter()
        .filter(|(origin, _)| evidence.stored.contains_key(*origin))
        .map(|(origin, occurrence)| (*origin, occurrence.attempt.received_millis))
        .collect();
    for (position, (origin, at)) in stored.iter().enumerate() {
        let near = stored[..position].iter().find(|(_, other)| (at - other).abs() < width);
        expect(near.is_none(), findings, Promise::P3, || format!("{origin} and {near:?} are stored within one window"));
    }
    fates_of(evidence, known, members, findings, tally, |occurrence| {
        stored.iter().any(|(_, at)| (occurrence.attempt.received_millis - at).abs() < width)
    });
}

fn fates_of(
    evidence: &Evidence<'_>,
    known: &People,
    members: &[(&String, Occurrence<'_>)],
    findings: &mut Vec<Violation>,
    tally: &mut Tally,
    has_first: impl Fn(Occurrence<'_>) -> bool,
) {
    // A repetition of what was erased, or of what chance has brought into a letter, may count as its duplicate.
    let gone = members.iter().any(|(origin, occurrence)| {
        is_forgotten(known, *occurrence) >= Erased::Perhaps
            || (evidence.unlucky.contains(*origin) && is_dead(evidence, origin))
    });
    for (origin, occurrence) in members {
        let (stored, dead) = (evidence.stored.contains_key(*origin), is_dead(evidence, origin));
        let unlucky = evidence.unlucky.contains(*origin);
        let forgotten = is_forgotten(known, *occurrence);
        expect(!stored || forgotten < Erased::Surely || unlucky, findings, Promise::P3, || {
            format!("{origin} should have been erased")
        });
        expect(!stored || !dead || unlucky, findings, Promise::P2, || format!("{origin} is stored and in a letter"));
        let fate = match (stored, dead) {
            (true, _) => "fate: stored",
            (_, true) => "fate: letter of an innocent",
            _ if has_first(*occurrence) => "fate: duplicate",
            _ if forgotten >= Erased::Perhaps => "fate: erased",
            _ if gone => "fate: duplicate of what is gone",
            _ => {
                let (said, status) = (occurrence.said, occurrence.attempt.status);
                let what = format!("{origin}, answered {status:?}, has no fate: {said:?}");
                expect(false, findings, Promise::P2, || what);
                "fate: none"
            }
        };
        *tally.entry(fate).or_insert(0) += 1;
    }
}
