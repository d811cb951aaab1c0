//! A part that is away for a while.

use std::sync::Arc;
use std::time::Duration;

use local::dynamodb::{Fault, Refusal, Target, Times};

use crate::client::{depth, eventually, post, scan, stored, track, wait_until_stored};
use crate::inside::{self, Ahead, let_visibility_pass};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_the_tables_and_are_then_stored_by_themselves() {
    let clock = Arc::new(Ahead::default());
    let pipeline = inside::start(None, &clock).await;
    let (sqs, dynamodb) = (pipeline.sqs().endpoint(), pipeline.dynamodb().endpoint());
    // The function has looked its write key up once, as one in use has.
    assert_eq!(post(&pipeline.api(), "/v1/track", &track("before")).expect("an answer"), 200);
    wait_until_stored(&dynamodb, &["before".to_owned()]).await;

    for refusal in [Refusal::InternalServerError, Refusal::Throttling, Refusal::AccessDenied] {
        let faults = pipeline.dynamodb().faults();
        let outage = faults.inject(Target::All, Fault::Refuse(refusal), Times::UntilCleared);
        let ids: Vec<String> = (0..4).map(|number| format!("{refusal:?}-{number}")).collect();
        for id in &ids {
            assert_eq!(post(&pipeline.api(), "/v1/track", &track(id)).expect("an answer"), 200, "{refusal:?}");
        }
        let before = outage.applied();
        eventually("the tables are tried", async || match outage.applied() - before {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        outage.clear();
        eventually("all events are stored", async || {
            let_visibility_pass(&pipeline, &clock);
            // Time for a delivery, since each one that is begun counts against the redrive policy.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stored = stored(&dynamodb).await;
            if ids.iter().all(|id| stored.contains(id)) { Ok(()) } else { Err(format!("{stored:?}")) }
        })
        .await;
    }
    assert_eq!(depth(&sqs, "holdfast-quarantine").await, 0);
    assert_eq!(scan(&dynamodb, "DeadLettersTable").await, []);
    pipeline.stop().await;
}
