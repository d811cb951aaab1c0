//! The server: binds the state machine, the journal, the clock and the HTTP front together, and starts and stops them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::change::Change;
use super::connection::{Connections, Cut};
use super::error::{Code, Refusal};
use super::faults::Faults;
use super::front::router;
use super::journal::Journal;
use super::names::{queue_arn, queue_path};
use super::queues::Queues;
use super::window::Window;

/// How often running move tasks go on without a call.
const MOVE_INTERVAL: Duration = Duration::from_millis(200);
/// How long stopping waits for calls that are being answered.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// How to run a server.
pub struct Options {
    /// The time, in Unix milliseconds.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Where to keep the journal; `None` keeps everything in memory only.
    pub data: Option<PathBuf>,
}

/// A running stand-in. Dropping it ends it at once, as a crash would; [`Server::stop`] lets calls finish.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    moving: JoinHandle<()>,
}

/// What all connections share.
pub(crate) struct Shared {
    /// `None` once the server has ended: a connection that outlives it changes nothing any more.
    state: Mutex<Option<Durable>>,
    arrivals: Mutex<HashMap<String, Arc<Notify>>>,
    pub(crate) faults: Faults,
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    endpoint: String,
    stopping: watch::Receiver<bool>,
}

struct Durable {
    queues: Queues,
    journal: Option<Journal>,
}

impl Server {
    /// Starts to serve on a listener, after replaying the journal if there is one.
    ///
    /// # Errors
    /// If the listener is not on loopback, or the journal cannot be read or written.
    pub async fn start(listener: TcpListener, options: Options) -> anyhow::Result<Server> {
        let address = listener.local_addr()?;
        ensure!(address.ip().is_loopback(), "the SQS stand-in serves loopback only, not {address}");
        let mut queues = Queues::new(|| Uuid::new_v4().to_string());
        // Read in place: nobody is served before it is done.
        let journal = options.data.map(|data| Journal::open(&data, &mut queues)).transpose()?;
        queues.keep_changes();
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            state: Mutex::new(Some(Durable { queues, journal })),
            arrivals: Mutex::default(),
            faults: Faults::default(),
            clock: options.clock,
            endpoint: format!("http://{address}"),
            stopping,
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        let moving = tokio::spawn(run_move_tasks(Arc::clone(&shared)));
        Ok(Server { shared, address, stop, serving: Some(serving), moving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint to give an AWS SDK: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.shared.endpoint.clone()
    }

    /// The fault switches, which stay connected to the server.
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// A look into the queues, for whoever watches them.
    pub fn window(&self) -> Window {
        Window::new(Arc::clone(&self.shared))
    }

    /// The URL of the queue of that name, whether it exists or not.
    pub fn queue_url(&self, name: &str) -> String {
        self.shared.queue_url(name)
    }

    /// The ARN of the queue of that name, whether it exists or not.
    pub fn queue_arn(name: &str) -> String {
        queue_arn(name)
    }

    /// Calls the state machine directly, at the server's time and with the same durability as over HTTP.
    ///
    /// # Errors
    /// As the call itself, and `InternalError` if its changes could not be written.
    pub fn with_queues<T>(&self, call: impl FnOnce(&mut Queues, i64) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.shared.with(call)
    }

    /// Tells the server that its clock has been moved, so that waiting receives look again.
    pub fn poke(&self) {
        self.shared.wake_all();
    }

    /// Stops: waiting receives return empty, calls being answered have 2 seconds to finish. Then the journal is written
    /// anew, for the users who were deleted: it holds what is in the queues, and nothing of messages that no longer are.
    /// That takes as long as writing so much. If it fails, the journal is as it was, which the log tells.
    pub async fn stop(mut self) {
        // Nobody listens any more only if serving has ended already.
        let _ = self.stop.send(true);
        if let Some(mut serving) = self.serving.take()
            && tokio::time::timeout(STOP_DEADLINE, &mut serving).await.is_err()
        {
            serving.abort();
        }
        let shared = Arc::clone(&self.shared);
        // A join error could only be a panic, which the log tells and after which the journal is as it was.
        let _ = tokio::task::spawn_blocking(move || shared.end()).await;
    }
}

#[cfg(test)]
impl Server {
    /// Puts another file in the journal's place, to which writing fails.
    pub(crate) fn break_journal(&self, file: std::fs::File) {
        let mut state = self.shared.state();
        let journal = state.as_mut().and_then(|durable| durable.journal.as_mut());
        journal.expect("the server has a data directory").file = file;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(serving) = &self.serving {
            serving.abort();
        }
        self.moving.abort();
        // Closes the journal and frees its directory, even while a connection still holds on to the rest.
        drop(self.shared.state().take());
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopping = shared.stopping();
    let service = router(shared).into_make_service_with_connect_info::<Cut>();
    let stopped = async move {
        // Fails only if the server was dropped, which is as good a reason to stop.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    // Never fails: accepting is retried in `Connections`.
    let _ = axum::serve(Connections::new(listener), service).with_graceful_shutdown(stopped).await;
}

async fn run_move_tasks(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(MOVE_INTERVAL);
    while !*shared.stopping.borrow() {
        interval.tick().await;
        // Every call runs the tasks first; one that does nothing else is enough. What cannot be written now is written
        // by the next call, which also reports it.
        if shared.has_running_task() {
            let _ = shared.with(|_, _| Ok(()));
        }
    }
}

impl Shared {
    /// Makes a call on the state, and writes what it changed before anyone is told. It blocks its thread meanwhile: the
    /// call is logarithmic and the write goes to the operating system's memory, so handing it to another thread would
    /// cost more.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Queues, i64) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut state = self.state();
        let Some(Durable { queues, journal }) = state.as_mut() else {
            return Err(Refusal::new(Code::ServiceUnavailable, "The server has stopped."));
        };
        let unwritten = |error: std::io::Error| {
            tracing::error!(%error, "the SQS journal cannot be written");
            Refusal::new(Code::InternalError, "The change could not be made durable.")
        };
        if let Some(journal) = journal {
            journal.ready().map_err(unwritten)?;
        }
        let now_ms = (self.clock)();
        queues.run_move_tasks(now_ms);
        let outcome = call(queues, now_ms);
        let changes = queues.take_changes();
        let written = journal.as_mut().map_or(Ok(()), |journal| {
            journal.append(&changes)?;
            // The old journal is whole, so a compaction that fails costs nothing but space.
            if let Err(error) = journal.compact_if_grown(queues) {
                tracing::warn!(%error, "the SQS journal cannot be compacted");
            }
            Ok(())
        });
        drop(state);
        self.wake_for(&changes);
        written.map_err(unwritten)?;
        outcome
    }

    /// Ends: no call changes anything any more, and the journal is compacted and closed.
    fn end(&self) {
        let Some(Durable { mut queues, journal: Some(mut journal) }) = self.state().take() else { return };
        queues.settle_all((self.clock)());
        if let Err(error) = journal.compact(&queues) {
            tracing::error!(%error, "the SQS journal cannot be compacted: it still holds messages that were deleted");
        }
    }

    /// A call that panicked may have left the state half changed: the next one must not build on it.
    fn state(&self) -> MutexGuard<'_, Option<Durable>> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.take();
            state
        })
    }

    fn has_running_task(&self) -> bool {
        self.state().as_ref().is_some_and(|durable| durable.queues.has_running_task())
    }

    pub(crate) fn queue_url(&self, name: &str) -> String {
        format!("{}{}", self.endpoint, queue_path(name))
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// What announces arrivals in a queue to its waiting receives; only for a queue that exists, so that made-up names
    /// cost no memory.
    pub(crate) fn arrival(&self, queue: &str) -> Result<Arc<Notify>, Refusal> {
        if !self.with(|queues, _| Ok(queues.has_queue(queue)))? {
            return Err(Refusal::no_queue());
        }
        Ok(Arc::clone(self.arrivals().entry(queue.to_owned()).or_default()))
    }

    /// Every change to the map is one step, so a panic elsewhere cannot leave it half changed.
    fn arrivals(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_for(&self, changes: &[Change]) {
        for queue in changes.iter().flat_map(Change::wakes) {
            self.wake(queue);
        }
        for change in changes {
            if let Change::Deleted { queue, .. } = change {
                self.arrivals().remove(queue);
            }
        }
    }

    pub(crate) fn wake(&self, queue: &str) {
        if let Some(arrival) = self.arrivals().get(queue) {
            arrival.notify_waiters();
        }
    }

    fn wake_all(&self) {
        for arrival in self.arrivals().values() {
            arrival.notify_waiters();
        }
    }
}
