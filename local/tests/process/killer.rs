//! An event over which the real function dies, each time that it is to be stored.
//!
//! No event that is known makes `consume` die; so a proxy kills its environment when a call of the events table names the
//! event's user, whom no other event is of. What else it says cannot be seen where it is in a bundle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use local::TEMPLATE;
use local::pipeline::Detours;
use local::template::Template;
use rustix::process::Signal;
use serde_json::json;
use shared::message::Message;

use crate::client::{depth, eventually_within, post, scan, set_receives_max, stored, track};
use crate::dice::Dice;
use crate::inside::{self, Ahead, let_visibility_pass};
use crate::proc::{environments, owner_of_port, signal};
use crate::promises::{dead_letters, text};
use crate::proxy::{Proxy, Service};

/// The id of the event that kills, and its user.
const KILLER: &str = "the-killer";
/// Receives before a message moves to the quarantine: far fewer than the template's, for a shorter test.
const RECEIVES_MAX: u32 = 2;
/// How long everything may take: at least six deaths, each with a cold start after it.
const LIMIT: Duration = Duration::from_secs(45);
/// How long a round is waited for in which the function does not die: more than the window of the queue's mapping, 1 s.
const ROUND: Duration = Duration::from_millis(1_700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killer_is_dead_lettered_whole_and_its_neighbours_are_stored() {
    let mut dice = Dice::of_test("a_killer_is_dead_lettered_whole_and_its_neighbours_are_stored", 6);
    let (clock, proxy) = (Arc::new(Ahead::default()), Proxy::start(Service::DynamoDb, dice.fork()).await);
    let detours = Detours { functions_dynamodb: Some(proxy.endpoint()), ..Detours::default() };
    let sink = Arc::new(|function: &str, line: &str| println!("{function}: {line}"));
    let pipeline = inside::start_with(None, &clock, detours, sink).await;
    let (sqs, dynamodb) = (pipeline.sqs().endpoint(), pipeline.dynamodb().endpoint());
    proxy.lead_to(&dynamodb);
    set_receives_max(&sqs, RECEIVES_MAX).await;
    let (deaths, queue) = (Arc::new(AtomicUsize::new(0)), sqs.clone());
    let table = pipeline.template().table("EventsTable").expect("a table of the template").name.clone();
    let counted = Arc::clone(&deaths);
    proxy.set_trap(vec![KILLER.to_owned(), table], move |port| {
        let pids: Vec<i32> = environments(&queue).into_iter().map(|(pid, _)| pid).collect();
        if let Some(pid) = owner_of_port(port, &pids) {
            signal(pid, Signal::KILL);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });

    // Neighbours in the same message, and in messages of the same batch.
    let mut neighbours: Vec<String> = ["m1", "m2", "m3", "m4"].map(str::to_owned).to_vec();
    let mut events: Vec<_> = neighbours.iter().map(|id| track(id)).collect();
    let mut killer = track(KILLER);
    killer["userId"] = json!(KILLER);
    killer["properties"] = json!({"said": "everything that its producer wrote"});
    events.insert(2, killer);
    assert_eq!(post(&pipeline.api(), "/v1/batch", &json!({"batch": events})).expect("an answer"), 200);
    for number in 0..6 {
        let id = format!("other-{number}");
        assert_eq!(post(&pipeline.api(), "/v1/track", &track(&id)).expect("an answer"), 200);
        neighbours.push(id);
    }

    neighbours.sort_unstable();
    eventually_within(LIMIT, "the killer is dead-lettered and all others are stored", async || {
        let (round, died) = (Instant::now(), deaths.load(Ordering::SeqCst));
        while round.elapsed() < ROUND && deaths.load(Ordering::SeqCst) == died {
            let left = depth(&sqs, "holdfast-events").await + depth(&sqs, "holdfast-quarantine").await;
            if left == 0 && dead_letters(&dynamodb).await.len() == 1 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Those beside the one that died come to their end.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let_visibility_pass(&pipeline, &clock);
        age_marks(&dynamodb).await;
        let left = (depth(&sqs, "holdfast-events").await, depth(&sqs, "holdfast-quarantine").await);
        Err(format!("{died} deaths; messages in queue and quarantine: {left:?}; stored: {:?}", stored(&dynamodb).await))
    })
    .await;
    assert_eq!(stored(&dynamodb).await, neighbours);
    let letters = dead_letters(&dynamodb).await;
    let [letter] = letters.as_slice() else { panic!("one dead letter, not {letters:#?}") };
    assert_eq!((text(letter, "reason"), text(letter, "stage")), ("crashed_consumer", "quarantine"));
    let message = Message::decode(text(letter, "body")).expect("the whole message");
    let [event] = message.events.as_slice() else { panic!("the killer alone, not {message:#?}") };
    assert_eq!((event.id.as_str(), message.project.as_str()), (KILLER, "dev"));
    assert!(event.data.as_ref().is_some_and(|data| data.get().contains("everything that its producer wrote")));
    println!("{} deaths", deaths.load(Ordering::SeqCst));
    pipeline.stop().await;
}

/// Moves what the function has noted in the quarantine's marks into the past: it goes by the machine's clock, while the
/// queues' clock jumps to where the visibility time-out has passed.
async fn age_marks(dynamodb: &str) {
    let template = Template::parse(TEMPLATE).expect("the template is understood");
    let table = &template.table("DeadLettersTable").expect("a table of the template").name;
    let client = local::clients::dynamodb(dynamodb);
    for mut mark in scan(dynamodb, "DeadLettersTable").await {
        let Ok(mut begun) = serde_json::from_str::<Vec<(String, i64, bool, bool)>>(text(&mark, "begun")) else {
            continue;
        };
        begun.iter_mut().for_each(|(_, at, ..)| *at = 0);
        let begun = serde_json::to_string(&begun).expect("texts and numbers");
        mark.insert("begun".to_owned(), AttributeValue::S(begun));
        client.put_item().table_name(table).set_item(Some(mark)).send().await.expect("the table takes it");
    }
}
