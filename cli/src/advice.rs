//! What a person can do about a call that came to nothing.

use shared::outcome::Cause;

/// What to do about a cause, as the end of a sentence.
#[must_use]
pub fn advice(cause: Cause) -> &'static str {
    match cause {
        Cause::Denied => "check credentials, permissions and the names of tables and queues, and try again",
        Cause::Throttled
        | Cause::Unavailable
        | Cause::TimedOut
        | Cause::Contended
        | Cause::Unstarted
        | Cause::Panicked => "try again",
    }
}
