//! A task that is told to stop, and is then waited for.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long what is under way may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Becomes true, or loses its sender, when a task is to stop.
pub(crate) type Stop = watch::Receiver<bool>;

/// A source of invocations that runs. Dropping it lets it end by itself; [`Self::stop`] waits for that.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Runs on a task of its own. Needs a tokio runtime.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(Stop) -> F) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(run(stopped)) }
    }

    /// Begins nothing more, and waits up to 10 s for invocations that run and for what follows from them.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let task = self.task.abort_handle();
        if timeout(STOP_LIMIT, self.task).await.is_err() {
            task.abort();
        }
    }
}

/// Whether a task is to stop.
pub(crate) fn stopped(stop: &Stop) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits, but no longer than until the task is to stop.
pub(crate) async fn pause(stop: &mut Stop, length: Duration) {
    // Which of the two ends the wait makes no difference: whoever waits looks at `stopped` next.
    let _ = timeout(length, stop.wait_for(|stop| *stop)).await;
}
