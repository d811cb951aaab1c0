//! What a deletion reaches, whatever came before it, after it and at the same time; and what is left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cli::dead_letters::{Options, Ports, REDRIVES_MAX, redrive};
use consume::bundle::unpack;
use consume::compressed::inflate;
use consume::decode::Delivery;
use consume::dynamo_table::read;
use consume::profile::{self, Profile};
use consume::remains::ERASED;
use consume::store::ORIGIN;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use ingest::accept::Call;
use local::sqs::{Action, Times};
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock, Timestamp};
use shared::limits::EVENT_BYTES_CEILING;
use tests::watched::{Asked, Jumping, Turns, Watch, deliver_at_once};
use tests::{Item, Pipeline, track};

use crate::receipts::{accepted, fates, sent};

/// When something happened; an event that says so needs no marker.
const WHEN: &str = "2023-11-14T20:13:10.000Z";
/// Another hour, so that neither fills the bundles of the other.
const LATER: &str = "2023-11-14T21:13:10.000Z";
const SECOND: Duration = Duration::from_secs(1);

fn vero(path: &str, body: &Value) -> Call {
    let mut body = body.clone();
    body["auth_token"] = json!("dev");
    let path = format!("/api/v2/{path}");
    Call { method: "POST".into(), path, body: body.to_string().into_bytes(), ..Call::default() }
}

/// Deletes a user, later than everything until now.
async fn delete(pipeline: &Pipeline, id: &str) {
    pipeline.pass(SECOND);
    accepted(pipeline, &vero("users/delete", &json!({"id": id}))).await;
    pipeline.pass(SECOND);
    pipeline.drain().await;
}

/// Something that happens now, to a user, on a device, or both.
async fn say(pipeline: &Pipeline, kind: &str, user: Option<&str>, device: Option<&str>, id: &str) -> String {
    let mut body = json!({"userId": user, "anonymousId": device, "messageId": id});
    match kind {
        "identify" => body["traits"] = json!({id: "a trait"}),
        _ => body["event"] = json!("Did It"),
    }
    pipeline.pass(SECOND);
    sent(pipeline, &format!("/v1/{kind}"), &body).await
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

/// The ids of the events that are there, and the names of all values in profiles; sorted.
async fn left(pipeline: &Pipeline) -> Vec<String> {
    let mut left = Vec::new();
    for item in pipeline.items().await {
        if item.contains_key(ORIGIN) {
            left.push(text(&item, "sk").rsplit_once('#').unwrap().1.to_owned());
        } else if [profile::SORT, profile::DEVICE_SORT].contains(&text(&item, "sk")) {
            let attributes = read(&item).unwrap().1;
            for section in [profile::Section::Traits, profile::Section::Tags, profile::Section::Groups] {
                let values = Profile::read(&attributes).unwrap().0;
                left.extend(values.values(section).map(|(name, _)| format!("trait {name}")));
            }
        }
    }
    left.sort_unstable();
    left
}

fn alias(former: &str, later: &str) -> Value {
    json!({"type": "alias", "previousId": former, "userId": later, "messageId": format!("{former} is {later}")})
}

/// Each of the ids says something in an event and a trait of its own, before the present moment.
async fn everybody_speaks(pipeline: &Pipeline, ids: &[String]) {
    let time = pipeline.clock.now().to_string();
    let says = |id: &String| {
        [
            json!({"type": "track", "userId": id, "event": "e", "messageId": format!("e-{id}"), "timestamp": time}),
            json!({
                "type": "identify", "userId": id, "traits": {id: 1}, "messageId": format!("i-{id}"), "timestamp": time
            }),
        ]
    };
    let batch: Vec<Value> = ids.iter().flat_map(says).collect();
    sent(pipeline, "/v1/batch", &json!({"batch": batch})).await;
    pipeline.drain().await;
    pipeline.pass(SECOND);
}

/// Aliases, each a request of its own, or all in one.
async fn aliases(pipeline: &Pipeline, pairs: &[(String, String)], at_once: bool) {
    let calls: Vec<Value> = pairs.iter().map(|(former, later)| alias(former, later)).collect();
    if at_once {
        sent(pipeline, "/v1/batch", &json!({"batch": calls})).await;
    } else {
        for call in calls {
            sent(pipeline, "/v1/alias", &call).await;
        }
    }
    pipeline.drain().await;
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("id{n:03}")).collect()
}

/// The links of a chain, the last first: each id becomes the next.
fn chain(ids: &[String]) -> Vec<(String, String)> {
    ids.windows(2).rev().map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// The links of a star: all ids become the last.
fn star(ids: &[String]) -> Vec<(String, String)> {
    let (center, others) = ids.split_last().unwrap();
    others.iter().map(|id| (id.clone(), center.clone())).collect()
}

#[tokio::test]
async fn a_deletion_reaches_every_id_of_a_chain_made_from_its_end() {
    for at_once in [false, true] {
        let pipeline = Pipeline::start().await;
        let ids = names(70);
        everybody_speaks(&pipeline, &ids).await;
        aliases(&pipeline, &chain(&ids), at_once).await;
        assert_eq!(left(&pipeline).await.len(), 70 * 3 + 69);
        delete(&pipeline, &ids[69]).await;
        assert_eq!(left(&pipeline).await, [""; 0]);
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn a_deletion_reaches_every_id_of_a_star() {
    for at_once in [false, true] {
        let pipeline = Pipeline::start().await;
        let ids = names(121);
        everybody_speaks(&pipeline, &ids).await;
        aliases(&pipeline, &star(&ids), at_once).await;
        assert_eq!(left(&pipeline).await.len(), 121 * 3 + 120);
        delete(&pipeline, &ids[120]).await;
        assert_eq!(left(&pipeline).await, [""; 0]);
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn a_deletion_ends_in_a_circle_of_ids() {
    for length in [1, 2, 7] {
        let pipeline = Pipeline::start().await;
        let ids = names(length);
        everybody_speaks(&pipeline, &ids).await;
        let circle: Vec<(String, String)> =
            (0..length).map(|n| (ids[n].clone(), ids[(n + 1) % length].clone())).collect();
        aliases(&pipeline, &circle, false).await;
        delete(&pipeline, &ids[length / 2]).await;
        assert_eq!(left(&pipeline).await, [""; 0]);
        // And once more, of another of them.
        everybody_speaks(&pipeline, &ids[..1]).await;
        delete(&pipeline, &ids[0]).await;
        assert_eq!(left(&pipeline).await, [""; 0]);
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn a_deletion_reaches_ids_whose_aliases_come_later() {
    let ids = names(70);
    let of_chain = chain(&ids);
    let forwards: Vec<(String, String)> = of_chain.iter().rev().cloned().collect();
    for (links, at_once) in [(&of_chain, false), (&of_chain, true), (&forwards, false), (&star(&ids), true)] {
        let pipeline = Pipeline::start().await;
        everybody_speaks(&pipeline, &ids).await;
        delete(&pipeline, &ids[69]).await;
        assert_eq!(left(&pipeline).await.len(), 69 * 3);
        aliases(&pipeline, links, at_once).await;
        let mut expected: Vec<String> = links.iter().map(|(former, later)| format!("{former} is {later}")).collect();
        expected.sort_unstable();
        assert_eq!(left(&pipeline).await, expected, "the aliases themselves are newer than the deletion");
        pipeline.finish().await;
    }
}

/// What is stored, in an order.
async fn picture(pipeline: &Pipeline) -> BTreeSet<String> {
    let picture = |item: &Item| format!("{:?}", item.iter().collect::<BTreeMap<_, _>>());
    pipeline.everything().await.iter().map(picture).collect()
}

/// Delivers a message again and again, each time with so little time that the clock may be asked `asks` times before a
/// long erasure must pause. Returns how often, when the message is settled.
async fn deliver_in_haste(pipeline: &Pipeline, delivery: &Delivery, asks: u32) -> u32 {
    let (mut before, mut left_before) = (picture(pipeline).await, left(pipeline).await.len());
    for count in 1..1_000 {
        let now = pipeline.clock.now();
        let clock = Arc::new(Jumping::after(asks, now, Duration::from_secs(6)));
        let consume = pipeline.environment(clock, |table| table);
        let delivery = Delivery { receive_count: count, ..delivery.clone() };
        let report = consume.deliver(&[delivery], now.plus(Duration::from_secs(14))).await;
        let (after, left_after) = (picture(pipeline).await, left(pipeline).await.len());
        if report.failed.is_empty() {
            return count;
        }
        assert!(count == 1 || left_after <= left_before, "delivery {count}");
        assert_ne!(after, before, "delivery {count} has made no progress");
        (before, left_before) = (after, left_after);
    }
    panic!("the message is not settled");
}

#[tokio::test]
async fn a_deletion_that_must_pause_again_and_again_goes_on_where_it_was() {
    for asks in [4, 9] {
        for links in [chain, star] {
            let pipeline = Pipeline::start().await;
            let ids = names(20);
            everybody_speaks(&pipeline, &ids).await;
            for (n, id) in ids.iter().enumerate().step_by(3) {
                for device in 0..3 {
                    say(&pipeline, "track", Some(id), Some(&format!("d{n}-{device}")), &format!("t{n}-{device}")).await;
                    say(&pipeline, "track", None, Some(&format!("d{n}-{device}")), &format!("u{n}-{device}")).await;
                }
            }
            aliases(&pipeline, &links(&ids), true).await;
            pipeline.pass(SECOND);
            accepted(&pipeline, &vero("users/delete", &json!({"id": ids[19]}))).await;
            let deliveries = pipeline.take().await;
            let count = deliver_in_haste(&pipeline, &deliveries[0], asks).await;
            assert!(count > 1, "it has paused");
            assert_eq!(left(&pipeline).await, [""; 0], "asks {asks}, deliveries {count}");
            pipeline.finish().await;
        }
    }
}

/// A batch of what happened on a device in many hours, each hour something that names the user and something that names
/// nobody; sent in parts.
async fn long_ago(pipeline: &Pipeline, user: &str, device: &str, hours: i64) {
    let now = pipeline.clock.now().as_millis();
    let event = |n: i64| {
        let time = Timestamp::from_millis_clamped(now - n * 3_600_000 - 1_000).to_string();
        let of = move |user: Option<&str>, id: String| json!({"type": "track", "event": "e", "userId": user, "anonymousId": device, "messageId": id, "timestamp": time});
        [of.clone()(Some(user), format!("{device} {n} named")), of(None, format!("{device} {n}"))]
    };
    let events: Vec<Value> = (0..hours).flat_map(event).collect();
    for part in events.chunks(400) {
        sent(pipeline, "/v1/batch", &json!({"batch": part})).await;
    }
    pipeline.drain().await;
}

#[tokio::test]
async fn a_deletion_that_must_pause_within_a_device_goes_on_there() {
    let pipeline = Pipeline::start().await;
    // More than two pages in either mode.
    long_ago(&pipeline, "ann", "phone", 520).await;
    long_ago(&pipeline, "ann", "shared", 260).await;
    say(&pipeline, "track", Some("bob"), Some("shared"), "of bob").await;
    pipeline.drain().await;
    pipeline.pass(SECOND);
    accepted(&pipeline, &vero("users/delete", &json!({"id": "ann"}))).await;
    let deliveries = pipeline.take().await;
    let count = deliver_in_haste(&pipeline, &deliveries[0], 4).await;
    assert!(count > 2, "{count}");
    let left = left(&pipeline).await;
    assert_eq!(left.len(), 261, "what names nobody on a device that bob shares, and bob's");
    assert!(left.iter().all(|id| !id.contains("named") && !id.contains("phone")), "{left:?}");
    pipeline.finish().await;
}

/// Something that names nobody on a device, in each of many hours.
async fn nobody_long_ago(pipeline: &Pipeline, device: &str, hours: i64) {
    let now = pipeline.clock.now().as_millis();
    let event = |n: i64| {
        let time = Timestamp::from_millis_clamped(now - n * 3_600_000 - 1_000).to_string();
        let id = format!("{device} {n}");
        json!({"type": "track", "event": "e", "anonymousId": device, "messageId": id, "timestamp": time})
    };
    sent(pipeline, "/v1/batch", &json!({"batch": (0..hours).map(event).collect::<Vec<Value>>()})).await;
    pipeline.drain().await;
}

#[tokio::test]
async fn a_login_that_comes_after_the_deletion_reaches_all_of_a_device() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), None, "of ann").await;
    nobody_long_ago(&pipeline, "phone", 600).await;
    delete(&pipeline, "ann").await;
    assert_eq!(left(&pipeline).await.len(), 600);
    say(&pipeline, "track", Some("ann"), Some("phone"), "newer").await;
    pipeline.drain().await;
    assert_eq!(left(&pipeline).await, ["newer"]);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_login_after_the_deletion_that_must_pause_within_a_device_goes_on_there() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), None, "of ann").await;
    // More than two pages in either mode.
    nobody_long_ago(&pipeline, "phone", 800).await;
    delete(&pipeline, "ann").await;
    say(&pipeline, "track", Some("ann"), Some("phone"), "newer").await;
    let deliveries = pipeline.take().await;
    let count = deliver_in_haste(&pipeline, &deliveries[0], 4).await;
    assert!(count > 1, "it has paused");
    assert_eq!(left(&pipeline).await, ["newer"]);
    pipeline.finish().await;
}

#[tokio::test]
async fn logins_on_many_devices_after_the_deletion_that_must_pause_go_on_where_they_were() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), None, "of ann").await;
    let event = |n: usize, user: Option<&str>, id: &str| json!({"type": "track", "event": "e", "userId": user, "anonymousId": format!("d{n}"), "messageId": format!("{id} {n}")});
    let batch = |user: Option<&str>, id: &str| (0..30).map(|n| event(n, user, id)).collect::<Vec<Value>>();
    sent(&pipeline, "/v1/batch", &json!({"batch": batch(None, "nobody")})).await;
    pipeline.drain().await;
    delete(&pipeline, "ann").await;
    pipeline.pass(SECOND);
    sent(&pipeline, "/v1/batch", &json!({"batch": batch(Some("ann"), "newer")})).await;
    let deliveries = pipeline.take().await;
    let count = deliver_in_haste(&pipeline, &deliveries[0], 12).await;
    assert!(count > 1, "it has paused");
    let left = left(&pipeline).await;
    assert!(left.len() == 30 && left.iter().all(|id| id.starts_with("newer")), "{left:?}");
    pipeline.finish().await;
}

/// What two messages at the same time must not leave behind: the deletion of a user, and what else of the user comes.
#[derive(Clone, Copy, Debug)]
enum Beside {
    /// An event on a device on which something happened that names nobody.
    Login,
    /// An alias of an id of which there is something.
    Alias,
    /// An item that is refused.
    Letter,
    /// The deletion of another user of the same device.
    Deletion,
}

/// Sends the other message of a round, which is about `user{n}`.
async fn send_beside(pipeline: &Pipeline, beside: Beside, n: &str) {
    let (user, device, former, other) =
        (format!("user{n}"), format!("device{n}"), format!("former{n}"), format!("other{n}"));
    match beside {
        Beside::Login => {
            say(pipeline, "identify", None, Some(&device), &format!("nobody {n}")).await;
            pipeline.drain().await;
            say(pipeline, "identify", Some(&user), Some(&device), &format!("login {n}")).await;
        }
        Beside::Alias => {
            say(pipeline, "identify", Some(&former), Some(&device), &format!("former {n}")).await;
            pipeline.drain().await;
            sent(pipeline, "/v1/alias", &alias(&former, &user)).await;
        }
        Beside::Letter => {
            let item = json!({"type": "nonsense", "userId": user, "secret": 1});
            sent(pipeline, "/v1/batch", &json!({"batch": [item]})).await;
        }
        Beside::Deletion => {
            say(pipeline, "identify", Some(&user), Some(&device), &format!("user {n}")).await;
            say(pipeline, "identify", Some(&other), Some(&device), &format!("other {n}")).await;
            say(pipeline, "identify", None, Some(&device), &format!("nobody {n}")).await;
            pipeline.drain().await;
            pipeline.pass(SECOND);
            accepted(pipeline, &vero("users/delete", &json!({"id": other}))).await;
        }
    }
}

#[tokio::test]
async fn of_a_deletion_and_what_comes_at_the_same_time_nothing_is_left() {
    /// More calls than either takes.
    const CALLS_MAX: u32 = 30;
    let pipeline = Pipeline::start().await;
    for beside in [Beside::Login, Beside::Alias, Beside::Letter, Beside::Deletion] {
        for reversed in [false, true] {
            for call in 0..CALLS_MAX {
                let n = format!(" {beside:?} {reversed} {call}");
                send_beside(&pipeline, beside, &n).await;
                pipeline.pass(SECOND);
                accepted(&pipeline, &vero("users/delete", &json!({"id": format!("user{n}")}))).await;
                let deliveries = pipeline.take().await;
                let [mut first, mut second] = [&deliveries[0], &deliveries[1]];
                if reversed {
                    std::mem::swap(&mut first, &mut second);
                }
                deliver_at_once(&pipeline, [first, second], Turns::StopsBefore(call)).await;
            }
        }
        assert_eq!(left(&pipeline).await, [""; 0], "{beside:?}");
    }
    only_bobs_letter_is_left(&pipeline, 2 * CALLS_MAX as usize).await;
    pipeline.finish().await;
}

#[tokio::test]
async fn on_a_device_of_ones_own_everything_goes() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", None, Some("phone"), "before").await;
    say(&pipeline, "identify", None, Some("phone"), "trait-before").await;
    say(&pipeline, "identify", Some("ann"), Some("phone"), "login").await;
    say(&pipeline, "track", Some("ann"), Some("phone"), "after").await;
    say(&pipeline, "track", None, Some("phone"), "logged out").await;
    say(&pipeline, "identify", None, Some("phone"), "trait-logged-out").await;
    say(&pipeline, "track", None, Some("tablet"), "of another device").await;
    pipeline.drain().await;
    assert_eq!(left(&pipeline).await.len(), 7 + 3);
    delete(&pipeline, "ann").await;
    assert_eq!(left(&pipeline).await, ["of another device"]);
    pipeline.finish().await;
}

#[tokio::test]
async fn on_a_shared_device_what_names_nobody_stays_until_all_are_deleted() {
    for (first, second) in [("ann", "bob"), ("bob", "ann")] {
        let pipeline = Pipeline::start().await;
        say(&pipeline, "track", None, Some("shared"), "nobody 1").await;
        for user in ["ann", "bob"] {
            say(&pipeline, "identify", Some(user), Some("shared"), &format!("{user} 1")).await;
            say(&pipeline, "track", Some(user), Some("shared"), &format!("{user} 2")).await;
        }
        say(&pipeline, "identify", None, Some("shared"), "nobody 2").await;
        pipeline.drain().await;
        delete(&pipeline, first).await;
        let nobody = ["nobody 1", "nobody 2"];
        let of_second = [format!("{second} 1"), format!("{second} 2"), format!("trait {second} 1")];
        let mut expected = nobody.map(str::to_owned).to_vec();
        expected.extend(of_second.clone());
        expected.push("trait nobody 2".to_owned());
        expected.sort_unstable();
        assert_eq!(left(&pipeline).await, expected);
        // Between the two deletions, and after both.
        say(&pipeline, "track", None, Some("shared"), "nobody 3").await;
        say(&pipeline, "identify", None, Some("shared"), "nobody 4").await;
        say(&pipeline, "track", Some(second), Some("shared"), &format!("{second} 3")).await;
        pipeline.drain().await;
        delete(&pipeline, second).await;
        assert_eq!(left(&pipeline).await, ["nobody 3", "nobody 4", "trait nobody 4"]);
        say(&pipeline, "track", None, Some("shared"), "nobody 5").await;
        say(&pipeline, "track", Some(first), Some("shared"), "newer").await;
        pipeline.drain().await;
        assert_eq!(left(&pipeline).await, ["newer", "nobody 3", "nobody 4", "nobody 5", "trait nobody 4"]);
        // Of the first deleted again, what names nobody goes up to the deletion of the second.
        delete(&pipeline, first).await;
        assert_eq!(left(&pipeline).await, ["nobody 5"]);
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn what_is_older_than_a_deletion_is_erased_when_it_comes_and_what_is_newer_stays() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), Some("phone"), "m0").await;
    say(&pipeline, "track", Some("ann"), Some("shared"), "m1").await;
    say(&pipeline, "track", Some("bob"), Some("shared"), "of bob").await;
    pipeline.drain().await;
    let old = pipeline.clock.now().to_string();
    delete(&pipeline, "ann").await;
    let at = |time: &str, user: Option<&str>, device: Option<&str>, id: &str| {
        json!({
            "type": "identify", "userId": user, "anonymousId": device, "messageId": id, "timestamp": time,
            "traits": {id: 1},
        })
    };
    let new = pipeline.clock.now().to_string();
    pipeline.pass(SECOND);
    for (user, device, id, fate) in [
        (Some("ann"), None, "a", "erased"),
        (Some("ann"), Some("phone"), "b", "erased"),
        (None, Some("phone"), "c", "erased"),
        (Some("ann"), Some("shared"), "d", "erased"),
        (None, Some("shared"), "e", "stored"),
        (Some("bob"), Some("shared"), "f", "stored"),
        // On a device that nobody has been seen on yet, what names nobody is erased when ann is.
        (None, Some("tablet"), "g", "stored"),
        (Some("ann"), Some("tablet"), "h", "erased"),
        (None, Some("tablet"), "i", "erased"),
    ] {
        let receipt = sent(&pipeline, "/v1/batch", &json!({"batch": [at(&old, user, device, id)]})).await;
        pipeline.drain().await;
        assert_eq!(fates(&pipeline, &receipt).await, [fate], "{id}");
        let newer = at(&new, user, device, &format!("newer {id}"));
        if id != "g" {
            let receipt = sent(&pipeline, "/v1/batch", &json!({"batch": [newer]})).await;
            pipeline.drain().await;
            assert_eq!(fates(&pipeline, &receipt).await, ["stored"], "newer {id}");
        }
    }
    let left: Vec<String> = left(&pipeline).await.into_iter().filter(|id| !id.contains("newer")).collect();
    assert_eq!(left, ["e", "f", "of bob", "trait e", "trait f"]);
    pipeline.finish().await;
}

#[tokio::test]
async fn the_events_of_an_address_go_with_the_only_id_that_has_it() {
    for (second, with_traits) in [(None, false), (None, true), (Some("78"), false)] {
        let pipeline = Pipeline::start().await;
        let address = "both@example.com";
        let event = |name: &str| json!({"identity": {"email": address}, "event_name": name, "data": {"a": 1}});
        accepted(&pipeline, &vero("events/track", &event("before"))).await;
        accepted(&pipeline, &vero("users/track", &json!({"email": address, "data": {"a": "trait"}}))).await;
        pipeline.drain().await;
        if with_traits {
            let traits = json!({"userId": "77", "messageId": "m1", "traits": {"email": address}});
            sent(&pipeline, "/v1/identify", &traits).await;
        } else {
            accepted(&pipeline, &vero("users/track", &json!({"id": 77, "email": address}))).await;
        }
        if let Some(second) = second {
            accepted(&pipeline, &vero("users/track", &json!({"id": second, "email": address}))).await;
        }
        accepted(&pipeline, &vero("events/track", &event("after"))).await;
        pipeline.drain().await;
        let all = left(&pipeline).await.len();
        delete(&pipeline, "77").await;
        if let Some(second) = second {
            let gone = all - left(&pipeline).await.len();
            assert_eq!(gone, 2, "what names 77: a call and the trait of it");
            delete(&pipeline, second).await;
        }
        assert_eq!(left(&pipeline).await, [""; 0], "{second:?} {with_traits}");
        pipeline.finish().await;
    }
}

#[tokio::test]
async fn an_address_that_is_deleted_itself_is_forgotten() {
    let pipeline = Pipeline::start().await;
    let address = "both@example.com";
    accepted(&pipeline, &vero("events/track", &json!({"identity": {"email": address}, "event_name": "e"}))).await;
    accepted(&pipeline, &vero("users/track", &json!({"email": address, "data": {"a": 1}}))).await;
    accepted(&pipeline, &vero("users/track", &json!({"id": 77, "email": address}))).await;
    pipeline.drain().await;
    pipeline.pass(SECOND);
    accepted(&pipeline, &vero("users/delete", &json!({"email": address}))).await;
    pipeline.pass(SECOND);
    pipeline.drain().await;
    let left = left(&pipeline).await;
    assert_eq!(left.len(), 2, "the call that names 77, and the trait of it: {left:?}");
    pipeline.finish().await;
}

/// An event that is too large, and whose letter has two parts.
fn large(user: &str, id: &str) -> Value {
    let mut event = track(user, id);
    event["properties"] = json!({"filler": "é".repeat(160_000)});
    event
}

/// What can never be stored, and names ann.
fn unstorable() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    vec![
        json!({"type": "track", "userId": "ann", "messageId": "without a name", "properties": {"secret": 1}}),
        json!({"type": "nonsense", "userId": "ann", "properties": {"secret": 1}}),
        json!({"userId": "ann", "traits": {"secret": 1}}),
        json!({"type": "track", "userId": "ann", "event": ["secret"]}),
        json!({"type": "track", "userId": "ann", "event": "secret", "properties": "secret"}),
        json!({"type": "track", "userId": "ann", "event": "secret", "properties": {"deep": deep}}),
        json!({"type": "alias", "userId": "ann", "secret": 1}),
        json!({"type": "alias", "previousId": "ann", "secret": 1}),
        json!({"type": "group", "userId": "ann", "traits": {"secret": 1}}),
        json!({"type": "nonsense", "anonymousId": "phone", "secret": 1}),
        large("ann", "large"),
    ]
}

/// Sends all of them in one batch, and beside them something of bob's that is as wrong, and a good event.
async fn send_unstorable(pipeline: &Pipeline) -> String {
    let mut batch = unstorable();
    batch.push(json!({"type": "track", "userId": "bob", "properties": {"not secret": 1}}));
    batch.push(json!({"type": "track", "userId": "ann", "anonymousId": "phone", "event": "e"}));
    batch.push(
        json!({"type": "track", "userId": "ann", "event": "e", "messageId": "unstorable", "properties": {"secret": 1}}),
    );
    sent(pipeline, "/v1/batch", &json!({"batch": batch})).await
}

/// Checks that only bob's letter has anything in it, and that nothing is left of the parts of large ones.
async fn only_bobs_letter_is_left(pipeline: &Pipeline, of_ann: usize) {
    let mut erased = 0;
    for letter in pipeline.letters().await {
        let (state, body, detail) = (text(&letter, "state"), text(&letter, "body"), text(&letter, "detail"));
        if body.contains("bob") {
            assert_eq!(state, "waiting", "{letter:?}");
        } else {
            assert_eq!((state, body, detail), ("erased", "", ""), "{letter:?}");
            assert!(!text(&letter, "reason").is_empty());
            erased += 1;
        }
    }
    assert_eq!(erased, of_ann);
    let items = pipeline.everything().await;
    let parts = items.iter().filter(|item| text(item, "sk").contains("#part")).count();
    assert_eq!(parts, 0);
    let held =
        items.iter().filter(|item| format!("{item:?}").contains("secret") && !format!("{item:?}").contains("bob"));
    assert_eq!(held.collect::<Vec<_>>(), Vec::<&Item>::new());
}

/// An environment whose table never takes the event that is called so.
async fn deliver_refusing(pipeline: &Pipeline, deliveries: &[Delivery]) {
    let watch = Watch::refusing("unstorable");
    let clock = Arc::<ManualClock>::clone(&pipeline.clock);
    let consume = pipeline.environment(clock, |table| watch.over(table));
    let report = consume.deliver(deliveries, pipeline.clock.now().plus(Duration::from_secs(60))).await;
    assert!(report.failed.is_empty());
}

#[tokio::test]
async fn dead_letters_that_name_a_deleted_user_are_emptied() {
    let pipeline = Pipeline::start().await;
    let receipt = send_unstorable(&pipeline).await;
    let mut deliveries = pipeline.take().await;
    deliver_refusing(&pipeline, &deliveries).await;
    let count = unstorable().len();
    assert_eq!(pipeline.letters().await.len(), count + 2);
    assert!(pipeline.everything().await.iter().any(|item| text(item, "sk").contains("#part")));
    delete(&pipeline, "ann").await;
    only_bobs_letter_is_left(&pipeline, count + 1).await;
    // What was in them does not come back with the message.
    deliveries.iter_mut().for_each(|delivery| delivery.receive_count = 2);
    deliver_refusing(&pipeline, &deliveries).await;
    only_bobs_letter_is_left(&pipeline, count + 1).await;
    let told = fates(&pipeline, &receipt).await;
    assert_eq!(told.iter().filter(|fate| fate.starts_with("dead_lettered")).count(), count + 2);
    pipeline.finish().await;
}

#[tokio::test]
async fn dead_letters_that_come_after_the_deletion_are_emptied_too() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), Some("phone"), "m1").await;
    pipeline.drain().await;
    send_unstorable(&pipeline).await;
    let deliveries = pipeline.take().await;
    delete(&pipeline, "ann").await;
    for _ in 0..2 {
        deliver_refusing(&pipeline, &deliveries).await;
        only_bobs_letter_is_left(&pipeline, unstorable().len() + 1).await;
    }
    // What comes to us only now is newer than the deletion.
    sent(&pipeline, "/v1/batch", &json!({"batch": [{"type": "nonsense", "userId": "ann"}]})).await;
    pipeline.drain().await;
    let waiting = pipeline.letters().await.iter().filter(|letter| text(letter, "state") == "waiting").count();
    assert_eq!(waiting, 2);
    pipeline.finish().await;
}

#[tokio::test]
async fn dead_letters_of_a_former_id_and_of_a_shared_device() {
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), Some("shared"), "m1").await;
    say(&pipeline, "track", Some("bob"), Some("shared"), "m2").await;
    sent(&pipeline, "/v1/alias", &alias("former", "ann")).await;
    let batch = json!([
        {"type": "nonsense", "userId": "former"}, {"type": "nonsense", "anonymousId": "shared"},
        {"type": "nonsense", "userId": "carol"}
    ]);
    sent(&pipeline, "/v1/batch", &json!({"batch": batch})).await;
    pipeline.drain().await;
    let waiting = async || {
        let letters = pipeline.letters().await;
        let mut waiting: Vec<usize> = Vec::new();
        for (n, id) in ["former", "shared", "carol"].iter().enumerate() {
            waiting.extend(letters.iter().any(|letter| text(letter, "body").contains(id)).then_some(n));
        }
        waiting
    };
    assert_eq!(waiting().await, [0, 1, 2]);
    delete(&pipeline, "ann").await;
    assert_eq!(waiting().await, [1, 2], "bob may have been who sent what names only the device");
    delete(&pipeline, "bob").await;
    assert_eq!(waiting().await, [2]);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_letter_that_names_only_the_address_of_a_user_is_emptied_with_the_user() {
    let pipeline = Pipeline::start().await;
    let address = "ann@example.com";
    accepted(&pipeline, &vero("users/track", &json!({"id": "ann", "email": address}))).await;
    sent(&pipeline, "/v1/batch", &json!({"batch": [{"type": "identify", "traits": {"email": address, "secret": 1}}]}))
        .await;
    pipeline.drain().await;
    assert_eq!(pipeline.reasons().await, ["no_user_anon_id"]);
    delete(&pipeline, "ann").await;
    only_bobs_letter_is_left(&pipeline, 1).await;
    pipeline.finish().await;
}

#[tokio::test]
async fn a_letter_whose_item_is_no_proper_json_object_is_emptied_with_the_user_that_it_names() {
    let pipeline = Pipeline::start().await;
    let body = r#"{"batch":[{"type":"nonsense","userId":"ann","\udc00":"secret"}]}"#;
    assert_eq!(pipeline.post_bytes("/v1/batch", body.as_bytes().to_vec()).await.0, 200);
    pipeline.drain().await;
    assert_eq!(pipeline.letters().await.len(), 1);
    delete(&pipeline, "ann").await;
    only_bobs_letter_is_left(&pipeline, 1).await;
    pipeline.finish().await;
}

#[tokio::test]
async fn a_letter_that_is_on_its_way_round_when_its_user_is_deleted_is_emptied() {
    for still_too_large in [true, false] {
        let pipeline = Pipeline::start().await;
        sent(&pipeline, "/v1/batch", &json!({"batch": [large("ann", "large")]})).await;
        pipeline.drain().await;
        let (letters, queue) = (pipeline.dead_letters_table(), pipeline.events_queue());
        let keys = pipeline.letters().await.iter().map(|letter| Ok(read(letter).unwrap().0)).collect::<Vec<_>>();
        let options = Options {
            dry_run: false,
            again: false,
            redrives_max: REDRIVES_MAX,
            letters_max: 100,
            per_second: 1_000.try_into().unwrap(),
            event_bytes_max: EVENT_BYTES_CEILING,
        };
        let ports = Ports { letters: &letters, queue: &queue, clock: &*pipeline.clock };
        assert_eq!(redrive(&ports, stream::iter(keys), &options, |_, _| {}).await.sent, 1);
        let message = pipeline.deliver_later().await;
        delete(&pipeline, "ann").await;
        let redriven = pipeline.letters().await;
        assert_eq!((redriven.len(), text(&redriven[0], "state")), (1, "erased"));
        let message = if still_too_large { message.replacen("\"version\":2", "\"version\":9", 1) } else { message };
        let key = read(&redriven[0]).unwrap().0;
        let redrive = Some(consume::redrive::Redrive { pk: key.pk, sk: key.sk, round: 1 });
        let message = consume::queue::Outgoing { group: "dev".into(), body: message, redrive };
        consume::queue::Queue::send(&queue, &[message]).await.unwrap();
        pipeline.drain().await;
        assert_eq!(left(&pipeline).await, [""; 0]);
        only_bobs_letter_is_left(&pipeline, 1).await;
        pipeline.finish().await;
    }
}

/// Where a marker is, in what is stored as it is and in what is compressed.
fn holds(item: &Item, marker: &str) -> Vec<String> {
    let mut places = Vec::new();
    let mut look = |name: &str, bytes: &[u8]| {
        let has = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
        if has(bytes) {
            places.push(name.to_owned());
        }
        if inflate(bytes).is_some_and(|bytes| has(&bytes)) {
            places.push(format!("{name}, compressed"));
        }
    };
    for (name, value) in item {
        match value {
            AttributeValue::S(text) => {
                look(name, text.as_bytes());
                if let Ok(bytes) = STANDARD.decode(text) {
                    look(&format!("{name}, in base64"), &bytes);
                }
            }
            AttributeValue::B(bytes) => look(name, bytes.as_ref()),
            AttributeValue::N(_) | AttributeValue::Bool(_) => {}
            AttributeValue::Bs(_)
            | AttributeValue::L(_)
            | AttributeValue::M(_)
            | AttributeValue::Ns(_)
            | AttributeValue::Null(_)
            | AttributeValue::Ss(_)
            | _ => panic!("an attribute of another kind: {value:?}"),
        }
    }
    let (key, attributes) = read(item).unwrap();
    for (key, attributes) in unpack(key, attributes) {
        look("an event", format!("{key:?} {attributes:?}").as_bytes());
    }
    places
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it plants the marker wherever a producer can")]
async fn a_marker_is_nowhere_after_the_deletion() {
    const M: &str = "mArKeR7q";
    let pipeline = Pipeline::start().await;
    let (user, former, first) = (format!("user-{M}"), format!("former-{M}"), format!("first-{M}"));
    let (device, address) = (format!("device-{M}"), format!("{M}@example.com"));
    let filler = "filler ".repeat(400);
    let event = |kind: &str, id: &str| {
        let mut event = json!({
            "type": kind, "userId": user, "anonymousId": device, "messageId": format!("{id}-{M}"),
            "context": {"ip": M, "page": {"title": M}}, "other": M, "integrations": {M: true},
        });
        match kind {
            "track" => {
                event["event"] = json!(format!("Event {M}"));
                event["properties"] = json!({M: M, "filler": filler});
            }
            "identify" => event["traits"] = json!({M: M, "email": address, "name": M}),
            "group" => {
                event["groupId"] = json!(format!("group-{M}"));
                event["traits"] = json!({"name": M});
            }
            "page" | "screen" => {
                event["name"] = json!(M);
                event["category"] = json!(M);
            }
            _ => event["previousId"] = json!(former),
        }
        event
    };
    // What names nobody yet, what the former ids said, and everything that the user does, with times and without.
    for id in ["a", "b"] {
        let mut anonymous = event("track", &format!("anonymous-{id}"));
        anonymous["userId"] = Value::Null;
        sent(&pipeline, "/v1/track", &anonymous).await;
        anonymous["type"] = json!("identify");
        anonymous["traits"] = json!({M: M});
        anonymous["messageId"] = json!(format!("anonymous-identify-{id}-{M}"));
        sent(&pipeline, "/v1/identify", &anonymous).await;
    }
    for (id, later) in [(&first, &former), (&former, &user)] {
        sent(&pipeline, "/v1/track", &json!({"userId": id, "event": M, "messageId": format!("{id}-1")})).await;
        sent(&pipeline, "/v1/identify", &json!({"userId": id, "traits": {M: M}})).await;
        sent(&pipeline, "/v1/alias", &alias(id, later)).await;
    }
    for kind in ["track", "identify", "group", "page", "screen", "alias"] {
        let mut timed = event(kind, &format!("timed-{kind}"));
        sent(&pipeline, &format!("/v1/{kind}"), &event(kind, kind)).await;
        timed["timestamp"] = json!("2023-11-14T20:13:10.000Z");
        sent(&pipeline, &format!("/v1/{kind}"), &timed).await;
        timed.as_object_mut().unwrap().remove("messageId");
        sent(&pipeline, &format!("/v1/{kind}"), &timed).await;
        // A retry of it, which is a duplicate.
        sent(&pipeline, &format!("/v1/{kind}"), &timed).await;
    }
    for (path, body) in [
        ("users/track", json!({"id": user, "email": address, "data": {M: M}})),
        ("users/edit", json!({"id": user, "changes": {"plan": M}})),
        ("users/tags/edit", json!({"id": user, "add": [M, format!("tag {M}")], "remove": [format!("not {M}")]})),
        ("users/unsubscribe", json!({"id": user})),
        ("users/reidentify", json!({"id": format!("vero-{M}"), "new_id": user})),
        ("events/track", json!({"identity": {"id": user, "email": address}, "event_name": M, "data": {M: M}})),
        ("events/track", json!({"identity": {"email": address}, "event_name": M, "data": {M: M}})),
        ("users/track", json!({"id": format!("vero-{M}"), "data": {M: M}})),
    ] {
        accepted(&pipeline, &vero(path, &body)).await;
    }
    // A large request, whose receipt has no room; with refused items, one of them large; and one through the spill table.
    let mut batch: Vec<Value> = (0..120).map(|n| event("track", &format!("large-{n}"))).collect();
    batch.extend(unstorable().into_iter().map(|mut item| {
        let (member, id) =
            if item["anonymousId"] == json!("phone") { ("anonymousId", &device) } else { ("userId", &user) };
        item[member] = json!(id);
        item[M] = json!(M);
        item
    }));
    let mut too_large = large(&user, &format!("too-large-{M}"));
    too_large["properties"] = json!({"filler": M.repeat(40_000)});
    batch.push(too_large);
    assert!(sent(&pipeline, "/v1/batch", &json!({"batch": batch})).await.len() < 128);
    pipeline.sqs_faults.refuse(Action::SendMessageBatch, Times::Next(2));
    sent(&pipeline, "/v1/batch", &json!({"batch": [event("track", "spilled"), {"type": "nonsense", "userId": user}]}))
        .await;
    assert!(!pipeline.spilled().await.is_empty());
    pipeline.pass(Duration::from_secs(60));
    // One comes twice, one comes only after the deletion, and so does a dead letter.
    pipeline.sqs_faults.duplicate(Times::Next(3));
    pipeline.drain().await;
    sent(
        &pipeline,
        "/v1/batch",
        &json!({"batch": [event("track", "late"), {"type": "nonsense", "userId": user, M: M}]}),
    )
    .await;
    let late = pipeline.deliver_later().await;
    let holding = |items: &[Item]| items.iter().filter(|item| !holds(item, M).is_empty()).count();
    assert!(holding(&pipeline.everything().await) > 20, "the marker is there to begin with");
    delete(&pipeline, &user).await;
    pipeline.enqueue(&late).await;
    pipeline.drain().await;

    let tomorrow = pipeline.clock.now().as_millis() / 1_000 + 24 * 60 * 60;
    let mut found = Vec::new();
    for item in pipeline.everything().await {
        let places = holds(&item, M);
        let ttl: Option<i64> = item.get("ttl").map(|ttl| ttl.as_n().unwrap().parse().unwrap());
        let goes_soon = ttl.is_some_and(|ttl| ttl <= tomorrow);
        // What is left of an event, or of a profile: its key.
        let (is_event, is_profile) = (item.contains_key(ERASED), text(&item, "sk").starts_with(profile::SORT));
        let names: BTreeSet<&str> = item.keys().map(String::as_str).collect();
        // A bundle keeps its number taken for good, and with it its home. All else in it is hashes.
        let is_empty_bundle = item.get("n").and_then(|n| n.as_n().ok()).is_some_and(|n| n == "0") && places == ["pk"];
        if is_empty_bundle {
            continue;
        }
        let is_empty = if is_event {
            names == BTreeSet::from(["pk", "sk", ERASED, "ttl"])
        } else {
            is_profile && Profile::read(&read(&item).unwrap().1).is_some_and(|(profile, _)| profile.is_empty())
        };
        let is_only_key = places.iter().all(|place| place == "pk" || place == "sk" || place == "an event");
        let is_what_stays_for_a_day = goes_soon && is_empty && is_only_key;
        if !(places.is_empty() || is_what_stays_for_a_day) {
            found.push(format!("{} {} in {places:?}, ttl {ttl:?}, {names:?}", text(&item, "pk"), text(&item, "sk")));
        }
    }
    assert!(found.is_empty(), "{} items have it still:\n{}", found.len(), found.join("\n"));
    pipeline.finish().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What `consume` asks of its tables for a batch.
async fn asked_for(pipeline: &Pipeline, batch: &[Value]) -> Asked {
    let call = pipeline.segment_call("/v1/batch", &json!({"batch": batch}));
    let call = Call { content_encoding: Some("gzip".into()), body: gzip(&call.body), ..call };
    accepted(pipeline, &call).await;
    let deliveries = pipeline.take().await;
    let watch = Watch::default();
    let clock = Arc::<ManualClock>::clone(&pipeline.clock);
    let consume = pipeline.environment(clock, |table| watch.over(table));
    for some in deliveries.chunks(10) {
        let report = consume.deliver(some, pipeline.clock.now().plus(Duration::from_secs(60))).await;
        assert!(report.failed.is_empty());
    }
    watch.asked()
}

/// Checks that a batch asks for no more than `most` times what the control of the same size does, and a few more.
fn is_within(what: &str, most: u64, batch: &Asked, control: &Asked) {
    let told = format!("{what}:\n{batch:?}\ncontrol:\n{control:?}");
    println!("{told}");
    assert!(batch.calls() <= most * control.calls() + 20, "calls of {told}");
    assert!(batch.write_units <= most * control.write_units + 20, "write units of {told}");
    assert!(batch.half_read_units <= most * control.half_read_units + 40, "read units of {told}");
}

/// An event of the size of an alias.
fn no_alias(n: usize, user: &str) -> Value {
    let id = format!("control {n:04}");
    json!({"type": "track", "event": "xxxxxxxx", "userId": user, "messageId": id, "timestamp": LATER})
}

#[tokio::test]
async fn aliases_to_somebody_with_very_many_ids_cost_as_much_as_other_events() {
    let pipeline = Pipeline::start().await;
    let ids: Vec<String> = (0..600).map(|n| format!("of-{n:04}")).collect();
    for later in ["big", "other-big"] {
        for some in ids.chunks(600) {
            let pairs: Vec<(String, String)> =
                some.iter().map(|id| (format!("{later}-{id}"), later.to_owned())).collect();
            aliases(&pipeline, &pairs, true).await;
        }
    }
    let control: Vec<Value> = (0..1_000).map(|n| no_alias(n, "big")).collect();
    let control = asked_for(&pipeline, &control).await;
    let same: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "alias", "userId": "big", "previousId": "other-big", "messageId": format!("same {n:04}"), "timestamp": WHEN}))
        .collect();
    is_within("one alias a thousand times", 3, &asked_for(&pipeline, &same).await, &control);
    pipeline.finish().await;
}

#[tokio::test]
async fn aliases_of_a_thousand_new_ids_cost_as_much_as_events_of_these() {
    let pipeline = Pipeline::start().await;
    let ids: Vec<String> = (0..600).map(|n| format!("of-{n:04}")).collect();
    aliases(&pipeline, &ids.iter().map(|id| (id.clone(), "big".to_owned())).collect::<Vec<_>>(), true).await;
    let control: Vec<Value> = (0..1_000).map(|n| no_alias(n, &format!("user {n:04}"))).collect();
    let control = asked_for(&pipeline, &control).await;
    let alias = |n: usize| json!({"type": "alias", "userId": "big", "previousId": format!("new {n:04}"), "messageId": format!("new {n:04}"), "timestamp": WHEN});
    let new: Vec<Value> = (0..1_000).map(alias).collect();
    is_within("a thousand new ids", 3, &asked_for(&pipeline, &new).await, &control);
    pipeline.finish().await;
}

#[tokio::test]
async fn a_thousand_devices_of_one_user_cost_as_much_as_events_of_these() {
    let pipeline = Pipeline::start().await;
    let event = |n: usize, user: Option<&str>, id: &str| json!({"type": "track", "event": "e", "userId": user, "anonymousId": format!("{id} device {n:04}"), "messageId": format!("{id} {n:04}"), "timestamp": WHEN});
    let control: Vec<Value> = (0..1_000).map(|n| event(n, None, "control")).collect();
    let control = asked_for(&pipeline, &control).await;
    let devices: Vec<Value> = (0..1_000).map(|n| event(n, Some("ann"), "of ann")).collect();
    is_within("a thousand devices", 3, &asked_for(&pipeline, &devices).await, &control);
    // Once they are known, nothing is written for them again.
    let again: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "track", "event": "e", "userId": "ann", "anonymousId": format!("of ann device {n:04}"), "messageId": format!("again {n:04}"), "timestamp": WHEN}))
        .collect();
    let again = asked_for(&pipeline, &again).await;
    println!("again: {again:?}");
    assert!(again.write_units <= control.write_units + 100, "{again:?} {control:?}");
    pipeline.finish().await;
}

#[tokio::test]
async fn each_new_id_or_device_of_a_deleted_user_costs_one_small_erasure() {
    const COUNT: usize = 300;
    let pipeline = Pipeline::start().await;
    say(&pipeline, "track", Some("ann"), None, "of ann").await;
    pipeline.drain().await;
    delete(&pipeline, "ann").await;
    let control: Vec<Value> = (0..COUNT).map(|n| no_alias(n, &format!("user {n:04}"))).collect();
    let control = asked_for(&pipeline, &control).await;
    let alias = |n: usize| json!({"type": "alias", "userId": "ann", "previousId": format!("new {n:04}"), "messageId": format!("new {n:04}")});
    let event = |n: usize| json!({"type": "track", "event": "e", "userId": "ann", "anonymousId": format!("device {n:04}"), "messageId": format!("d {n:04}")});
    let aliases = asked_for(&pipeline, &(0..COUNT).map(alias).collect::<Vec<_>>()).await;
    let devices = asked_for(&pipeline, &(0..COUNT).map(event).collect::<Vec<_>>()).await;
    println!("aliases: {aliases:?}\ndevices: {devices:?}\ncontrol: {control:?}");
    // Each may hold something that the deletion must reach, and is gone through; nothing is gone through twice.
    for (what, batch) in [("ids", &aliases), ("devices", &devices)] {
        assert!(batch.calls() <= 14 * COUNT as u64 + control.calls(), "calls for new {what}: {batch:?}");
        assert!(batch.write_units <= 9 * COUNT as u64 + control.write_units, "write units for new {what}: {batch:?}");
    }
    pipeline.finish().await;
}

#[tokio::test]
async fn each_profile_is_written_once_for_a_batch() {
    let pipeline = Pipeline::start().await;
    let time = pipeline.clock.now().to_string();
    for n in 0..20 {
        let traits = json!({"fat": "x".repeat(60_000), "n": n});
        sent(
            &pipeline,
            "/v1/identify",
            &json!({"userId": format!("u{n}"), "traits": traits, "messageId": format!("f{n}")}),
        )
        .await;
    }
    pipeline.drain().await;
    pipeline.pass(SECOND);
    let batch: Vec<Value> = (0..200)
        .map(|n| json!({"type": "identify", "userId": format!("u{}", n % 20), "traits": {"k": n}, "messageId": format!("s{n:03}"), "timestamp": time}))
        .collect();
    let asked = asked_for(&pipeline, &batch).await;
    println!("{asked:?}");
    // Beside the profiles, nothing is replaced.
    assert_eq!(asked.calls["replace"], 20);
    let of_profiles = 20 * (60_000_u64.div_ceil(1_024) + 1);
    assert!(asked.write_units <= 200 + of_profiles + 20, "{asked:?}");
    for n in 0..20 {
        assert_eq!(pipeline.traits(&format!("u{n}")).await["k"], json!(180 + n));
    }
    pipeline.finish().await;
}
