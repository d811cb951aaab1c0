//! What can go wrong in looking a person up. Each text says what to do.

use shared::outcome::Cause;

use crate::advice::advice;

/// Why something could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can name no project.
    #[error("{project:?} is no project: its name has 1 to 64 lower-case letters, digits and hyphens")]
    NoProject {
        /// What was given.
        project: String,
    },
    /// A page must have at least one event, and not too many.
    #[error("a page has 1 to {} events, and not {count}", super::PAGE_MAX)]
    NoPage {
        /// What was asked for.
        count: usize,
    },
    /// It is no place in a timeline.
    #[error("{text:?} is no place in a timeline; copy it from the page before")]
    NoCursor {
        /// What was given.
        text: String,
    },
    /// The table did not answer.
    #[error("{what} of {project}#{id} could not be read ({}); {}", cause.tag(), advice(*cause))]
    Unread {
        /// `the profile` or `the events`.
        what: &'static str,
        /// The project.
        project: String,
        /// The id.
        id: String,
        /// Why.
        cause: Cause,
    },
    /// The profile's item is not as `consume` writes one.
    #[error("the profile of {project}#{id} is damaged; look at its item in the table")]
    Damaged {
        /// The project.
        project: String,
        /// The id.
        id: String,
    },
}
