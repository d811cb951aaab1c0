//! Dead letters in the hands of an operator: found, tested, sent round again, discarded; and what comes of it.

use std::num::NonZeroU32;
use std::time::Duration;

use cli::dead_letters::{
    Days, DeadLetter, Error, Filter, Head, Options, Ports, REDRIVES_MAX, Summary, UNDER_WAY, Verdict, discard, list,
    name, parse_name, read, redrive, test,
};
use consume::dead_letter::UNKNOWN_PROJECT;
use consume::queue::{Outgoing, Queue};
use consume::redrive::Redrive;
use futures_util::TryStreamExt;
use ingest::accept::Call;
use local::dynamodb::{Fault, Refusal, Target, Times as Calls};
use local::sqs::{Action, Times};
use serde_json::json;
use shared::limits::{EVENT_BYTES_CEILING, EVENT_BYTES_DEFAULT};
use shared::outcome::Reason;
use tests::{Pipeline, track};

const OPTIONS: Options = Options {
    dry_run: false,
    again: false,
    redrives_max: REDRIVES_MAX,
    letters_max: 100,
    per_second: NonZeroU32::new(1_000).unwrap(),
    event_bytes_max: EVENT_BYTES_DEFAULT,
};
/// The rules have changed: larger events are taken.
const LARGER: Options = Options { event_bytes_max: EVENT_BYTES_CEILING, ..OPTIONS };

/// The letters of a project that came on any day of a test.
fn of(project: &str) -> Filter {
    let days = Days::new("2023-11-14".parse().unwrap(), "2023-11-20".parse().unwrap()).unwrap();
    Filter { project: project.to_owned(), days, reason: None, source: None, state: None, like: None }
}

async fn listed(pipeline: &Pipeline, filter: &Filter) -> Vec<Head> {
    list(&pipeline.dead_letters_table(), filter).try_collect().await.unwrap()
}

/// The one letter of a project, with its body.
async fn only(pipeline: &Pipeline, project: &str) -> DeadLetter {
    let heads = listed(pipeline, &of(project)).await;
    let [head] = heads.as_slice() else { panic!("{} letters", heads.len()) };
    let key = parse_name(&name(&head.key)).unwrap();
    read(&pipeline.dead_letters_table(), &key).await.unwrap().unwrap()
}

/// State, redrives and attempts of the one letter of a project.
async fn standing(pipeline: &Pipeline, project: &str) -> (String, i64, i64) {
    let Head { state, redrives, attempts, .. } = only(pipeline, project).await.head;
    (state, redrives, attempts)
}

fn stands(state: &str, redrives: i64, attempts: i64) -> (String, i64, i64) {
    (state.to_owned(), redrives, attempts)
}

async fn redrive_all(pipeline: &Pipeline, project: &str, options: &Options) -> Summary {
    let (letters, queue) = (pipeline.dead_letters_table(), pipeline.events_queue());
    let ports = Ports { letters: &letters, queue: &queue, clock: &*pipeline.clock };
    let filter = of(project);
    redrive(&ports, list(&letters, &filter).map_ok(|head| head.key), options, |_, _| {}).await
}

/// An event that is too large by the rules of today, and not by [`LARGER`]. Kept as a letter, it has two parts.
fn large(user: &str) -> serde_json::Value {
    let mut event = track(user, "large");
    event["properties"] = json!({"filler": "é".repeat(160_000)});
    event
}

#[tokio::test]
async fn a_refused_item_is_stored_once_after_the_rules_have_changed() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [track("ann", "m1"), large("ann")], "context": {"ip": "::"}})).await;
    pipeline.drain().await;
    let letter = only(&pipeline, "dev").await;
    assert_eq!((letter.head.reason.as_str(), letter.head.source.as_str()), ("event_too_large", "default"));
    assert_eq!((letter.head.parts, usize::try_from(letter.head.bytes)), (2, Ok(letter.body.len())));
    let like = Filter { like: Some("filler".into()), ..of("dev") };
    assert_eq!(listed(&pipeline, &like).await, std::slice::from_ref(&letter.head));

    let still = |verdict| matches!(verdict, Verdict::StillDead { reason: Reason::EventTooLarge, .. });
    assert!(still(test(&letter, EVENT_BYTES_DEFAULT)));
    let skipped = redrive_all(&pipeline, "dev", &OPTIONS).await;
    assert_eq!((skipped.sent, skipped.skipped["still_dead"]), (0, 1));
    assert_eq!(test(&letter, EVENT_BYTES_CEILING), Verdict::Storable { events: 1, refused: 0 });
    let dry = redrive_all(&pipeline, "dev", &Options { dry_run: true, ..LARGER }).await;
    assert_eq!((dry.would_send, pipeline.waiting().await), (1, 0));
    assert_eq!(standing(&pipeline, "dev").await, stands("waiting", 0, 1));

    pipeline.pass(Duration::from_secs(3 * 86_400));
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.sent, 1);
    assert_eq!(standing(&pipeline, "dev").await, stands("redriven", 1, 1));
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, "dev").await, stands("settled", 1, 1));
    let stored = pipeline.stored().await;
    let item = stored.iter().find(|item| item["sk"].as_s().unwrap().ends_with("#large")).unwrap();
    assert_eq!((stored.len(), item["recv"].as_n().unwrap().as_str()), (2, "1700000000000"), "it came when it came");
    assert_eq!(item["ctx"].as_s().unwrap(), r#"{"ip":"::"}"#);
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.skipped["closed"], 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_message_that_still_cannot_be_read_is_the_same_letter_and_does_not_go_round_for_ever() {
    let pipeline = Pipeline::start().await;
    let body = "é".repeat(500_000);
    pipeline.enqueue(&body).await;
    pipeline.drain().await;
    for round in 1..=REDRIVES_MAX {
        assert_eq!(redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await.sent, 1);
        pipeline.drain().await;
        assert_eq!(standing(&pipeline, UNKNOWN_PROJECT).await, stands("waiting", round, round + 1));
    }
    assert_eq!(redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await.skipped["too_often"], 1);
    assert_eq!(only(&pipeline, UNKNOWN_PROJECT).await.body, body, "four parts, and none is cut or doubled");
    let more = Options { redrives_max: REDRIVES_MAX + 1, ..OPTIONS };
    assert_eq!(redrive_all(&pipeline, UNKNOWN_PROJECT, &more).await.sent, 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn two_redrives_at_once_and_one_repeated_store_each_event_once() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [large("ann"), large("bo")]})).await;
    pipeline.drain().await;
    let (one, other) = tokio::join!(redrive_all(&pipeline, "dev", &LARGER), redrive_all(&pipeline, "dev", &LARGER));
    // Within one millisecond, both may take the mark for their own.
    assert!((2..=4).contains(&(one.sent + other.sent)) && one.failed + other.failed == 0, "{one:?}, {other:?}");
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.skipped["under_way"], 2);
    // Asked for by name, they go round a second time before the first has come to anything.
    assert_eq!(redrive_all(&pipeline, "dev", &Options { again: true, ..LARGER }).await.sent, 2);
    pipeline.sqs_faults.duplicate(Times::Next(2));
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), pipeline.letters().await.len()), (2, 2));
    for head in listed(&pipeline, &of("dev")).await {
        assert_eq!((head.state.as_str(), head.redrives), ("settled", 2));
    }
    pipeline.finish().await;
}

#[tokio::test]
async fn a_redrive_that_ended_between_mark_and_message_is_taken_up_again() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [large("ann")]})).await;
    pipeline.drain().await;
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::UntilCleared);
    let failed = redrive_all(&pipeline, "dev", &LARGER).await;
    assert_eq!((failed.sent, failed.failed), (0, 1));
    assert_eq!(standing(&pipeline, "dev").await, stands("redriven", 1, 1));
    pipeline.sqs_faults.clear();
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.skipped["under_way"], 1);
    pipeline.pass(UNDER_WAY);
    // This time it is sent, and the answers to the mark and to the message are lost.
    pipeline.dynamodb_faults.inject(Target::operation("PutItem"), Fault::DropReply, Calls::Calls(1));
    pipeline.sqs_faults.drop_reply(Action::SendMessageBatch, Times::Next(1));
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.sent, 1);
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, "dev").await, stands("settled", 2, 1));
    assert_eq!(pipeline.stored().await.len(), 1);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_discarded_letter_is_kept_with_its_note_and_never_sent() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [large("ann")]})).await;
    pipeline.drain().await;
    let (table, key) = (pipeline.dead_letters_table(), only(&pipeline, "dev").await.head.key);
    discard(&table, &key, "an old client of ours").await.unwrap();
    let head = only(&pipeline, "dev").await.head;
    assert_eq!((head.state.as_str(), head.note.as_str()), ("discarded", "an old client of ours"));
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.skipped["closed"], 1);
    assert!(matches!(discard(&table, &key, "again").await, Err(Error::NotOpen { .. })));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_letter_that_is_discarded_while_its_message_is_under_way_stays_discarded() {
    let pipeline = Pipeline::start().await;
    pipeline.enqueue("not a message").await;
    pipeline.drain().await;
    redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await;
    let key = only(&pipeline, UNKNOWN_PROJECT).await.head.key;
    discard(&pipeline.dead_letters_table(), &key, "noise").await.unwrap();
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, UNKNOWN_PROJECT).await, stands("discarded", 1, 1));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_redrive_does_not_bring_back_a_user_that_was_deleted_meanwhile() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [large("ann")]})).await;
    pipeline.drain().await;
    pipeline.pass(Duration::from_secs(10));
    let delete = Call {
        method: "POST".into(),
        path: "/api/v2/users/delete".into(),
        body: json!({"auth_token": "dev", "id": "ann"}).to_string().into_bytes(),
        ..Call::default()
    };
    assert_eq!(pipeline.call(&delete).await.0, 200);
    pipeline.drain().await;
    // Its body went with the user, so that there is nothing to send round.
    assert_eq!(redrive_all(&pipeline, "dev", &LARGER).await.sent, 0);
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, "dev").await, stands("erased", 0, 1));
    assert!(pipeline.stored().await.is_empty());
    pipeline.finish().await;
}

#[tokio::test]
async fn events_of_an_unknown_write_key_are_stored_once_the_key_exists() {
    let pipeline = Pipeline::start().await;
    // Nobody can say whether the key is known, so what it sends is accepted, to be judged later.
    pipeline.dynamodb_faults.inject(Target::All, Fault::Refuse(Refusal::InternalServerError), Calls::UntilCleared);
    let body = json!({"writeKey": "later", "batch": [track("ann", "m1"), track("bo", "m2"), {"type": "track"}]});
    let call = Call {
        method: "POST".into(),
        path: "/v1/batch".into(),
        body: body.to_string().into_bytes(),
        ..Call::default()
    };
    assert_eq!(pipeline.call(&call).await.0, 200);
    pipeline.dynamodb_faults.clear_all();
    pipeline.drain().await;
    let letter = only(&pipeline, UNKNOWN_PROJECT).await;
    assert_eq!(letter.head.reason, "unknown_write_key");
    assert!(matches!(test(&letter, EVENT_BYTES_DEFAULT), Verdict::Unknowable { .. }));
    redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await;
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, UNKNOWN_PROJECT).await, stands("waiting", 1, 2));

    pipeline.create_write_key("later").await;
    redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await;
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, UNKNOWN_PROJECT).await, stands("settled", 2, 2));
    assert_eq!(pipeline.stored().await.len(), 2);
    assert_eq!(only(&pipeline, "dev").await.head.reason, "no_user_anon_id", "the third has a letter of its own");
    pipeline.finish().await;
}

#[tokio::test]
async fn an_item_that_came_back_from_a_later_stage_is_still_read_as_an_item() {
    let pipeline = Pipeline::start().await;
    pipeline.post("/v1/batch", &json!({"batch": [large("ann")]})).await;
    pipeline.drain().await;
    redrive_all(&pipeline, "dev", &LARGER).await;
    // A consume that is older than the message cannot read it.
    let message = pipeline.deliver_later().await.replacen("\"version\":2", "\"version\":9", 1);
    let Head { key, .. } = only(&pipeline, "dev").await.head;
    let redrive = Some(Redrive { pk: key.pk, sk: key.sk, round: 1 });
    let message = Outgoing { group: "dev".into(), body: message, redrive };
    pipeline.events_queue().send(&[message]).await.unwrap();
    pipeline.drain().await;
    let letter = only(&pipeline, "dev").await;
    assert_eq!((letter.head.stage.as_str(), letter.head.reason.as_str()), ("decode", "unknown_version"));
    assert_eq!(test(&letter, EVENT_BYTES_CEILING), Verdict::Storable { events: 1, refused: 0 });
    redrive_all(&pipeline, "dev", &LARGER).await;
    pipeline.drain().await;
    assert_eq!((pipeline.stored().await.len(), standing(&pipeline, "dev").await), (1, stands("settled", 2, 2)));
    pipeline.finish().await;
}

#[tokio::test]
async fn a_letter_that_has_expired_while_its_message_was_under_way_is_written_anew() {
    let pipeline = Pipeline::start().await;
    pipeline.enqueue("not a message").await;
    pipeline.drain().await;
    assert_eq!(redrive_all(&pipeline, UNKNOWN_PROJECT, &OPTIONS).await.sent, 1);
    let key = only(&pipeline, UNKNOWN_PROJECT).await.head.key;
    consume::table::delete_all(&pipeline.dead_letters_table(), &[key]).await.unwrap();
    pipeline.drain().await;
    assert_eq!(standing(&pipeline, UNKNOWN_PROJECT).await, stands("waiting", 0, 1));
    pipeline.finish().await;
}
