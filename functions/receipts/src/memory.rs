//! The most memory that a request can take, computed from the configuration, as in [`ingest::memory`].

use consume::packed::LOGS_READ_BYTES;
use shared::limits::{
    BATCH_EVENTS_MAX, DYNAMODB_GET_KEYS_MAX, DYNAMODB_PARTITION_KEY_BYTES_MAX, DYNAMODB_SORT_KEY_BYTES_MAX,
    EVENT_ID_BYTES_MAX, LAMBDA_PAYLOAD_BYTES_MAX, SUBJECT_CHARS_MAX,
};

pub use ingest::memory::{BASE_BYTES, SIZES_MIB, Term};
use ingest::memory::{DIRECTORY_FACTOR, EVENT_FACTOR, KEY_BYTES};

const MIB: usize = 1024 * 1024;
/// What an event takes beside its keys: its fields, and its places in lists and maps.
const EVENT_BYTES: usize = 1024;
/// The keys of an event, as long as they can be.
const KEYS_BYTES: usize = 4 * SUBJECT_CHARS_MAX + EVENT_ID_BYTES_MAX + 128;
/// How often the keys of an event are held at a time: in the event, in its origin, in the keys that are looked up, and in
/// what was found.
const KEYS_HELD: usize = 6;
/// What a call of the SDK takes, for each byte that goes or comes: as ours and as the SDK's; and its JSON, where a
/// quotation mark has two bytes, and three times that while the text doubles.
const CALL_FACTOR: usize = 1 + 1 + 2 * 3;
/// A page of a query (DynamoDB API reference).
const PAGE_BYTES_MAX: usize = MIB;

/// The parts of the bound, for the values of `REQUEST_BYTES_MAX` and `EVENT_BYTES_MAX`.
#[must_use]
pub fn terms(request_bytes_max: usize, event_bytes_max: usize) -> [Term; 9] {
    let term = |what, bytes| Term { what, bytes };
    // Of most items only one short attribute is read; of markers and tombstones all, which is no more than a key.
    let read = DYNAMODB_GET_KEYS_MAX * 2 * (DYNAMODB_PARTITION_KEY_BYTES_MAX + DYNAMODB_SORT_KEY_BYTES_MAX);
    // Events may be in bundles. Of many logs one call reads the ids of the first bundle; the others are read a few logs at
    // a time, a page of each. What comes is let go as soon as it is known which events are among it.
    // The ids of a request are part of its text, and so is what a receipt lists of them.
    let keys = KEYS_HELD * (2 * request_bytes_max).min(BATCH_EVENTS_MAX * KEYS_BYTES);
    [
        term("code, runtime and SDK", BASE_BYTES),
        term("remembered write keys", ingest::auth::REMEMBERED.get() * KEY_BYTES),
        term("the invocation's JSON", 4 * LAMBDA_PAYLOAD_BYTES_MAX),
        term("the body, as it came, inflated and in UTF-8", 7 * request_bytes_max),
        term("the directory of a batch", DIRECTORY_FACTOR * request_bytes_max),
        term("the event that is being read", EVENT_FACTOR * event_bytes_max),
        term("events and their keys", BATCH_EVENTS_MAX * EVENT_BYTES + keys),
        term("calls to DynamoDB at a time", CALL_FACTOR * LOGS_READ_BYTES.max(read).max(PAGE_BYTES_MAX)),
        term("the answer", 3 * (request_bytes_max + BATCH_EVENTS_MAX * EVENT_BYTES)),
    ]
}

/// The most memory in bytes that the function takes, for the values of `REQUEST_BYTES_MAX` and `EVENT_BYTES_MAX`.
#[must_use]
pub fn bound(request_bytes_max: usize, event_bytes_max: usize) -> usize {
    terms(request_bytes_max, event_bytes_max).iter().map(|term| term.bytes).sum()
}

/// What to say of a function of `size_mib` MiB whose requests can take more; `None` if it is large enough.
#[must_use]
pub fn refusal(size_mib: usize, request_bytes_max: usize, event_bytes_max: usize) -> Option<String> {
    let needed = bound(request_bytes_max, event_bytes_max);
    ingest::memory::refusal_of(needed, size_mib, request_bytes_max, event_bytes_max)
}
