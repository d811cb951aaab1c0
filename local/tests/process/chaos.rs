//! Everything at once: calls that go wrong on the wire, environments that are killed, messages that are delivered twice
//! at a time. What was acknowledged is in the table exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local::dynamodb::{Fault, Refusal, Target, Times};
use local::lambda::Sink;
use local::pipeline::{Detours, Pipeline};
use local::sqs::{Action, Times as SqsTimes};
use rustix::process::Signal;
use serde_json::Value;

use crate::client::{depth, scan, set_receives_max};
use crate::dice::Dice;
use crate::inside::{self, Ahead, let_visibility_pass};
use crate::load::{self, Api, Ledger};
use crate::proc::{environments, signal, wait_for_no_environments};
use crate::process::Process;
use crate::promises::assert_kept;
use crate::proxy::{Odds, Proxy, Service};

/// Producers at a time.
const PRODUCERS: usize = 4;
/// How long everything may take to drain. The longest pause of a part is that of the stream's mapping, 10 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(45);
/// How long the drain is watched before the queues' clock is moved on. Each delivery that is begun counts against the
/// redrive policy.
const DRAIN_LOOK: Duration = Duration::from_millis(1_500);
/// Calls of SQS that go well between two deaths of everything.
const ROUND_CALLS: u32 = 15;
/// How long they are waited for, since producers may have ended.
const ROUND_LIMIT: Duration = Duration::from_secs(4);
/// Between two things that go wrong in the pipeline, at the most, in milliseconds.
const UNREST_MS: u64 = 250;

/// What the functions have said of themselves.
#[derive(Default)]
struct Heard {
    panics: Mutex<Vec<String>>,
    /// Requests of which something was spilled.
    spilled: AtomicUsize,
}

impl Heard {
    /// Hears every line, and passes it on to the output of the test.
    fn sink(self: &Arc<Self>) -> Sink {
        let heard = Arc::clone(self);
        Arc::new(move |function: &str, line: &str| {
            println!("{function}: {line}");
            if line.contains("panicked") {
                heard.panics.lock().expect("nothing panics while it holds the lines").push(line.to_owned());
            }
            let fields: Value = serde_json::from_str(line).unwrap_or_default();
            if fields["spilled"].as_u64().is_some_and(|items| items > 0) {
                heard.spilled.fetch_add(1, Ordering::SeqCst);
            }
        })
    }
}

/// What happens besides the calls that go wrong.
#[derive(Clone, Copy, Default)]
struct Unrest {
    /// Environments are killed.
    kills: bool,
    /// The queues' mappings poll through the proxy too.
    mappings: bool,
    /// Every message that goes back moves to the quarantine.
    quarantine: bool,
}

/// The two proxies of a scenario.
struct Wires {
    sqs: Proxy,
    dynamodb: Proxy,
}

impl Wires {
    async fn start(dice: &mut Dice) -> Self {
        let sqs = Proxy::start(Service::Sqs, dice.fork()).await;
        Self { sqs, dynamodb: Proxy::start(Service::DynamoDb, dice.fork()).await }
    }

    fn detours(&self, unrest: Unrest) -> Detours {
        Detours {
            functions_sqs: Some(self.sqs.endpoint()),
            functions_dynamodb: Some(self.dynamodb.endpoint()),
            mappings_sqs: unrest.mappings.then(|| self.sqs.endpoint()),
        }
    }

    fn lead_to(&self, sqs: &str, dynamodb: &str) {
        self.sqs.lead_to(sqs);
        self.dynamodb.lead_to(dynamodb);
    }

    fn set(&self, sqs: Odds, dynamodb: Odds) {
        self.sqs.set(sqs);
        self.dynamodb.set(dynamodb);
    }
}

/// Kills an environment of a function that chance chooses. Returns whether there was one.
fn kill_one(wires: &Wires, dice: &mut Dice) -> bool {
    let function = if dice.below(2) == 0 { "ingest" } else { "consume" };
    let living: Vec<_> = environments(&wires.sqs.endpoint()).into_iter().filter(|(_, name)| name == function).collect();
    let chosen = dice.choose(&living);
    if let Some((pid, _)) = chosen {
        signal(*pid, Signal::KILL);
    }
    chosen.is_some()
}

/// Makes trouble in a pipeline until it is told to stop. Returns how many environments it has killed.
async fn trouble(
    pipeline: &Pipeline,
    clock: &Ahead,
    wires: &Wires,
    unrest: Unrest,
    mut dice: Dice,
    stop: &AtomicBool,
) -> usize {
    let mut killed = 0;
    while !stop.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(dice.below(UNREST_MS))).await;
        match dice.below(8) {
            // What is being delivered is delivered once more meanwhile.
            0 => let_visibility_pass(pipeline, clock),
            // A part of a batch is refused.
            1 => pipeline.sqs().faults().fail_entries(Action::SendMessageBatch, [0], SqsTimes::Next(1)),
            2 => {
                let indexes = vec![0, 2, 3];
                let fault = Fault::RefuseStatements { indexes, refusal: Refusal::Throttling };
                drop(pipeline.dynamodb().faults().inject(Target::All, fault, Times::Calls(1)));
            }
            3 => {
                let fault = Fault::LeaveUnprocessed { taken_max: 1 };
                drop(pipeline.dynamodb().faults().inject(Target::All, fault, Times::Calls(1)));
            }
            _ if unrest.kills => killed += usize::from(kill_one(wires, &mut dice)),
            _ => {}
        }
    }
    killed
}

/// What has not come to its fate yet; empty if everything has.
async fn undone(sqs: &str, dynamodb: &str, wires: &Wires) -> String {
    let mut undone = String::new();
    for (what, count) in [
        ("messages in the queue", depth(sqs, "holdfast-events").await as usize),
        ("messages in the quarantine", depth(sqs, "holdfast-quarantine").await as usize),
        ("items in the spill table", scan(dynamodb, "SpillTable").await.len()),
        ("calls on the wire", wires.sqs.under_way() + wires.dynamodb.under_way()),
    ] {
        if count > 0 {
            undone += &format!("{count} {what}; ");
        }
    }
    undone
}

/// Ends all faults, and waits until everything has drained, while time passes for the queues.
async fn drain(pipeline: &Pipeline, clock: &Ahead, wires: &Wires) {
    wires.set(Odds::default(), Odds::default());
    pipeline.sqs().faults().clear();
    pipeline.dynamodb().faults().clear_all();
    let started = Instant::now();
    let (sqs, dynamodb) = (pipeline.sqs().endpoint(), pipeline.dynamodb().endpoint());
    loop {
        // Twice, since the longest wait of a message that was given back is 10 minutes.
        let_visibility_pass(pipeline, clock);
        let_visibility_pass(pipeline, clock);
        let moved = Instant::now();
        while moved.elapsed() < DRAIN_LOOK {
            let undone = undone(&sqs, &dynamodb, wires).await;
            if undone.is_empty() {
                return;
            }
            assert!(started.elapsed() < DRAIN_LIMIT, "still not drained: {undone}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// How many calls went wrong.
fn faults(turns: &BTreeMap<&str, u32>) -> u32 {
    turns.iter().filter(|(name, _)| **name != "well").map(|(_, count)| count).sum()
}

/// Tells what a scenario came to, in the output of a test that fails.
fn tell(wires: &Wires, ledger: &Ledger, killed: usize) {
    println!("SQS: {:?}; DynamoDB: {:?}", wires.sqs.turns(), wires.dynamodb.turns());
    let (acknowledged, sent) = (ledger.acknowledged.len(), ledger.sent.len());
    let (poison, deleted) = (ledger.poison_acknowledged.len(), ledger.deleted.len());
    println!("{acknowledged} of {sent} events in {} requests acknowledged", ledger.requests);
    println!("{poison} poison items, {deleted} deletions, {killed} environments killed");
}

/// Runs a pipeline under load, and looks at what is there in the end. `phases` are the odds of SQS and DynamoDB, one after
/// the other. Returns how many requests were spilled.
async fn endure(mut dice: Dice, phases: &[(Odds, Odds)], unrest: Unrest) -> usize {
    let (clock, heard) = (Arc::new(Ahead::default()), Arc::new(Heard::default()));
    let wires = Wires::start(&mut dice).await;
    let pipeline = inside::start_with(None, &clock, wires.detours(unrest), heard.sink()).await;
    wires.lead_to(&pipeline.sqs().endpoint(), &pipeline.dynamodb().endpoint());
    if unrest.quarantine {
        set_receives_max(&pipeline.sqs().endpoint(), 1).await;
    }
    let api: Api = Arc::new(Mutex::new(pipeline.api()));
    let (troubles, over) = (dice.fork(), AtomicBool::new(false));
    let load = async {
        let mut ledger = Ledger::default();
        for (name, (sqs, dynamodb)) in ["a", "b"].into_iter().zip(phases) {
            wires.set(*sqs, *dynamodb);
            ledger.add(load::finished(load::start(&api, name, PRODUCERS, &mut dice)).await);
        }
        over.store(true, Ordering::SeqCst);
        ledger
    };
    let (ledger, killed) = tokio::join!(load, trouble(&pipeline, &clock, &wires, unrest, troubles, &over));
    tell(&wires, &ledger, killed);
    assert!(ledger.acknowledged.len() > 50, "{} events are too few to show anything", ledger.acknowledged.len());
    assert!(faults(&wires.sqs.turns()) + faults(&wires.dynamodb.turns()) > 10, "too few calls went wrong");
    assert!(!unrest.kills || killed > 2, "{killed} killed environments are too few to show anything");
    drain(&pipeline, &clock, &wires).await;
    assert_kept(&pipeline.dynamodb().endpoint(), &ledger).await;
    let panics = heard.panics.lock().expect("nothing panics while it holds the lines").clone();
    assert!(panics.is_empty(), "{panics:#?}");
    pipeline.stop().await;
    wait_for_no_environments(&wires.sqs.endpoint());
    heard.spilled.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flaky_queue_costs_no_event() {
    let dice = Dice::of_test("a_flaky_queue_costs_no_event", 1);
    endure(dice, &[(Odds::FLAKY, Odds::default())], Unrest::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flaky_tables_cost_no_event() {
    let dice = Dice::of_test("flaky_tables_cost_no_event", 2);
    endure(dice, &[(Odds::default(), Odds::FLAKY)], Unrest::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_services_and_deaths_together_cost_no_event() {
    let dice = Dice::of_test("broken_services_and_deaths_together_cost_no_event", 3);
    endure(dice, &[(Odds::BROKEN, Odds::BROKEN)], Unrest { kills: true, mappings: true, quarantine: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_queue_away_everything_comes_through_the_spill_table() {
    let dice = Dice::of_test("with_the_queue_away_everything_comes_through_the_spill_table", 4);
    let unrest = Unrest { kills: true, ..Unrest::default() };
    let spilled = endure(dice, &[(Odds::AWAY, Odds::ROUGH), (Odds::ROUGH, Odds::ROUGH)], unrest).await;
    assert!(spilled > 10, "{spilled} spilled requests are too few to show anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quarantine_takes_no_trouble_of_the_tables_for_a_death() {
    let dice = Dice::of_test("the_quarantine_takes_no_trouble_of_the_tables_for_a_death", 6);
    let unrest = Unrest { quarantine: true, ..Unrest::default() };
    endure(dice, &[(Odds::default(), Odds::BROKEN)], unrest).await;
}

/// How many calls of SQS went well.
fn well(wires: &Wires) -> u32 {
    wires.sqs.turns().get("well").copied().unwrap_or(0)
}

/// Starts the pipeline as a process, with its functions behind the proxies.
fn start(data: &Path, wires: &Wires, api: &Api) -> Process {
    let process = Process::on_through(data, &wires.sqs.endpoint(), &wires.dynamodb.endpoint());
    wires.lead_to(&process.sqs(), &process.dynamodb());
    *api.lock().expect("nothing panics while it holds the address") = process.api();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_everything_under_load_cost_no_event() {
    let mut dice = Dice::of_test("deaths_of_everything_under_load_cost_no_event", 5);
    let data = tempfile::tempdir().expect("a temporary folder");
    let wires = Wires::start(&mut dice).await;
    wires.set(Odds::ROUGH, Odds::ROUGH);
    let api = Api::default();
    let mut process = start(data.path(), &wires, &api);
    let producers = load::start(&api, "p", PRODUCERS, &mut dice);
    let mut killed = 0;
    for round in 0..4 {
        let (started, done) = (Instant::now(), well(&wires));
        // Some requests have come through, and then any moment will do.
        while well(&wires) < done + ROUND_CALLS && started.elapsed() < ROUND_LIMIT {
            tokio::time::sleep(Duration::from_millis(dice.below(UNREST_MS))).await;
            killed += usize::from(kill_one(&wires, &mut dice));
        }
        tokio::time::sleep(Duration::from_millis(dice.below(500))).await;
        process.signal(Signal::KILL);
        process.ended();
        wait_for_no_environments(&wires.sqs.endpoint());
        if round < 3 {
            process = start(data.path(), &wires, &api);
        }
    }
    let ledger = load::finished(producers).await;
    tell(&wires, &ledger, killed);
    assert!(ledger.acknowledged.len() > 50, "{} events are too few to show anything", ledger.acknowledged.len());

    let (clock, heard) = (Arc::new(Ahead::default()), Arc::new(Heard::default()));
    let detours = wires.detours(Unrest::default());
    let pipeline = inside::start_with(Some(data.path()), &clock, detours, heard.sink()).await;
    wires.lead_to(&pipeline.sqs().endpoint(), &pipeline.dynamodb().endpoint());
    drain(&pipeline, &clock, &wires).await;
    assert_kept(&pipeline.dynamodb().endpoint(), &ledger).await;
    pipeline.stop().await;
}
