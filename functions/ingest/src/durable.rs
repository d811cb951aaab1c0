//! Making messages durable: in the queue, or else in the spill table.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::{Clock, Timestamp};

use crate::breaker::Breaker;
use crate::queue::{Entry, EventQueue, enqueue};
use crate::spill::{SpillStore, spill};

/// How long the queue may take for all messages of a request, before what it has not confirmed is spilled.
pub const QUEUE_WITHIN: Duration = Duration::from_millis(1_600);
/// How long the spill table may take for them.
pub const SPILL_WITHIN: Duration = Duration::from_millis(1_400);

/// The queue and the spill table, and what this environment knows of their state.
pub struct Durable<Q, S> {
    queue: Q,
    queue_breaker: Breaker,
    spill: S,
    spill_breaker: Breaker,
    clock: Arc<dyn Clock>,
}

/// Neither took everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDurable {
    /// After what time one of the two is tried again.
    pub retry_after: Duration,
}

impl<Q: EventQueue, S: SpillStore> Durable<Q, S> {
    /// Puts the two together.
    pub fn new(queue: Q, spill: S, clock: Arc<dyn Clock>) -> Self {
        Self { queue, queue_breaker: Breaker::default(), spill, spill_breaker: Breaker::default(), clock }
    }

    /// Makes every entry of a request durable. Returns how many events and refused items had to be spilled.
    ///
    /// # Errors
    /// At least one entry may not be durable.
    pub async fn take(&self, receipt: &str, entries: Vec<Entry>) -> Result<usize, NotDurable> {
        let mut left = entries;
        if self.queue_breaker.lets_through(self.clock.now()) {
            let enqueued = within(QUEUE_WITHIN, enqueue(&self.queue, &mut left)).await;
            self.note(&self.queue_breaker, "queue", enqueued);
        }
        let spilled = left.iter().map(|entry| entry.items).sum();
        if !left.is_empty() && self.spill_breaker.lets_through(self.clock.now()) {
            let now = self.clock.now();
            let kept = within(SPILL_WITHIN, spill(&self.spill, receipt, &mut left, now)).await;
            self.note(&self.spill_breaker, "spill table", kept);
        }
        if left.is_empty() { Ok(spilled) } else { Err(NotDurable { retry_after: self.retry_after(self.clock.now()) }) }
    }

    /// Notes what a call came to, for the requests that follow.
    fn note(&self, breaker: &Breaker, place: &str, result: Result<(), String>) {
        match result {
            Ok(()) => breaker.succeeded(),
            Err(error) => {
                breaker.failed(self.clock.now());
                tracing::error!(place, error, "messages could not be made durable");
            }
        }
    }

    fn retry_after(&self, now: Timestamp) -> Duration {
        self.queue_breaker.left(now).min(self.spill_breaker.left(now))
    }
}

/// Runs a call for so long; its error in words for the log.
async fn within<E: std::error::Error>(time: Duration, call: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(time, call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(std::error::Error::source(&error).map_or(error.to_string(), |source| format!("{error}: {source:?}")))
        }
        Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use shared::clock::ManualClock;

    use super::*;
    use crate::queue::QueueError;
    use crate::spill::SpillError;

    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Works,
        Fails,
        Hangs,
    }

    /// Queue and spill table at once.
    struct Place {
        state: Mutex<State>,
        calls: AtomicU32,
        taken: Mutex<Vec<String>>,
    }

    impl Place {
        fn new(state: State) -> Self {
            Self { state: Mutex::new(state), calls: AtomicU32::new(0), taken: Mutex::default() }
        }

        async fn call(&self, text: impl Iterator<Item = String>) -> Result<(), &'static str> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let state = *self.state.lock().unwrap();
            match state {
                State::Works => {
                    self.taken.lock().unwrap().extend(text);
                    Ok(())
                }
                State::Fails => Err("away"),
                State::Hangs => std::future::pending().await,
            }
        }

        fn calls(&self) -> u32 {
            self.calls.swap(0, Ordering::SeqCst)
        }
    }

    impl EventQueue for &Place {
        async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
            let texts = batch.iter().map(|entry| entry.body.clone());
            self.call(texts).await.map(|()| vec![]).map_err(|error| QueueError::Call(error.into()))
        }
    }

    impl SpillStore for &Place {
        async fn keep(&self, id: &str, entry: &Entry, _: Timestamp) -> Result<(), SpillError> {
            let texts = std::iter::once(format!("{id} {}", entry.body));
            self.call(texts).await.map_err(|error| SpillError(error.into()))
        }
    }

    fn entries(count: usize) -> Vec<Entry> {
        (0..count).map(|number| Entry { group: "g".into(), body: format!("b{number}"), number, items: 3 }).collect()
    }

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_queue_does_not_take_is_spilled_under_names_of_its_own() {
        for state in [State::Fails, State::Hangs] {
            let (queue, table) = (Place::new(state), Place::new(State::Works));
            let durable = Durable::new(&queue, &table, clock());
            assert_eq!(durable.take("r", entries(2)).await, Ok(6));
            let mut taken = table.taken.lock().unwrap().clone();
            taken.sort();
            assert_eq!(taken, ["r.0 b0", "r.1 b1"]);
        }
        let (queue, table) = (Place::new(State::Works), Place::new(State::Works));
        assert_eq!(Durable::new(&queue, &table, clock()).take("r", entries(2)).await, Ok(0));
        assert!(table.taken.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_away_costs_one_request_its_time_and_is_found_when_it_is_back() {
        let (queue, table, clock) = (Place::new(State::Hangs), Place::new(State::Works), clock());
        let durable = Durable::new(&queue, &table, Arc::<ManualClock>::clone(&clock));
        for _ in 0..10 {
            assert_eq!(durable.take("r", entries(1)).await, Ok(3));
        }
        assert_eq!(queue.calls(), 1);
        *queue.state.lock().unwrap() = State::Works;
        clock.advance(Duration::from_secs(1));
        assert_eq!(durable.take("r", entries(1)).await, Ok(0));
        assert_eq!(durable.take("r", entries(1)).await, Ok(0));
        assert_eq!(queue.calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn with_both_away_the_time_to_wait_grows_with_the_trouble() {
        let (queue, table, clock) = (Place::new(State::Fails), Place::new(State::Hangs), clock());
        let durable = Durable::new(&queue, &table, Arc::<ManualClock>::clone(&clock));
        let mut waits = vec![];
        for _ in 0..7 {
            let error = durable.take("r", entries(1)).await.unwrap_err();
            waits.push(error.retry_after.as_secs());
            clock.advance(error.retry_after);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!((queue.calls(), table.calls()), (7, 7));
        // Asked again at once, neither is called.
        durable.take("r", entries(1)).await.unwrap_err();
        durable.take("r", entries(1)).await.unwrap_err();
        assert_eq!((queue.calls(), table.calls()), (1, 1));
    }
}
