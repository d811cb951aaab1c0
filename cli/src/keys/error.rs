//! What can go wrong with write keys. No text holds a key.

use shared::outcome::Cause;

use super::switch::ID_CHARS_MIN;
use crate::advice::advice;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can name neither a project nor a source.
    #[error("{text:?} is no name of a {what}: that has 1 to 64 lower-case letters, digits and hyphens")]
    NoName {
        /// `project` or `source`.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// It can be no write key.
    #[error("a write key has 1 to {} bytes", shared::limits::WRITE_KEY_BYTES_MAX)]
    NoKey,
    /// The key belongs to somebody already.
    #[error("the key {id} exists, and is of source {source_name} of project {project}")]
    Exists {
        /// The beginning of its hash.
        id: String,
        /// Its project.
        project: String,
        /// Its source.
        source_name: String,
    },
    /// It is not the beginning of a hash.
    #[error(
        "{text:?} is no key's id: give the first {ID_CHARS_MIN} or more characters of its hash, as the list shows them"
    )]
    NoId {
        /// What was given.
        text: String,
    },
    /// There is no such key.
    #[error("there is no key {id}; a key that was not made with holdfast is found by its whole hash, or by itself")]
    Missing {
        /// What was given.
        id: String,
    },
    /// Several keys begin like this.
    #[error("{found} keys begin with {id}; give more of its hash")]
    Ambiguous {
        /// What was given.
        id: String,
        /// How many.
        found: usize,
    },
    /// The source has no key that is in use.
    #[error("source {source_name} of project {project} has no key that is in use; create one")]
    NothingToRotate {
        /// The project.
        project: String,
        /// The source.
        source_name: String,
    },
    /// The keys could not be read.
    #[error("the keys could not be read ({}); {}", cause.tag(), advice(*cause))]
    Unread {
        /// Why.
        cause: Cause,
    },
    /// The key could not be written, or its answer was lost.
    #[error("the key could not be written ({}); {}", cause.tag(), advice(*cause))]
    Unwritten {
        /// Why.
        cause: Cause,
    },
    /// The table refuses the item for good.
    #[error("the table refuses the key: {detail}")]
    Refused {
        /// What the table says.
        detail: String,
    },
}
