//! A batch on tables in memory, one of which can panic.

mod packed;

use std::collections::HashMap;
use std::sync::Mutex;

use shared::clock::ManualClock;

use super::*;
use crate::incoming::SpilledRecord;
use crate::queue::{Deferral, Outgoing};
use crate::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, as_read};

/// A table that panics over events with `killer` in their key, refuses those with `refused`, and never takes lists with
/// `stuck` in theirs. Whoever inserts lets others go first.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Key, Item>>);

fn attributes(item: &Item) -> Attributes {
    as_read(&item.attributes)
}

impl Table for &Memory {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        tokio::task::yield_now().await;
        let has_event = |item: &Item, name: &str| {
            let events = crate::bundle::unpack(item.key.clone(), attributes(item));
            events.iter().any(|(key, _)| key.sk.contains(name))
        };
        assert!(!items.iter().any(|item| has_event(item, "killer")), "a bug of ours");
        let mut table = self.0.lock().unwrap();
        let mut results = Vec::new();
        for item in items {
            if item.key.pk.contains("#RECEIPT#stuck") {
                results.push(Insert::Failed(Cause::Throttled));
                continue;
            }
            if has_event(item, "refused") {
                results.push(Insert::Refused("the table takes no such item".to_owned()));
                continue;
            }
            let exists = table.contains_key(&item.key);
            results.push(if exists { Insert::Exists } else { Insert::Done });
            table.entry(item.key.clone()).or_insert_with(|| item.clone());
        }
        results
    }

    async fn get(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        let table = self.0.lock().unwrap();
        Ok(keys.iter().filter_map(|key| Some((key.clone(), attributes(table.get(key)?)))).collect())
    }

    async fn replace(&self, item: &Item, _: Guard) -> Result<bool, Replace> {
        self.0.lock().unwrap().insert(item.key.clone(), item.clone());
        Ok(true)
    }

    async fn query(&self, pk: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        let table = self.0.lock().unwrap();
        let items = table.values().filter(|item| item.key.pk == pk && item.key.sk.starts_with(prefix));
        let items = items.filter(|item| after.is_none_or(|after| item.key.sk.as_str() > after));
        Ok(Page { items: items.map(|item| (item.key.clone(), attributes(item))).collect(), is_last: true })
    }

    async fn scan(&self, after: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        let table = self.0.lock().unwrap();
        let items = table.values().filter(|item| after.is_none_or(|after| item.key > *after));
        Ok(items.take(1).map(|item| (item.key.clone(), attributes(item))).collect())
    }

    async fn put(&self, items: &[Item]) -> Result<(), Cause> {
        let mut table = self.0.lock().unwrap();
        table.extend(items.iter().map(|item| (item.key.clone(), item.clone())));
        Ok(())
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        let mut table = self.0.lock().unwrap();
        keys.iter().for_each(|key| drop(table.remove(key)));
        Ok(())
    }
}

/// A queue that notes what is sent to it.
#[derive(Default)]
struct Sent(Mutex<Vec<Outgoing>>);

impl Queue for &Sent {
    async fn defer(&self, _: &[Deferral]) -> Result<(), Cause> {
        Ok(())
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<(), Cause> {
        self.0.lock().unwrap().extend_from_slice(messages);
        Ok(())
    }
}

#[derive(Default)]
struct World {
    events: Memory,
    dead_letters: Memory,
    spill: Memory,
    queue: Sent,
    quarantine: Sent,
}

fn delivery(id: &str) -> Delivery {
    let sample: serde_json::Value =
        serde_json::from_str(include_str!("../../../../events/sqs/one_track.json")).unwrap();
    let body = sample["Records"][0]["body"].as_str().unwrap().replace("sample-sqs-0", id);
    let sent_at = Timestamp::from_millis(0).unwrap();
    let (receipt_handle, group) = (String::new(), "dev".to_owned());
    Delivery { message_id: id.to_owned(), body, receive_count: 1, sent_at, receipt_handle, group, redrive: None }
}

fn consume(world: &World) -> Consume<&Memory, &Sent> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000).unwrap()));
    let World { events, dead_letters, spill, queue, quarantine } = world;
    let ports = Ports { events, dead_letters, spill, queue, quarantine };
    Consume::new(ports, Duration::from_secs(1), clock).packed(packed_period())
}

/// Every test runs in either mode, as the variable says that the function reads too.
fn packed_period() -> Period {
    shared::config::environment("PACKED_PERIOD").map_or(Period::NEVER, |text| text.parse().unwrap())
}

fn failed(report: &Report) -> Vec<usize> {
    report.failed.iter().map(|(position, _)| position).collect()
}

/// The moment by which an invocation that has its whole time must have ended.
fn deadline() -> Timestamp {
    Timestamp::from_millis(1_060_000).unwrap()
}

#[tokio::test]
async fn a_message_that_makes_our_code_panic_goes_back_alone() {
    let world = World::default();
    let deliveries = ["a", "killer", "b"].map(delivery);
    let report = consume(&world).deliver(&deliveries, deadline()).await;
    assert_eq!((failed(&report), report.stored), (vec![1], 2));
}

#[tokio::test]
async fn an_insert_that_has_its_effect_only_after_the_event_was_erased_finds_its_key_taken() {
    let deletion = {
        let mut message: serde_json::Value = serde_json::from_str(&delivery("deletion").body).unwrap();
        message["events"][0]["kind"] = "delete".into();
        message["events"][0]["timestamp"] = message["received_at"].clone();
        Delivery { body: message.to_string(), ..delivery("deletion") }
    };
    let event = delivery("a");
    for order in [[&event, &deletion], [&deletion, &event]] {
        let world = World::default();
        for one in order {
            assert!(failed(&consume(&world).deliver(std::slice::from_ref(one), deadline()).await).is_empty());
        }
        let message = Message::decode(&event.body).unwrap();
        let own = crate::store::plain(&message, &message.events[0]);
        let late = if packed_period() == Period::ALWAYS {
            let prefix = crate::bundle::prefix_of(&own.key.sk).unwrap();
            let first = Key { pk: own.key.pk.clone(), sk: crate::bundle::sort_of(&prefix, 0) };
            crate::bundle::encode(first, 0, [(&own.key, &own.attributes)])
        } else {
            own
        };
        assert_eq!((&world.events).insert(&[late]).await, [Insert::Exists]);
        let again = Delivery { receive_count: 2, ..event.clone() };
        assert_eq!(consume(&world).deliver(&[again], deadline()).await.erased, 1);
    }
}

#[tokio::test]
async fn a_tombstone_that_no_note_of_the_project_tells_of_is_found_all_the_same() {
    let world = World::default();
    let message = Message::decode(&delivery("a").body).unwrap();
    let key = crate::tombstone::tombstone_key(&message.project, &message.events[0].subject);
    let mut tombstone = Item { key, attributes: BTreeMap::new() };
    tombstone.number("until", message.received_at.plus(Duration::from_secs(1)).as_millis());
    world.events.0.lock().unwrap().insert(tombstone.key.clone(), tombstone);
    assert_eq!(consume(&world).deliver(&[delivery("a")], deadline()).await.erased, 1);
    let note = crate::tombstone::latest_key(&message.project);
    assert!(world.events.0.lock().unwrap().contains_key(&note), "the next batch knows how long it must look back");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_items_could_not_be_listed_goes_back_alone() {
    let world = World::default();
    let listed = |id: &str, receipt: &str| {
        let mut delivery = delivery(id);
        let mut body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap();
        body["lists_items"] = serde_json::json!(true);
        body["receipt"] = serde_json::json!(receipt);
        delivery.body = body.to_string();
        delivery
    };
    let deliveries = [listed("a", "r1"), listed("b", "stuck"), listed("c", "r2")];
    let report = consume(&world).deliver(&deliveries, deadline()).await;
    assert_eq!((failed(&report), report.stored), (vec![1], 3));
    let lists = world.events.0.lock().unwrap().keys().filter(|key| key.sk.starts_with("RECEIPT#")).count();
    assert_eq!(lists, 2);
}

/// A message that gives a user as many traits as `names` says.
fn traits(id: &str, names: std::ops::Range<usize>, value: &str) -> Delivery {
    let traits: serde_json::Map<String, serde_json::Value> =
        names.map(|name| (format!("t{name}"), value.into())).collect();
    let body = delivery(id).body;
    let mut message: serde_json::Value = serde_json::from_str(&body).unwrap();
    message["events"][0]["kind"] = "identify".into();
    message["events"][0]["data"] = traits.into();
    Delivery { body: message.to_string(), ..delivery(id) }
}

fn values(world: &World) -> usize {
    let events = world.events.0.lock().unwrap();
    let item = events.values().find(|item| item.key.sk == crate::profile::SORT);
    let profile = item.map(|item| crate::profile::Profile::read(&attributes(item)).unwrap().0);
    profile.map_or(0, |profile| profile.values(crate::profile::Section::Traits).count())
}

#[tokio::test]
async fn a_profile_keeps_no_more_values_than_memory_has_room_for() {
    let world = World::default();
    let most = crate::profile::VALUES_MAX;
    for (id, names, expected) in [("a", 0..most + 1, 0), ("b", 0..most, most), ("c", most..most + 1, most)] {
        let report = consume(&world).deliver(&[traits(id, names, "x")], deadline()).await;
        assert_eq!((failed(&report), report.stored, values(&world)), (vec![], 1, expected), "{id}");
    }
}

#[tokio::test]
async fn what_is_too_large_to_be_folded_at_once_is_folded_one_part_after_the_other() {
    let world = World::default();
    // Each says the same names anew, as a profile has no room for as much.
    let value = "x".repeat(1_024);
    let deliveries: Vec<Delivery> =
        (0..9).map(|number| traits(&format!("m{number}"), number..number + 40, &value)).collect();
    let bytes: usize = deliveries.iter().map(|delivery| delivery.body.len()).sum();
    assert!(bytes > crate::fold::FOLD_BYTES_MAX);
    let report = consume(&world).deliver(&deliveries, deadline()).await;
    assert_eq!((failed(&report), report.stored, values(&world)), (vec![], 9, 48));
}

#[tokio::test]
async fn messages_for_which_the_time_is_too_short_are_not_begun() {
    let world = World::default();
    let deliveries = ["a", "b"].map(delivery);
    let report = consume(&world).deliver(&deliveries, Timestamp::from_millis(1_011_000).unwrap()).await;
    assert_eq!((failed(&report), report.stored), (vec![0, 1], 0));
    assert!(world.events.0.lock().unwrap().is_empty());
}

#[test]
fn what_has_been_received_before_comes_after_what_has_not_and_in_another_order_each_time() {
    let deliveries = |receives: u32| -> Vec<Delivery> {
        let again = (0..8).map(|number| Delivery { receive_count: receives, ..delivery(&format!("again{number}")) });
        again.chain([delivery("new")]).collect()
    };
    let orders: Vec<_> = (2..6).map(|receives| groups(&deliveries(receives))).collect();
    for (new, again) in &orders {
        assert_eq!((new.as_slice(), again.len()), (&[8][..], 8));
    }
    let firsts: std::collections::BTreeSet<_> = orders.iter().map(|(_, again)| again[0]).collect();
    assert!(firsts.len() > 1, "{orders:?}");
}

#[tokio::test]
async fn a_quarantined_message_that_ends_the_function_is_taken_apart_and_then_dead_lettered_unread() {
    let world = World::default();
    let consume = consume(&world);
    let two = {
        let (one, other) = (delivery("killer"), delivery("x"));
        let mut message = Message::decode(&one.body).unwrap();
        let mut event = Message::decode(&other.body).unwrap().events.remove(0);
        event.index = 1;
        message.events.push(event);
        Delivery { body: message.encode(), ..one }
    };
    // Together, they panic; taken apart, each is a message of its own.
    assert_eq!(failed(&consume.deliver_quarantined(&two, deadline()).await), [0]);
    assert!(world.quarantine.0.lock().unwrap().is_empty());
    let two = Delivery { receipt_handle: "second".into(), ..two };
    assert!(failed(&consume.deliver_quarantined(&two, deadline()).await).is_empty());
    let parts: Vec<Outgoing> = world.quarantine.0.lock().unwrap().drain(..).collect();
    assert_eq!(parts.len(), 2);
    // SQS gives each delivery a handle of its own.
    let alone = |number: usize, receipt_handle: &str| Delivery {
        receipt_handle: receipt_handle.to_owned(),
        body: parts[number].body.clone(),
        message_id: format!("part{number}"),
        ..delivery("unused")
    };
    assert_eq!(consume.deliver_quarantined(&alone(1, "a"), deadline()).await.stored, 1);
    for handle in ["a", "b", "c"] {
        assert_eq!(failed(&consume.deliver_quarantined(&alone(0, handle), deadline()).await), [0]);
        assert!(world.quarantine.0.lock().unwrap().is_empty(), "one event is not taken apart");
    }
    let report = consume.deliver_quarantined(&alone(0, "d"), deadline()).await;
    assert_eq!((failed(&report), report.dead_lettered["crashed_consumer"]), (vec![], 1));
    let letters = world.dead_letters.0.lock().unwrap();
    let letter = letters.values().find(|item| item.attributes.contains_key("reason")).unwrap();
    assert_eq!(letter.attributes["body"].text(), Some(parts[0].body.as_str()));
    assert!(letter.key.pk.starts_with("dev#"), "its project is known though it was not read: {}", letter.key.pk);
}

#[tokio::test]
async fn a_quarantined_message_that_is_innocent_leaves_an_empty_mark_that_a_late_write_cannot_replace() {
    let world = World::default();
    let report = consume(&world).deliver_quarantined(&delivery("a"), deadline()).await;
    assert_eq!((report.stored, failed(&report)), (1, vec![]));
    let mark = world.dead_letters.0.lock().unwrap().values().next().cloned().unwrap();
    // One write when the delivery begins, and one when it ends: what was read before either is not current any more.
    assert_eq!((mark.attributes["begun"].text(), mark.attributes["ver"].number()), (Some("[]"), Some(2)));
}

fn spilled_items(world: &World, id: &str, body: &str, written_at: i64) {
    let mut table = world.spill.0.lock().unwrap();
    for part in shared::spill::parts(id, body) {
        let mut item = Item { key: Key { pk: id.to_owned(), sk: part.number.clone() }, attributes: BTreeMap::new() };
        item.text(shared::spill::attribute::BODY, part.body);
        item.text(shared::spill::attribute::GROUP, "dev");
        item.number(shared::spill::attribute::WRITTEN_AT, written_at);
        if let Some(parts) = part.parts {
            item.number(shared::spill::attribute::PARTS, i64::try_from(parts).unwrap());
        }
        table.insert(item.key.clone(), item);
    }
}

fn record(id: &str, part: &str) -> SpilledRecord {
    SpilledRecord { sequence_number: format!("1{part}"), id: id.to_owned(), part: part.to_owned() }
}

#[tokio::test]
async fn a_spilled_message_is_stored_whole_and_taken_away() {
    let world = World::default();
    let large = format!("{}{}", delivery("a").body, " ".repeat(700_000));
    spilled_items(&world, "r.0", &large, 0);
    let records = [record("r.0", "2"), record("r.0", "1"), record("r.0", "0"), record("gone.0", "0")];
    let report = consume(&world).deliver_spilled(&records, deadline()).await;
    assert_eq!((report.stored, failed(&report)), (1, vec![]));
    assert!(world.spill.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_spilled_message_that_cannot_be_stored_now_stays_and_is_named() {
    let world = World::default();
    spilled_items(&world, "r.0", &delivery("a").body, 0);
    spilled_items(&world, "r.1", &delivery("killer").body, 0);
    let records = [record("r.0", "0"), record("r.1", "0")];
    let report = consume(&world).deliver_spilled(&records, deadline()).await;
    assert_eq!((report.stored, failed(&report)), (1, vec![1]));
    assert_eq!(world.spill.0.lock().unwrap().keys().next().unwrap().pk, "r.1");
}

#[tokio::test]
async fn the_sweep_enqueues_what_was_left_and_nothing_that_is_young() {
    let world = World::default();
    spilled_items(&world, "old.0", "an old message", 0);
    spilled_items(&world, "young.0", "a young message", 999_000);
    let swept = consume(&world).sweep(deadline()).await.unwrap();
    assert_eq!((swept.enqueued, swept.finished), (1, true));
    let sent = world.queue.0.lock().unwrap();
    assert_eq!((sent[0].group.as_str(), sent[0].body.as_str()), ("dev", "an old message"));
    assert_eq!(world.spill.0.lock().unwrap().keys().next().unwrap().pk, "young.0");
}

/// Notes deliveries of a quarantined message as begun: which, when, whether to take it apart, and whether for too short a
/// time.
async fn note_begun(world: &World, delivery: &Delivery, begun: &[(&str, i64, bool, bool)]) {
    let mut mark = Item {
        key: Key { pk: format!("QUARANTINE#{}", delivery.message_id), sk: "BEGUN".into() },
        attributes: BTreeMap::new(),
    };
    mark.text("begun", serde_json::to_string(begun).unwrap());
    mark.number("ver", 1);
    assert_eq!((&world.dead_letters).replace(&mark, Guard::Absent).await, Ok(true));
}

/// A message of two events.
fn two_events() -> Delivery {
    let mut two = delivery("a");
    let mut message = Message::decode(&two.body).unwrap();
    let event = message.events[0].clone();
    message.events.push(shared::event::Event { index: 1, ..event });
    two.body = message.encode();
    two
}

#[tokio::test]
async fn deliveries_that_may_still_be_running_have_not_ended_the_function() {
    // The clock of these tests stands at 1,000,000.
    for (begun_at, buried) in [(999_000, false), (0, true)] {
        let world = World::default();
        let others = ["x", "y", "z"].map(|other| (other, begun_at, false, false));
        note_begun(&world, &delivery("a"), &others).await;
        let report = consume(&world).deliver_quarantined(&delivery("a"), deadline()).await;
        let letters = usize::from(buried);
        assert_eq!((report.stored, report.dead_lettered.len(), failed(&report)), (1 - letters, letters, vec![]));
    }
}

#[tokio::test]
async fn a_message_whose_tries_were_used_up_at_one_time_is_taken_apart_all_the_same() {
    for (apart, parts) in [(false, 2), (true, 0)] {
        let world = World::default();
        let two = two_events();
        note_begun(&world, &two, &["x", "y", "z"].map(|other| (other, 0, apart, false))).await;
        assert!(failed(&consume(&world).deliver_quarantined(&two, deadline()).await).is_empty());
        assert_eq!(world.quarantine.0.lock().unwrap().len(), parts);
    }
}

#[tokio::test]
async fn a_message_for_which_the_time_was_too_short_is_taken_apart_and_never_held_to_have_ended_the_function() {
    let world = World::default();
    let two = two_events();
    // The time for what is noted around it suffices, and that for the delivery itself does not.
    let short = Timestamp::from_millis(1_040_500).unwrap();
    let consume = consume(&world);
    note_begun(&world, &two, &["x", "y", "z"].map(|other| (other, 0, true, true))).await;
    assert!(failed(&consume.deliver_quarantined(&two, short).await).is_empty());
    let letters = world.dead_letters.0.lock().unwrap().keys().filter(|key| key.sk != "BEGUN").count();
    assert_eq!((world.quarantine.0.lock().unwrap().len(), letters), (2, 0));
}

#[tokio::test]
async fn of_one_event_in_two_messages_the_one_that_another_delivery_has_stored_is_folded() {
    let world = World::default();
    let message = |receipt: &str| {
        let one = traits(receipt, 0..1, "x");
        let mut message = Message::decode(&one.body).unwrap();
        message.receipt = receipt.to_owned();
        message.events[0].id = "same".to_owned();
        Delivery { body: message.encode(), ..one }
    };
    let (first, second) = (message("first"), message("second"));
    // Another delivery of the second has come as far as this, and no further.
    let stored = Message::decode(&second.body).unwrap();
    let item = crate::store::item(&stored, &stored.events[0]);
    assert_eq!((&world.events).insert(&[item]).await, [Insert::Done]);
    let report = consume(&world).deliver(&[first, second], deadline()).await;
    assert_eq!((failed(&report), report.duplicate, report.stored, values(&world)), (vec![], 1, 1, 1));
}

#[tokio::test]
async fn a_duplicate_that_is_twice_in_one_batch_is_a_duplicate_twice() {
    let world = World::default();
    let other = |receipt: &str, message_id: &str| {
        let one = delivery("x");
        let mut message = Message::decode(&one.body).unwrap();
        message.receipt = receipt.to_owned();
        Delivery { message_id: message_id.to_owned(), body: message.encode(), ..one }
    };
    consume(&world).deliver(&[other("first", "a")], deadline()).await;
    let report = consume(&world).deliver(&[other("second", "b"), other("second", "c")], deadline()).await;
    assert_eq!((report.stored, report.stored_before, report.duplicate), (0, 0, 2));
}
