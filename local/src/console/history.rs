//! Figures of the last minutes, one set a second.

use std::collections::VecDeque;

use serde::Serialize;

/// How many sets are kept: five minutes.
pub(super) const SAMPLES_MAX: usize = 300;

/// The figures of one moment. Those that end in `_total` only grow; the others come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Sample {
    /// Its place in the order of all sets, from 1.
    pub(super) seq: u64,
    /// When, in Unix milliseconds.
    pub(super) at: i64,
    /// Items acknowledged.
    pub(super) acknowledged_total: u64,
    /// Of those, items that went through the spill table.
    pub(super) spilled_total: u64,
    /// Items stored.
    pub(super) stored_total: u64,
    /// Items that were duplicates.
    pub(super) duplicate_total: u64,
    /// Items whose subject was deleted later than they happened.
    pub(super) erased_total: u64,
    /// Items that are dead letters. One that is stored after all leaves them, and so this may become less.
    pub(super) dead_total: u64,
    /// Requests refused for their own fault.
    pub(super) refused_total: u64,
    /// Requests that were answered with an error of ours.
    pub(super) failed_total: u64,
    /// Messages in the queue, in flight ones included.
    pub(super) waiting: u64,
    /// Messages in the quarantine, in flight ones included.
    pub(super) quarantine: u64,
    /// Messages in the spill table.
    pub(super) spill: u64,
}

/// The last sets.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    last: u64,
}

impl History {
    /// Adds a set, and lets go of the oldest.
    pub(super) fn add(&mut self, sample: Sample) {
        self.last += 1;
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { seq: self.last, ..sample });
    }

    /// The sets after that number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.seq > seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minutes_are_kept() {
        let mut history = History::default();
        for at in 0..400 {
            history.add(Sample { at, ..Sample::default() });
        }
        let kept: Vec<(u64, i64)> = history.after(0).map(|sample| (sample.seq, sample.at)).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (SAMPLES_MAX, Some(&(101, 100)), Some(&(400, 399))));
        assert_eq!(history.after(398).count(), 2);
    }
}
