//! Vero's outage of 1 May 2019, brought upon Holdfast: steady traffic, consumers that run out of memory more and more
//! often, and then a database that throttles and a queue that refuses.
//!
//! Everything runs as in any other history of the simulation: the real code, on a virtual clock, with the model's verdict
//! at the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consume::store::ORIGIN;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::calls::Author;
use super::chance::Chance;
use super::check;
use super::client::{self, Temper};
use super::history::{LOOK_EVERY, is_drained, provision, start_cloud};
use super::lambda::Cloud;
use super::scenario::{Outage, Ramp, Scenario, Service};
use super::world::{World, on_virtual_time};
use super::{Promise, Violation};

/// What the simulation counts an ended environment as.
const KILLED: &str = "environment crashed";
const MINUTE: Duration = Duration::from_secs(60);
/// For how long producers send.
const SENDING: u32 = 210;
/// By when everything must have drained, in minutes.
const LONGEST: u32 = 24 * 60;
/// How long a producer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes wrong, in minutes from the beginning.
pub const PHASES: [(u32, u32, &str); 4] = [
    (30, 60, "consumers die, more and more"),
    (60, 105, "half of them die"),
    (105, 125, "DynamoDB throttles"),
    (125, 145, "SQS refuses"),
];

/// One minute of the incident.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    /// From the beginning.
    pub minute: u32,
    /// Requests answered in it, or given up by their producers.
    pub requests: u32,
    /// Of these, answered with 5xx or not at all.
    pub errors: u32,
    /// Items in the spill table at its end.
    pub spilled: usize,
    /// Messages in the queue, the quarantine and the spill table at its end.
    pub backlog: usize,
    /// The age of the oldest of them, in seconds.
    pub oldest: u64,
    /// Requests answered 200 so far.
    pub accepted: u64,
    /// Events in the table.
    pub stored: usize,
    /// Dead letters.
    pub dead: usize,
    /// Deliveries of consume that were ended in it.
    pub killed: u64,
    /// Calls that DynamoDB has refused in it.
    pub table_refusals: u64,
    /// Messages that consume gave back to the queue in it.
    pub given_back: u64,
    /// Messages that ingest spilled in it.
    pub spills: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Incident {
    /// Minute by minute, until everything has drained.
    pub minutes: Vec<Minute>,
    /// Deliveries of consume that were ended.
    pub killed: u64,
    /// Deliveries of consume.
    pub deliveries: u64,
    /// Requests that nobody sent again although they were not answered 200.
    pub given_up: u64,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
}

fn scenario() -> Scenario {
    let at = |minute: u32| MINUTE * minute;
    let (ramp, peak, throttled, refused) = (PHASES[0], PHASES[1], PHASES[2], PHASES[3]);
    Scenario {
        consumers: 4,
        span: at(SENDING),
        outages: vec![
            Outage { service: Service::Table, from: at(throttled.0), to: at(throttled.1), hangs: false, share: 0.7 },
            Outage { service: Service::Queue, from: at(refused.0), to: at(refused.1), hangs: false, share: 1.0 },
        ],
        consumers_crash: vec![
            Ramp { from: at(ramp.0), to: at(ramp.1), first: 0.0, last: 0.5 },
            Ramp { from: at(peak.0), to: at(peak.1), first: 0.5, last: 0.5 },
        ],
        duplicate: 0.001,
        skew_max: 50,
        ..Scenario::calm()
    }
}

/// The share of requests that Vero answered with errors, with minute 30 as 13:30 UTC: spikes that grew to a half by 15:20,
/// and stayed there until 16:15 (its report of 2 May 2019).
#[must_use]
pub fn vero(minute: u32) -> f64 {
    match minute {
        30..140 => 0.5 * f64::from(minute - 30) / 110.0,
        140..195 => 0.5,
        _ => 0.0,
    }
}

/// Runs the incident with so many requests a second.
///
/// # Panics
/// The code under test panics where nothing catches it.
#[must_use]
pub fn replay(seed: u64, requests_per_second: f64) -> Incident {
    on_virtual_time(live(seed, requests_per_second))
}

/// What is counted while it goes on.
#[derive(Default)]
struct Counters {
    requests: Cell<u32>,
    errors: Cell<u32>,
    accepted: Cell<u64>,
    given_up: Cell<u64>,
    /// How often what had happened at the end of the minute before.
    before: RefCell<BTreeMap<&'static str, u64>>,
}

async fn live(seed: u64, requests_per_second: f64) -> Incident {
    let world = World::new(Chance::new(seed), scenario(), false);
    let cloud = Cloud::new(&world, None);
    provision(&cloud);
    let position = start_cloud(&cloud);
    let counters = Rc::new(Counters::default());
    let sending = tokio::task::spawn_local(send(Rc::clone(&cloud), Rc::clone(&counters), requests_per_second));
    let minutes = RefCell::new(Vec::new());
    for minute in 1..=LONGEST {
        sleep((MINUTE * minute).saturating_sub(world.elapsed())).await;
        minutes.borrow_mut().push(look(&cloud, &counters, minute));
        if minute > SENDING && sending.is_finished() && is_drained(&cloud, &position) {
            break;
        }
    }
    world.stormy.store(false, Ordering::Relaxed);
    sleep(LOOK_EVERY).await;
    if is_drained(&cloud, &position) {
        check::check(&cloud);
    } else {
        world.violated(Promise::P6, "it does not drain");
    }
    let mut notes = world.notes();
    let count = |what: &str| notes.counts.get(what).copied().unwrap_or_default();
    let (killed, deliveries) = (count(KILLED), count("delivery"));
    let violations = std::mem::take(&mut notes.violations);
    Incident { minutes: minutes.into_inner(), killed, deliveries, given_up: counters.given_up.get(), violations }
}

/// Sends steadily. Half of the producers never send again; the others do, as Segment's libraries do.
async fn send(cloud: Rc<Cloud>, counters: Rc<Counters>, requests_per_second: f64) {
    let world = &cloud.world;
    let pause = Duration::from_secs_f64(1.0 / requests_per_second);
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    while world.elapsed() < MINUTE * SENDING {
        sleep(pause.mul_f64(0.5) + world.chance.millis(0, u64::try_from(pause.as_millis()).unwrap_or(1))).await;
        let temper = if world.chance.hits(0.5) { Temper::Careless } else { Temper::Persistent(12) };
        let number = cloud.number();
        let key = usize::from(world.chance.hits(0.5));
        let author = Author { chance: &world.chance, malice: 0.0, millis: world.millis(), number, key, large: false };
        let request = author.track();
        let (cloud, counters) = (Rc::clone(&cloud), Rc::clone(&counters));
        running.retain(|one| !one.is_finished());
        running.push(tokio::task::spawn_local(async move {
            let seen = |status: Option<u16>| {
                counters.requests.set(counters.requests.get() + 1);
                match status {
                    Some(200) => counters.accepted.set(counters.accepted.get() + 1),
                    _ => counters.errors.set(counters.errors.get() + 1),
                }
            };
            let last = client::bring_through(cloud, request, temper, PATIENCE, 0, &seen).await;
            if last != Some(200) {
                counters.given_up.set(counters.given_up.get() + 1);
            }
        }));
    }
    for one in running {
        one.await.expect("no producer panics");
    }
}

fn look(cloud: &Cloud, counters: &Counters, minute: u32) -> Minute {
    let spilled = cloud.spill.rows().len();
    let now = cloud.world.millis();
    let counts = cloud.world.notes().counts.clone();
    let before = counters.before.replace(counts.clone());
    let new =
        |what: &str| counts.get(what).copied().unwrap_or_default() - before.get(what).copied().unwrap_or_default();
    let oldest = [&cloud.queue, &cloud.quarantine].into_iter().filter_map(|queue| queue.oldest()).min();
    Minute {
        minute,
        requests: counters.requests.take(),
        errors: counters.errors.take(),
        backlog: cloud.queue.len() + cloud.quarantine.len() + spilled,
        oldest: oldest.map_or(0, |sent| u64::try_from((now - sent) / 1000).unwrap_or(0)),
        accepted: counters.accepted.get(),
        stored: cloud.events.rows().values().filter(|row| row.contains_key(ORIGIN)).count(),
        dead: cloud.letters.rows().keys().filter(|key| !key.pk.starts_with("QUARANTINE#")).count(),
        spilled,
        killed: new(KILLED),
        table_refusals: new("call refused by DynamoDB"),
        given_back: new("message given back"),
        spills: new("message spilled"),
    }
}
