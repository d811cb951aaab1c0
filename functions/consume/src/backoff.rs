//! How long a message that is given back waits until it comes again, and what an outage may last at the most.

use std::time::Duration;

use shared::outcome::Cause;

/// The wait after the first receive; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(15);
/// The wait after the first receive where a person must help: a permission, a missing table.
const FIRST_DENIED: Duration = Duration::from_secs(2 * 60);
/// The wait of a message over which our code panicked. More of them bring it to the quarantine, where it is taken apart.
const PANICKED: Duration = Duration::from_secs(10);
/// The longest wait. It is how much later than it could, a backlog begins to drain; and messages that wait are in flight,
/// of which a queue has at most 120,000 (SQS quotas).
const MAX: Duration = Duration::from_secs(10 * 60);
/// The least part of a wait that is left by the jitter, which keeps messages of one batch from coming back together.
const JITTER_LEAST: f64 = 0.75;
/// Receives that may be lost before they reach the function, as when its concurrency is used up, without shortening the
/// outage that is outlasted.
const LOST_RECEIVES: u32 = 5;

/// The outage that a message must outlast without moving to the quarantine.
pub const OUTAGE: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a message waits that was received `receive_count` times and is given back for `cause`. The same message and
/// count always wait the same; `message_id` only spreads them.
#[must_use]
pub fn wait(cause: Cause, receive_count: u32, message_id: &str) -> Duration {
    let first = match cause {
        Cause::Throttled | Cause::Unavailable | Cause::TimedOut | Cause::Contended | Cause::Unstarted => FIRST,
        Cause::Denied => FIRST_DENIED,
        Cause::Panicked => return PANICKED,
    };
    longest(first, receive_count).mul_f64(JITTER_LEAST + (1.0 - JITTER_LEAST) * spread(message_id, receive_count))
}

/// How long an outage a message outlasts at the least, with a queue that lets it be received `receives_max` times before
/// it moves to the quarantine.
#[must_use]
pub fn outlasts(receives_max: u32) -> Duration {
    // After the last receive it waits no more, but moves.
    let waits = receives_max.saturating_sub(1).saturating_sub(LOST_RECEIVES);
    (1..=waits).map(|count| longest(FIRST, count).mul_f64(JITTER_LEAST)).sum()
}

fn longest(first: Duration, receive_count: u32) -> Duration {
    (first * 2_u32.pow(receive_count.saturating_sub(1).min(16))).min(MAX)
}

/// A number from 0 to 1 that looks like chance.
fn spread(message_id: &str, receive_count: u32) -> f64 {
    let hash = shared::keys::hash(&[message_id, &receive_count.to_string()]);
    let byte = |position: usize| f64::from(hash.as_bytes()[position] % 64);
    (byte(0) * 64.0 + byte(1)) / 4096.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Cause; 7] = [
        Cause::Throttled,
        Cause::Unavailable,
        Cause::TimedOut,
        Cause::Denied,
        Cause::Contended,
        Cause::Unstarted,
        Cause::Panicked,
    ];

    #[test]
    fn waits_grow_with_the_receives_within_their_bounds() {
        let seconds = |count| wait(Cause::Throttled, count, "id").as_secs_f64();
        for (count, most) in [(1, 15.0), (2, 30.0), (3, 60.0), (6, 480.0), (7, 600.0), (60, 600.0), (1000, 600.0)] {
            assert!((most * JITTER_LEAST..=most).contains(&seconds(count)), "{count}: {}", seconds(count));
        }
        for cause in ALL {
            assert!((1..=u32::MAX).step_by(99_999_999).all(|count| wait(cause, count, "id") <= MAX), "{cause:?}");
        }
        assert!(wait(Cause::Denied, 1, "id") > wait(Cause::Throttled, 2, "id"));
    }

    #[test]
    fn messages_of_one_batch_do_not_come_back_together() {
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|number| wait(Cause::Throttled, 7, &format!("message {number}")).as_millis()).collect();
        assert!(waits.len() > 90, "{}", waits.len());
        assert!(waits.last().unwrap() - waits.first().unwrap() > 100_000);
    }

    #[test]
    fn more_receives_outlast_a_longer_outage() {
        assert_eq!(outlasts(0), Duration::ZERO);
        assert_eq!(outlasts(LOST_RECEIVES + 2), FIRST.mul_f64(JITTER_LEAST));
        assert!(outlasts(10) < OUTAGE && outlasts(60) >= OUTAGE, "{:?} {:?}", outlasts(10), outlasts(60));
    }
}
