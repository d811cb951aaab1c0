//! The functions' log lines, as the console tells them: the last of them, and what they add to the account.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Map, Value};

use super::account::Fate;
use crate::narrate::narrate;

/// The most entries that are kept.
const ENTRIES_MAX: usize = 400;
/// The longest text of an entry, in characters; the rest of it is cut. An error may tell its whole story.
const TEXT_CHARS_MAX: usize = 200;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// Its place in the order of all entries, from 1. An entry that happens again moves to the end.
    pub(super) seq: u64,
    /// When, in Unix milliseconds.
    pub(super) at: i64,
    /// `accepted`, `refused`, `failed`, `stored`, `duplicate`, `erased`, `dead` or `trouble`.
    pub(super) what: &'static str,
    /// What it is about: the kind of an event and its name, or a sentence.
    pub(super) text: String,
    /// Whose it is; empty where nobody knows.
    pub(super) project: String,
    /// The event's id, or what else there is to know it by.
    pub(super) id: String,
    /// How often it happened in a row.
    pub(super) times: u64,
}

/// What a log line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A request was answered 200.
    Acknowledged { receipt: String, items: u64, spilled: u64 },
    /// A request was refused; `ours` if that was our fault.
    Refused { ours: bool },
    /// An item has come to a fate.
    Fate { origin: String, fate: Fate },
    /// Something else.
    Other,
}

/// The last entries.
#[derive(Debug, Default)]
pub(super) struct Feed {
    entries: VecDeque<Entry>,
    last: u64,
}

impl Feed {
    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The entries after that number, at the most as many of the latest as are kept.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.seq > seq)
    }

    fn add(&mut self, at: i64, mut entry: Entry) {
        self.last += 1;
        if let Some(last) = self.entries.back_mut()
            && (last.what, &last.text, &last.id) == (entry.what, &entry.text, &entry.id)
        {
            entry.times = last.times + 1;
            self.entries.pop_back();
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { seq: self.last, at, ..entry });
    }

    /// Takes a line that a function wrote.
    pub(super) fn tell(&mut self, at: i64, function: &str, line: &str) -> Told {
        let (told, entry) = read(function, line);
        if let Some(entry) = entry {
            self.add(at, entry);
        }
        told
    }
}

fn entry(what: &'static str, text: &str, project: &str, id: &str) -> Entry {
    let cut = |text: &str| match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    Entry { seq: 0, at: 0, what, text: cut(text), project: cut(project), id: cut(id), times: 1 }
}

/// What a line says, and how it is told. Pure.
fn read(function: &str, line: &str) -> (Told, Option<Entry>) {
    let fields = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    match text("message") {
        "answered" => answered(&fields),
        "event" => {
            let outcome = text("outcome");
            let Some(fate) = Fate::of_outcome(outcome) else { return (Told::Other, None) };
            let name = fields.get("name").and_then(Value::as_str).map(|name| format!(" {name}")).unwrap_or_default();
            let what = match fate {
                Fate::Stored => "stored",
                Fate::Duplicate => "duplicate",
                Fate::Erased => "erased",
                Fate::Dead => "dead",
            };
            let told = entry(what, &format!("{}{name}", text("kind")), text("project"), text("event_id"));
            // An earlier delivery has been told already.
            let told = (outcome != "stored_before").then_some(told);
            (Told::Fate { origin: text("origin").to_owned(), fate }, told)
        }
        "dead-lettered" => {
            let told = entry("dead", text("reason"), text("project"), text("id"));
            (Told::Fate { origin: text("id").to_owned(), fate: Fate::Dead }, Some(told))
        }
        "spilled messages were enqueued" => {
            let sentence = format!("{} messages went from the spill table into the queue", number("messages"));
            (Told::Other, Some(entry("trouble", &sentence, "", "")))
        }
        _ => (Told::Other, narrate(function, line).map(|told| entry("trouble", &told, "", ""))),
    }
}

/// What the one line of a request says.
fn answered(fields: &Map<String, Value>) -> (Told, Option<Entry>) {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (status, code) = (number("status"), text("code"));
    let call = format!("{} {}", text("method"), text("path"));
    // A pixel is answered with an image even where its event is refused.
    if status >= 400 || !code.is_empty() {
        let ours = status >= 500;
        let what = if ours { "failed" } else { "refused" };
        return (Told::Refused { ours }, Some(entry(what, &format!("{call} {status} {code}"), text("project"), "")));
    }
    let (events, refused, spilled) = (number("events"), number("refused"), number("spilled"));
    let receipt = text("receipt");
    if receipt.is_empty() || events + refused == 0 {
        return (Told::Other, None);
    }
    let mut said = format!("{call} {}", counted(events, "event"));
    if refused > 0 {
        said.push_str(&format!(", {} refused", counted(refused, "item")));
    }
    if spilled > 0 {
        said.push_str(", through the spill table");
    }
    let told = Told::Acknowledged { receipt: receipt.to_owned(), items: events + refused, spilled };
    (told, Some(entry("accepted", &said, text("project"), receipt)))
}

fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_to_the_account_and_are_told() {
        for (line, told, said) in [
            (
                r#"{"message":"answered","method":"POST","path":"/v1/batch","status":200,"project":"dev","receipt":"r1","events":2,"refused":1,"spilled":3}"#,
                Told::Acknowledged { receipt: "r1".into(), items: 3, spilled: 3 },
                Some(("accepted", "POST /v1/batch 2 events, 1 item refused, through the spill table", "r1")),
            ),
            (
                r#"{"message":"answered","method":"GET","path":"/v1/p","status":200,"code":"unknown_write_key","receipt":"r1","events":1}"#,
                Told::Refused { ours: false },
                Some(("refused", "GET /v1/p 200 unknown_write_key", "")),
            ),
            (
                r#"{"message":"answered","method":"POST","path":"/v1/track","status":503,"code":"unavailable"}"#,
                Told::Refused { ours: true },
                Some(("failed", "POST /v1/track 503 unavailable", "")),
            ),
            (r#"{"message":"answered","method":"GET","path":"/health","status":200,"events":0}"#, Told::Other, None),
            (
                r#"{"message":"event","outcome":"stored","kind":"track","name":"<b>","event_id":"m1","origin":"r1.0"}"#,
                Told::Fate { origin: "r1.0".into(), fate: Fate::Stored },
                Some(("stored", "track <b>", "m1")),
            ),
            (
                r#"{"message":"event","outcome":"stored_before","kind":"track","event_id":"m1","origin":"r1.0"}"#,
                Told::Fate { origin: "r1.0".into(), fate: Fate::Stored },
                None,
            ),
            (
                r#"{"level":"WARN","message":"dead-lettered","reason":"event_not_defined","project":"dev","id":"r1.1"}"#,
                Told::Fate { origin: "r1.1".into(), fate: Fate::Dead },
                Some(("dead", "event_not_defined", "r1.1")),
            ),
            ("thread 'main' panicked", Told::Other, Some(("trouble", "ingest: thread 'main' panicked", ""))),
            (r#"{"_aws":{}}"#, Told::Other, None),
        ] {
            let (found, entry) = read("ingest", line);
            assert_eq!(found, told, "{line}");
            let entry = entry.as_ref().map(|entry| (entry.what, entry.text.as_str(), entry.id.as_str()));
            assert_eq!(entry, said, "{line}");
        }
    }

    #[test]
    fn the_last_entries_are_kept_and_what_repeats_itself_is_one() {
        let mut feed = Feed::default();
        for _ in 0..3 {
            feed.tell(1, "consume", "Runtime exited");
        }
        let times: Vec<(u64, u64)> = feed.after(0).map(|entry| (entry.seq, entry.times)).collect();
        assert_eq!(times, [(3, 3)]);
        for number in 0..2 * ENTRIES_MAX {
            feed.tell(1, "consume", &format!("line {number}"));
        }
        assert_eq!(feed.after(0).count(), ENTRIES_MAX);
        assert_eq!(feed.after(feed.last() - 2).count(), 2);
        feed.tell(1, "consume", &"x".repeat(10_000));
        assert_eq!(
            feed.after(feed.last() - 1).next().map(|entry| entry.text.chars().count()),
            Some(TEXT_CHARS_MAX + 1)
        );
    }
}
