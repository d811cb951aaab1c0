//! Deciding that a letter need not be stored.

use consume::dead_letter::{State, discarded};
use consume::table::{Key, Table};

use super::change::change;
use super::error::Error;
use super::read::find;

/// The most characters of a note; it stands in the head's item beside the first part of the body.
pub const NOTE_CHARS_MAX: usize = 1_000;

/// Marks a letter as discarded, with a note that says why. It is kept until it expires, like any other, and can no longer
/// be redriven. A message of it that is still under way may be stored all the same.
///
/// # Errors
/// The note is empty or too long; the letter is missing, neither waiting nor redriven, or was changed meanwhile; or the
/// table did not answer.
pub async fn discard(table: &impl Table, key: &Key, note: &str) -> Result<(), Error> {
    let note = note.trim();
    if !(1..=NOTE_CHARS_MAX).contains(&note.chars().count()) {
        return Err(Error::NoNote { key: key.clone() });
    }
    let (head, attributes) = find(table, key).await?.ok_or_else(|| Error::Missing { key: key.clone() })?;
    match State::of_tag(&head.state) {
        Some(State::Waiting | State::Redriven) => {}
        Some(State::Settled | State::Discarded | State::Erased) | None => {
            return Err(Error::NotOpen { key: key.clone(), state: head.state });
        }
    }
    let next = discarded(key, &attributes, note);
    let (item, version) =
        next.ok_or_else(|| Error::Damaged { key: key.clone(), detail: "it has no version".to_owned() })?;
    change(table, &item, version).await
}
