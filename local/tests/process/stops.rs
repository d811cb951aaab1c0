//! Orderly ends, and what is there at the next start.

use std::io::Write;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName::{MaximumMessageSize, RedrivePolicy, VisibilityTimeout};
use rustix::process::Signal;

use crate::client::{connect, head, post, stored, track, wait_until_stored};
use crate::proc::{environments, wait_for_no_environments};
use crate::process::Process;

/// An end is bounded by the time that a half-sent request is given, 5 s, and that of the functions' own ends.
const STOP_LIMIT: Duration = Duration::from_secs(9);

#[tokio::test]
async fn both_signals_end_it_in_order_and_leave_no_child() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut process = Process::ephemeral();
        let (api, sqs) = (process.api(), process.sqs());
        assert_eq!(post(&api, "/v1/track", &track("m1")).expect("an answer"), 200);
        wait_until_stored(&process.dynamodb(), &["m1".to_owned()]).await;
        assert_eq!(environments(&sqs).len(), 2, "one of each function");
        process.signal(signal);
        let (code, elapsed) = process.ended();
        assert_eq!(code, Some(0), "{:#?}", process.lines());
        assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
        wait_for_no_environments(&sqs);
    }
}

#[test]
fn clients_that_hold_on_do_not_keep_it_from_ending() {
    let mut process = Process::ephemeral();
    let idle = [connect(&process.api()), connect(&process.sqs()), connect(&process.dynamodb())];
    let mut half_sent = connect(&process.api()).expect("a connection");
    half_sent.write_all(head("/v1/track", 100).as_bytes()).expect("the pipeline reads");
    process.signal(Signal::INT);
    let (code, elapsed) = process.ended();
    assert_eq!(code, Some(0), "{:#?}", process.lines());
    assert!(elapsed < STOP_LIMIT, "{elapsed:?}");
    assert!(idle.iter().all(Result::is_ok));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::ephemeral();
    let mut half_sent = connect(&process.api()).expect("a connection");
    half_sent.write_all(head("/v1/track", 100).as_bytes()).expect("the pipeline reads");
    process.signal(Signal::INT);
    process.wait_for_line("stopping", |line| line == "stopping");
    process.signal(Signal::INT);
    let (code, elapsed) = process.ended();
    assert_eq!(code, Some(1), "{:#?}", process.lines());
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[tokio::test]
async fn a_second_start_keeps_the_events_and_brings_the_queues_back_to_the_template() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let attributes = async |process: &Process| {
        let (client, sqs) = (local::clients::sqs(&process.sqs()), process.sqs());
        let url = format!("{sqs}/000000000000/holdfast-events");
        let reply = client.get_queue_attributes().queue_url(&url).attribute_names("All".into()).send().await;
        let attributes = reply.expect("the queue answers").attributes.expect("a queue has attributes");
        let named = [VisibilityTimeout, RedrivePolicy, MaximumMessageSize].map(|name| attributes.get(&name).cloned());
        (client, url, named)
    };
    let mut process = Process::on(data.path());
    let (client, url, as_deployed) = attributes(&process).await;
    assert_eq!(post(&process.api(), "/v1/track", &track("m1")).expect("an answer"), 200);
    wait_until_stored(&process.dynamodb(), &["m1".to_owned()]).await;
    let change = client.set_queue_attributes().queue_url(url).attributes(VisibilityTimeout, "7");
    let change = change.attributes(RedrivePolicy, "").attributes(MaximumMessageSize, "2048");
    change.send().await.expect("the queue takes attributes");
    process.signal(Signal::TERM);
    assert_eq!(process.ended().0, Some(0), "{:#?}", process.lines());

    let process = Process::on(data.path());
    assert_eq!(attributes(&process).await.2, as_deployed);
    assert_eq!(stored(&process.dynamodb()).await, ["m1"]);
    for id in ["m1", "m2"] {
        assert_eq!(post(&process.api(), "/v1/track", &track(id)).expect("an answer"), 200);
    }
    process.wait_for_line("duplicate", |line| line.starts_with("duplicate ") && line.ends_with("id m1"));
    wait_until_stored(&process.dynamodb(), &["m2".to_owned()]).await;
    assert_eq!(stored(&process.dynamodb()).await, ["m1", "m2"]);
}
