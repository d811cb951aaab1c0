//! Thousands of simulated histories: none breaks a promise, each kind of fault and of fate happens, and mistakes are
//! found.

use tests::sim::{Mistake, Promise, campaign, run};

/// Histories of every `cargo test`; `simulate` runs millions.
const HISTORIES: u64 = 2_000;
/// Histories within which a mistake must be found.
const FOUND_WITHIN: u64 = 300;

/// What must happen at least once in all histories together.
const HAPPENS: &[&str] = &[
    "answer lost",
    "answered 200",
    "answered 400",
    "answered 401",
    "answered 413",
    "answered 503",
    "call hangs",
    "call made twice",
    "call refused by DynamoDB",
    "call refused by SQS",
    "call throttled",
    "condition not met",
    "delete by an old handle without effect",
    "delete lost on the way",
    "effect late",
    "entries of a batch refused",
    "environment crashed",
    "environment killed by an event",
    "fate: deletion applied",
    "fate: duplicate",
    "fate: erased",
    "fate: letter of a killer",
    "fate: letter of a refused item",
    "fate: letter of an unknown key",
    "fate: letter of an unstorable event",
    "fate: stored",
    "item refused by the table",
    "items of a batch throttled",
    "letter redriven",
    "message back after its delete",
    "message delivered twice",
    "message quarantined",
    "message spilled",
    "nonsense in the queue",
    "producer out of patience",
    "receive lost on the way",
    "records bisected",
    "records passed over",
    "reply lost",
    "request lost",
    "request sent again",
    "stale read",
    "sweep without end",
    "user filled in at a retry",
];

#[test]
fn no_history_breaks_a_promise() {
    let sum = campaign(0..HISTORIES, None, 1, |_, _, _| {});
    let told: Vec<String> = sum
        .broken
        .iter()
        .map(|(seed, violation)| {
            let rerun = format!("cargo run -p tests --bin simulate -- --seed {seed} --trace");
            format!("{:?} is broken: {}\n  {rerun}", violation.promise, violation.what)
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    let never: Vec<&&str> = HAPPENS.iter().filter(|what| !sum.counts.contains_key(**what)).collect();
    assert!(never.is_empty(), "none of {HISTORIES} histories has these: {never:?}");
}

#[test]
fn a_seed_always_tells_the_same_history() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, true).trace, run(seed, None, true).trace, "{seed}");
    }
}

#[test]
fn an_acknowledgement_before_the_queue_has_confirmed_is_found() {
    found(Mistake::AcknowledgesBeforeDurable, Promise::P1);
}

#[test]
fn success_as_the_default_outcome_is_found() {
    found(Mistake::SuccessByDefault, Promise::P2);
}

#[test]
fn a_retry_that_acknowledges_an_empty_buffer_is_found() {
    found(Mistake::ForgetsOnRetry, Promise::P1);
}

#[test]
fn a_home_that_follows_the_user_is_found() {
    found(Mistake::LivesWithTheUser, Promise::P3);
}

fn found(mistake: Mistake, promise: Promise) {
    let sum = campaign(0..FOUND_WITHIN, Some(mistake), 50, |_, _, _| {});
    let is_found = sum.broken.iter().any(|(_, violation)| violation.promise == promise);
    assert!(is_found, "{:?}", sum.broken);
}
