//! Tests of the journal: what was acknowledged is there after a restart without a stop.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use tempfile::TempDir;

use super::super::journal::Journal;
use super::*;

/// A state and its journal, as the server holds them.
fn open(directory: &Path) -> anyhow::Result<(Queues, Journal)> {
    let mut queues = empty();
    let journal = Journal::open(directory, &mut queues)?;
    queues.keep_changes();
    Ok((queues, journal))
}

fn write(queues: &mut Queues, journal: &mut Journal) {
    journal.append(&queues.take_changes()).unwrap();
}

fn lines(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("sqs.journal")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A state with something of everything in it.
fn eventful(queues: &mut Queues) {
    queues.create_queue(START, "dlq", &pairs(&[("MessageRetentionPeriod", "1209600")]), BTreeMap::new()).unwrap();
    let policy = redrive_policy("dlq", 1);
    queues.create_queue(START, "q", &pairs(&[("RedrivePolicy", &policy)]), pairs(&[("team", "a")])).unwrap();
    queues.create_queue(START, "gone", &pairs(&[]), BTreeMap::new()).unwrap();
    let fifo = pairs(&[("FifoQueue", "true"), ("ContentBasedDeduplication", "true")]);
    queues.create_queue(START, "f.fifo", &fifo, BTreeMap::new()).unwrap();
    queues.send(START, "f.fifo", NewMessage { group: Some("g".into()), ..NewMessage::of("once") }).unwrap();
    let received = receive(queues, START, "f.fifo");
    queues.delete(START, "f.fifo", &received[0].receipt_handle).unwrap();
    for body in ["dead", "redriven", "line\nbreak \u{85} \"quotes\""] {
        send(queues, START, "q", body);
    }
    receive(queues, START, "q");
    let now = START + 30 * SECOND;
    receive(queues, now, "q");
    queues.start_move_task(now, &queue_arn("dlq"), None, Some(1)).unwrap();
    send(queues, now, "q", "deleted");
    send(queues, now, "q", "hidden");
    let received = receive(queues, now, "q");
    let handle = |body: &str| &received.iter().find(|r| r.message.body == body).unwrap().receipt_handle;
    queues.delete(now, "q", handle("deleted")).unwrap();
    queues.change_visibility(now, "q", handle("hidden"), 600).unwrap();
    queues.send(now, "q", NewMessage { delay_seconds: Some(60), ..NewMessage::of("delayed") }).unwrap();
    queues.set_queue_attributes(now, "q", &pairs(&[("VisibilityTimeout", "9")])).unwrap();
    queues.tag_queue("q", pairs(&[("stage", "test")])).unwrap();
    queues.delete_queue(now, "gone").unwrap();
}

#[test]
fn everything_that_happened_is_there_after_a_crash_and_after_a_compaction() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    eventful(&mut queues);
    write(&mut queues, &mut journal);
    let before = queues.snapshot();
    drop(journal);
    // The first opening replays what was appended, the second what the first compacted.
    for _ in 0..2 {
        let (queues, _journal) = open(directory.path()).unwrap();
        assert_eq!(queues.snapshot(), before);
    }
    let (mut queues, _journal) = open(directory.path()).unwrap();
    let now = START + 60 * SECOND;
    queues.send(now, "f.fifo", NewMessage { group: Some("g".into()), ..NewMessage::of("once") }).unwrap();
    assert_eq!(counts(&mut queues, now, "f.fifo"), (0, 0, 0), "the deduplication id is remembered");
    let visible = receive(&mut queues, now, "q");
    assert!(!bodies(&visible).contains(&"hidden"));
    assert_eq!(code(queues.create_queue(now, "gone", &pairs(&[]), BTreeMap::new())), Some(Code::QueueDeletedRecently));
}

#[test]
fn places_in_the_order_are_not_taken_twice_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    queues.create_queue(START, "q", &pairs(&[]), BTreeMap::new()).unwrap();
    send(&mut queues, START, "q", "a");
    let received = receive(&mut queues, START, "q").remove(0);
    queues.delete(START, "q", &received.receipt_handle).unwrap();
    write(&mut queues, &mut journal);
    drop(journal);
    drop(open(directory.path()).unwrap());
    let (mut queues, _journal) = open(directory.path()).unwrap();
    send(&mut queues, START, "q", "b");
    assert!(receive(&mut queues, START, "q")[0].message.seq > received.message.seq);
}

#[test]
fn a_torn_last_line_is_dropped_and_all_before_it_kept() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    eventful(&mut queues);
    write(&mut queues, &mut journal);
    let before = queues.snapshot();
    send(&mut queues, START, "q", "torn");
    write(&mut queues, &mut journal);
    drop(journal);
    let path = directory.path().join("sqs.journal");
    let whole = fs::read(&path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in [last_line + 1, last_line + 20, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let (queues, _journal) = open(directory.path()).unwrap();
        assert_eq!(queues.snapshot(), before, "cut at {length}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_an_error_that_names_file_and_line() {
    for bad in [
        "{\"sent\":",
        "garbage",
        "",
        "{\"removed\":{\"queue\":\"q\",\"seq\":99}}",
        "{\"removed\":{\"queue\":\"nope\",\"seq\":1}}",
    ] {
        let directory = TempDir::new().unwrap();
        let (mut queues, mut journal) = open(directory.path()).unwrap();
        queues.create_queue(START, "q", &pairs(&[]), BTreeMap::new()).unwrap();
        send(&mut queues, START, "q", "a");
        write(&mut queues, &mut journal);
        drop(journal);
        let mut text = lines(directory.path());
        text.insert(2, bad.to_owned());
        fs::write(directory.path().join("sqs.journal"), text.join("\n") + "\n").unwrap();
        let error = format!("{:#}", open(directory.path()).map(|_| ()).unwrap_err());
        assert!(error.contains("sqs.journal line 3"), "{error}");
    }
}

#[test]
fn a_journal_of_another_version_is_refused() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("sqs.journal"), "{\"version\":2,\"next_seq\":1}\n").unwrap();
    assert!(format!("{:#}", open(directory.path()).map(|_| ()).unwrap_err()).contains("version 2"));
}

#[test]
fn opening_compacts_away_what_is_gone() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    queues.create_queue(START, "q", &pairs(&[]), BTreeMap::new()).unwrap();
    for _ in 0..50 {
        send(&mut queues, START, "q", "a");
        let received = receive(&mut queues, START, "q").remove(0);
        queues.delete(START, "q", &received.receipt_handle).unwrap();
    }
    send(&mut queues, START, "q", "kept");
    write(&mut queues, &mut journal);
    assert_eq!(lines(directory.path()).len(), 1 + 1 + 150 + 1);
    // While in use as well; what comes after goes to the new file.
    journal.compact(&queues).unwrap();
    assert_eq!(lines(directory.path()).len(), 3);
    send(&mut queues, START, "q", "after");
    write(&mut queues, &mut journal);
    drop(journal);
    let (mut queues, _journal) = open(directory.path()).unwrap();
    assert_eq!(lines(directory.path()).len(), 4);
    assert_eq!(bodies(&receive(&mut queues, START, "q")), ["kept", "after"]);
}

#[test]
fn one_process_at_a_time_has_the_directory() {
    let directory = TempDir::new().unwrap();
    let held = open(directory.path()).unwrap();
    assert!(format!("{:#}", open(directory.path()).map(|_| ()).unwrap_err()).contains("held by another process"));
    drop(held);
    open(directory.path()).unwrap();
}

#[test]
fn what_could_not_be_written_is_written_first_when_writing_works_again() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    queues.create_queue(START, "q", &pairs(&[]), BTreeMap::new()).unwrap();
    write(&mut queues, &mut journal);
    let path = directory.path().join("sqs.journal");
    journal.file = File::open(&path).unwrap();
    send(&mut queues, START, "q", "a");
    assert!(journal.append(&queues.take_changes()).is_err(), "the file is open for reading only");
    assert!(journal.ready().is_err());
    // Part of a line got through before the disk was full.
    let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut torn, b"{\"sent\":{\"que").unwrap();
    journal.file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    journal.ready().unwrap();
    send(&mut queues, START, "q", "b");
    write(&mut queues, &mut journal);
    drop(journal);
    let (mut queues, _journal) = open(directory.path()).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START, "q")), ["a", "b"]);
}

#[test]
fn a_compaction_writes_what_could_not_be_written_before() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    queues.create_queue(START, "q", &pairs(&[]), BTreeMap::new()).unwrap();
    write(&mut queues, &mut journal);
    journal.file = File::open(directory.path().join("sqs.journal")).unwrap();
    send(&mut queues, START, "q", "a");
    assert!(journal.append(&queues.take_changes()).is_err(), "the file is open for reading only");
    journal.compact(&queues).unwrap();
    journal.ready().unwrap();
    send(&mut queues, START, "q", "b");
    write(&mut queues, &mut journal);
    drop(journal);
    let (mut queues, _journal) = open(directory.path()).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START, "q")), ["a", "b"]);
}

#[test]
fn a_death_at_any_moment_of_a_compaction_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let (mut queues, mut journal) = open(directory.path()).unwrap();
    eventful(&mut queues);
    write(&mut queues, &mut journal);
    let before = queues.snapshot();
    let (path, beside) = (directory.path().join("sqs.journal"), directory.path().join("sqs.journal.new"));
    let appended = fs::read(&path).unwrap();
    journal.compact(&queues).unwrap();
    drop(journal);
    let compacted = fs::read(&path).unwrap();
    assert!(compacted.len() < appended.len());
    // While it is written beside the journal, whole or not; and another one may have been there from before.
    let longer = [compacted.as_slice(), b"{\"sent\":", appended.as_slice()].concat();
    let parts = (0..=10).map(|tenths| &compacted[..compacted.len() * tenths / 10]);
    for part in parts.chain([longer.as_slice()]) {
        fs::write(&path, &appended).unwrap();
        fs::write(&beside, part).unwrap();
        let (queues, _journal) = open(directory.path()).unwrap();
        assert_eq!(queues.snapshot(), before, "with {} bytes beside it", part.len());
        assert!(!beside.exists());
        assert_eq!(fs::read(&path).unwrap().len(), compacted.len());
    }
    // When it is in the journal's place.
    fs::write(&path, &compacted).unwrap();
    assert_eq!(open(directory.path()).unwrap().0.snapshot(), before);
}

#[tokio::test]
async fn after_a_stop_the_journal_has_nothing_of_messages_that_are_gone() {
    let directory = TempDir::new().unwrap();
    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    let (url, short) = (local.queue("q", json!({})).await, json!({"MessageRetentionPeriod": "60"}));
    let short = local.queue("short", short).await;
    for (queue, body) in [(&url, "deleted"), (&url, "waiting"), (&short, "expired")] {
        assert_eq!(local.call("SendMessage", json!({"QueueUrl": queue, "MessageBody": body})).await.status, 200);
    }
    let received = local.call("ReceiveMessage", json!({"QueueUrl": url})).await;
    assert_eq!(received.body["Messages"][0]["Body"], "deleted");
    let handle = &received.body["Messages"][0]["ReceiptHandle"];
    local.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;
    let path = directory.path().join("sqs.journal");
    let has = |body: &str| fs::read_to_string(&path).unwrap().contains(body);
    assert!(has("deleted") && has("waiting") && has("expired"));
    local.pass(61 * SECOND);
    local.server.stop().await;
    assert!(!has("deleted") && has("waiting") && !has("expired"));
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["sqs.journal", "sqs.lock"]);

    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    let received = local.call("ReceiveMessage", json!({"QueueUrl": url, "MaxNumberOfMessages": 10})).await;
    let messages = received.body["Messages"].as_array().unwrap();
    assert_eq!(messages.iter().map(|message| &message["Body"]).collect::<Vec<_>>(), ["waiting"]);
}

#[tokio::test]
async fn a_stop_that_cannot_compact_the_journal_leaves_it_as_it_was() {
    let directory = TempDir::new().unwrap();
    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    let url = local.queue("q", json!({})).await;
    assert_eq!(local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": "a"})).await.status, 200);
    // A folder has the name of the file that is to be written.
    let beside = directory.path().join("sqs.journal.new");
    fs::create_dir(&beside).unwrap();
    let before = lines(directory.path());
    local.server.stop().await;
    assert_eq!(lines(directory.path()), before);
    fs::remove_dir(&beside).unwrap();
    let (mut queues, _journal) = open(directory.path()).unwrap();
    assert_eq!(bodies(&receive(&mut queues, START, "q")), ["a"]);
}

#[cfg(unix)]
#[test]
fn the_journal_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let _held = open(&directory.path().join("sqs")).unwrap();
    let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("sqs"), mode("sqs/sqs.journal"), mode("sqs/sqs.lock")], [0o700, 0o600, 0o600]);
}

#[tokio::test]
async fn an_acknowledged_message_survives_a_server_that_is_dropped_without_a_stop() {
    let directory = TempDir::new().unwrap();
    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    let url = local.queue("q", json!({})).await;
    for body in ["a", "b"] {
        assert_eq!(local.call("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await.status, 200);
    }
    let received = local.call("ReceiveMessage", json!({"QueueUrl": url})).await;
    let handle = &received.body["Messages"][0]["ReceiptHandle"];
    local.call("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;
    drop(local);
    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    // The port is another one; the path of the URL still names the queue.
    let received = local.call("ReceiveMessage", json!({"QueueUrl": url, "MaxNumberOfMessages": 10})).await;
    let messages = received.body["Messages"].as_array().unwrap();
    assert_eq!(messages.iter().map(|message| &message["Body"]).collect::<Vec<_>>(), ["b"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_call_whose_change_cannot_be_written_is_not_acknowledged() {
    let directory = TempDir::new().unwrap();
    let local = Local::start_in(Some(directory.path().into())).await.unwrap();
    let url = local.queue("q", json!({})).await;
    // Every write to this device fails as on a full disk.
    local.server.break_journal(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let message = json!({"QueueUrl": url, "MessageBody": "a"});
    for _ in 0..2 {
        let reply = local.call("SendMessage", message.clone()).await;
        assert_eq!(reply.status, 500);
        assert!(reply.head.contains("x-amzn-query-error: internalerror;receiver"), "{}", reply.head);
    }
}
