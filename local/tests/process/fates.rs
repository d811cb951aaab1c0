//! What a person sees who sends a few events.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::client::{post, scan, stored, track, wait_until_empty, wait_until_stored};
use crate::process::Process;

#[tokio::test]
async fn every_fate_of_an_event_is_a_line_and_an_item() {
    let process = Process::ephemeral();
    let api = process.api();
    assert_eq!(post(&api, "/v1/track", &track("m1")).expect("an answer"), 200);
    process
        .wait_for_line("stored", |line| line.starts_with("stored ") && line.contains("\"Did It\"  project dev  id m1"));
    let batch = json!({"batch": [track("m1"), {"type": "track", "userId": "ann"}]});
    assert_eq!(post(&api, "/v1/batch", &batch).expect("an answer"), 200);
    process.wait_for_line("duplicate", |line| line.starts_with("duplicate ") && line.ends_with("id m1"));
    process.wait_for_line("dead letter", |line| line.starts_with("dead letter event_not_defined  project dev"));
    assert_eq!(stored(&process.dynamodb()).await, ["m1"]);
    assert_eq!(scan(&process.dynamodb(), "DeadLettersTable").await.len(), 1);
}

#[tokio::test]
async fn nobody_has_to_read_the_lines() {
    for mut process in [Process::unreadable(), Process::unread()] {
        // Their lines are more than the 64 KiB that a pipe holds.
        let ids: Vec<String> = (0..2_000).map(|number| format!("m{number}")).collect();
        for ids in ids.chunks(400) {
            let events: Vec<_> = ids.iter().map(|id| track(id)).collect();
            assert_eq!(post(&process.api(), "/v1/batch", &json!({"batch": events})).expect("an answer"), 200);
        }
        wait_until_stored(&process.dynamodb(), &ids).await;
        wait_until_empty(&process.sqs(), "holdfast-events").await;
        process.signal(Signal::TERM);
        let (code, elapsed) = process.ended();
        assert_eq!(code, Some(0));
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
        assert!(!process.lines().iter().any(|line| line.contains("panicked")), "{:#?}", process.lines());
    }
}
