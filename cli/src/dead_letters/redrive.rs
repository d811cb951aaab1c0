//! Sending letters round again, many of them: at a pace, a few at a time, and with an account of what became of them.

use std::collections::BTreeMap;
use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consume::queue::Queue;
use consume::table::{Key, Table};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::error::Error;
use super::one::{Fate, Options, Ports, redrive_one};

/// Letters that are under work at the same time. Each holds its body a few times over: 4 MiB at the most.
const IN_FLIGHT: usize = 4;
/// The shortest pause between two letters: tokio's clock counts milliseconds, and takes no interval of none.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Failed letters after which no further ones are taken: what keeps them from being sent would keep the others too.
pub const FAILED_MAX: usize = 10;

/// What became of the letters that were taken.
#[derive(Debug, Default)]
pub struct Summary {
    /// Letters that are under way.
    pub sent: usize,
    /// Letters that would be sent, were this no dry run.
    pub would_send: usize,
    /// Letters that were left as they are, by the tag of [`super::Skip`].
    pub skipped: BTreeMap<&'static str, usize>,
    /// Letters that were not sent, or of which that is not known.
    pub failed: usize,
    /// Why no further letters were taken, if there may have been more.
    pub stopped: Option<Error>,
}

impl Summary {
    fn add(&mut self, fate: &Fate) {
        match fate {
            Fate::Sent { .. } => self.sent += 1,
            Fate::WouldSend(_) => self.would_send += 1,
            Fate::Skipped(skip) => *self.skipped.entry(skip.tag()).or_insert(0) += 1,
            Fate::Failed(_) => self.failed += 1,
        }
    }
}

/// Redrives letters, and tells `progress` what became of each, in their order. Those to take are the keys of a
/// [`list`](fn@super::list), or any others.
///
/// It may be stopped at any moment. A letter that it was then about to send counts as under way for
/// [`UNDER_WAY`](super::UNDER_WAY), and is taken again after that.
pub async fn redrive<T: Table, Q: Queue>(
    ports: &Ports<'_, T, Q>,
    keys: impl Stream<Item = Result<Key, Error>>,
    options: &Options,
    mut progress: impl FnMut(&Key, &Fate),
) -> Summary {
    let stopping = AtomicBool::new(false);
    // No further ones are taken, but those under work are brought to their end.
    let keys = keys.take(options.letters_max).zip(ticks(options));
    let keys = keys.take_while(|_| ready(!stopping.load(Ordering::Relaxed)));
    let fates = keys.map(|(key, ())| async move {
        let key = key?;
        let fate = redrive_one(ports, &key, options).await;
        Ok((key, fate))
    });
    let mut fates = pin!(fates.buffered(IN_FLIGHT));
    let mut summary = Summary::default();
    while let Some(next) = fates.next().await {
        match next {
            Ok((key, fate)) => {
                progress(&key, &fate);
                summary.add(&fate);
            }
            Err(error) => summary.stopped = Some(error),
        }
        if summary.failed >= FAILED_MAX {
            stopping.store(true, Ordering::Relaxed);
        }
    }
    if summary.failed >= FAILED_MAX {
        summary.stopped = Some(Error::TooManyFailed { failed: summary.failed });
    }
    summary
}

/// One tick for each letter that may be taken.
fn ticks(options: &Options) -> impl Stream<Item = ()> {
    let paced = (!options.dry_run).then(|| {
        let pause = Duration::from_secs(1) / options.per_second.get();
        let mut interval = interval(pause.max(PAUSE_MIN));
        // After a pause the letters come at their pace again, and not all at once.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    });
    stream::unfold(paced, |mut paced: Option<Interval>| async move {
        if let Some(interval) = &mut paced {
            interval.tick().await;
        }
        Some(((), paced))
    })
}
