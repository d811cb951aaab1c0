//! The environments of one function: which are free, which are busy, and how many there may be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::environment::Environment;
use super::spawner::Spawner;
use super::{FunctionSpec, InvokeError, Sink, lock};

/// How long a response is held back for its environment to ask for the next event, so that a caller who invokes again
/// at once finds it warm. A runtime does so within a millisecond.
const SETTLE_GRACE: Duration = Duration::from_millis(250);

/// How long running invocations may go on when the pool stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long children may take to end by themselves when the pool stops.
const TERMINATE_LIMIT: Duration = Duration::from_secs(1);

/// How long killed children may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

struct Entry {
    environment: Arc<Environment>,
    busy: bool,
}

/// Who will run an invocation.
enum Claim {
    Warm(Arc<Environment>),
    /// Room for a new environment.
    Cold(OwnedSemaphorePermit),
}

/// One function and its environments.
pub(super) struct Pool {
    spec: FunctionSpec,
    sink: Sink,
    spawner: Arc<Spawner>,
    /// One turn a running invocation. Those who wait for one get it in the order in which they came. Closed when the
    /// pool stops.
    turns: Arc<Semaphore>,
    /// One place an environment, from its start until its process is gone. Closed when the pool stops.
    places: Arc<Semaphore>,
    /// The most recently used last.
    entries: Mutex<Vec<Entry>>,
    crashes: Crashes,
}

/// Whether invocations crash: one before its work and the next after it, in turn.
#[derive(Default)]
struct Crashes {
    on: AtomicBool,
    after_work: AtomicBool,
}

impl Crashes {
    /// Where the next invocation crashes, if it does: `true` after its work.
    fn next(&self) -> Option<bool> {
        self.on.load(Ordering::Relaxed).then(|| self.after_work.fetch_xor(true, Ordering::Relaxed))
    }
}

impl Pool {
    pub(super) fn new(spec: FunctionSpec, sink: Sink, spawner: Arc<Spawner>) -> Self {
        let as_many_as_environments = || Arc::new(Semaphore::new(spec.environments_max.min(Semaphore::MAX_PERMITS)));
        let (turns, places) = (as_many_as_environments(), as_many_as_environments());
        Self { spec, sink, spawner, turns, places, entries: Mutex::default(), crashes: Crashes::default() }
    }

    /// Runs an invocation on a task of its own, so that it goes on if the caller stops waiting. Waits for a free
    /// environment no longer than `patience`.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        payload: Bytes,
        root: String,
        patience: Duration,
    ) -> Result<Bytes, InvokeError> {
        let claimed = timeout(patience, async {
            let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            Some((turn, self.claim().await?))
        });
        let (turn, claim) = claimed.await.ok().flatten().ok_or(InvokeError::Throttled)?;
        let (reply, result) = oneshot::channel();
        tokio::spawn(Arc::clone(self).run(turn, claim, payload, root, reply));
        result.await.unwrap_or_else(|_| Err(InvokeError::Crashed { status: "the server is shutting down".to_owned() }))
    }

    /// Finds an environment for whoever has a turn: there is a free one, or room for another as soon as those that are
    /// being killed are gone. `None` if the pool stops.
    async fn claim(&self) -> Option<Claim> {
        if let Some(environment) = self.claim_warm() {
            return Some(Claim::Warm(environment));
        }
        Arc::clone(&self.places).acquire_owned().await.ok().map(Claim::Cold)
    }

    fn claim_warm(&self) -> Option<Arc<Environment>> {
        let mut entries = lock(&self.entries);
        entries.retain(|entry| entry.busy || entry.environment.is_usable());
        let entry = entries.iter_mut().rev().find(|entry| !entry.busy)?;
        entry.busy = true;
        Some(Arc::clone(&entry.environment))
    }

    async fn run(
        self: Arc<Self>,
        turn: OwnedSemaphorePermit,
        claim: Claim,
        payload: Bytes,
        root: String,
        reply: oneshot::Sender<Result<Bytes, InvokeError>>,
    ) {
        let environment = match claim {
            Claim::Warm(environment) => environment,
            Claim::Cold(place) => match self.start(place).await {
                Ok(environment) => environment,
                Err(error) => {
                    self.log(&error);
                    drop(turn);
                    // The caller may have stopped waiting; so it is with every reply below.
                    let _ = reply.send(Err(error));
                    return;
                }
            },
        };
        let deadline = Instant::now() + self.spec.timeout;
        let crash = self.crashes.next();
        if crash == Some(false) {
            environment.kill();
        }
        let mut result = environment.run(&self.spec, payload, &root).await;
        if crash == Some(true) {
            // What it has done is done, but nobody hears of it.
            environment.kill();
            result = result.and_then(|_| Err(InvokeError::Crashed { status: "signal: 9 (SIGKILL)".to_owned() }));
        }
        if let Err(error) = &result {
            self.log(error);
        }
        if let Ok(usable) = timeout(SETTLE_GRACE, environment.settled()).await {
            self.release(&environment, usable);
            // Before the reply, so that a caller who invokes again at once has a turn.
            drop(turn);
            let _ = reply.send(result);
            return;
        }
        // It works on after its response. That has its limit too.
        let _ = reply.send(result);
        let usable = timeout_at(deadline, environment.settled()).await.unwrap_or(false);
        self.release(&environment, usable);
    }

    /// Starts an environment, busy from the beginning, and waits until it is ready.
    async fn start(&self, place: OwnedSemaphorePermit) -> Result<Arc<Environment>, InvokeError> {
        let started = Environment::start(&self.spec, Arc::clone(&self.sink), &self.spawner, place).await;
        let environment = Arc::new(started.map_err(|error| InvokeError::InitFailed { reason: error.to_string() })?);
        lock(&self.entries).push(Entry { environment: Arc::clone(&environment), busy: true });
        if let Err(error) = environment.ready().await {
            environment.gone(KILL_LIMIT).await;
            self.release(&environment, false);
            return Err(error);
        }
        Ok(environment)
    }

    /// Makes an environment free again, or lets go of it, which kills it if it lives.
    fn release(&self, environment: &Arc<Environment>, usable: bool) {
        let mut entries = lock(&self.entries);
        entries.retain(|entry| !Arc::ptr_eq(&entry.environment, environment));
        if usable {
            entries.push(Entry { environment: Arc::clone(environment), busy: false });
        }
    }

    /// Writes into the function's log what Lambda writes there.
    fn log(&self, error: &InvokeError) {
        // What the function reported of itself, it has logged itself.
        if !matches!(error, InvokeError::FunctionError { .. }) {
            (self.sink)(&self.spec.name, &error.to_string());
        }
    }

    pub(super) fn kill_one(&self) -> bool {
        let entries = lock(&self.entries);
        let usable = || entries.iter().rev().filter(|entry| entry.environment.is_usable());
        let Some(entry) = usable().find(|entry| entry.busy).or_else(|| usable().next()) else { return false };
        entry.environment.kill();
        true
    }

    pub(super) fn set_crashing(&self, crashing: bool) {
        self.crashes.on.store(crashing, Ordering::Relaxed);
    }

    /// As [`super::Lambda::stop`] says. It may be called twice.
    pub(super) async fn stop(self: Arc<Self>) {
        self.turns.close();
        self.places.close();
        let drained = timeout(DRAIN_LIMIT, async {
            while lock(&self.entries).iter().any(|entry| entry.busy) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!(function = self.spec.name, "stopping although an invocation is running");
        }
        let entries = std::mem::take(&mut *lock(&self.entries));
        for entry in &entries {
            entry.environment.terminate();
        }
        let deadline = Instant::now() + TERMINATE_LIMIT;
        for entry in &entries {
            if !entry.environment.gone(deadline.saturating_duration_since(Instant::now())).await {
                entry.environment.kill();
            }
        }
        let deadline = Instant::now() + KILL_LIMIT;
        for entry in &entries {
            entry.environment.gone(deadline.saturating_duration_since(Instant::now())).await;
        }
    }
}
