//! Tests of FIFO queues: order, groups, deduplication.

use super::*;

fn with_fifo(attributes: &[(&str, &str)]) -> Queues {
    let mut queues = empty();
    let given = [&[("FifoQueue", "true"), ("ContentBasedDeduplication", "true")], attributes].concat();
    queues.create_queue(START, "q.fifo", &pairs(&given), BTreeMap::new()).unwrap();
    queues
}

fn of(group: &str, body: &str) -> NewMessage {
    NewMessage { group: Some(group.into()), ..NewMessage::of(body) }
}

#[test]
fn a_group_keeps_its_order_and_waits_while_one_of_its_messages_is_in_flight() {
    let mut queues = with_fifo(&[]);
    let mut last = 0;
    for body in ["m0", "m1", "m2"] {
        let sequence_number = queues.send(START, "q.fifo", of("g", body)).unwrap().sequence_number.unwrap();
        assert!(sequence_number > last);
        last = sequence_number;
    }
    let first = queues.receive(START, "q.fifo", &Receive::default()).unwrap();
    assert_eq!(bodies(&first), ["m0"]);
    assert!(receive(&mut queues, START, "q.fifo").is_empty());
    queues.send(START, "q.fifo", of("h", "h0")).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START, "q.fifo")), ["h0"]);
    queues.delete(START, "q.fifo", &first[0].receipt_handle).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START, "q.fifo")), ["m1", "m2"]);
    // Both come again in their order after the time-out.
    assert_eq!(bodies(&receive(&mut queues, START + 30 * SECOND, "q.fifo")), ["m1", "m2", "h0"]);
}

#[test]
fn a_duplicate_is_acknowledged_like_the_first_and_not_enqueued_for_five_minutes() {
    let mut queues = with_fifo(&[]);
    let with_id = |body: &str| NewMessage { deduplication_id: Some("d".into()), ..of("g", body) };
    let first = queues.send(START, "q.fifo", with_id("a")).unwrap();
    let second = queues.send(START + 299_999, "q.fifo", with_id("b")).unwrap();
    assert_eq!((&first.message_id, first.sequence_number), (&second.message_id, second.sequence_number));
    let received = receive(&mut queues, START + 299_999, "q.fifo");
    assert_eq!(bodies(&received), ["a"]);
    queues.delete(START + 299_999, "q.fifo", &received[0].receipt_handle).unwrap();
    queues.send(START + 299_999, "q.fifo", with_id("still")).unwrap();
    assert!(receive(&mut queues, START + 299_999, "q.fifo").is_empty());
    queues.send(START + 300_000, "q.fifo", with_id("anew")).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START + 300_000, "q.fifo")), ["anew"]);
}

#[test]
fn equal_bodies_are_duplicates_where_content_decides_and_per_group_where_that_is_the_scope() {
    let mut queues = with_fifo(&[]);
    queues.send(START, "q.fifo", of("g", "a")).unwrap();
    queues.send(START, "q.fifo", of("h", "a")).unwrap();
    assert_eq!(counts(&mut queues, START, "q.fifo"), (1, 0, 0));
    let mut queues = with_fifo(&[("DeduplicationScope", "messageGroup")]);
    queues.send(START, "q.fifo", of("g", "a")).unwrap();
    queues.send(START, "q.fifo", of("h", "a")).unwrap();
    assert_eq!(counts(&mut queues, START, "q.fifo"), (2, 0, 0));
}

#[test]
fn a_message_needs_a_group_and_a_deduplication_id_and_can_have_no_delay() {
    let mut queues = with_fifo(&[("ContentBasedDeduplication", "false")]);
    assert_eq!(code(queues.send(START, "q.fifo", NewMessage::of("a"))), Some(Code::MissingParameter));
    assert_eq!(code(queues.send(START, "q.fifo", of("g", "a"))), Some(Code::InvalidParameterValue));
    let delayed = NewMessage { delay_seconds: Some(1), deduplication_id: Some("d".into()), ..of("g", "a") };
    assert_eq!(code(queues.send(START, "q.fifo", delayed)), Some(Code::InvalidParameterValue));
}

#[test]
fn poison_at_the_head_of_a_group_moves_away_and_the_group_goes_on() {
    let mut queues = with_fifo(&[]);
    let policy = redrive_policy("q.fifo", 1);
    let given = pairs(&[("FifoQueue", "true"), ("ContentBasedDeduplication", "true"), ("RedrivePolicy", &policy)]);
    queues.create_queue(START, "s.fifo", &given, BTreeMap::new()).unwrap();
    for body in ["poison", "ok"] {
        queues.send(START, "s.fifo", of("g", body)).unwrap();
    }
    queues.receive(START, "s.fifo", &Receive::default()).unwrap();
    let now = START + 30 * SECOND;
    assert_eq!(bodies(&receive(&mut queues, now, "s.fifo")), ["ok"]);
    let dead = receive(&mut queues, now, "q.fifo");
    assert_eq!(bodies(&dead), ["poison"]);
    assert_eq!(dead[0].message.sent_ms, now, "a FIFO dead-letter queue counts retention anew");
}

#[test]
fn an_expired_handle_does_not_delete() {
    let mut queues = with_fifo(&[]);
    queues.send(START, "q.fifo", of("g", "a")).unwrap();
    let handle = receive(&mut queues, START, "q.fifo").remove(0).receipt_handle;
    let late = START + 30 * SECOND;
    assert_eq!(code(queues.delete(late, "q.fifo", &handle)), Some(Code::InvalidParameterValue));
    assert_eq!(counts(&mut queues, late, "q.fifo"), (1, 0, 0));
}
