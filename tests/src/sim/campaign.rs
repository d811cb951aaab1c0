//! Many histories on all cores, and what they came to together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Mistake, Violation, run};

/// What many histories came to.
#[derive(Debug, Default)]
pub struct Campaign {
    /// How many were run.
    pub histories: u64,
    /// How often what happened in all of them.
    pub counts: BTreeMap<&'static str, u64>,
    /// What was broken, each with its seed, in the order of seeds.
    pub broken: Vec<(u64, Violation)>,
}

/// Runs the histories of these seeds, until so many of them have broken something. `progress` is told after each what
/// all came to until then, and of which seed it was and what it has broken.
pub fn campaign(
    seeds: Range<u64>,
    mistake: Option<Mistake>,
    broken_max: usize,
    progress: impl Fn(&Campaign, u64, &[Violation]) + Sync,
) -> Campaign {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Campaign::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let history = run(seed, mistake, false);
                    let mut sum = sum.lock().expect("nothing panics while it holds the sum");
                    sum.histories += 1;
                    for (what, count) in history.counts {
                        *sum.counts.entry(what).or_insert(0) += count;
                    }
                    sum.broken.extend(history.violations.iter().map(|violation| (seed, violation.clone())));
                    progress(&sum, seed, &history.violations);
                    if sum.broken.len() >= broken_max {
                        return;
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().expect("nothing panics while it holds the sum");
    sum.broken.sort_by_key(|(seed, _)| *seed);
    sum
}
