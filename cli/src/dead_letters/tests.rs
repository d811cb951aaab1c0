//! Letters in a table and a queue of memory, with the troubles that a test asks for.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consume::dead_letter::{Letter, Stage, State, UNKNOWN_PROJECT, part_key};
use consume::decode::Delivery;
use consume::queue::{Deferral, Outgoing, Queue};
use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value, as_read};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::civil::date;
use serde_json::value::RawValue;
use shared::clock::{ManualClock, Timestamp};
use shared::limits::{EVENT_BYTES_DEFAULT, SQS_MESSAGE_BYTES_MAX};
use shared::message::{Message, Refused};
use shared::outcome::{Cause, Reason};

use super::*;

/// A table that holds pages of two items.
#[derive(Default)]
struct Memory {
    items: Mutex<BTreeMap<Key, Attributes>>,
    /// Replacements to come whose answers are lost.
    lost: AtomicUsize,
}

impl Memory {
    fn put(&self, letter: &Letter) -> Key {
        let items = letter.items(at(0), Duration::ZERO);
        let all = items.iter().map(|item| (item.key.clone(), attributes(item)));
        self.items.lock().unwrap().extend(all);
        letter.key.clone()
    }

    fn read(&self, keys: &[Key], only: Option<&'static str>) -> HashMap<Key, Attributes> {
        let items = self.items.lock().unwrap();
        let project = |all: &Attributes| -> Attributes {
            let wanted = all.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
            wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        keys.iter().filter_map(|key| Some((key.clone(), project(items.get(key)?)))).collect()
    }

    fn remove(&self, key: &Key) {
        self.items.lock().unwrap().remove(key);
    }

    fn head(&self, key: &Key) -> Head {
        Head::read(key, &self.items.lock().unwrap()[key]).unwrap()
    }
}

/// The attributes of an item as DynamoDB gives them back, the key's own among them.
fn attributes(item: &Item) -> Attributes {
    let key = [("pk", &item.key.pk), ("sk", &item.key.sk)];
    let key = key.into_iter().map(|(name, text)| (name.to_owned(), Value::Text(text.clone())));
    key.chain(as_read(&item.attributes)).collect()
}

impl Table for Memory {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        vec![Insert::Failed(Cause::Denied); items.len()]
    }

    async fn get(&self, keys: &[Key], only: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        let found = self.read(keys, only);
        // Others come in between a read and the write that follows from it.
        tokio::task::yield_now().await;
        Ok(found)
    }

    async fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Replace> {
        let mut items = self.items.lock().unwrap();
        let holds = match (guard, items.get(&item.key)) {
            (Guard::Absent, found) => found.is_none(),
            (Guard::Equals(name, number), found) => found.and_then(|found| found.get(name)?.number()) == Some(number),
        };
        if holds {
            items.insert(item.key.clone(), attributes(item));
        }
        let lost = self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if lost { Err(Replace::Failed(Cause::TimedOut)) } else { Ok(holds) }
    }

    async fn query(&self, pk: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        assert!(!prefix.is_empty(), "DynamoDB takes no empty text for a key");
        let items = self.items.lock().unwrap();
        let wanted = items.iter().filter(|(key, _)| key.pk == pk && key.sk.starts_with(prefix));
        let wanted = wanted.filter(|(key, _)| after.is_none_or(|after| key.sk.as_str() > after));
        let mut wanted = wanted.map(|(key, attributes)| (key.clone(), attributes.clone()));
        let items = wanted.by_ref().take(2).collect();
        Ok(Page { items, is_last: wanted.next().is_none() })
    }

    async fn scan(&self, _: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        Err(Cause::Denied)
    }

    async fn put(&self, _: &[Item]) -> Result<(), Cause> {
        Err(Cause::Denied)
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        keys.iter().for_each(|key| self.remove(key));
        Ok(())
    }
}

/// A queue that notes what is sent to it.
#[derive(Default)]
struct Sent {
    messages: Mutex<Vec<Outgoing>>,
    /// Whether it refuses everything.
    refuses: Mutex<Option<Cause>>,
}

impl Queue for Sent {
    async fn defer(&self, _: &[Deferral]) -> Result<(), Cause> {
        Ok(())
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<(), Cause> {
        if let Some(cause) = *self.refuses.lock().unwrap() {
            return Err(cause);
        }
        self.messages.lock().unwrap().extend_from_slice(messages);
        Ok(())
    }
}

struct World {
    table: Memory,
    queue: Sent,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        Self { table: Memory::default(), queue: Sent::default(), clock: ManualClock::new(at(1_000)) }
    }

    async fn redrive(&self, keys: &[Key], options: &Options) -> (Summary, Vec<String>) {
        let ports = Ports { letters: &self.table, queue: &self.queue, clock: &self.clock };
        let keys = stream::iter(keys.iter().cloned().map(Ok));
        let mut fates = Vec::new();
        let summary = redrive(&ports, keys, options, |_, fate| fates.push(tag(fate))).await;
        (summary, fates)
    }

    fn sent(&self) -> Vec<Outgoing> {
        self.queue.messages.lock().unwrap().clone()
    }
}

fn tag(fate: &Fate) -> String {
    match fate {
        Fate::Sent { round } => format!("sent {round}"),
        Fate::WouldSend(_) => "would send".to_owned(),
        Fate::Skipped(skip) => skip.tag().to_owned(),
        Fate::Failed(_) => "failed".to_owned(),
    }
}

const OPTIONS: Options = Options {
    dry_run: false,
    again: false,
    redrives_max: REDRIVES_MAX,
    letters_max: 1_000,
    per_second: NonZeroU32::new(1_000).unwrap(),
    event_bytes_max: EVENT_BYTES_DEFAULT,
};

/// A moment on 2023-11-14, about an hour and a half before midnight.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000).unwrap()
}

fn undecodable(seconds: i64, id: &str, body: impl Into<String>) -> Letter {
    let delivery = Delivery {
        message_id: id.into(),
        body: body.into(),
        receive_count: 1,
        sent_at: at(seconds),
        receipt_handle: String::new(),
        group: "dev".into(),
        redrive: None,
    };
    Letter::of_message(&delivery, Stage::Decode, Reason::UndecodableMessage, "not a message: line 1, column 1")
}

fn sample() -> Message {
    let sample: serde_json::Value = serde_json::from_str(include_str!("../../../events/sqs/one_track.json")).unwrap();
    Message::decode(sample["Records"][0]["body"].as_str().unwrap()).unwrap()
}

fn refused(call: &str, index: u32, body: &str) -> Letter {
    let message = Message { received_at: at(10), receipt: "r.1".into(), source: "web".into(), ..sample() };
    let item = Refused {
        index,
        reason: "event_not_defined".into(),
        detail: "no event".into(),
        call: call.into(),
        body: RawValue::from_string(body.to_owned()).unwrap(),
    };
    Letter::of_refused(&message, &item, 1)
}

fn filter() -> Filter {
    Filter {
        project: "dev".into(),
        days: Days::new(date(2023, 11, 14), date(2023, 11, 16)).unwrap(),
        reason: None,
        source: None,
        state: None,
        like: None,
    }
}

const DAY: i64 = 86_400;
const NOW_VALID: &str = r#"{"type":"track","userId":"ann","event":"e","messageId":"m1"}"#;

#[tokio::test]
async fn letters_are_listed_in_order_of_time_over_days_and_pages_and_without_their_parts() {
    let world = World::new();
    let long = format!("{}needle{}", "x".repeat(shared::limits::DEAD_LETTER_PART_BYTES_MAX - 3), "y".repeat(400_000));
    world.table.put(&undecodable(5, "b", "two"));
    world.table.put(&undecodable(DAY * 2, "d", "four"));
    world.table.put(&undecodable(0, "a", long));
    world.table.put(&refused("batch", 0, "{}"));
    world.table.put(&undecodable(DAY * 3, "e", "a day too late"));
    let listed = async |filter: Filter| -> Vec<String> {
        let heads: Vec<Head> = list(&world.table, &filter).try_collect().await.unwrap();
        heads.iter().map(|head| head.key.sk[25..].to_owned()).collect()
    };
    assert_eq!(listed(filter()).await, ["m:a", "m:b", "r.1.0", "m:d"]);
    assert_eq!(listed(Filter { reason: Some("event_not_defined".into()), ..filter() }).await, ["r.1.0"]);
    assert_eq!(listed(Filter { source: Some("web".into()), ..filter() }).await, ["r.1.0"]);
    assert_eq!(listed(Filter { state: Some(State::Settled), ..filter() }).await, [""; 0]);
    assert_eq!(listed(Filter { like: Some("needle".into()), ..filter() }).await, ["m:a"], "across two parts");
    assert_eq!(listed(Filter { like: Some("line 1".into()), ..filter() }).await, ["m:a", "m:b", "m:d"]);
    assert_eq!(listed(Filter { project: UNKNOWN_PROJECT.into(), ..filter() }).await, [""; 0]);
    let first = page(&world.table, &filter(), &Cursor::start(&filter())).await.unwrap();
    assert_eq!((first.letters.len(), first.letters[0].bytes), (1, 707_203), "the page's other item is a part");
    let second = page(&world.table, &filter(), &first.next.unwrap()).await.unwrap();
    assert_eq!(second.letters[0].key.sk, "2023-11-14T22:13:25.000Z#m:b");
}

#[tokio::test]
async fn a_letter_is_read_whole_or_it_is_said_what_is_missing() {
    let world = World::new();
    let body = "é".repeat(400_000);
    let key = world.table.put(&undecodable(0, "a", body.clone()));
    assert_eq!(read(&world.table, &key).await.unwrap().unwrap().body, body);
    let part = part_key(&key, 2);
    assert!(matches!(read(&world.table, &part).await, Err(Error::Damaged { .. })), "a part is no letter");
    world.table.remove(&part);
    let error = read(&world.table, &key).await.unwrap_err();
    assert!(matches!(error, Error::PartMissing { part: 2, parts: 3, .. }), "{error}");
    assert!(error.to_string().contains("dev#2023-11-14T22:13:20.000Z#m:a"), "{error}");
    let (_, fates) = world.redrive(std::slice::from_ref(&key), &OPTIONS).await;
    assert_eq!((fates, world.table.head(&key).redrives), (vec!["damaged".to_owned()], 0));
    let filter = Filter { like: Some("nowhere".into()), ..filter() };
    assert_eq!(list(&world.table, &filter).count().await, 0, "it hides no other");
    world.table.remove(&key);
    assert_eq!(read(&world.table, &key).await.unwrap(), None);
}

#[tokio::test]
async fn the_present_code_says_what_would_become_of_a_letter() {
    let world = World::new();
    let still = |reason: Reason| format!("still {}", reason.tag());
    let message = sample();
    let unverified =
        Message { verified: false, write_key_hash: Some(shared::keys::write_key_hash("k")), ..message.clone() };
    let with_text = |text: String| {
        let mut message = message.clone();
        message.events[0].data = Some(RawValue::from_string(format!("{{\"a\":\"{text}\"}}")).unwrap());
        message
    };
    // It is stored compressed, and only what does not become smaller is too large.
    let large = with_text("x".repeat(410_000));
    let too_large = with_text((0..28_000).map(|number| shared::keys::hash(&[&number.to_string()])).collect());
    let mut buried = undecodable(0, "a", message.encode());
    (buried.reason, buried.stage) = (Reason::CrashedConsumer.tag().to_owned(), Stage::Quarantine);
    let mut misplaced = refused("batch", 0, NOW_VALID);
    misplaced.key.sk = "2023-11-14T22:13:30.000Z#nothing".into();
    for (letter, expected) in [
        (undecodable(0, "a", "hello"), still(Reason::UndecodableMessage)),
        (undecodable(0, "a", r#"{"version":9}"#), still(Reason::UnknownVersion)),
        (undecodable(0, "a", message.encode()), "storable 1".to_owned()),
        (undecodable(0, "a", unverified.encode()), "unknowable".to_owned()),
        (undecodable(0, "a", large.encode()), "storable 1".to_owned()),
        (undecodable(0, "a", too_large.encode()), still(Reason::Unstorable)),
        (buried, "unknowable".to_owned()),
        (refused("batch", 0, NOW_VALID), "storable 1".to_owned()),
        (refused("track", 0, NOW_VALID), "storable 1".to_owned()),
        (refused("batch", 0, r#"{"type":"track"}"#), still(Reason::NoUserAnonId)),
        (refused("batch", 0, "[]"), still(Reason::BadRequest)),
        (refused("no such call", 0, NOW_VALID), still(Reason::UnsupportedEventType)),
        (misplaced, still(Reason::UndecodableMessage)),
    ] {
        let key = world.table.put(&letter);
        let letter = read(&world.table, &key).await.unwrap().unwrap();
        let verdict = match test(&letter, EVENT_BYTES_DEFAULT) {
            Verdict::Storable { events, .. } => format!("storable {events}"),
            Verdict::StillDead { reason, .. } => still(reason),
            Verdict::Unknowable { .. } => "unknowable".to_owned(),
            Verdict::Erased => "erased".to_owned(),
        };
        assert_eq!(verdict, expected, "{}", &letter.body[..letter.body.len().min(80)]);
    }
}

#[tokio::test]
async fn a_message_goes_as_it_is_and_an_item_as_a_message_that_stands_for_the_same_event() {
    let world = World::new();
    let keys = [world.table.put(&undecodable(0, "a", "hello")), world.table.put(&refused("batch", 3, NOW_VALID))];
    let (summary, _) = world.redrive(&keys, &OPTIONS).await;
    assert_eq!((summary.sent, summary.failed), (2, 0));
    let mut sent = world.sent();
    // Several are under work at the same time, so that either may have gone first.
    sent.sort_by_key(|message| message.body.len());
    let [as_it_is, item] = sent.as_slice() else { panic!("two messages") };
    assert_eq!((as_it_is.body.as_str(), as_it_is.group.as_str()), ("hello", "dev"));
    let redrive = as_it_is.redrive.as_ref().unwrap();
    assert_eq!((redrive.letter(), redrive.round), (keys[0].clone(), 1));
    let message = Message::decode(&item.body).unwrap();
    assert_eq!((message.receipt.as_str(), message.events[0].index, message.received_at), ("r.1", 3, at(10)));
    assert_eq!((message.project.as_str(), message.source.as_str(), message.verified), ("dev", "web", true));
    assert_eq!(item.redrive.as_ref().unwrap().letter(), keys[1]);
    let head = world.table.head(&keys[1]);
    assert_eq!((head.state.as_str(), head.redrives, head.redriven_at), ("redriven", 1, at(1_000).to_string()));
}

#[tokio::test]
async fn what_must_not_be_sent_stays_as_it_is_and_it_is_said_why() {
    let world = World::new();
    let open = world.table.put(&undecodable(0, "open", "hello"));
    let dead = world.table.put(&refused("batch", 0, "{}"));
    let gone = world.table.put(&undecodable(0, "gone", "hello"));
    let empty = world.table.put(&undecodable(0, "empty", ""));
    let large = world.table.put(&undecodable(0, "large", "x".repeat(SQS_MESSAGE_BYTES_MAX)));
    let missing = Key { sk: format!("{}0", open.sk), ..open.clone() };
    discard(&world.table, &gone, "  a test of ours ").await.unwrap();
    assert_eq!(world.table.head(&gone).note, "a test of ours");
    let keys = [open.clone(), dead, gone, empty, large, missing];
    let before = world.table.items.lock().unwrap().clone();
    let (summary, fates) = world.redrive(&keys, &Options { dry_run: true, ..OPTIONS }).await;
    assert_eq!(fates, ["would send", "still_dead", "closed", "unsendable", "unsendable", "missing"]);
    assert_eq!((summary.would_send, summary.skipped.values().sum::<usize>()), (1, 5));
    assert_eq!((world.sent().len(), &before), (0, &*world.table.items.lock().unwrap()), "a dry run changes nothing");
    world.redrive(&keys, &OPTIONS).await;
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test]
async fn a_letter_is_sent_again_when_its_mark_is_old_or_it_is_asked_for_and_not_for_ever() {
    let world = World::new();
    let keys = [world.table.put(&undecodable(0, "a", "hello"))];
    let again = Options { again: true, ..OPTIONS };
    assert_eq!(world.redrive(&keys, &OPTIONS).await.1, ["sent 1"]);
    assert_eq!(world.redrive(&keys, &OPTIONS).await.1, ["under_way"]);
    assert_eq!(world.redrive(&keys, &again).await.1, ["sent 2"]);
    world.clock.advance(UNDER_WAY);
    assert_eq!(world.redrive(&keys, &OPTIONS).await.1, ["sent 3"]);
    assert_eq!(world.redrive(&keys, &again).await.1, ["sent 4"]);
    assert_eq!(world.redrive(&keys, &again).await.1, ["sent 5"]);
    assert_eq!(world.redrive(&keys, &again).await.1, ["too_often"]);
    assert_eq!(world.redrive(&keys, &Options { redrives_max: 6, ..again }).await.1, ["sent 6"]);
}

#[tokio::test]
async fn of_two_who_redrive_a_letter_at_a_time_one_sends_it() {
    let world = World::new();
    let key = world.table.put(&undecodable(0, "a", "hello"));
    let later = ManualClock::new(at(1_001));
    let ports = Ports { letters: &world.table, queue: &world.queue, clock: &world.clock };
    let others = Ports { clock: &later, ..ports };
    let keys = || stream::iter([Ok(key.clone())]);
    let (one, other) =
        tokio::join!(redrive(&ports, keys(), &OPTIONS, |_, _| {}), redrive(&others, keys(), &OPTIONS, |_, _| {}));
    assert_eq!((one.sent, other.sent, other.skipped["changed"]), (1, 0, 1));
    assert_eq!((world.sent().len(), world.table.head(&key).redrives), (1, 1));
}

#[tokio::test]
async fn a_mark_whose_answer_was_lost_is_seen_and_the_letter_sent() {
    let world = World::new();
    let keys = [world.table.put(&undecodable(0, "a", "hello"))];
    world.table.lost.store(1, Ordering::SeqCst);
    assert_eq!(world.redrive(&keys, &OPTIONS).await.1, ["sent 1"]);
    assert_eq!((world.sent().len(), world.table.head(&keys[0]).redrives), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_was_marked_and_not_sent_is_named_and_can_be_taken_again() {
    let world = World::new();
    let keys = [world.table.put(&undecodable(0, "a", "hello"))];
    *world.queue.refuses.lock().unwrap() = Some(Cause::Unavailable);
    let ports = Ports { letters: &world.table, queue: &world.queue, clock: &world.clock };
    let mut text = String::new();
    let progress = |_: &Key, fate: &Fate| {
        if let Fate::Failed(error @ Error::NotSent { .. }) = fate {
            text = error.to_string();
        }
    };
    redrive(&ports, stream::iter([Ok(keys[0].clone())]), &OPTIONS, progress).await;
    assert!(text.contains("dev#2023-11-14T22:13:20.000Z#m:a") && text.contains("unavailable"), "{text}");
    *world.queue.refuses.lock().unwrap() = None;
    assert_eq!(world.redrive(&keys, &OPTIONS).await.1, ["under_way"]);
    assert_eq!(world.redrive(&keys, &Options { again: true, ..OPTIONS }).await.1, ["sent 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_takes_nothing_soon_ends_it_and_the_rest_stays_unmarked() {
    let world = World::new();
    let keys: Vec<Key> = (0..100).map(|n| world.table.put(&undecodable(n, "a", "hello"))).collect();
    *world.queue.refuses.lock().unwrap() = Some(Cause::Denied);
    let (summary, _) = world.redrive(&keys, &OPTIONS).await;
    assert!(matches!(summary.stopped, Some(Error::TooManyFailed { .. })));
    assert!((FAILED_MAX..FAILED_MAX + 5).contains(&summary.failed), "{}", summary.failed);
    let marked = keys.iter().filter(|key| world.table.head(key).redrives > 0).count();
    assert_eq!(marked, summary.failed, "each that was marked is accounted for");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_on_ends_it_with_an_account_of_the_rest() {
    let world = World::new();
    let key = world.table.put(&undecodable(0, "a", "hello"));
    let ports = Ports { letters: &world.table, queue: &world.queue, clock: &world.clock };
    let unlisted = Error::Unlisted { partition: "dev#2023-11-14".into(), cause: Cause::Throttled };
    let summary = redrive(&ports, stream::iter([Ok(key), Err(unlisted)]), &OPTIONS, |_, _| {}).await;
    assert_eq!(summary.sent, 1);
    assert!(matches!(summary.stopped, Some(Error::Unlisted { .. })));
}

#[tokio::test(start_paused = true)]
async fn letters_go_at_the_pace_that_was_asked_for_and_no_more_than_that() {
    let world = World::new();
    let keys: Vec<Key> = (0..9).map(|n| world.table.put(&undecodable(n, "a", "hello"))).collect();
    let begun = tokio::time::Instant::now();
    let options = Options { per_second: NonZeroU32::new(2).unwrap(), letters_max: 7, ..OPTIONS };
    assert_eq!(world.redrive(&keys, &options).await.0.sent, 7);
    assert_eq!(begun.elapsed(), Duration::from_secs(3), "on tokio's own clock, which stands still");
}

#[tokio::test]
async fn a_letter_is_discarded_once_and_with_a_reason() {
    let world = World::new();
    let key = world.table.put(&undecodable(0, "a", "hello"));
    for note in [String::new(), " \n".to_owned(), "x".repeat(NOTE_CHARS_MAX + 1)] {
        assert!(matches!(discard(&world.table, &key, &note).await, Err(Error::NoNote { .. })));
    }
    world.table.lost.store(1, Ordering::SeqCst);
    discard(&world.table, &key, &"é".repeat(NOTE_CHARS_MAX)).await.unwrap();
    let error = discard(&world.table, &key, "again").await.unwrap_err();
    assert!(matches!(&error, Error::NotOpen { state, .. } if state == "discarded"), "{error}");
    let missing = Key { sk: "2023-11-14T22:13:20.000Z#m:b".into(), ..key };
    assert!(matches!(discard(&world.table, &missing, "gone").await, Err(Error::Missing { .. })));
}

#[tokio::test]
async fn an_erased_letter_is_listed_and_told_and_never_sent_or_taken_for_damaged() {
    let world = World::new();
    let key = world.table.put(&undecodable(0, "a", "é".repeat(400_000)));
    assert!(erase(&world.table, &key).await.unwrap());
    assert!(!erase(&world.table, &key).await.unwrap(), "there is nothing left to erase");
    let letter = read(&world.table, &key).await.unwrap().unwrap();
    assert_eq!((letter.body.as_str(), letter.head.parts, letter.head.bytes), ("", 3, 800_000));
    assert_eq!(test(&letter, EVENT_BYTES_DEFAULT), Verdict::Erased);
    assert_eq!(world.redrive(std::slice::from_ref(&key), &OPTIONS).await.1, ["closed"]);
    assert!(matches!(discard(&world.table, &key, "gone").await, Err(Error::NotOpen { .. })));
    let of_state = |state| Filter { state: Some(state), ..filter() };
    assert_eq!(list(&world.table, &of_state(State::Erased)).count().await, 1);
    assert_eq!(list(&world.table, &of_state(State::Waiting)).count().await, 0);
    let like = Filter { like: Some("é".into()), ..filter() };
    let listed: Vec<Head> = list(&world.table, &like).try_collect().await.unwrap();
    assert_eq!(listed, [], "what it said is gone");
}

/// A message of these users, as a letter that nobody has read.
fn unread(seconds: i64, id: &str, group: &str, project: &str, users: &[&str]) -> Letter {
    let message = sample();
    let event = |user: &&str| shared::event::Event { subject: (*user).to_owned(), ..message.events[0].clone() };
    let events = users.iter().map(event).collect();
    let body = Message { project: project.to_owned(), events, ..sample() }.encode();
    let mut letter = undecodable(seconds, id, body);
    letter.key.pk = format!("{group}#{}", letter.first_seen.day());
    letter
}

#[tokio::test]
async fn letters_are_found_by_their_texts_in_the_project_and_where_no_project_is_known() {
    let (world, events) = (World::new(), Memory::default());
    let naming = Naming::new(["ann".to_owned()].into(), Default::default());
    let days = Days::new(date(2023, 11, 13), date(2023, 11, 16)).unwrap();
    let theirs = [
        world.table.put(&unread(1, "a", "dev", "dev", &["ann", "ann"])),
        world.table.put(&unread(2, "b", "?", "dev", &["ann"])),
        world.table.put(&undecodable(3, "c", r#"{"type":"track","userId":"ann"}"#)),
        world.table.put(&refused("track", 0, r#"{"userId":["ann"]}"#)),
        world.table.put(&undecodable(DAY, "d", format!(r#"{{"x":"{}","userId":"ann"}}"#, "é".repeat(300_000)))),
    ];
    let left = [
        (world.table.put(&unread(5, "e", "dev", "dev", &["ann", "bob"])), Doubt::Others),
        (world.table.put(&undecodable(6, "f", r#"{"userId":"ann""#)), Doubt::Unreadable),
    ];
    world.table.put(&unread(7, "g", "?", "shop", &["ann"]));
    world.table.put(&unread(8, "h", "dev", "dev", &["anna"]));
    world.table.put(&unread(2_000, "later", "dev", "dev", &["ann"]));
    let tables = Tables { events: &events, letters: &world.table };
    let before = world.table.items.lock().unwrap().clone();
    for dry_run in [true, false] {
        let how = Erasing { dry_run, is_stopped: &|| false, progress: &|_| {} };
        let until = at(DAY + 1);
        let found = erase_by_text(tables, "dev", &naming, (days, until), how).await.unwrap();
        let expected = [theirs.len() + 1, left.len()];
        assert_eq!([found.erased, found.left], expected, "{:?}", found.doubts);
        assert_eq!(found.doubts, left);
        assert_eq!(*world.table.items.lock().unwrap() == before, dry_run);
    }
    assert!(theirs.iter().all(|key| world.table.head(key).state == "erased"));
    assert!(left.iter().all(|(key, _)| world.table.head(key).state == "waiting"));
    let how = Erasing { dry_run: false, is_stopped: &|| true, progress: &|_| {} };
    let stopped = erase_by_text(tables, "dev", &naming, (days, at(0)), how).await.unwrap();
    assert_eq!((stopped.erased, stopped.is_stopped), (0, true), "what came later stays");
}

#[tokio::test]
async fn letters_that_links_lead_to_are_erased_once_and_those_of_a_device_if_they_name_nobody() {
    let (world, events) = (World::new(), Memory::default());
    let link = |id: &str, key: &Key, is_anonymous: bool| {
        let partition = consume::links::partition("dev", id);
        let link = Key { pk: partition, sk: format!("{}{}", consume::letters::LINK_PREFIX, key.sk) };
        let anonymous = is_anonymous.then(|| ("anon".to_owned(), Value::Flag(true)));
        events.items.lock().unwrap().insert(link, anonymous.into_iter().collect());
    };
    let keys: Vec<Key> = (0..5).map(|number| world.table.put(&undecodable(number, "m", "hello"))).collect();
    for (id, number, is_anonymous) in
        [("ann", 0, false), ("ann", 1, false), ("was", 1, false), ("phone", 2, true), ("phone", 3, false)]
    {
        link(id, &keys[number], is_anonymous);
    }
    let gone = Key { sk: "2023-11-14T22:13:59.000Z#m:gone".into(), ..keys[0].clone() };
    link("ann", &gone, false);
    let naming = Naming::new(["ann".to_owned(), "was".to_owned()].into(), ["phone".to_owned()].into());
    let tables = Tables { events: &events, letters: &world.table };
    for (dry_run, erased) in [(true, 3), (false, 3), (true, 0), (false, 0)] {
        let how = Erasing { dry_run, is_stopped: &|| false, progress: &|_| {} };
        let linked = erase_linked(tables, "dev", &naming, how).await.unwrap();
        assert_eq!(linked, Linked { erased, is_stopped: false }, "{dry_run}");
    }
    let states: Vec<String> = keys.iter().map(|key| world.table.head(key).state).collect();
    assert_eq!(states, ["erased", "erased", "erased", "waiting", "waiting"]);
}
