//! Events in bundles: what the simulation comes upon only by chance.

use super::*;
use crate::bundle::{BUNDLE_BYTES_MAX, BUNDLES_MAX, number_of, unpack};

fn always(world: &World, bundles_max: usize) -> Consume<&Memory, &Sent> {
    consume(world).packed(Packing { period: Period::ALWAYS, bundles_max })
}

/// A message of another request with the event that `id` names.
fn repetition(id: &str, receipt: &str) -> Delivery {
    let one = delivery(id);
    let mut message = Message::decode(&one.body).unwrap();
    message.receipt = receipt.to_owned();
    Delivery { message_id: receipt.to_owned(), body: message.encode(), ..one }
}

/// The ids of the events in each bundle, and then in items of their own.
fn places(world: &World) -> (Vec<Vec<String>>, Vec<String>) {
    let (mut bundles, mut alone) = (Vec::new(), Vec::new());
    for (key, item) in world.events.0.lock().unwrap().iter().filter(|(key, _)| key.sk.starts_with("E#")) {
        let number = number_of(&key.sk);
        let id = |(key, _): (Key, Attributes)| key.sk.rsplit('#').next().unwrap().to_owned();
        let ids: Vec<String> = unpack(key.clone(), attributes(item)).into_iter().map(id).collect();
        match number {
            Some(number) => {
                assert_eq!(number, bundles.len(), "no number is left out");
                bundles.push(ids);
            }
            None => alone.extend(ids),
        }
    }
    (bundles, alone)
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn an_event_of_a_full_log_has_an_item_of_its_own_and_in_either_place_its_repetition_is_a_duplicate() {
    let world = World::default();
    let consume = always(&world, 1);
    for id in ["a", "b"] {
        assert_eq!(consume.deliver(&[delivery(id)], deadline()).await.stored, 1);
    }
    let full = (vec![ids(&["a"])], ids(&["b"]));
    assert_eq!(places(&world), full);
    for id in ["a", "b"] {
        let report = consume.deliver(&[repetition(id, "again")], deadline()).await;
        assert_eq!((report.duplicate, report.stored, failed(&report)), (1, 0, vec![]), "{id}");
        // The same message once more is not.
        let report = consume.deliver(&[Delivery { receive_count: 2, ..delivery(id) }], deadline()).await;
        assert_eq!((report.stored_before, report.duplicate), (1, 0), "{id}");
    }
    assert_eq!(places(&world), full);
}

#[tokio::test]
async fn of_two_deliveries_that_append_at_the_same_time_one_reads_on() {
    let world = World::default();
    let consume = always(&world, BUNDLES_MAX);
    let (one, other) = ([delivery("a"), delivery("same")], [delivery("b"), repetition("same", "again")]);
    let (one, other) = tokio::join!(consume.deliver(&one, deadline()), consume.deliver(&other, deadline()));
    assert_eq!((failed(&one), failed(&other)), (vec![], vec![]));
    assert_eq!((one.stored + other.stored, one.duplicate + other.duplicate), (3, 1));
    let (bundles, alone) = places(&world);
    let mut all = bundles.concat();
    all.sort_unstable();
    assert_eq!((bundles.len(), all, alone), (2, ids(&["a", "b", "same"]), vec![]));
}

#[tokio::test]
async fn a_bundle_that_the_table_refuses_is_taken_apart_and_only_the_event_to_blame_is_dead_lettered() {
    let world = World::default();
    let deliveries = ["a", "refused", "b"].map(delivery);
    let report = always(&world, BUNDLES_MAX).deliver(&deliveries, deadline()).await;
    assert_eq!((failed(&report), report.stored), (vec![], 2));
    assert_eq!(report.dead_lettered, BTreeMap::from([("unstorable".to_owned(), 1)]));
    let (bundles, alone) = places(&world);
    assert_eq!((bundles.concat(), alone), (ids(&["a", "b"]), vec![]));
    let letters = world.dead_letters.0.lock().unwrap();
    let detail = letters.values().find_map(|letter| letter.attributes.get("detail")?.text()).unwrap();
    assert_eq!(detail, "the table takes no such item");
}

#[tokio::test]
async fn what_is_more_than_a_bundle_takes_is_two() {
    let world = World::default();
    let deliveries = ["a", "b", "c"].map(|id| traits(id, 0..3, &id.repeat(BUNDLE_BYTES_MAX / 7)));
    let report = always(&world, BUNDLES_MAX).deliver(&deliveries, deadline()).await;
    assert_eq!((failed(&report), report.stored), (vec![], 3));
    assert_eq!(places(&world), (vec![ids(&["a", "b"]), ids(&["c"])], vec![]));
}

/// The message of `delivery`, about somebody else.
fn about(subject: &str, id: &str) -> Delivery {
    let one = delivery(id);
    let mut message = Message::decode(&one.body).unwrap();
    subject.clone_into(&mut message.events[0].subject);
    Delivery { body: message.encode(), ..one }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_holds_up_nobody_else() {
    let world = World::default();
    let consume = always(&world, BUNDLES_MAX);
    assert_eq!(consume.deliver(&[about("ann", "a")], deadline()).await.stored, 1);
    for item in world.events.0.lock().unwrap().values_mut().filter(|item| number_of(&item.key.sk).is_some()) {
        item.bytes_of("ids", b"damaged by hand".to_vec());
    }
    let report = consume.deliver(&[about("ann", "b"), about("bob", "c")], deadline()).await;
    assert_eq!((failed(&report), report.stored), (vec![0], 1));
}

#[tokio::test]
async fn a_log_is_full_with_its_bytes_and_stays_so_when_they_are_erased() {
    let world = World::default();
    let consume = always(&world, BUNDLES_MAX);
    let mut random = 1_u64;
    let mut text = |count: usize| -> String {
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + 2 + u8::try_from((random >> 33) % 58).unwrap())
        };
        (0..count).map(|_| next()).collect()
    };
    // Nothing that compresses much: two bundles fill a log.
    let large = |id: &str, text: String| traits(id, 0..1, &text.replace('\\', "/"));
    let deliveries = [large("a", text(60_000)), large("b", text(60_000)), large("c", text(60_000))];
    for one in &deliveries {
        assert_eq!(consume.deliver(std::slice::from_ref(one), deadline()).await.stored, 1);
    }
    assert_eq!(places(&world), (vec![ids(&["a"]), ids(&["b"])], ids(&["c"])));
    let mut deletion: serde_json::Value = serde_json::from_str(&deliveries[0].body).unwrap();
    deletion["events"][0]["kind"] = "delete".into();
    deletion["events"][0]["id"] = "deletion".into();
    let deletion = Delivery { body: deletion.to_string(), ..delivery("deletion") };
    assert!(failed(&consume.deliver(&[deletion], deadline()).await).is_empty());
    let later = {
        let mut message = Message::decode(&delivery("later").body).unwrap();
        message.events[0].timestamp = message.events[0].timestamp.plus(Duration::from_secs(60));
        Delivery { body: message.encode(), ..delivery("later") }
    };
    assert_eq!(consume.deliver(&[later], deadline()).await.stored, 1);
    let (bundles, alone) = places(&world);
    assert_eq!(bundles, vec![ids(&[]), ids(&[])], "what was erased is gone, and opens no number");
    assert!(alone.contains(&"later".to_owned()), "{alone:?}");
}
