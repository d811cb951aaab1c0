//! What can go wrong between the operator and the letters. Each text names the letter, and what to do.

use consume::table::Key;
use shared::outcome::Cause;

use super::discard::NOTE_CHARS_MAX;
use super::filter::DAYS_MAX;
use super::name::name;
use crate::advice::advice;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is the name of no letter.
    #[error("{text:?} is not the name of a letter; copy one from the list, such as dev#2023-11-14T22:13:20.000Z#r1.0")]
    NotAName {
        /// What was given.
        text: String,
    },
    /// A range of days that ends before it begins, or is too long.
    #[error("from {first} to {last} is no range of 1 to {DAYS_MAX} days; give an earlier first and a later last day")]
    NotDays {
        /// The first day.
        first: jiff::civil::Date,
        /// The last day.
        last: jiff::civil::Date,
    },
    /// The letters of a day could not be read.
    #[error("the letters of {partition} could not be read ({}); {}", cause.tag(), advice(*cause))]
    Unlisted {
        /// Project and day.
        partition: String,
        /// Why.
        cause: Cause,
    },
    /// A letter could not be read.
    #[error("{} could not be read ({}); {}", name(key), cause.tag(), advice(*cause))]
    Unread {
        /// The letter.
        key: Key,
        /// Why.
        cause: Cause,
    },
    /// There is no such letter.
    #[error("there is no letter {}; it may have expired", name(key))]
    Missing {
        /// The letter that was looked for.
        key: Key,
    },
    /// The item is no letter's head, or not as `consume` writes one.
    #[error("{} is not a whole letter: {detail}; look at the item in the table", name(key))]
    Damaged {
        /// The item.
        key: Key,
        /// What is wrong with it.
        detail: String,
    },
    /// A part of the body is not there.
    #[error(
        "part {part} of {parts} of the body of {} is missing; it has expired, or somebody has deleted it",
        name(key)
    )]
    PartMissing {
        /// The letter.
        key: Key,
        /// The part, from 0.
        part: usize,
        /// How many there must be.
        parts: usize,
    },
    /// It is not in a state in which it can be discarded.
    #[error("{} is {state}, and only a letter that is waiting or redriven can be discarded", name(key))]
    NotOpen {
        /// The letter.
        key: Key,
        /// The tag of its state.
        state: String,
    },
    /// The note of a letter to be discarded is empty or too long.
    #[error("say why {} need not be stored, in 1 to {NOTE_CHARS_MAX} characters", name(key))]
    NoNote {
        /// The letter.
        key: Key,
    },
    /// Somebody else, or `consume`, changed the letter meanwhile.
    #[error("{} was changed meanwhile; read it again", name(key))]
    Changed {
        /// The letter.
        key: Key,
    },
    /// The change of a letter's state could not be written, or its answer was lost.
    #[error("the state of {} could not be written ({}); {}", name(key), cause.tag(), advice(*cause))]
    Unchanged {
        /// The letter.
        key: Key,
        /// Why.
        cause: Cause,
    },
    /// The letter is marked as redriven, and may or may not have been sent.
    #[error(
        "{} is marked as redriven, but the queue did not confirm its message ({}); {}, also while it is under way: \
         nothing is stored twice", name(key), cause.tag(), advice(*cause)
    )]
    NotSent {
        /// The letter.
        key: Key,
        /// Why.
        cause: Cause,
    },
    /// So many letters failed that no further ones were taken.
    #[error("{failed} letters failed, and no further ones were taken; see to their cause, and begin again")]
    TooManyFailed {
        /// How many.
        failed: usize,
    },
}
