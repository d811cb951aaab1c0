//! Every bound in one place, each with its source, and the relations between them checked by the compiler.
//!
//! What is ours to choose is named without a service; what AWS sets carries the service's name.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most bytes of a request's body after inflating, by default (`REQUEST_BYTES_MAX`). Segment's clients send at most
/// 500 KB, Vero's a single event.
pub const REQUEST_BYTES_DEFAULT: usize = MIB;
/// The most that `REQUEST_BYTES_MAX` may be set to: inside the event's JSON, where every quotation mark takes two bytes,
/// it must fit [`LAMBDA_PAYLOAD_BYTES_MAX`].
pub const REQUEST_BYTES_CEILING: usize = 2 * MIB + 512 * KIB;
/// The most bytes of one event as its producer wrote it, by default (`EVENT_BYTES_MAX`). Segment allows 32 KB.
pub const EVENT_BYTES_DEFAULT: usize = 256 * KIB;
/// The most that `EVENT_BYTES_MAX` may be set to: its item must fit [`DYNAMODB_ITEM_BYTES_MAX`].
pub const EVENT_BYTES_CEILING: usize = 384 * KIB;
/// The most events in one batch: Segment's own limit (HTTP API documentation). It bounds the dead letters that one
/// request can cause.
pub const BATCH_EVENTS_MAX: usize = 2_500;
/// The most bytes that what a batch says once (`context`, `integrations`) may come to, taken as often as the batch has
/// items: it is stored with each.
pub const SHARED_BYTES_MAX: usize = 4 * MIB;
/// The deepest nesting of arrays and objects in a body. serde_json stops at 128, and the batch itself takes a few.
pub const NESTING_DEPTH_MAX: usize = 100;
/// The most characters of an id, an e-mail address or an event name in Vero's API: "less than 255 characters" (Track API
/// reference).
pub const VERO_ID_CHARS_MAX: usize = 254;
/// The most characters of whom an event is about: in UTF-8 it must fit a partition key beside the project. Segment sets
/// no limit.
pub const SUBJECT_CHARS_MAX: usize = 480;
/// The most bytes of an item that is refused but kept: it must fit a message whatever it holds. A request with a larger
/// item is refused as a whole.
pub const REFUSED_BYTES_MAX: usize = 480 * KIB;
/// The most bytes of an event id as its producer wrote it; a longer one is replaced by its hash. Segment allows 100
/// characters.
pub const EVENT_ID_BYTES_MAX: usize = 400;
/// The most bytes of a project's name.
pub const PROJECT_BYTES_MAX: usize = 64;
/// The most bytes of a write key.
pub const WRITE_KEY_BYTES_MAX: usize = 512;
/// The most bytes of what a request is known by in messages and items; ours have 32.
pub const RECEIPT_BYTES_MAX: usize = 128;
/// The most characters of a receipt's id: a fifth of what a gateway lets through as headers, or as a path. It holds the
/// items of a request with 60 events of one user, or 30 of as many users, as their ids commonly are.
pub const RECEIPT_ID_CHARS_MAX: usize = 2_048;
/// How long the items of a request are listed whose receipt's id has no room for them: as long as a message may wait, in
/// the queue and the quarantine together.
pub const RECEIPT_LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The size that messages are packed to. A request is one message while it fits; SQS bills each 64 KiB, so larger
/// messages save nothing, and ten of these are as much as one invocation of `consume` should hold.
pub const MESSAGE_BYTES_TARGET: usize = 256 * KIB;
/// Room for everything of a message but its events and refused items.
pub const MESSAGE_ENVELOPE_BYTES_MAX: usize = 2 * KIB;
/// Room for what an event carries besides the producer's text: ids, times and names of fields.
pub const EVENT_ENVELOPE_BYTES_MAX: usize = 8 * KIB;

/// The largest message, and the largest `SendMessageBatch` (SQS quotas, since August 2025).
pub const SQS_MESSAGE_BYTES_MAX: usize = MIB;
/// The most entries of `SendMessageBatch` (SQS quotas).
pub const SQS_BATCH_ENTRIES_MAX: usize = 10;
/// The largest payload of a synchronous invocation, 6 MB (Lambda quotas).
pub const LAMBDA_PAYLOAD_BYTES_MAX: usize = 6_291_456;
/// The largest item, attribute names included (DynamoDB quotas).
pub const DYNAMODB_ITEM_BYTES_MAX: usize = 400 * KIB;
/// The longest partition key (DynamoDB quotas).
pub const DYNAMODB_PARTITION_KEY_BYTES_MAX: usize = 2_048;
/// The longest sort key (DynamoDB quotas).
pub const DYNAMODB_SORT_KEY_BYTES_MAX: usize = 1_024;
/// The most statements of `BatchExecuteStatement` (DynamoDB API reference).
pub const DYNAMODB_STATEMENTS_MAX: usize = 25;
/// The most keys of `BatchGetItem` (DynamoDB API reference).
pub const DYNAMODB_GET_KEYS_MAX: usize = 100;

/// The most bytes of items sent in one batch of statements: far below DynamoDB's 16 MB, to bound memory.
pub const STORE_BATCH_BYTES_MAX: usize = 4 * MIB;
/// The most ids of a user, and the most homes of their events, that are read as one. It bounds what one look at a user
/// reads; who looks is told that there are more. A deletion knows no such bound.
pub const JOINED_MAX: usize = 50;
/// The largest profile, as stored. What would grow it beyond is stored as an event only. It is twice what Segment takes in
/// one call (32 KB), and has room for the 300 traits that Segment takes in one call (Unify limits), of 200 bytes each.
///
/// A profile is written whole whenever something in it changes, and each KiB of it costs a write unit.
pub const PROFILE_BYTES_MAX: usize = 64 * KIB;
/// The most bytes of a body in one item of a dead letter; a longer body continues in further items.
pub const DEAD_LETTER_PART_BYTES_MAX: usize = 300 * KIB;
/// The most bytes of a message in one item of the spill table; a longer one continues in further items.
pub const SPILL_PART_BYTES_MAX: usize = 300 * KIB;

/// How long Vero treats identical calls as one: five minutes from the first (Track API reference).
pub const IDENTITY_WINDOW: Duration = Duration::from_secs(5 * 60);
/// How long the marker of such a window is kept. A message can be redelivered for 4 days from the queue and 14 from the
/// quarantine; this is twice that.
pub const IDENTITY_WINDOW_MARKER_LIFE: Duration = Duration::from_secs(36 * 24 * 60 * 60);

// Text in the HTTP event's JSON takes up to twice its bytes, base64 a third more; the rest of the event is bounded by the
// gateway's 10 KB of headers.
const _: () = assert!(2 * REQUEST_BYTES_CEILING + 64 * KIB <= LAMBDA_PAYLOAD_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_DEFAULT <= REQUEST_BYTES_CEILING && EVENT_BYTES_DEFAULT <= EVENT_BYTES_CEILING);
// Text grows at most twofold on its way into a message (see `message::Message::encode`), and one event must always fit.
const _: () =
    assert!(2 * (EVENT_BYTES_CEILING + EVENT_ENVELOPE_BYTES_MAX) + MESSAGE_ENVELOPE_BYTES_MAX <= SQS_MESSAGE_BYTES_MAX);
const _: () =
    assert!(2 * (REFUSED_BYTES_MAX + EVENT_ENVELOPE_BYTES_MAX) + MESSAGE_ENVELOPE_BYTES_MAX <= SQS_MESSAGE_BYTES_MAX);
const _: () = assert!(VERO_ID_CHARS_MAX <= SUBJECT_CHARS_MAX && EVENT_BYTES_CEILING <= REFUSED_BYTES_MAX);
const _: () = assert!(MESSAGE_BYTES_TARGET <= SQS_MESSAGE_BYTES_MAX);
// What was accepted can be stored: an event with its keys and names fits an item.
const _: () = assert!(EVENT_BYTES_CEILING + EVENT_ENVELOPE_BYTES_MAX <= DYNAMODB_ITEM_BYTES_MAX);
const _: () = assert!(PROJECT_BYTES_MAX + 16 + 4 * SUBJECT_CHARS_MAX <= DYNAMODB_PARTITION_KEY_BYTES_MAX);
const _: () = assert!(64 + EVENT_ID_BYTES_MAX <= DYNAMODB_SORT_KEY_BYTES_MAX);
const _: () =
    assert!(PROFILE_BYTES_MAX < DYNAMODB_ITEM_BYTES_MAX && DEAD_LETTER_PART_BYTES_MAX < DYNAMODB_ITEM_BYTES_MAX);
const _: () = assert!(SPILL_PART_BYTES_MAX < DYNAMODB_ITEM_BYTES_MAX);
// Of everything that a message says of an event, the list of a receipt has the subject and the id, no longer than there,
// in base64.
const _: () = assert!(MESSAGE_BYTES_TARGET / 3 * 4 + 4 * KIB < DYNAMODB_ITEM_BYTES_MAX);
const _: () = assert!(4 * SUBJECT_CHARS_MAX + EVENT_ID_BYTES_MAX < MESSAGE_BYTES_TARGET);
