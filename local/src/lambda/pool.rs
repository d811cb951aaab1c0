//! The environments of one function: which are free, which are busy, and how many there may be.

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
    /// One place an environment, from its start until its process is gone. Closed when the pool stops.
    places: Arc<Semaphore>,
    /// The most recently used last.
    entries: Mutex<Vec<Entry>>,
}

impl Pool {
    pub(super) fn new(spec: FunctionSpec, sink: Sink, spawner: Arc<Spawner>) -> Self {
        let places = Arc::new(Semaphore::new(spec.environments_max.min(Semaphore::MAX_PERMITS)));
        Self { spec, sink, spawner, places, entries: Mutex::default() }
    }

    /// Runs an invocation on a task of its own, so that it goes on if the caller stops waiting.
    pub(super) async fn invoke(self: &Arc<Self>, payload: Bytes, root: String) -> Result<Bytes, InvokeError> {
        let claim = self.claim()?;
        let (reply, result) = oneshot::channel();
        tokio::spawn(Arc::clone(self).run(claim, payload, root, reply));
        result.await.unwrap_or_else(|_| Err(InvokeError::Crashed { status: "the server is shutting down".to_owned() }))
    }

    fn claim(&self) -> Result<Claim, InvokeError> {
        let mut entries = lock(&self.entries);
        entries.retain(|entry| entry.busy || entry.environment.is_usable());
        if self.places.is_closed() {
            return Err(InvokeError::Throttled);
        }
        if let Some(entry) = entries.iter_mut().rev().find(|entry| !entry.busy) {
            entry.busy = true;
            return Ok(Claim::Warm(Arc::clone(&entry.environment)));
        }
        Arc::clone(&self.places).try_acquire_owned().map(Claim::Cold).map_err(|_| InvokeError::Throttled)
    }

    async fn run(
        self: Arc<Self>,
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
                    // The caller may have stopped waiting; so it is with every reply below.
                    let _ = reply.send(Err(error));
                    return;
                }
            },
        };
        let deadline = Instant::now() + self.spec.timeout;
        let result = environment.run(&self.spec, payload, &root).await;
        if let Err(error) = &result {
            self.log(error);
        }
        if let Ok(usable) = timeout(SETTLE_GRACE, environment.settled()).await {
            self.release(&environment, usable);
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

    /// As [`super::Lambda::stop`] says. It may be called twice.
    pub(super) async fn stop(self: Arc<Self>) {
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
