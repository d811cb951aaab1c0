//! All that the console knows of the pipeline, as the page asks for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::account::{Account, Fate, Totals};
use super::contents::Waiting;
use super::feed::{Feed, Told};
use super::history::{History, Sample};
use crate::lambda::{Sink, epoch_millis};
use crate::sqs::Depth;

/// How many messages wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) queue: Depth,
    pub(super) quarantine: Depth,
    pub(super) spill: u64,
    /// When the last message that is hidden can be received again, in Unix milliseconds by the queues' clock; 0 if none
    /// is hidden.
    pub(super) hidden_until: i64,
    /// Whether everything was looked at.
    pub(super) whole: bool,
}

/// Everything, behind one lock.
#[derive(Clone, Default)]
pub(super) struct Picture {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) account: Account,
    pub(super) waiting: Waiting,
    feed: Feed,
    history: History,
    places: Places,
    spilled: u64,
    refused: u64,
    failed: u64,
    /// Items that are open and were found waiting somewhere, at the last look.
    found: u64,
    /// How many looks in a row have not found every open item.
    looks_without_all: u64,
}

impl Picture {
    /// Whatever was half done by a task that panicked is made good by the next look.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes every line that a function writes, and passes it on.
    pub(super) fn tap(&self, sink: Sink) -> Sink {
        let picture = self.clone();
        Arc::new(move |function, line| {
            picture.state().tell(epoch_millis(), function, line);
            sink(function, line);
        })
    }
}

impl State {
    fn tell(&mut self, at: i64, function: &str, line: &str) {
        match self.feed.tell(at, function, line) {
            Told::Acknowledged { receipt, items, spilled } => {
                self.account.acknowledge(&receipt, items);
                self.spilled += spilled;
            }
            Told::Refused { ours: true } => self.failed += 1,
            Told::Refused { ours: false } => self.refused += 1,
            Told::Fate { origin, fate } => self.settle(&origin, fate),
            Told::Other => {}
        }
    }

    fn settle(&mut self, origin: &str, fate: Fate) {
        // A message that became a letter as a whole, with all that is in it.
        if let Some(contents) = origin.strip_prefix("m:").and_then(|id| self.waiting.contents(id)) {
            let origins: Vec<String> = contents.places().map(|(receipt, index)| format!("{receipt}.{index}")).collect();
            origins.iter().for_each(|origin| self.account.settle(origin, fate));
        } else {
            self.account.settle(origin, fate);
        }
    }

    /// Takes in what a look has found, and adds it to the history.
    pub(super) fn looked(&mut self, at: i64, places: Places) {
        self.places = places;
        self.found = self.account.open_among(self.waiting.places());
        let totals = self.account.totals();
        let lacks_some = places.whole && self.found < totals.open();
        self.looks_without_all = if lacks_some { self.looks_without_all + 1 } else { 0 };
        let all = |depth: Depth| (depth.visible + depth.in_flight + depth.delayed) as u64;
        let Totals { acknowledged, stored, duplicate, erased, dead } = totals;
        self.history.add(Sample {
            seq: 0,
            at,
            acknowledged_total: acknowledged,
            spilled_total: self.spilled,
            stored_total: stored,
            duplicate_total: duplicate,
            erased_total: erased,
            dead_total: dead,
            refused_total: self.refused,
            failed_total: self.failed,
            waiting: all(places.queue),
            quarantine: all(places.quarantine),
            spill: places.spill,
        });
    }

    pub(super) fn hidden_until(&self) -> i64 {
        self.places.hidden_until
    }

    /// What was acknowledged and spilled so far, to be compared with later.
    pub(super) fn so_far(&self) -> (Totals, u64) {
        (self.account.totals(), self.spilled)
    }

    /// What the page shows, with the history and the feed after those numbers.
    pub(super) fn json(&self, history_after: u64, feed_after: u64) -> Value {
        let totals = self.account.totals();
        let depth = |depth: Depth| json!({"visible": depth.visible, "hidden": depth.in_flight + depth.delayed});
        json!({
            "account": {
                "acknowledged": totals.acknowledged,
                "stored": totals.stored,
                "duplicate": totals.duplicate,
                "erased": totals.erased,
                "dead": totals.dead,
                "waiting": totals.open(),
                "found": self.found.min(totals.open()),
                "looks_without_all": self.looks_without_all,
                "all_looked_at": self.places.whole,
            },
            "places": {
                "queue": depth(self.places.queue),
                "quarantine": depth(self.places.quarantine),
                "spill": self.places.spill,
            },
            "spilled": self.spilled,
            "refused": self.refused,
            "failed": self.failed,
            "history": self.history.after(history_after).collect::<Vec<_>>(),
            "feed": self.feed.after(feed_after).collect::<Vec<_>>(),
            "feed_last": self.feed.last(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_stored_dead_or_found_waiting() {
        let mut state = State::default();
        let line =
            r#"{"message":"answered","method":"POST","path":"/v1/batch","status":200,"receipt":"r1","events":3}"#;
        state.tell(1, "ingest", line);
        let mut look = state.waiting.look_again();
        look.found("id", r#"{"receipt":"r1","events":[{"index":0},{"index":1}]}"#);
        state.waiting.keep(look);
        state.looked(1, Places { whole: true, ..Places::default() });
        let account = |state: &State| state.json(0, 0)["account"].clone();
        let expected = json!({"acknowledged": 3, "stored": 0, "duplicate": 0, "erased": 0, "dead": 0, "waiting": 3,
            "found": 2, "looks_without_all": 1, "all_looked_at": true});
        assert_eq!(account(&state), expected);

        state.tell(2, "consume", r#"{"message":"event","outcome":"stored","kind":"track","origin":"r1.2"}"#);
        // The whole message is buried.
        state.tell(
            2,
            "consume",
            r#"{"message":"dead-lettered","reason":"crashed_consumer","id":"m:id","level":"WARN"}"#,
        );
        state.looked(2, Places { whole: true, ..Places::default() });
        let expected = json!({"acknowledged": 3, "stored": 1, "duplicate": 0, "erased": 0, "dead": 2, "waiting": 0,
            "found": 0, "looks_without_all": 0, "all_looked_at": true});
        assert_eq!(account(&state), expected);
        assert_eq!(state.json(1, 0)["history"].as_array().map(Vec::len), Some(1));
    }
}
