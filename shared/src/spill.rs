//! The spill table's items: messages that the queue did not take, from `ingest` which writes them to `consume` which takes
//! them away again.
//!
//! A message that is larger than one item can hold is spread over several. Its head, with the first part of the body, is
//! written last: a message whose head is there is whole.

use crate::limits::SPILL_PART_BYTES_MAX;
use crate::text::split;

/// The sort key of a message's head; its further parts have the numbers from 1.
pub const HEAD: &str = "0";

/// The attributes of an item.
pub mod attribute {
    /// A part of the message's text.
    pub const BODY: &str = "body";
    /// How many items the message is spread over (number, in the head only).
    pub const PARTS: &str = "parts";
    /// When it was written, in milliseconds (number).
    pub const WRITTEN_AT: &str = "at";
    /// Whose message it is, for SQS's fair queues.
    pub const GROUP: &str = "group";
}

/// One item of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Which message it belongs to: the partition key.
    pub id: &'a str,
    /// Which part it is: the sort key.
    pub number: String,
    /// The text.
    pub body: &'a str,
    /// How many there are; told by the head alone.
    pub parts: Option<usize>,
}

/// The items of a message, in the order in which they must be written. `id` is the same whenever the same message is
/// written, and no other's.
#[must_use]
pub fn parts<'a>(id: &'a str, body: &'a str) -> Vec<Part<'a>> {
    let texts = split(body, SPILL_PART_BYTES_MAX);
    let part = |(number, body): (usize, &'a str)| {
        let parts = (number == 0).then_some(texts.len());
        Part { id, number: number.to_string(), body, parts }
    };
    texts.iter().copied().enumerate().rev().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_item_and_a_large_one_several_with_the_head_at_the_end() {
        let [head] = parts("r.0", "text").try_into().unwrap();
        assert_eq!(head, Part { id: "r.0", number: HEAD.into(), body: "text", parts: Some(1) });

        let body = "é".repeat(SPILL_PART_BYTES_MAX) + "!";
        let parts = parts("r.0", &body);
        let numbers: Vec<&str> = parts.iter().map(|part| part.number.as_str()).collect();
        assert_eq!(numbers, ["2", "1", "0"]);
        assert_eq!(parts[2].parts, Some(3));
        assert_eq!(parts[0].parts, None);
        let whole: String = parts.iter().rev().map(|part| part.body).collect();
        assert_eq!(whole, body);
    }
}
