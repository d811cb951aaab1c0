//! The most memory that a request can take, computed from the configuration.
//!
//! Each term is the worst that some request can make of it, and they are added up although no request has the worst of
//! all: what is released need not have gone back to the system. `tests/memory` holds the sum against real requests.

use std::ops::RangeInclusive;

use shared::limits::{BATCH_EVENTS_MAX, LAMBDA_PAYLOAD_BYTES_MAX, SHARED_BYTES_MAX, SQS_MESSAGE_BYTES_MAX};

use crate::auth::REMEMBERED;
use crate::form::STEPS_MAX;

const MIB: usize = 1024 * 1024;

/// The sizes in MiB that a function can have (Lambda quotas).
pub const SIZES_MIB: RangeInclusive<usize> = 128..=10_240;

/// The function before its first request: code, runtime, SDK. An environment of `local` has 31 MiB resident after its
/// first requests, in a debug build and without TLS; this is half as much again.
pub const BASE_BYTES: usize = 48 * MIB;
/// What a remembered write key takes: its hash, project and source, and its places in a list and a hash table.
pub const KEY_BYTES: usize = 512;
/// What a member takes in the directory of an object, for each byte of its text: forty bytes where `"":1,` has five, and
/// three times that while the directory doubles.
pub const DIRECTORY_FACTOR: usize = 40 * 3 / 5;
/// What the same takes within one event, whose members are sorted and told apart as well: beside the directory, two
/// trees and a set, where `"ab":1,` has seven bytes.
pub const EVENT_FACTOR: usize = 48;
/// What a step of a form's names takes: a map of its own.
const STEP_BYTES: usize = 700;
/// What a form's values take: as they came, and as JSON, in which a control character has six bytes, and three times that
/// while the text doubles.
const FORM_FACTOR: usize = 1 + 6 * 3;
/// What an event takes beside its text: its fields, and their names and times in a message.
const ENVELOPE_BYTES: usize = 1024;
/// What sending takes, for each byte of a batch: its entries, those of the SDK, and the JSON of the call, where a
/// quotation mark has two bytes, and three times that while the text doubles; and as much again for what TLS has not
/// sent yet.
const SENDING_FACTOR: usize = 1 + 1 + 2 * 3 + 2;

/// A part of the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// What takes the memory.
    pub what: &'static str,
    /// How much, in bytes.
    pub bytes: usize,
}

/// The parts of the bound, for the values of `REQUEST_BYTES_MAX` and `EVENT_BYTES_MAX`.
#[must_use]
pub fn terms(request_bytes_max: usize, event_bytes_max: usize) -> [Term; 10] {
    let term = |what, bytes| Term { what, bytes };
    let directory = DIRECTORY_FACTOR * request_bytes_max;
    let form = STEPS_MAX * STEP_BYTES + FORM_FACTOR * request_bytes_max;
    // What a batch says once comes with each of its items.
    let texts = request_bytes_max + SHARED_BYTES_MAX;
    [
        term("code, runtime and SDK", BASE_BYTES),
        term("remembered write keys", REMEMBERED.get() * KEY_BYTES),
        // As it came, as the text that lambda_http tries, as the body in it, and as the body out of it. None of it can be
        // refused before, since it is Lambda that bounds it.
        term("the invocation's JSON", 4 * LAMBDA_PAYLOAD_BYTES_MAX),
        term("the body", request_bytes_max),
        // Three times its size while it doubles for the last time. What ISO-8859-1 becomes takes no more, after it.
        term("the body, inflated and in UTF-8", 2 * 3 * request_bytes_max),
        term("the directory of a batch, or the tree of a form", directory.max(form)),
        term("the event that is being read", EVENT_FACTOR * event_bytes_max),
        term("events and refused items", texts + BATCH_EVENTS_MAX * ENVELOPE_BYTES),
        // U+FFFE takes twice its bytes there.
        term("messages", 2 * texts + BATCH_EVENTS_MAX * ENVELOPE_BYTES),
        term("one call to SQS or DynamoDB", SENDING_FACTOR * SQS_MESSAGE_BYTES_MAX),
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
    refusal_of(bound(request_bytes_max, event_bytes_max), size_mib, request_bytes_max, event_bytes_max)
}

/// The same for a function whose requests can take `needed` bytes at these limits.
#[must_use]
pub fn refusal_of(needed: usize, size_mib: usize, request_bytes_max: usize, event_bytes_max: usize) -> Option<String> {
    let needed_mib = needed.div_ceil(MIB);
    (needed_mib > size_mib).then(|| {
        format!(
            "a request can take {needed_mib} MiB, and the function has {size_mib} MiB: raise its MemorySize, or lower \
             REQUEST_BYTES_MAX ({request_bytes_max}) or EVENT_BYTES_MAX ({event_bytes_max})"
        )
    })
}
