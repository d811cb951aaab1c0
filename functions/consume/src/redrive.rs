//! What a message that comes from a dead letter says of that letter.
//!
//! It travels beside the body, as an attribute of the message: so even a body that nobody can read can be sent round again
//! as it is.

use serde::{Deserialize, Serialize};

use crate::table::Key;

/// The message attribute of SQS that holds it, as a JSON text.
pub const ATTRIBUTE: &str = "Redrive";

/// Which letter a message comes from, and which of its redrives this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// The letter's partition key.
    pub pk: String,
    /// The letter's sort key.
    pub sk: String,
    /// The number of this redrive of the letter, from 1. What an earlier one says of the letter no longer counts.
    pub round: i64,
}

impl Redrive {
    /// The text of the attribute.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("a redrive has only texts and a number")
    }

    /// Reads the text of the attribute; `None` if it is not one of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Where the letter is.
    #[must_use]
    pub fn letter(&self) -> Key {
        Key { pk: self.pk.clone(), sk: self.sk.clone() }
    }
}
