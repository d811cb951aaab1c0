//! Tests of move tasks.

use super::super::TaskStatus;
use super::*;

/// `q` with three of its messages in `dlq`, and the time.
fn with_dead_letters() -> (Queues, i64) {
    let mut queues = with_dead_letter_queue(1);
    for body in ["a", "b", "c"] {
        send(&mut queues, START, "q", body);
    }
    receive(&mut queues, START, "q");
    let now = START + 30 * SECOND;
    assert!(receive(&mut queues, now, "q").is_empty());
    assert_eq!(counts(&mut queues, now, "dlq"), (3, 0, 0));
    (queues, now)
}

#[test]
fn a_task_moves_messages_back_to_their_source_as_new_messages() {
    let (mut queues, now) = with_dead_letters();
    let handle = queues.start_move_task(now, &queue_arn("dlq"), None, None).unwrap();
    assert!(!handle.is_empty());
    assert_eq!(counts(&mut queues, now, "dlq"), (0, 0, 0));
    let back = receive(&mut queues, now, "q");
    assert_eq!(bodies(&back), ["a", "b", "c"]);
    for received in &back {
        let message = &received.message;
        assert_eq!((message.receive_count, message.sent_ms), (1, now));
        assert_eq!(message.dead_letter_source, None);
        assert!(!["id-1", "id-2", "id-3"].contains(&message.id.as_str()), "redriven messages have new ids");
    }
    let tasks = queues.move_tasks(now, &queue_arn("dlq"), None).unwrap();
    assert_eq!((tasks[0].status, tasks[0].moved, tasks[0].to_move), (TaskStatus::Completed, 3, 3));
}

#[test]
fn a_task_keeps_to_its_rate_and_can_be_cancelled() {
    let (mut queues, now) = with_dead_letters();
    let handle = queues.start_move_task(now, &queue_arn("dlq"), None, Some(1)).unwrap();
    assert_eq!(counts(&mut queues, now, "q"), (1, 0, 0));
    let again = queues.start_move_task(now, &queue_arn("dlq"), None, None);
    assert_eq!(code(again), Some(Code::UnsupportedOperation), "one active task a queue");
    queues.run_move_tasks(now + 999);
    assert_eq!(counts(&mut queues, now + 999, "q"), (1, 0, 0));
    queues.run_move_tasks(now + 1_000);
    assert_eq!(counts(&mut queues, now + 1_000, "q"), (2, 0, 0));
    assert_eq!(queues.cancel_move_task(now + 1_000, &handle), Ok(2));
    assert_eq!(code(queues.cancel_move_task(now + 1_000, &handle)), Some(Code::UnsupportedOperation));
    queues.run_move_tasks(now + 60_000);
    assert_eq!(counts(&mut queues, now + 60_000, "dlq"), (1, 0, 0));
    let tasks = queues.move_tasks(now, &queue_arn("dlq"), None).unwrap();
    assert_eq!((tasks[0].status, tasks[0].rate), (TaskStatus::Cancelled, Some(1)));
}

#[test]
fn a_task_can_name_its_destination() {
    let (mut queues, now) = with_dead_letters();
    queues.create_queue(now, "r", &pairs(&[]), BTreeMap::new()).unwrap();
    queues.start_move_task(now, &queue_arn("dlq"), Some(&queue_arn("r")), None).unwrap();
    assert_eq!(counts(&mut queues, now, "r"), (3, 0, 0));
}

#[test]
fn a_message_that_was_sent_to_the_dead_letter_queue_directly_fails_a_task_without_destination() {
    let (mut queues, now) = with_dead_letters();
    queues.purge_queue(now, "dlq").unwrap();
    send(&mut queues, now, "dlq", "direct");
    queues.start_move_task(now, &queue_arn("dlq"), None, None).unwrap();
    let tasks = queues.move_tasks(now, &queue_arn("dlq"), None).unwrap();
    assert_eq!(tasks[0].status, TaskStatus::Failed);
    assert_eq!(tasks[0].failure.as_deref(), Some("CouldNotDetermineMessageSource"));
    assert_eq!(counts(&mut queues, now, "dlq"), (1, 0, 0), "a failed move loses nothing");
}

#[test]
fn a_message_that_comes_back_while_its_task_runs_is_not_moved_a_second_time() {
    let (mut queues, now) = with_dead_letters();
    queues.start_move_task(now, &queue_arn("dlq"), None, Some(2)).unwrap();
    assert_eq!(receive(&mut queues, now, "q").len(), 2);
    let later = now + 30 * SECOND;
    queues.run_move_tasks(later);
    receive(&mut queues, later, "q");
    queues.run_move_tasks(later + 60 * SECOND);
    assert_eq!(counts(&mut queues, later, "dlq"), (2, 0, 0));
}

#[test]
fn tasks_that_sqs_refuses_are_refused() {
    let (mut queues, now) = with_dead_letters();
    queues.create_queue(now, "r", &pairs(&[]), BTreeMap::new()).unwrap();
    let (dlq, nope) = (queue_arn("dlq"), queue_arn("nope"));
    for (source, destination, rate, expected) in [
        (queue_arn("r"), None, None, Code::InvalidParameterValue),
        (nope.clone(), None, None, Code::ResourceNotFound),
        (dlq.clone(), Some(nope.as_str()), None, Code::ResourceNotFound),
        (dlq.clone(), Some(dlq.as_str()), None, Code::InvalidParameterValue),
        (dlq.clone(), None, Some(0), Code::InvalidParameterValue),
        (dlq.clone(), None, Some(501), Code::InvalidParameterValue),
    ] {
        assert_eq!(code(queues.start_move_task(now, &source, destination, rate)), Some(expected), "{source} {rate:?}");
    }
    assert_eq!(code(queues.cancel_move_task(now, "garbage")), Some(Code::ResourceNotFound));
    assert_eq!(code(queues.move_tasks(now, &nope, None)), Some(Code::ResourceNotFound));
    assert_eq!(code(queues.move_tasks(now, &dlq, Some(11))), Some(Code::InvalidParameterValue));
}

#[test]
fn the_ten_latest_tasks_are_listed_newest_first() {
    let (mut queues, now) = with_dead_letters();
    for index in 0..12 {
        queues.start_move_task(now + index, &queue_arn("dlq"), None, None).unwrap();
    }
    let tasks = queues.move_tasks(now, &queue_arn("dlq"), Some(10)).unwrap();
    let started: Vec<i64> = tasks.iter().map(|task| task.started_ms - now).collect();
    assert_eq!(started, (2..12).rev().collect::<Vec<_>>());
    assert_eq!(queues.move_tasks(now, &queue_arn("dlq"), None).unwrap().len(), 1);
}
