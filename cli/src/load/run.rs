//! Sending a plan's requests at their times.

use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hdrhistogram::Histogram;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::plan::Plan;
use crate::http::Http;
use crate::producer::{Delivered, deliver};

/// The longest latency that is told apart, in microseconds: all tries of a call take less.
const LATENCY_MAX_US: u64 = 600_000_000;
/// The shortest pause between two requests: tokio's clock counts milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What became of a run so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Events in requests that were answered 200.
    pub acknowledged: u64,
    /// Events in requests that were answered that they can never be accepted.
    pub refused: u64,
    /// Events in requests that came to nothing after all tries, or of which that is not known.
    pub failed: u64,
    /// Tries that were not the last.
    pub again: u64,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The counts.
    pub progress: Progress,
    /// Whether each event was acknowledged, by its number.
    pub acknowledged: Vec<bool>,
    /// Microseconds from when a request was due to its last answer: so a slow answer counts for all that waited behind it.
    pub latency: Histogram<u64>,
    /// How long it took.
    pub took: Duration,
    /// What the last request that was not accepted came to; empty if there was none.
    pub trouble: String,
}

/// Runs a plan, and tells `progress` after each request. It takes as long as the plan says, and then as long as the
/// requests under way; it ends early when `stop` does.
///
/// # Panics
/// Never: the bounds of the histogram are constants.
pub async fn run(
    http: &Http,
    plan: &Plan,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Progress),
) -> Outcome {
    let events = usize::try_from(plan.events()).unwrap_or(usize::MAX);
    let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("these bounds are possible");
    let mut outcome = Outcome {
        progress: Progress::default(),
        acknowledged: vec![false; events],
        latency,
        took: Duration::ZERO,
        trouble: String::new(),
    };
    let began = Instant::now();
    let pause = plan.pause().max(PAUSE_MIN);
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let numbers = stream::unfold((0, ticks), |(request, mut ticks)| async move {
        if request == plan.requests() {
            return None;
        }
        let due = ticks.tick().await;
        Some(((request, due), (request + 1, ticks)))
    });
    let answers = numbers.take_until(stop).map(|(request, due)| async move {
        let mut again = 0;
        let delivered = deliver(http, &plan.call(request), || again += 1).await;
        (request, delivered, again, due.elapsed())
    });
    let mut answers = pin!(answers.buffer_unordered(plan.clients.get() as usize));
    while let Some((request, delivered, again, waited)) = answers.next().await {
        let numbers = plan.events_of(request);
        let count = numbers.end - numbers.start;
        outcome.latency.saturating_record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        outcome.progress.again += again;
        match delivered {
            Delivered::Accepted { .. } => {
                outcome.progress.acknowledged += count;
                for number in numbers {
                    outcome.acknowledged[usize::try_from(number).unwrap_or(usize::MAX)] = true;
                }
            }
            Delivered::Refused { status, message } => {
                outcome.progress.refused += count;
                outcome.trouble = format!("{status} {message}");
            }
            Delivered::Failed { message } => {
                outcome.progress.failed += count;
                outcome.trouble = message;
            }
        }
        progress(&outcome.progress);
    }
    outcome.took = began.elapsed();
    outcome
}
