//! Which items the messages carry that wait somewhere.

use std::collections::HashMap;

use serde::Deserialize;

/// The most messages whose items are remembered; those beyond are counted as messages only.
const MESSAGES_MAX: usize = 50_000;

/// The items of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) receipt: String,
    pub(super) indexes: Vec<u32>,
}

#[derive(Deserialize)]
struct Message {
    receipt: String,
    #[serde(default)]
    events: Vec<Place>,
    #[serde(default)]
    refused: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    index: u32,
}

impl Contents {
    /// What is in a message's body; nothing if it cannot be read.
    fn read(body: &str) -> Self {
        let Ok(message) = serde_json::from_str::<Message>(body) else { return Self::default() };
        let indexes = message.events.iter().chain(&message.refused).map(|place| place.index).collect();
        Self { receipt: message.receipt, indexes }
    }

    /// Receipt and position of each item.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, u32)> {
        self.indexes.iter().map(|index| (self.receipt.as_str(), *index))
    }
}

/// The messages that one look has found, by their ids. Each body is read the first time that it is seen.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: HashMap<String, Contents>,
}

impl Waiting {
    /// What one more look finds, beginning with nothing.
    pub(super) fn look_again(&mut self) -> Look {
        Look { before: std::mem::take(&mut self.messages), found: HashMap::new(), missed: false }
    }

    /// Keeps what a look has found. Whatever it has not found again is let go.
    pub(super) fn keep(&mut self, look: Look) {
        self.messages = look.found;
    }

    /// Receipt and position of every item.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, u32)> {
        self.messages.values().flat_map(Contents::places)
    }

    /// The items of a message, if it was there at the last look.
    pub(super) fn contents(&self, message_id: &str) -> Option<&Contents> {
        self.messages.get(message_id)
    }
}

/// A look under way.
pub(super) struct Look {
    before: HashMap<String, Contents>,
    found: HashMap<String, Contents>,
    missed: bool,
}

impl Look {
    /// Something may be there that was not looked at.
    pub(super) fn missed_some(&mut self) {
        self.missed = true;
    }

    /// Whether everything was looked at.
    pub(super) fn is_whole(&self) -> bool {
        !self.missed
    }

    /// A message was found.
    pub(super) fn found(&mut self, message_id: &str, body: &str) {
        if self.found.len() >= MESSAGES_MAX {
            self.missed = true;
            return;
        }
        let contents = self.before.remove(message_id).unwrap_or_else(|| Contents::read(body));
        self.found.insert(message_id.to_owned(), contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_finds_the_items_of_each_message_and_forgets_those_that_have_gone() {
        let mut waiting = Waiting::default();
        let mut look = waiting.look_again();
        look.found(
            "a",
            r#"{"version":1,"receipt":"r1","events":[{"index":0,"id":"m"},{"index":2}],"refused":[{"index":1}]}"#,
        );
        look.found("b", "no message");
        waiting.keep(look);
        let mut places: Vec<_> = waiting.places().collect();
        places.sort_unstable();
        assert_eq!(places, [("r1", 0), ("r1", 1), ("r1", 2)]);

        let mut look = waiting.look_again();
        // A body that is known is not read again.
        look.found("a", "");
        waiting.keep(look);
        assert_eq!(waiting.contents("a").map(|contents| contents.indexes.len()), Some(3));
        assert_eq!(waiting.contents("b"), None);
        waiting.keep(Waiting::default().look_again());
        assert_eq!(waiting.places().count(), 0);
    }
}
