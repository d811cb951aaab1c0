//! Lambda on one machine: each environment of a function is a child process that speaks the real Runtime API.
//!
//! Events cross a process boundary, so an environment can crash, run out of memory or of time, be killed, and be
//! started again, all as on AWS. Environments are started when an invocation finds none free, and are reused.

mod body;
mod child;
mod environment;
mod output;
mod pool;
mod runtime_api;
mod spawner;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

pub(crate) use body::{Collected, collect};
pub use child::{die_with_parent, limit_memory};
use pool::Pool;
use spawner::Spawner;
use uuid::Uuid;

/// The most bytes of a synchronous invocation's request, and of its response (AWS: 6 MiB and 100 bytes).
pub const PAYLOAD_BYTES_MAX: usize = 6_291_556;

/// The account that every ARN of the local pipeline names.
pub const ACCOUNT: &str = "000000000000";

/// The Region that every ARN of the local pipeline names.
pub const REGION: &str = "us-east-1";

/// Receives each line that a function writes to its standard output or error: the function's name, then the line
/// without its end. It is called on the server's own tasks, so it must return soon.
pub type Sink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A function as the template describes it.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// The name it is invoked by.
    pub name: String,
    /// The executable of an environment.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its memory in MiB. The child is told, and keeps to it by calling [`limit_memory`].
    pub memory_mb: u32,
    /// The longest an invocation may take, from when it is handed to the environment.
    pub timeout: Duration,
    /// Variables of the environment. Of this process's own environment nothing reaches the child but `PATH`.
    pub environment: BTreeMap<String, String>,
    /// How many environments may be alive at once: the function's reserved concurrency. Zero never runs.
    pub environments_max: usize,
}

/// Why an invocation has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No function has this name.
    #[error("there is no function {0:?}")]
    UnknownFunction(String),
    /// The payload is larger than [`PAYLOAD_BYTES_MAX`]; the function was not run.
    #[error("{bytes} bytes of payload exceed the {PAYLOAD_BYTES_MAX} of a synchronous invocation")]
    RequestTooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// Every environment is busy and no more may be started, or Lambda is stopping; the function was not run.
    #[error("Rate Exceeded.")]
    Throttled,
    /// The function's handler returned an error.
    #[error("the function returned an error: {}", String::from_utf8_lossy(payload))]
    FunctionError {
        /// What it reported: a JSON object with `errorType` and `errorMessage`.
        payload: Bytes,
    },
    /// The function took too long and was killed.
    #[error("Task timed out after {:.2} seconds", after.as_secs_f64())]
    TimedOut {
        /// The function's time-out.
        after: Duration,
    },
    /// The environment ended during the invocation: it crashed, was killed, or ran out of memory.
    #[error("Runtime exited with error: {status}")]
    Crashed {
        /// How it ended, as the operating system says.
        status: String,
    },
    /// The environment never became ready; the function was not run.
    #[error("the function did not start: {reason}")]
    InitFailed {
        /// What it reported, or how it ended.
        reason: String,
    },
    /// The response is larger than [`PAYLOAD_BYTES_MAX`] (AWS: `Function.ResponseSizeTooLarge`).
    #[error("Response payload size exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes).")]
    ResponseTooLarge,
}

/// A handle on all functions; clones share them. Dropping the last one kills every environment.
#[derive(Clone)]
pub struct Lambda {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
}

impl Lambda {
    /// Makes the functions known. No environment is started before the first invocation.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or when the operating system refuses a thread.
    pub fn start(specs: impl IntoIterator<Item = FunctionSpec>, sink: Sink) -> Self {
        let spawner = Arc::new(Spawner::start());
        let pools = specs.into_iter().map(move |spec| {
            let name = spec.name.clone();
            (name, Arc::new(Pool::new(spec, Arc::clone(&sink), Arc::clone(&spawner))))
        });
        Self { pools: Arc::new(pools.collect()) }
    }

    /// Runs a function and waits for its response. Ends by itself: initialisation and invocation have their limits.
    /// A caller who stops waiting does not stop the function, as on AWS.
    ///
    /// # Errors
    ///
    /// As [`InvokeError`] says. [`InvokeError::Throttled`] is returned at once; it is for the caller to wait.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.invoke_within(function, payload, new_trace_root(), Duration::ZERO).await
    }

    /// Like [`Self::invoke`], but waits up to `patience` for a free environment, in turn with others who wait, and in a
    /// trace that exists already: `root` is the `1-…-…` of an `X-Amzn-Trace-Id`.
    ///
    /// # Errors
    ///
    /// As [`Self::invoke`]; [`InvokeError::Throttled`] after `patience`.
    pub async fn invoke_within(
        &self,
        function: &str,
        payload: Bytes,
        root: String,
        patience: Duration,
    ) -> Result<Bytes, InvokeError> {
        let pool = self.pools.get(function).ok_or_else(|| InvokeError::UnknownFunction(function.to_owned()))?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(InvokeError::RequestTooLarge { bytes: payload.len() });
        }
        pool.invoke(payload, root, patience).await
    }

    /// Kills one environment of a function with SIGKILL, a busy one first. `false` if there is none.
    #[must_use]
    pub fn kill_one(&self, function: &str) -> bool {
        self.pools.get(function).is_some_and(|pool| pool.kill_one())
    }

    /// Has every invocation of a function crash, or no more of them. In turn, its environment is killed before it does its
    /// work, and after it has done it, when nobody has heard of it. `false` if there is no such function.
    pub fn set_crashing(&self, function: &str, crashing: bool) -> bool {
        self.pools.get(function).map(|pool| pool.set_crashing(crashing)).is_some()
    }

    /// Refuses new invocations, lets running ones end within 5 s, then ends every environment, by force if need be.
    /// Takes 12 s at the most.
    pub async fn stop(&self) {
        let stops: Vec<_> = self.pools.values().map(|pool| tokio::spawn(Arc::clone(pool).stop())).collect();
        for stop in stops {
            // A pool's stop is bounded by itself, and an error here could only be its panic.
            if let Err(error) = stop.await {
                tracing::warn!(%error, "a function could not be stopped");
            }
        }
    }
}

/// A new root of a trace: `1-`, the time in seconds, and 96 random bits.
pub(crate) fn new_trace_root() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("1-{:08x}-{}", epoch_millis() / 1000, &random[..24])
}

/// The machine's clock, in milliseconds since 1970. Children compare their deadlines with the same clock.
pub(crate) fn epoch_millis() -> i64 {
    use shared::clock::{Clock, SystemClock};
    SystemClock.now().as_millis()
}

/// Locks a mutex whose data are sound even after a panic elsewhere, because every change to them is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
