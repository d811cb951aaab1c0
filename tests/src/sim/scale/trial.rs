//! One trial from its traffic to what was seen of it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::mapping;
use super::traffic::{Flow, Sent, send};
use crate::sim::chance::Chance;
use crate::sim::history::{is_drained, provision, start_cloud};
use crate::sim::lambda::Cloud;
use crate::sim::scenario::Scenario;
use crate::sim::throughput::Limits;
use crate::sim::world::{World, on_virtual_time};
use crate::sim::{Promise, Violation, check};

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// By when everything must have drained, in seconds.
const LONGEST: u32 = 12 * 60 * 60;

/// Traffic, and what AWS takes of it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The traffic.
    pub flows: Vec<Flow>,
    /// Invocations of `consume` for the queue at a time.
    pub concurrency: usize,
    /// Messages of the queue in flight, at the most.
    pub in_flight_max: usize,
    /// What the events table takes.
    pub events: Limits,
    /// When it takes any number of units again; `None` if it never does.
    pub opens_after: Option<Duration>,
    /// What the table of dead letters takes.
    pub letters: Limits,
}

/// The end of one second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    /// Messages in the queue.
    pub waiting: usize,
    /// Those of them that are in flight: most of them wait until they may come again.
    pub in_flight: usize,
    /// Events that are in the table, of those that have an id.
    pub stored: usize,
}

/// What came of a trial.
#[derive(Debug)]
pub struct Seen {
    /// Second by second, until everything has drained, or for twelve hours.
    pub seconds: Vec<Second>,
    /// How long each event waited from its sending until it was in the table, by the name of its flow; sorted.
    pub delays: BTreeMap<&'static str, Vec<Duration>>,
    /// Dead letters.
    pub letters: usize,
    /// Messages that came to the quarantine.
    pub quarantined: u64,
    /// Writes that were throttled.
    pub throttled: u64,
    /// Write units of the events table that were spent.
    pub units: u64,
    /// Those of them that were spent on inserts of what was there already.
    pub units_in_vain: u64,
    /// The most write units that a partition of the events table took, all together.
    pub hottest: u64,
    /// Deliveries of `consume`.
    pub deliveries: u64,
    /// The promises that were broken.
    pub violations: Vec<Violation>,
}

impl Seen {
    /// The longest wait among the quickest so many of a hundred events of a flow; zero if it has none.
    #[must_use]
    pub fn delay(&self, who: &str, percent: usize) -> Duration {
        let delays = self.delays.get(who).map(Vec::as_slice).unwrap_or_default();
        let position = (delays.len() * percent).div_ceil(100).saturating_sub(1);
        delays.get(position).copied().unwrap_or_default()
    }

    /// How long it took until everything had drained.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        SECOND * u32::try_from(self.seconds.len()).unwrap_or(LONGEST)
    }

    /// The most messages that were in flight.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.seconds.iter().map(|second| second.in_flight).max().unwrap_or_default()
    }
}

/// The pipeline before a trial, in which nothing goes wrong but for the limits.
pub(super) fn start() -> (Arc<World>, Rc<Cloud>) {
    let world = World::new(Chance::new(1), Scenario::calm(), false);
    world.stormy.store(false, Ordering::Relaxed);
    let cloud = Cloud::new(&world, None);
    provision(&cloud);
    (world, cloud)
}

/// Runs a trial on virtual time.
///
/// # Panics
/// A request is not answered 200.
#[must_use]
pub fn run(trial: &Trial) -> Seen {
    on_virtual_time(live(trial))
}

async fn live(trial: &Trial) -> Seen {
    let (world, cloud) = start();
    cloud.events.throughput.measure(trial.events);
    cloud.letters.throughput.measure(trial.letters);
    cloud.queue.limit_in_flight(trial.in_flight_max);
    let position = start_cloud(&cloud);
    tokio::task::spawn_local(mapping::poll(Rc::clone(&cloud), trial.concurrency));
    if let Some(after) = trial.opens_after {
        let events = Arc::clone(&cloud.events);
        tokio::task::spawn_local(async move {
            sleep(after).await;
            events.throughput.open();
        });
    }
    let sent = Sent::default();
    let senders: Vec<_> = trial
        .flows
        .iter()
        .map(|flow| tokio::task::spawn_local(send(Rc::clone(&cloud), flow.clone(), Rc::clone(&sent))))
        .collect();
    let mut seconds = Vec::new();
    for second in 1..=LONGEST {
        sleep((SECOND * second).saturating_sub(world.elapsed())).await;
        seconds.push(look(&cloud));
        if senders.iter().all(tokio::task::JoinHandle::is_finished) && is_drained(&cloud, &position) {
            break;
        }
    }
    for one in senders {
        one.await.expect("no producer panics");
    }
    if is_drained(&cloud, &position) {
        check::check(&cloud);
    } else {
        world.violated(Promise::P6, &format!("it does not drain within {} seconds", seconds.len()));
    }
    sum_up(&cloud, seconds, &sent.borrow())
}

fn look(cloud: &Cloud) -> Second {
    Second { waiting: cloud.queue.len(), in_flight: cloud.queue.in_flight(), stored: 0 }
}

fn sum_up(cloud: &Cloud, mut seconds: Vec<Second>, sent: &HashMap<String, (&'static str, Duration)>) -> Seen {
    let (events, letters) = (cloud.events.throughput.usage(), cloud.letters.throughput.usage());
    let mut delays: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    for (key, at) in &events.inserted {
        let id = key.sk.rsplit('#').next().unwrap_or_default();
        if let Some((who, sent)) = sent.get(id) {
            let second = usize::try_from(at.as_secs()).ok().and_then(|second| seconds.get_mut(second));
            second.into_iter().for_each(|second| second.stored += 1);
            delays.entry(who).or_default().push(*at - *sent);
        }
    }
    delays.values_mut().for_each(|delays| delays.sort_unstable());
    let mut stored = 0;
    for second in &mut seconds {
        stored += second.stored;
        second.stored = stored;
    }
    let mut notes = cloud.world.notes();
    let count = |what: &str| notes.counts.get(what).copied().unwrap_or_default();
    let (quarantined, deliveries) = (count("message quarantined"), count("delivery"));
    Seen {
        seconds,
        delays,
        letters: cloud.letters.rows().len(),
        quarantined,
        throttled: events.throttled + letters.throttled,
        units: events.units.values().sum(),
        units_in_vain: events.units_in_vain,
        hottest: events.units.values().copied().max().unwrap_or_default(),
        deliveries,
        violations: std::mem::take(&mut notes.violations),
    }
}
