//! The fates of an event, as closed lists: nothing disappears without one of them.

use serde::{Deserialize, Serialize};

/// Why something can never be stored. Each has one permanent tag, the same in answers, dead letters, logs and metrics.
///
/// The tags of items that Segment's own service discards are Segment's (its delivery overview's discard codes).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The item is not a JSON object, or a field that every call shares has a wrong type.
    BadRequest,
    /// Neither a user id nor an anonymous id.
    NoUserAnonId,
    /// The call needs an id that is not there (`groupId`, `previousId`, `userId`).
    IdRequired,
    /// An id is neither a string nor a number.
    IdNotString,
    /// An id is longer than [`crate::limits::SUBJECT_CHARS_MAX`] characters.
    IdTooLong,
    /// A track call without an event name.
    EventNotDefined,
    /// The event name is not a string.
    EventNotString,
    /// The name of a page or screen is not a string.
    NameNotString,
    /// The category of a page or screen is not a string.
    CategoryNotString,
    /// The properties are not an object.
    PropertiesNotObject,
    /// The traits are not an object.
    TraitsNotObject,
    /// The type of an item is missing or unknown.
    UnsupportedEventType,
    /// The event is larger than `EVENT_BYTES_MAX`.
    EventTooLarge,
    /// The message in the queue is not one of ours, or damaged.
    UndecodableMessage,
    /// The message has a version that this code does not know.
    UnknownVersion,
    /// The table refuses the item for what it is.
    Unstorable,
    /// The write key could not be checked when the request came in, and turned out to be nobody's.
    UnknownWriteKey,
    /// The message, alone in its delivery, ended the function again and again. It is kept without having been read.
    CrashedConsumer,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 18] = [
        Reason::BadRequest,
        Reason::NoUserAnonId,
        Reason::IdRequired,
        Reason::IdNotString,
        Reason::IdTooLong,
        Reason::EventNotDefined,
        Reason::EventNotString,
        Reason::NameNotString,
        Reason::CategoryNotString,
        Reason::PropertiesNotObject,
        Reason::TraitsNotObject,
        Reason::UnsupportedEventType,
        Reason::EventTooLarge,
        Reason::UndecodableMessage,
        Reason::UnknownVersion,
        Reason::Unstorable,
        Reason::UnknownWriteKey,
        Reason::CrashedConsumer,
    ];

    /// The permanent tag.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad_request",
            Reason::NoUserAnonId => "no_user_anon_id",
            Reason::IdRequired => "id_required",
            Reason::IdNotString => "id_not_string",
            Reason::IdTooLong => "id_too_long",
            Reason::EventNotDefined => "event_not_defined",
            Reason::EventNotString => "event_not_string",
            Reason::NameNotString => "name_not_string",
            Reason::CategoryNotString => "category_not_string",
            Reason::PropertiesNotObject => "properties_not_object",
            Reason::TraitsNotObject => "traits_not_object",
            Reason::UnsupportedEventType => "unsupported_event_type",
            Reason::EventTooLarge => "event_too_large",
            Reason::UndecodableMessage => "undecodable_message",
            Reason::UnknownVersion => "unknown_version",
            Reason::Unstorable => "unstorable",
            Reason::UnknownWriteKey => "unknown_write_key",
            Reason::CrashedConsumer => "crashed_consumer",
        }
    }
}

/// What one delivery of an event came to. There is no default: an event without an outcome is an event unaccounted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its item was written.
    Stored,
    /// Its item was already there, written by an earlier delivery of the same message.
    StoredBefore,
    /// Another event with the same identity came first.
    Duplicate,
    /// Its subject was deleted later than it happened.
    Erased,
    /// It can never be stored; it waits as a dead letter.
    DeadLettered(Reason),
    /// Nothing came of this delivery; a later one may succeed.
    Retry(Cause),
}

impl Outcome {
    /// The word for it in logs.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Outcome::Stored => "stored",
            Outcome::StoredBefore => "stored_before",
            Outcome::Duplicate => "duplicate",
            Outcome::Erased => "erased",
            Outcome::DeadLettered(_) => "dead_lettered",
            Outcome::Retry(_) => "retry",
        }
    }
}

/// Why something did not succeed this time, though it may the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The service asks for less.
    Throttled,
    /// The service failed or could not be reached.
    Unavailable,
    /// The service did not answer in time.
    TimedOut,
    /// The service refuses us: permissions or a missing resource. It needs a person, but no event is at fault.
    Denied,
    /// Others changed the same item over and over.
    Contended,
    /// The time of the invocation ran out before its turn came, or in the middle of a work that goes on next time.
    Unstarted,
    /// Our code panicked.
    Panicked,
}

impl Cause {
    /// The word for it in logs and metrics.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Cause::Throttled => "throttled",
            Cause::Unavailable => "unavailable",
            Cause::TimedOut => "timed_out",
            Cause::Denied => "denied",
            Cause::Contended => "contended",
            Cause::Unstarted => "unstarted",
            Cause::Panicked => "panicked",
        }
    }
}
