//! A look into the queues from outside, past the faults.

use std::sync::Arc;

use super::change::Change;
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

    /// How many messages a queue has, and what `look` makes of each. It has no effect on them. Nothing else can use the queues meanwhile, so it
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

    /// Ends the wait of all messages in flight, as the end of their visibility time-outs would. Returns how many there
    /// were.
    ///
    /// # Errors
    /// There is no such queue, or the server has stopped.
    pub fn reveal(&self, queue: &str) -> Result<usize, Refusal> {
        self.shared.with(|queues, now_ms| {
            let backlog = &queues.settle(now_ms, queue)?.backlog;
            let hidden = backlog.messages().map(|message| message.seq).filter(|seq| backlog.is_in_flight(*seq));
            let hidden: Vec<u64> = hidden.collect();
            for seq in &hidden {
                let (queue, seq) = (queue.to_owned(), *seq);
                queues.commit(Change::VisibilityChanged { queue, seq, visible_at_ms: now_ms });
            }
            Ok(hidden.len())
        })
    }
}
