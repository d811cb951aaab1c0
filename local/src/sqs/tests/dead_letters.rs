//! Tests of the move to the dead-letter queue.

use super::super::MessageAttribute;
use super::*;

/// Receives and lets the time-out pass, that often; returns the time afterwards.
fn exhaust(queues: &mut Queues, mut now: i64, times: u32) -> i64 {
    for _ in 0..times {
        assert_eq!(receive(queues, now, "q").len(), 1);
        now += 30 * SECOND;
    }
    now
}

#[test]
fn a_message_received_more_often_than_allowed_moves_to_the_dead_letter_queue() {
    let mut queues = with_dead_letter_queue(2);
    let attributes = BTreeMap::from([("a".to_owned(), MessageAttribute::text("v"))]);
    let system_attributes = BTreeMap::from([("AWSTraceHeader".to_owned(), MessageAttribute::text("Root=1"))]);
    let group = Some("tenant".to_owned());
    let message = NewMessage { attributes, system_attributes, group, ..NewMessage::of("poison") };
    let id = queues.send(START, "q", message).unwrap().message_id;
    let before = receive(&mut queues, START, "q").remove(0).message;
    let now = exhaust(&mut queues, START + 30 * SECOND, 1);
    assert_eq!(counts(&mut queues, now, "dlq"), (0, 0, 0), "only a receive moves a message");
    assert!(receive(&mut queues, now, "q").is_empty());
    assert_eq!(counts(&mut queues, now, "q"), (0, 0, 0));
    let after = receive(&mut queues, now, "dlq").remove(0).message;
    assert_eq!((&after.id, after.body.as_str(), after.sent_ms), (&id, "poison", START));
    assert_eq!((&after.attributes, &after.trace_header), (&before.attributes, &before.trace_header));
    assert_eq!(after.group, before.group);
    assert_eq!(after.dead_letter_source, Some(queue_arn("q")));
    assert_eq!(after.receive_count, 1, "each queue counts its own receives");
}

#[test]
fn a_receive_that_moves_poison_still_returns_the_other_messages() {
    let mut queues = with_dead_letter_queue(1);
    for _ in 0..15 {
        send(&mut queues, START, "q", "poison");
    }
    receive(&mut queues, START, "q");
    receive(&mut queues, START, "q");
    let now = START + 30 * SECOND;
    send(&mut queues, now, "q", "good");
    assert_eq!(bodies(&receive(&mut queues, now, "q")), ["good"]);
    assert_eq!(counts(&mut queues, now, "dlq"), (15, 0, 0));
}

#[test]
fn retention_in_a_standard_dead_letter_queue_counts_from_the_first_enqueueing() {
    let mut queues = with_dead_letter_queue(1);
    queues.set_queue_attributes(START, "dlq", &pairs(&[("MessageRetentionPeriod", "60")])).unwrap();
    send(&mut queues, START, "q", "a");
    let now = exhaust(&mut queues, START, 1);
    receive(&mut queues, now, "q");
    assert_eq!(counts(&mut queues, START + 59_999, "dlq"), (1, 0, 0));
    assert_eq!(counts(&mut queues, START + 60_000, "dlq"), (0, 0, 0));
}

#[test]
fn a_receipt_handle_from_before_the_move_deletes_nothing() {
    let mut queues = with_dead_letter_queue(1);
    send(&mut queues, START, "q", "a");
    let old = receive(&mut queues, START, "q").remove(0).receipt_handle;
    receive(&mut queues, START + 30 * SECOND, "q");
    queues.delete(START + 30 * SECOND, "q", &old).unwrap();
    assert_eq!(counts(&mut queues, START + 30 * SECOND, "dlq"), (1, 0, 0));
}

#[test]
fn a_message_stays_if_its_dead_letter_queue_was_deleted() {
    let mut queues = with_dead_letter_queue(1);
    send(&mut queues, START, "q", "a");
    queues.delete_queue(START, "dlq").unwrap();
    let now = exhaust(&mut queues, START, 3);
    assert_eq!(receive(&mut queues, now, "q")[0].message.receive_count, 4);
}

#[test]
fn a_dead_letter_queue_can_have_one_of_its_own() {
    let mut queues = with_dead_letter_queue(1);
    queues.create_queue(START, "last", &pairs(&[]), BTreeMap::new()).unwrap();
    queues.set_queue_attributes(START, "dlq", &pairs(&[("RedrivePolicy", &redrive_policy("last", 1))])).unwrap();
    send(&mut queues, START, "q", "a");
    let now = exhaust(&mut queues, START, 1);
    receive(&mut queues, now, "q");
    assert_eq!(receive(&mut queues, now, "dlq").len(), 1, "the count begins anew in each queue");
    assert!(receive(&mut queues, now + 30 * SECOND, "dlq").is_empty());
    assert_eq!(counts(&mut queues, now + 30 * SECOND, "last"), (1, 0, 0));
}

#[test]
fn the_sources_of_a_dead_letter_queue_are_listed() {
    let mut queues = with_dead_letter_queue(1);
    queues.create_queue(START, "r", &pairs(&[("RedrivePolicy", &redrive_policy("dlq", 3))]), BTreeMap::new()).unwrap();
    assert_eq!(queues.dead_letter_sources("dlq", None, None).unwrap().names, ["q", "r"]);
    assert!(queues.dead_letter_sources("q", None, None).unwrap().names.is_empty());
    assert_eq!(code(queues.dead_letter_sources("nope", None, None)), Some(Code::QueueDoesNotExist));
}

#[test]
fn a_redrive_policy_is_checked() {
    let create = |policy: &str| {
        let mut queues = with_queue(&[]);
        queues.create_queue(START, "f.fifo", &pairs(&[("FifoQueue", "true")]), BTreeMap::new()).unwrap();
        let outcome = queues.create_queue(START, "s", &pairs(&[("RedrivePolicy", policy)]), BTreeMap::new());
        outcome
            .map(|()| queues.queue_attributes(START, "s", &["RedrivePolicy".into()]).unwrap()["RedrivePolicy"].clone())
    };
    let bad = [
        redrive_policy("nope", 3),
        redrive_policy("f.fifo", 3),
        redrive_policy("q", 0),
        redrive_policy("q", 1_001),
        "not json".into(),
        "{}".into(),
        json!({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:q", "maxReceiveCount": 3}).to_string(),
    ];
    for policy in bad {
        assert_eq!(code(create(&policy)), Some(Code::InvalidParameterValue), "{policy}");
    }
    // CloudFormation gives the count as text.
    let as_text = json!({"deadLetterTargetArn": queue_arn("q"), "maxReceiveCount": "5"}).to_string();
    assert_eq!(create(&as_text).unwrap(), redrive_policy("q", 5));
    let without_count = json!({"deadLetterTargetArn": queue_arn("q")}).to_string();
    assert_eq!(create(&without_count).unwrap(), redrive_policy("q", 10));
}

#[test]
fn a_redrive_allow_policy_decides_who_may_use_the_dead_letter_queue() {
    for (policy, allowed) in [
        (json!({"redrivePermission": "allowAll"}), true),
        (json!({"redrivePermission": "denyAll"}), false),
        (json!({"redrivePermission": "byQueue", "sourceQueueArns": [queue_arn("s")]}), true),
        (json!({"redrivePermission": "byQueue", "sourceQueueArns": [queue_arn("t")]}), false),
    ] {
        let mut queues = with_queue(&[("RedriveAllowPolicy", &policy.to_string())]);
        let given = queues.queue_attributes(START, "q", &["All".into()]).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&given["RedriveAllowPolicy"]).unwrap(), policy);
        let created =
            queues.create_queue(START, "s", &pairs(&[("RedrivePolicy", &redrive_policy("q", 3))]), BTreeMap::new());
        assert_eq!(created.is_ok(), allowed, "{policy}");
    }
    for policy in [json!({"redrivePermission": "byQueue"}), json!({"redrivePermission": "some"}), json!({})] {
        let given = pairs(&[("RedriveAllowPolicy", &policy.to_string())]);
        assert_eq!(code(empty().create_queue(START, "q", &given, BTreeMap::new())), Some(Code::InvalidParameterValue));
    }
}
