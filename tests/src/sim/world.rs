//! What all parts of a history share: its time, its chance, what is known to have become durable, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::clock::{Clock, Timestamp};
use tokio::time::{Instant, sleep};

use super::chance::Chance;
use super::model::Attempt;
use super::scenario::{Scenario, Service};
use super::{Promise, Violation};

/// The moment at which every history begins, in milliseconds since 1970.
const START_MILLIS: i64 = 1_700_000_000_000;
/// How long the SDK waits for a service that does not answer.
const SDK_PATIENCE: Duration = Duration::from_secs(5);
/// The most characters of a line about something that happened: bodies may be large.
const LINE_MAX: usize = 600;
/// From what time on an answer is so slow that somebody may not have waited for it.
const SLOW: Duration = Duration::from_millis(100);

/// A history while it runs.
pub(crate) struct World {
    epoch: Instant,
    pub(crate) chance: Chance,
    pub(crate) scenario: Scenario,
    /// Whether faults still happen.
    pub(crate) stormy: AtomicBool,
    /// Effects of calls that are on their way although nobody waits for them, and invocations that run.
    pub(crate) pending: AtomicUsize,
    notes: Mutex<Notes>,
    tracing: bool,
}

/// What is known of a history by those who see everything.
#[derive(Default)]
pub(crate) struct Notes {
    /// How often what happened.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) trace: Vec<String>,
    pub(crate) violations: Vec<Violation>,
    /// Every event and refused item that has been in the queue or whole in the spill table: `<receipt>.<index>`.
    pub(crate) durable: BTreeSet<String>,
    /// The requests by their receipts.
    pub(crate) attempts: BTreeMap<String, Attempt>,
    /// How often deliveries of a message, alone in the quarantine, were ended: by chance, and by what is in it.
    pub(crate) ended_alone: BTreeMap<String, (u32, u32)>,
    /// Quarantined messages whose mark may be left behind, since a delivery or the taking away was ended or went wrong.
    pub(crate) marks_explained: BTreeSet<String>,
    /// The texts that others than `ingest` put into the queue.
    pub(crate) foreign: BTreeSet<String>,
    /// The ids of the messages that a letter was sent round as, by the letter's sort key.
    pub(crate) redriven: BTreeMap<String, Vec<String>>,
}

/// What a message says of what it carries.
#[derive(Deserialize)]
pub(crate) struct Carried {
    pub(crate) receipt: String,
    #[serde(default)]
    events: Vec<Numbered>,
    #[serde(default)]
    refused: Vec<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    index: u32,
    #[serde(flatten)]
    _rest: BTreeMap<String, IgnoredAny>,
}

impl Carried {
    /// Reads a message; `None` if it is not one.
    pub(crate) fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// The events and refused items: `<receipt>.<index>`.
    pub(crate) fn origins(&self) -> impl Iterator<Item = String> {
        self.events.iter().chain(&self.refused).map(|item| format!("{}.{}", self.receipt, item.index))
    }
}

impl World {
    pub(crate) fn new(chance: Chance, scenario: Scenario, tracing: bool) -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            chance,
            scenario,
            stormy: AtomicBool::new(true),
            pending: AtomicUsize::new(0),
            notes: Mutex::default(),
            tracing,
        })
    }

    /// The time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The true time in milliseconds since 1970.
    pub(crate) fn millis(&self) -> i64 {
        START_MILLIS + i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("nothing panics while it holds the notes")
    }

    pub(crate) fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::Relaxed)
    }

    /// Whether a fault of this probability happens now.
    pub(crate) fn befalls(&self, probability: f64) -> bool {
        self.is_stormy() && self.chance.hits(probability)
    }

    /// Counts something, and tells it to who wants to read the history.
    pub(crate) fn note(&self, what: &'static str, detail: impl FnOnce() -> String) {
        let mut notes = self.notes();
        *notes.counts.entry(what).or_insert(0) += 1;
        if self.tracing {
            let seconds = self.elapsed().as_secs_f64();
            let line: String = format!("{seconds:>10.3} s  {what}: {}", detail()).chars().take(LINE_MAX).collect();
            notes.trace.push(line);
        }
    }

    /// Notes that a promise was broken.
    pub(crate) fn violated(&self, promise: Promise, what: &str) {
        let what: String = what.chars().take(LINE_MAX).collect();
        self.note("violation", || format!("{promise:?} {what}"));
        self.notes().violations.push(Violation { promise, what });
    }

    /// Notes that what a message carries is durable now.
    pub(crate) fn is_durable_now(&self, body: &str) {
        if let Some(carried) = Carried::read(body) {
            self.notes().durable.extend(carried.origins());
        }
    }

    fn latency(&self) -> Duration {
        let slow = self.befalls(self.scenario.trouble / 4.0);
        if slow { self.chance.millis(100, 900) } else { self.chance.millis(1, 12) }
    }

    fn manner(&self, service: Service) -> Manner {
        if !self.is_stormy() {
            return Manner::Well;
        }
        let outage = self.scenario.outage(service, self.elapsed());
        if let Some(outage) = outage.filter(|outage| outage.share >= 1.0 || self.chance.hits(outage.share)) {
            return if outage.hangs { Manner::Hangs } else { Manner::Refused(Trouble::Unavailable) };
        }
        if !self.chance.hits(self.scenario.trouble) {
            return Manner::Well;
        }
        self.chance.pick(&[
            Manner::Refused(Trouble::Throttled),
            Manner::Refused(Trouble::Unavailable),
            Manner::Lost,
            Manner::Twice,
            Manner::Late,
            Manner::Hangs,
        ])
    }
}

/// How a service deals with one call.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Well,
    /// It has no effect.
    Refused(Trouble),
    /// It has its effect, but the reply is lost.
    Lost,
    /// It has its effect, the reply is lost, and the SDK sends it again.
    Twice,
    /// It has its effect when nobody waits for it any more.
    Late,
    /// It has no effect, and no answer.
    Hangs,
}

/// Why a call did not succeed, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Throttled,
    Unavailable,
    TimedOut,
}

/// An environment of a function, with a clock of its own.
pub(crate) struct Env {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    skew: i64,
    state: Mutex<EnvState>,
}

#[derive(Default)]
struct EnvState {
    /// Whether what it had to do has ended it.
    killed: bool,
    /// When a service last gave it trouble, for each service.
    queue_trouble: Option<Duration>,
    table_trouble: Option<Duration>,
    /// The receipts of those messages of the present invocation that end whoever decodes them.
    deadly: Vec<String>,
}

impl Env {
    pub(crate) fn new(world: &Arc<World>, name: String) -> Arc<Self> {
        let most = world.scenario.skew_max;
        let skew = i64::try_from(world.chance.from(0, 2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        world.note("environment started", || format!("{name}, its clock wrong by {skew} ms"));
        Arc::new(Self { name, world: Arc::clone(world), skew, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, EnvState> {
        self.state.lock().expect("nothing panics while it holds the state of an environment")
    }

    /// Ends the environment at its next await.
    pub(crate) fn kill(&self) {
        self.state().killed = true;
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// Hands an invocation's messages over: those that end whoever decodes them, by their receipts.
    pub(crate) fn hand_over(&self, deadly: Vec<String>) {
        self.state().deadly = deadly;
    }

    /// Whether a text names an event of a message that ends whoever decodes it.
    pub(crate) fn is_deadly(&self, origin: &str) -> bool {
        self.state().deadly.iter().any(|receipt| origin.contains(receipt.as_str()))
    }

    pub(crate) fn troubled_by(&self, service: Service) {
        let now = self.world.elapsed();
        let mut state = self.state();
        match service {
            Service::Queue => state.queue_trouble = Some(now),
            Service::Table => state.table_trouble = Some(now),
        }
    }

    /// Whether a service has given it trouble since then.
    pub(crate) fn was_troubled_by(&self, service: Service, since: Duration) -> bool {
        let state = self.state();
        let at = match service {
            Service::Queue => state.queue_trouble,
            Service::Table => state.table_trouble,
        };
        at.is_some_and(|at| at >= since)
    }

    /// Makes one call of a service, with all that can come of it. `effect` is what the call does there.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        service: Service,
        what: &'static str,
        effect: impl Fn() -> R + Send + 'static,
    ) -> Result<R, Trouble> {
        let world = &self.world;
        let (there, back, manner) = (world.latency(), world.latency(), world.manner(service));
        if there >= SLOW || back >= SLOW || !matches!(manner, Manner::Well) {
            self.troubled_by(service);
        }
        let tell = |fault: &'static str| world.note(fault, || format!("{} {what} ({service:?})", self.name));
        sleep(there).await;
        let result = match manner {
            Manner::Well => Ok(effect()),
            Manner::Refused(trouble) => {
                tell(match (trouble, service) {
                    (Trouble::Throttled, _) => "call throttled",
                    (_, Service::Queue) => "call refused by SQS",
                    (_, Service::Table) => "call refused by DynamoDB",
                });
                Err(trouble)
            }
            Manner::Lost => {
                effect();
                tell("reply lost");
                Err(Trouble::Unavailable)
            }
            Manner::Twice => {
                effect();
                tell("call made twice");
                sleep(back).await;
                Ok(effect())
            }
            Manner::Late => {
                tell("effect late");
                self.later(effect);
                sleep(SDK_PATIENCE).await;
                Err(Trouble::TimedOut)
            }
            Manner::Hangs => {
                tell("call hangs");
                sleep(SDK_PATIENCE).await;
                Err(Trouble::TimedOut)
            }
        };
        sleep(back).await;
        result
    }

    /// Lets a call have its effect some time from now, whatever becomes of who made it.
    fn later<R: 'static>(&self, effect: impl Fn() -> R + 'static) {
        let world = Arc::clone(&self.world);
        world.pending.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_local(async move {
            sleep(world.chance.millis(200, 8_000)).await;
            effect();
            world.pending.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Clock for Env {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(self.world.millis() + self.skew)
    }
}

/// Runs something alone, in one thread and on a clock that moves only when everything waits.
pub(crate) fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
