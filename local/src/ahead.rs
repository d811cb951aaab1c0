//! A clock that can be moved forward, so that nobody has to sit out a visibility time-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock::{Clock, Timestamp};

/// Another clock, and how far this one is ahead of it.
pub(crate) struct Ahead {
    clock: Arc<dyn Clock>,
    millis: AtomicU64,
}

impl Ahead {
    /// At first it shows what the other clock does.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, millis: AtomicU64::new(0) }
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.clock.now().plus(Duration::from_millis(self.millis.load(Ordering::SeqCst)))
    }
}
