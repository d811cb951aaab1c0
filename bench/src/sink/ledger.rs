//! What the services were asked for, and what AWS would charge for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The counts since the last [`Ledger::take`].
#[derive(Default)]
pub struct Ledger(Mutex<Tally>);

/// Calls, and what they came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Calls by action.
    pub calls: BTreeMap<String, u64>,
    /// Calls that were refused: an action or a shape that is not known here.
    pub refused: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Requests as SQS bills them: one for each 64 KiB of a call.
    pub queue_units: u64,
    /// Items that were written.
    pub items: u64,
    /// Their bytes, as DynamoDB counts them.
    pub item_bytes: u64,
    /// Write units: one for each KiB of an item.
    pub write_units: u64,
    /// Read units: one for each 4 KiB of an item that is read consistently, and half of one otherwise.
    pub read_units: f64,
    /// How long each call took from its last byte to the answer, in nanoseconds.
    pub service_ns: Vec<u64>,
}

impl Tally {
    /// Notes a call.
    pub fn count_call(&mut self, action: &str, status: u16, took: Duration) {
        *self.calls.entry(action.to_owned()).or_insert(0) += 1;
        self.refused += u64::from(status != 200);
        self.service_ns.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes an item that was written.
    pub fn count_item(&mut self, bytes: u64) {
        self.items += 1;
        self.item_bytes += bytes;
        self.write_units += bytes.div_ceil(1_024).max(1);
    }

    /// All calls.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

impl Ledger {
    /// Takes what has been counted, and begins anew.
    pub fn take(&self) -> Tally {
        self.with(std::mem::take)
    }

    /// Counts something.
    pub fn with<T>(&self, count: impl FnOnce(&mut Tally) -> T) -> T {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_costs_a_unit_for_each_kib_begun() {
        let mut tally = Tally::default();
        [1, 1_024, 1_025].into_iter().for_each(|bytes| tally.count_item(bytes));
        assert_eq!((tally.items, tally.item_bytes, tally.write_units), (3, 2_050, 4));
    }
}
