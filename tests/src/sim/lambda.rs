//! Lambda: environments that live from invocation to invocation, stand still between them, and end at any await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use consume::deliver::{Consume, Ports};
use consume::incoming::Payload;
use consume::table::Key;
use ingest::accept::{Call, Ingest};
use ingest::response::Reply;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use shared::spill::HEAD;

use super::calls::KILLS_READER;
use super::dynamo::{SimTable, TablePort};
use super::mistakes::{IngestQueue, IngestSpill, Mistake};
use super::sqs::{QueuePort, SimQueue};
use super::world::{Carried, Env, World};

/// The time-outs of the functions in the template.
const INGEST_LIMIT: Duration = Duration::from_secs(10);
const CONSUME_LIMIT: Duration = Duration::from_secs(60);
/// How likely an environment is taken away after an invocation though nothing has happened to it.
const RETIRED: f64 = 0.05;
/// The name of the quarantine, as in its ARN.
pub(crate) const QUARANTINE: &str = "quarantine";

/// How an invocation ended that came to no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By chance.
    Crashed,
    /// By an event that it had to do with.
    Killed,
    /// By Lambda's limit.
    TimedOut,
}

struct IngestEnv {
    env: Arc<Env>,
    function: Ingest<TablePort, IngestQueue, IngestSpill>,
}

struct ConsumeEnv {
    env: Arc<Env>,
    function: Consume<TablePort, QueuePort>,
}

/// The services, and the functions' environments.
pub(crate) struct Cloud {
    pub(crate) world: Arc<World>,
    pub(crate) events: Arc<SimTable>,
    pub(crate) letters: Arc<SimTable>,
    pub(crate) spill: Arc<SimTable>,
    pub(crate) queue: Arc<SimQueue>,
    pub(crate) quarantine: Arc<SimQueue>,
    mistake: Option<Mistake>,
    ingest: RefCell<Vec<Rc<IngestEnv>>>,
    consume: RefCell<Vec<Rc<ConsumeEnv>>>,
    numbers: Cell<u64>,
}

impl Cloud {
    pub(crate) fn new(world: &Arc<World>, mistake: Option<Mistake>) -> Rc<Self> {
        let quarantine = SimQueue::new(world, QUARANTINE, None);
        let receives_max = world.scenario.receives_max;
        Rc::new(Self {
            world: Arc::clone(world),
            events: SimTable::new(world, "events", false),
            letters: SimTable::new(world, "letters", false),
            spill: SimTable::new(world, "spill", true),
            queue: SimQueue::new(world, "queue", Some((receives_max, &quarantine))),
            quarantine,
            mistake,
            ingest: RefCell::default(),
            consume: RefCell::default(),
            numbers: Cell::new(0),
        })
    }

    /// A number that no other call of this gives.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    fn table(env: &Arc<Env>, table: &Arc<SimTable>) -> TablePort {
        TablePort { env: Arc::clone(env), table: Arc::clone(table) }
    }

    fn start_ingest(&self) -> Rc<IngestEnv> {
        let env = Env::new(&self.world, format!("ingest-{}", self.number()));
        let variables = BTreeMap::from([
            ("EVENTS_QUEUE_URL", "queue"),
            ("EVENTS_TABLE_NAME", "events"),
            ("SPILL_TABLE_NAME", "spill"),
            // The most that may be set, so that one message can need several items of the spill table.
            ("EVENT_BYTES_MAX", "393216"),
        ]);
        let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let config = ingest::config::Config::from_lookup(&lookup).expect("the configuration is right");
        let queue = IngestQueue {
            port: QueuePort { env: Arc::clone(&env), queue: Arc::clone(&self.queue) },
            mistake: self.mistake,
        };
        let spill = IngestSpill { port: Self::table(&env, &self.spill), mistake: self.mistake };
        let clock = Arc::<Env>::clone(&env);
        let function = Ingest::new(config, Self::table(&env, &self.events), queue, spill, clock);
        Rc::new(IngestEnv { env, function })
    }

    fn start_consume(&self) -> Rc<ConsumeEnv> {
        let env = Env::new(&self.world, format!("consume-{}", self.number()));
        let queue = |queue: &Arc<SimQueue>| QueuePort { env: Arc::clone(&env), queue: Arc::clone(queue) };
        let ports = Ports {
            events: Self::table(&env, &self.events),
            dead_letters: Self::table(&env, &self.letters),
            spill: Self::table(&env, &self.spill),
            queue: queue(&self.queue),
            quarantine: queue(&self.quarantine),
        };
        let clock = Arc::<Env>::clone(&env);
        let function = Consume::new(ports, Duration::from_secs(90 * 86_400), clock).packed(self.world.scenario.packing);
        Rc::new(ConsumeEnv { env, function })
    }

    /// Answers a request in some environment of `ingest`. `admit` is told which, before anything happens.
    pub(crate) async fn serve(
        &self,
        call: &Call,
        receipt: &str,
        admit: impl FnOnce(&Env),
    ) -> (Arc<Env>, Result<Reply, Ended>) {
        let one = take_any(&self.world, &self.ingest).unwrap_or_else(|| self.start_ingest());
        admit(&one.env);
        let polls = self.death(self.world.scenario.crash);
        let _running = Running::new(&self.world);
        let answer = live(&one.env, one.function.answer(call, receipt), polls, INGEST_LIMIT).await;
        let env = Arc::clone(&one.env);
        self.give_back(one, &self.ingest, answer.as_ref().err(), &env);
        (env, answer.map(|(answer, _)| answer.reply()))
    }

    /// Invokes `consume`. Returns its response as it goes over the wire, and how it ended if it came to none.
    pub(crate) async fn invoke(&self, payload: Value, crash: f64) -> Result<Vec<u8>, Option<Ended>> {
        let one = take_any(&self.world, &self.consume).unwrap_or_else(|| self.start_consume());
        one.env.hand_over(self.deadly(&payload));
        let payload: Payload = serde_json::from_value(payload).map_err(|_| None)?;
        let mut context = Context::default();
        let limit = i64::try_from(CONSUME_LIMIT.as_millis()).unwrap_or(0);
        context.deadline = u64::try_from(self.world.millis() + limit).unwrap_or(0);
        let event = LambdaEvent::new(payload, context);
        let _running = Running::new(&self.world);
        let work = consume::handler::respond(&one.function, QUARANTINE, event, false);
        let crash = self.world.scenario.consumers_crash(crash, self.world.elapsed());
        let response = live(&one.env, work, self.death(crash), CONSUME_LIMIT).await;
        let env = Arc::clone(&one.env);
        self.give_back(one, &self.consume, response.as_ref().err(), &env);
        match response {
            Ok(Ok(_)) if self.mistake == Some(Mistake::SuccessByDefault) => Ok(br#"{"batchItemFailures":[]}"#.to_vec()),
            Ok(Ok(response)) => Ok(serde_json::to_vec(&response).expect("a response is JSON")),
            Ok(Err(error)) => {
                self.world.note("invocation with an error", || format!("{} {error}", env.name));
                Err(None)
            }
            Err(ended) => Err(Some(ended)),
        }
    }

    /// The receipts of messages in a payload that end whoever decodes them.
    fn deadly(&self, payload: &Value) -> Vec<String> {
        let records = payload["Records"].as_array().into_iter().flatten();
        let bodies = records.filter_map(|record| {
            let spilled = &record["dynamodb"]["Keys"];
            let key = || Some(Key { pk: spilled["pk"]["S"].as_str()?.to_owned(), sk: HEAD.to_owned() });
            let body = |key: Key| self.spill.rows().get(&key)?.get("body")?.text().map(str::to_owned);
            record["body"].as_str().map(str::to_owned).or_else(|| body(key()?))
        });
        let deadly = bodies.filter(|body| body.contains(KILLS_READER));
        deadly.filter_map(|body| Carried::read(&body)).map(|carried| carried.receipt).collect()
    }

    /// After how many steps an invocation is to be ended by chance, if at all.
    fn death(&self, crash: f64) -> Option<u64> {
        // Any power of two is as likely, so that the first steps are ended often and late ones too.
        self.world.befalls(crash).then(|| self.world.chance.from(1, 1 << self.world.chance.from(1, 7)))
    }

    /// An environment that came to its answer waits for the next invocation; any other is lost.
    fn give_back<E>(&self, one: Rc<E>, free: &RefCell<Vec<Rc<E>>>, ended: Option<&Ended>, env: &Env) {
        let Some(ended) = ended else {
            if !self.world.chance.hits(RETIRED) {
                free.borrow_mut().push(one);
            }
            return;
        };
        env.kill();
        let what = match ended {
            Ended::Crashed => "environment crashed",
            Ended::Killed => "environment killed by an event",
            Ended::TimedOut => "invocation out of time",
        };
        self.world.note(what, || env.name.clone());
    }
}

/// An invocation that runs; until it is over, the history is not.
struct Running(Arc<World>);

impl Running {
    fn new(world: &Arc<World>) -> Self {
        world.pending.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(world))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take_any<E>(world: &World, free: &RefCell<Vec<Rc<E>>>) -> Option<Rc<E>> {
    let mut free = free.borrow_mut();
    if free.is_empty() {
        return None;
    }
    let position = world.chance.index(free.len());
    Some(free.swap_remove(position))
}

/// Runs an invocation until it answers, or until it is ended: after so many steps, by what it does, or by the limit. What
/// it has begun by then stays undone.
async fn live<F: Future>(env: &Env, work: F, mut steps: Option<u64>, limit: Duration) -> Result<F::Output, Ended> {
    let mut work = pin!(work);
    let life = poll_fn(|context| {
        if let Some(steps) = &mut steps {
            if *steps == 0 {
                return Poll::Ready(Err(Ended::Crashed));
            }
            *steps -= 1;
        }
        match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if env.is_killed() => Poll::Ready(Err(Ended::Killed)),
            Poll::Pending => Poll::Pending,
        }
    });
    tokio::time::timeout(limit, life).await.unwrap_or(Err(Ended::TimedOut))
}
