//! A circuit breaker: what is known of a service that does not answer, so that its absence does not cost every request
//! the time to find it out again.

use std::sync::Mutex;
use std::time::Duration;

use shared::clock::Timestamp;

/// How long a service is left alone after its first failure; it doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest that it is left alone: so much later than it could, a request finds out that it is back.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is known of a service. Each environment of the function has its own knowledge.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// When it last failed.
    failed_at: Option<Timestamp>,
}

impl State {
    fn pause(self) -> Duration {
        (PAUSE_FIRST * 2_u32.pow(self.failures.saturating_sub(1).min(16))).min(PAUSE_MAX)
    }

    /// How long the service is still to be left alone. A clock that was set back ends the pause rather than making it
    /// longer.
    fn left(self, now: Timestamp) -> Duration {
        let Some(failed_at) = self.failed_at.filter(|failed_at| now >= *failed_at) else { return Duration::ZERO };
        self.pause().saturating_sub(now.since(failed_at))
    }
}

const NEVER_POISONED: &str = "nothing panics while it holds the state";

impl Breaker {
    /// Whether the service may be called: it worked the last time, or has been left alone for long enough.
    pub fn lets_through(&self, now: Timestamp) -> bool {
        self.left(now).is_zero()
    }

    /// How long it is still to be left alone: when a request may find it back.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.state.lock().expect(NEVER_POISONED).left(now)
    }

    /// Notes that a call succeeded.
    pub fn succeeded(&self) {
        *self.state.lock().expect(NEVER_POISONED) = State::default();
    }

    /// Notes that a call failed, with all its retries.
    pub fn failed(&self, now: Timestamp) {
        let mut state = self.state.lock().expect(NEVER_POISONED);
        *state = State { failures: state.failures.saturating_add(1), failed_at: Some(now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_service_is_left_alone_longer_the_longer_it_is_away() {
        let breaker = Breaker::default();
        assert!(breaker.lets_through(at(0)));
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            breaker.failed(at(now));
            assert_eq!(breaker.left(at(now)), Duration::from_secs(pause));
            assert!(!breaker.lets_through(at(now + 999)));
            now += i64::try_from(pause).unwrap() * 1000;
            assert!(breaker.lets_through(at(now)));
        }
        breaker.succeeded();
        assert!(breaker.lets_through(at(now)));
        breaker.failed(at(now));
        assert_eq!(breaker.left(at(now)), Duration::from_secs(1));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_lock_a_service_out() {
        let breaker = Breaker::default();
        breaker.failed(at(3_600_000));
        assert!(breaker.lets_through(at(0)));
    }
}
