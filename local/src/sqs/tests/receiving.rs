//! Tests of receiving: visibility, counts, order, retention, and the cost of a backlog.

use super::super::Order;
use super::*;

#[test]
fn a_received_message_is_hidden_until_its_visibility_time_out_and_then_comes_again() {
    let mut queues = with_queue(&[("VisibilityTimeout", "30")]);
    let id = send(&mut queues, START, "q", "a");
    let first = receive(&mut queues, START, "q");
    assert!(receive(&mut queues, START + 29_999, "q").is_empty());
    let second = receive(&mut queues, START + 30_000, "q");
    assert_eq!((first[0].message.receive_count, second[0].message.receive_count), (1, 2));
    assert_eq!((&first[0].message.id, &second[0].message.id), (&id, &id));
    assert_ne!(first[0].receipt_handle, second[0].receipt_handle);
    assert_eq!(second[0].message.first_received_ms, Some(START));
}

#[test]
fn a_receive_can_say_its_own_visibility_time_out() {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "a");
    let receive_for = |seconds| Receive { visibility_timeout_seconds: Some(seconds), ..Receive::default() };
    assert_eq!(queues.receive(START, "q", &receive_for(2)).unwrap().len(), 1);
    assert!(receive(&mut queues, START + 1_999, "q").is_empty());
    // Zero leaves the message visible, and delivers it once a call all the same.
    let zero = Receive { max_messages: Some(10), ..receive_for(0) };
    assert_eq!(queues.receive(START + 2_000, "q", &zero).unwrap().len(), 1);
    assert_eq!(queues.receive(START + 2_000, "q", &zero).unwrap().len(), 1);
}

#[test]
fn a_receive_takes_one_to_ten_messages_and_one_if_it_does_not_say() {
    let mut queues = with_queue(&[]);
    for index in 0..12 {
        send(&mut queues, START + index, "q", &index.to_string());
    }
    let now = START + SECOND;
    assert_eq!(queues.receive(now, "q", &Receive::default()).unwrap().len(), 1);
    assert_eq!(receive(&mut queues, now, "q").len(), 10);
    for max in [0, 11, -1] {
        let bad = Receive { max_messages: Some(max), ..Receive::default() };
        assert_eq!(code(queues.receive(now, "q", &bad)), Some(Code::InvalidParameterValue));
    }
    for seconds in [-1, 43_201] {
        let bad = Receive { visibility_timeout_seconds: Some(seconds), ..Receive::default() };
        assert_eq!(code(queues.receive(now, "q", &bad)), Some(Code::InvalidParameterValue));
    }
}

#[test]
fn messages_come_by_the_time_they_were_sent_also_when_they_come_again() {
    let mut queues = with_queue(&[("VisibilityTimeout", "10")]);
    for (index, body) in ["a", "b", "c"].into_iter().enumerate() {
        send(&mut queues, START + index as i64, "q", body);
    }
    assert_eq!(bodies(&queues.receive(START + 5, "q", &Receive::default()).unwrap()), ["a"]);
    assert_eq!(bodies(&receive(&mut queues, START + 5 + 10 * SECOND, "q")), ["a", "b", "c"]);
}

#[test]
fn counts_tell_visible_in_flight_and_delayed_apart() {
    let mut queues = with_queue(&[]);
    for _ in 0..5 {
        send(&mut queues, START, "q", "a");
    }
    queues.send(START, "q", NewMessage { delay_seconds: Some(60), ..NewMessage::of("d") }).unwrap();
    let two = Receive { max_messages: Some(2), ..Receive::default() };
    queues.receive(START, "q", &two).unwrap();
    assert_eq!(counts(&mut queues, START, "q"), (3, 2, 1));
    assert_eq!(counts(&mut queues, START + 60 * SECOND, "q"), (6, 0, 0));
}

#[test]
fn a_message_expires_at_the_end_of_its_retention_wherever_it_is() {
    let mut queues = with_queue(&[("MessageRetentionPeriod", "60"), ("VisibilityTimeout", "600")]);
    send(&mut queues, START, "q", "in flight");
    receive(&mut queues, START, "q");
    send(&mut queues, START, "q", "visible");
    queues.send(START, "q", NewMessage { delay_seconds: Some(900), ..NewMessage::of("delayed") }).unwrap();
    send(&mut queues, START + 1, "q", "younger");
    assert_eq!(counts(&mut queues, START + 59_999, "q"), (2, 1, 1));
    assert_eq!(bodies(&receive(&mut queues, START + 60_000, "q")), ["younger"]);
    assert_eq!(counts(&mut queues, START + 60_001, "q"), (0, 0, 0));
}

#[test]
fn a_shorter_retention_takes_hold_of_messages_that_are_there() {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "a");
    queues.set_queue_attributes(START + 61 * SECOND, "q", &pairs(&[("MessageRetentionPeriod", "60")])).unwrap();
    // What has expired does not come back when the retention is raised again.
    queues.set_queue_attributes(START + 61 * SECOND, "q", &pairs(&[("MessageRetentionPeriod", "3600")])).unwrap();
    assert!(receive(&mut queues, START + 61 * SECOND, "q").is_empty());
}

#[test]
fn a_shuffled_receive_delivers_each_message_once_and_the_same_order_for_the_same_seed() {
    let order_of = |seed: u64| {
        let mut queues = with_queue(&[]);
        for index in 0..50 {
            send(&mut queues, START + index, "q", &index.to_string());
        }
        let mut order = Vec::new();
        for round in 0..5 {
            let receive =
                Receive { max_messages: Some(10), order: Order::Shuffled(seed + round), ..Receive::default() };
            let received = queues.receive(START + SECOND, "q", &receive).unwrap();
            order.extend(received.into_iter().map(|received| received.message.body.parse::<i64>().unwrap()));
        }
        order
    };
    let (one, again, other) = (order_of(1), order_of(1), order_of(1_000));
    assert_eq!(one, again);
    assert_ne!(one, other);
    let mut sorted = one.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    assert_ne!(one, sorted);
}

#[test]
fn a_quiet_tenant_is_served_before_a_noisy_one_with_older_messages() {
    let mut queues = with_queue(&[("VisibilityTimeout", "3600")]);
    let of = |group: &str| NewMessage { group: Some(group.into()), ..NewMessage::of(group) };
    for _ in 0..100 {
        queues.send(START, "q", of("noisy")).unwrap();
    }
    queues.send(START + 1, "q", of("quiet")).unwrap();
    let now = START + SECOND;
    // With fewer than 30 in flight no group is noisy, and age decides.
    for _ in 0..2 {
        assert!(bodies(&receive(&mut queues, now, "q")).iter().all(|body| *body == "noisy"));
    }
    assert!(bodies(&receive(&mut queues, now, "q")).iter().all(|body| *body == "noisy"));
    let next = receive(&mut queues, now, "q");
    assert_eq!(bodies(&next)[..2], ["quiet", "noisy"]);
}

#[test]
fn more_messages_in_flight_than_the_quota_are_refused() {
    let mut queues = with_queue(&[("VisibilityTimeout", "3600")]);
    for _ in 0..120_001 {
        send(&mut queues, START, "q", "a");
    }
    let mut received = 0;
    while received < 120_000 {
        received += receive(&mut queues, START, "q").len();
    }
    assert_eq!(received, 120_000);
    assert_eq!(code(queues.receive(START, "q", &Receive::default())), Some(Code::OverLimit));
}

#[test]
fn a_backlog_of_a_hundred_thousand_does_not_slow_the_calls() {
    // Were any of these calls linear in the backlog, the 30,000 of them would walk three thousand million messages.
    let mut queues = with_queue(&[("VisibilityTimeout", "3600")]);
    for index in 0..100_000 {
        let group = Some(format!("tenant-{}", index % 7));
        queues.send(START + index, "q", NewMessage { group, ..NewMessage::of("a") }).unwrap();
    }
    let began = std::time::Instant::now();
    let now = START + 200_000;
    for _ in 0..10_000 {
        let received = queues.receive(now, "q", &Receive::default()).unwrap();
        queues.change_visibility(now, "q", &received[0].receipt_handle, 60).unwrap();
        queues.delete(now, "q", &received[0].receipt_handle).unwrap();
    }
    assert_eq!(counts(&mut queues, now, "q"), (90_000, 0, 0));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
