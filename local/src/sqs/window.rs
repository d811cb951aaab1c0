//! A look into the queues from outside: past the faults, and without any effect on messages.

use std::sync::Arc;

use super::error::Refusal;
use super::message::Message;
use super::queue::Depth;
use super::server::Shared;

/// A window on a server's queues. It does not keep the server running.
#[derive(Clone)]
pub struct Window {
    shared: Arc<Shared>,
}

impl Window {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How many messages a queue has, and what `look` makes of them. Nothing else can use the queues meanwhile, so it
    /// must be quick.
    ///
    /// # Errors
    /// There is no such queue, or the server has stopped.
    pub fn look(&self, queue: &str, mut look: impl FnMut(&Message)) -> Result<Depth, Refusal> {
        self.shared.with(|queues, now_ms| {
            let queue = queues.settle(now_ms, queue)?;
            queue.backlog.messages().for_each(&mut look);
            Ok(queue.depth())
        })
    }

    /// Tells the server that its clock has been moved, so that waiting receives look again.
    pub fn poke(&self) {
        self.shared.wake_all();
    }
}
