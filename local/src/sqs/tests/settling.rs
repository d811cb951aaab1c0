//! Tests of deleting and of changing the visibility.

use super::*;

fn one_in_flight() -> (Queues, String) {
    let mut queues = with_queue(&[]);
    send(&mut queues, START, "q", "a");
    let handle = receive(&mut queues, START, "q").remove(0).receipt_handle;
    (queues, handle)
}

#[test]
fn deleting_twice_succeeds_and_an_unreadable_handle_is_refused() {
    let (mut queues, handle) = one_in_flight();
    queues.delete(START, "q", &handle).unwrap();
    queues.delete(START, "q", &handle).unwrap();
    assert_eq!(counts(&mut queues, START + 60 * SECOND, "q"), (0, 0, 0));
    assert_eq!(code(queues.delete(START, "q", "garbage")), Some(Code::ReceiptHandleIsInvalid));
    assert_eq!(code(queues.delete(START, "q", "")), Some(Code::MissingParameter));
}

#[test]
fn a_handle_of_another_queue_is_refused() {
    let (mut queues, handle) = one_in_flight();
    queues.create_queue(START, "r", &pairs(&[]), BTreeMap::new()).unwrap();
    assert_eq!(code(queues.delete(START, "r", &handle)), Some(Code::ReceiptHandleIsInvalid));
}

#[test]
fn an_older_handle_deletes_nothing_once_the_message_was_received_again() {
    let (mut queues, old) = one_in_flight();
    let now = START + 30 * SECOND;
    let new = receive(&mut queues, now, "q").remove(0).receipt_handle;
    queues.delete(now, "q", &old).unwrap();
    assert_eq!(counts(&mut queues, now, "q"), (0, 1, 0));
    queues.delete(now, "q", &new).unwrap();
    assert_eq!(counts(&mut queues, now, "q"), (0, 0, 0));
}

#[test]
fn the_latest_handle_deletes_even_after_its_time_out() {
    let (mut queues, handle) = one_in_flight();
    queues.delete(START + 40 * SECOND, "q", &handle).unwrap();
    assert!(receive(&mut queues, START + 40 * SECOND, "q").is_empty());
}

#[test]
fn a_visibility_of_zero_returns_a_message_and_a_longer_one_keeps_it_hidden() {
    let (mut queues, handle) = one_in_flight();
    queues.change_visibility(START + 10 * SECOND, "q", &handle, 60).unwrap();
    assert!(receive(&mut queues, START + 69_999, "q").is_empty());
    queues.change_visibility(START + 69_999, "q", &handle, 0).unwrap();
    assert_eq!(receive(&mut queues, START + 69_999, "q").len(), 1);
}

#[test]
fn visibility_can_be_changed_only_while_in_flight_and_by_the_latest_handle() {
    let (mut queues, handle) = one_in_flight();
    let now = START + 30 * SECOND;
    assert_eq!(code(queues.change_visibility(now, "q", &handle, 5)), Some(Code::MessageNotInflight));
    let new = receive(&mut queues, now, "q").remove(0).receipt_handle;
    assert_eq!(code(queues.change_visibility(now, "q", &handle, 5)), Some(Code::InvalidParameterValue));
    queues.delete(now, "q", &new).unwrap();
    assert_eq!(code(queues.change_visibility(now, "q", &new, 5)), Some(Code::InvalidParameterValue));
    assert_eq!(code(queues.change_visibility(now, "q", "garbage", 5)), Some(Code::ReceiptHandleIsInvalid));
}

#[test]
fn a_message_can_be_hidden_for_twelve_hours_from_its_receive_and_no_longer() {
    let (mut queues, handle) = one_in_flight();
    assert_eq!(code(queues.change_visibility(START, "q", &handle, 43_201)), Some(Code::InvalidParameterValue));
    queues.change_visibility(START, "q", &handle, 43_200).unwrap();
    let later = START + 10 * SECOND;
    assert_eq!(code(queues.change_visibility(later, "q", &handle, 43_200)), Some(Code::InvalidParameterValue));
    queues.change_visibility(later, "q", &handle, 43_190).unwrap();
}

#[test]
fn batches_settle_each_entry_on_its_own() {
    let (mut queues, handle) = one_in_flight();
    let changes = vec![("ok".to_owned(), (handle.clone(), 5)), ("bad".to_owned(), ("garbage".to_owned(), 5))];
    let changed = queues.change_visibility_batch(START, "q", changes).unwrap();
    let deleted = vec![("ok".to_owned(), handle), ("bad".to_owned(), "garbage".to_owned())];
    let deleted = queues.delete_batch(START, "q", deleted).unwrap();
    for batch in [changed, deleted] {
        let codes: Vec<_> = batch.into_iter().map(|(id, outcome)| (id, code(outcome))).collect();
        assert_eq!(codes, [("ok".to_owned(), None), ("bad".to_owned(), Some(Code::ReceiptHandleIsInvalid))]);
    }
    let eleven = (0..11).map(|index| (index.to_string(), "h".to_owned())).collect();
    assert_eq!(code(queues.delete_batch(START, "q", eleven)), Some(Code::TooManyEntriesInBatchRequest));
    assert_eq!(code(queues.change_visibility_batch(START, "q", Vec::new())), Some(Code::EmptyBatchRequest));
}
