//! The one thread that starts children.
//!
//! Linux sends a parent-death signal when the *thread* that started the child ends, not the process. The runtime's own
//! threads come and go (a worker that blocks hands its work on and may retire), so a child started from one of them
//! could be killed at any time. This thread lives as long as the functions do.

use std::io;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts children on a thread of its own, which ends when this is dropped.
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread; the present tokio runtime will watch over the children.
    pub(super) fn start() -> Self {
        // The queue is bounded by its users: each environment sends one request and waits for the reply.
        let (requests, queue) = mpsc::channel::<Request>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("lambda-spawner".to_owned())
            .spawn(move || {
                let _context = runtime.enter();
                while let Ok(Request { mut command, reply }) = queue.recv() {
                    // Whoever asked may have gone; the child is then dropped here, and killed by that.
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("the operating system gives a process one more thread");
        Self { requests }
    }

    /// Starts a child. Needs no deadline: starting a process takes milliseconds, and nothing can block it for long.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts children has ended");
        self.requests.send(Request { command, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
