//! The attributes of a letter's head, which has its first part.

/// The tag of the reason.
pub const REASON: &str = "reason";
/// Where it was found out.
pub const STAGE: &str = "stage";
/// What exactly is wrong, for a person.
pub const DETAIL: &str = "detail";
/// The source that it came by; empty if unknown.
pub const SOURCE: &str = "source";
/// The call that a refused item came by; empty for others.
pub const CALL: &str = "call";
/// When it came to us.
pub const FIRST_SEEN: &str = "first_seen";
/// When it was last found that it can never be stored.
pub const LAST_SEEN: &str = "last_seen";
/// The version of the code that found it out.
pub const CODE_VERSION: &str = "code_version";
/// The version of the code that enqueued it; empty if unknown.
pub const ENQUEUED_BY: &str = "enqueued_by";
/// How often it was found out (number): once, and once for each redrive that came to nothing.
pub const ATTEMPTS: &str = "attempts";
/// How often its message had been received (number).
pub const RECEIVE_COUNT: &str = "receive_count";
/// How many items its body is spread over (number).
pub const PARTS: &str = "parts";
/// How many bytes its body has, all parts together (number).
pub const BYTES: &str = "bytes";
/// A part of the body.
pub const BODY: &str = "body";
/// What has been done about it.
pub const STATE: &str = "state";
/// How often it was sent round again (number).
pub const REDRIVES: &str = "redrives";
/// When it was last sent round again; absent if it never was.
pub const REDRIVEN_AT: &str = "redriven_at";
/// What the person who discarded it said.
pub const NOTE: &str = "note";
/// The number that changes with every write (number).
pub const VERSION: &str = "ver";
/// When it is removed, in seconds since 1970 (number).
pub const TTL: &str = "ttl";
