//! The most memory that a batch can take.
//!
//! Each term is the worst that some batch can make of it, and they are added up although no batch has the worst of all:
//! what is released need not have gone back to the system. `tests/memory` holds the sum against real batches.

use std::ops::RangeInclusive;

use shared::limits::{
    BATCH_EVENTS_MAX, DYNAMODB_ITEM_BYTES_MAX, LAMBDA_PAYLOAD_BYTES_MAX, PROFILE_BYTES_MAX, STORE_BATCH_BYTES_MAX,
};

use crate::bundle::BUNDLE_BYTES_MAX;
use crate::deliver::{GROUP_EVENTS, IN_FLIGHT};
use crate::fold::{FOLD_BESIDE_BYTES_MAX, FOLD_BYTES_MAX};
use crate::links::REACHES_IN_FLIGHT;
use crate::packed::LOGS_READ_BYTES;
use crate::profile::{VALUE_BYTES, VALUES_MAX};
use crate::remains::BUNDLES_IN_FLIGHT;

const MIB: usize = 1024 * 1024;

/// The sizes in MiB that a function can have (Lambda quotas).
pub const SIZES_MIB: RangeInclusive<usize> = 128..=10_240;

/// The function before its first batch: code, runtime, SDK. An environment of `local` has 31 MiB resident after its first
/// batches, in a debug build and without TLS; this is half as much again.
pub const BASE_BYTES: usize = 48 * MIB;
/// What an event takes beside its text: its fields, its item, and its keys, which several steps hold at the same time.
const EVENT_BYTES: usize = 8 * 1024;
/// What a call of the SDK takes, for each byte that goes or comes: the values as ours and as the SDK's; and their JSON,
/// where a quotation mark has two bytes, and three times that while the text doubles.
const CALL_FACTOR: usize = 1 + 1 + 2 * 3;
/// What traits take while they are applied, for each byte of their text: they are listed, sorted, told apart, made
/// registers, filtered for what is known, and written, about 900 bytes where `"ab":1,` has seven.
const OPERATION_FACTOR: usize = 128;
/// A page of a query or a scan (DynamoDB API reference).
const PAGE_BYTES_MAX: usize = MIB;

/// A profile as it is in memory.
const PROFILE_MEMORY: usize = PROFILE_BYTES_MAX + VALUES_MAX * VALUE_BYTES;

/// A part of the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// What takes the memory.
    pub what: &'static str,
    /// How much, in bytes.
    pub bytes: usize,
}

/// The parts of the bound. Whatever the mapping's batch, Lambda lets through no more than one payload of it; the other
/// sources bring a message at a time, or a page of keys.
#[must_use]
pub fn terms() -> [Term; 11] {
    let term = |what, bytes| Term { what, bytes };
    // It is read, copied where it changes, and written.
    let in_turn = OPERATION_FACTOR * FOLD_BYTES_MAX.max(DYNAMODB_ITEM_BYTES_MAX)
        + 2 * PROFILE_MEMORY
        + CALL_FACTOR * PROFILE_BYTES_MAX;
    let beside =
        IN_FLIGHT * (OPERATION_FACTOR * FOLD_BESIDE_BYTES_MAX + 2 * PROFILE_MEMORY + CALL_FACTOR * PROFILE_BYTES_MAX);
    [
        term("code, runtime and SDK", BASE_BYTES),
        // As it came, as the bodies of the messages, and as the text of the one that is being read.
        term("the invocation's JSON", 3 * LAMBDA_PAYLOAD_BYTES_MAX),
        term("messages, decoded", LAMBDA_PAYLOAD_BYTES_MAX),
        // The last message of a group may have as many events as a request can.
        term("events beside their text", (GROUP_EVENTS + BATCH_EVENTS_MAX) * EVENT_BYTES),
        term("dead letters", LAMBDA_PAYLOAD_BYTES_MAX),
        term("items", LAMBDA_PAYLOAD_BYTES_MAX),
        // The lists of receipts come after them, and are no larger.
        term("one call with items", CALL_FACTOR * STORE_BATCH_BYTES_MAX),
        term("a profile with much that is new, or several with little", in_turn.max(beside)),
        term("pages of queries, or one of a scan", REACHES_IN_FLIGHT * CALL_FACTOR * PAGE_BYTES_MAX),
        term("ids of bundles", CALL_FACTOR * LOGS_READ_BYTES),
        // As it is compressed, as JSON, and as attributes, of which a short one takes ten times its text.
        term("bundles that are read and written", BUNDLES_IN_FLIGHT * 2 * 12 * BUNDLE_BYTES_MAX),
    ]
}

/// The most memory in bytes that the function takes.
#[must_use]
pub fn bound() -> usize {
    terms().iter().map(|term| term.bytes).sum()
}

/// What to say of a function of `size_mib` MiB whose batches can take more; `None` if it is large enough.
#[must_use]
pub fn refusal(size_mib: usize) -> Option<String> {
    let needed_mib = bound().div_ceil(MIB);
    (needed_mib > size_mib).then(|| {
        format!("a batch can take {needed_mib} MiB, and the function has {size_mib} MiB: raise its MemorySize")
    })
}
