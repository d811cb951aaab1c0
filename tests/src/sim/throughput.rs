//! What a table takes in a second, in DynamoDB's write units, and what was asked of it. Both are off by default.
//!
//! A write takes a unit for each KiB of its item, whether or not its condition holds. A partition key, and the table, take
//! so many a second, and save up no more than those of one second. DynamoDB's own bursts are longer, but not promised.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use consume::table::{Item, Key};

/// The bytes of an item that one write unit pays for.
const UNIT_BYTES: usize = 1_024;

/// The most write units a second; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Of each partition key.
    pub partition: Option<f64>,
    /// Of the table.
    pub table: Option<f64>,
}

/// What was asked of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Calls, by what they do.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Write units that were spent, by partition key.
    pub(crate) units: BTreeMap<String, u64>,
    /// Those of them that were spent on inserts of what was there already.
    pub(crate) units_in_vain: u64,
    /// Writes that were throttled.
    pub(crate) throttled: u64,
    /// Items that were inserted, and when.
    pub(crate) inserted: Vec<(Key, Duration)>,
}

/// The write units of an item.
pub(crate) fn units(item: &Item) -> u64 {
    item.bytes().div_ceil(UNIT_BYTES).max(1) as u64
}

/// What a table takes, and what was asked of it; nothing, until it is measured.
#[derive(Default)]
pub(crate) struct Throughput(Mutex<Option<Metered>>);

struct Metered {
    limits: Limits,
    table: Bucket,
    partitions: HashMap<String, Bucket>,
    usage: Usage,
}

/// Units that may be spent now.
#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Bucket {
    /// Whether there is room for so many units. An item that takes more than a second's units takes those of a whole one.
    fn has(&mut self, units: f64, per_second: Option<f64>, now: Duration) -> bool {
        let Some(most) = per_second else { return true };
        let earned = now.saturating_sub(self.at).as_secs_f64() * most;
        *self = Self { left: (self.left + earned).min(most), at: now };
        most > 0.0 && self.left >= units.min(most)
    }
}

impl Throughput {
    fn metered(&self) -> MutexGuard<'_, Option<Metered>> {
        self.0.lock().expect("nothing panics while it holds what was measured")
    }

    /// Measures from now on, and takes no more than this.
    pub(crate) fn measure(&self, limits: Limits) {
        let full = |most: Option<f64>| Bucket { left: most.unwrap_or_default(), at: Duration::ZERO };
        let (table, partitions, usage) = (full(limits.table), HashMap::new(), Usage::default());
        *self.metered() = Some(Metered { limits, table, partitions, usage });
    }

    /// Takes any number of units from now on.
    pub(crate) fn open(&self) {
        if let Some(metered) = self.metered().as_mut() {
            metered.limits = Limits::default();
        }
    }

    /// Whether a write of an item is taken. If so, its units are spent.
    pub(crate) fn takes(&self, item: &Item, now: Duration) -> bool {
        let mut metered = self.metered();
        let Some(Metered { limits, table, partitions, usage }) = metered.as_mut() else { return true };
        let count = units(item);
        #[expect(clippy::cast_precision_loss, reason = "an item has 400 units at the most")]
        let wanted = count as f64;
        let full = Bucket { left: limits.partition.unwrap_or_default(), at: now };
        let partition = partitions.entry(item.key.pk.clone()).or_insert(full);
        if !(partition.has(wanted, limits.partition, now) && table.has(wanted, limits.table, now)) {
            usage.throttled += 1;
            return false;
        }
        partition.left -= wanted;
        table.left -= wanted;
        *usage.units.entry(item.key.pk.clone()).or_insert(0) += count;
        true
    }

    /// Notes something, if anything is measured.
    pub(crate) fn note(&self, what: impl FnOnce(&mut Usage)) {
        if let Some(metered) = self.metered().as_mut() {
            what(&mut metered.usage);
        }
    }

    /// Notes a call.
    pub(crate) fn called(&self, what: &'static str) {
        self.note(|usage| *usage.calls.entry(what).or_insert(0) += 1);
    }

    /// What was asked so far; nothing, unless it was measured.
    pub(crate) fn usage(&self) -> Usage {
        self.metered().as_ref().map(|metered| metered.usage.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pk: &str, bytes: usize) -> Item {
        let mut item = Item { key: Key { pk: pk.to_owned(), sk: "s".to_owned() }, attributes: BTreeMap::new() };
        let rest = item.bytes() + "data".len();
        item.text("data", "x".repeat(bytes - rest));
        item
    }

    #[test]
    fn an_item_takes_a_unit_for_each_kib_begun() {
        assert_eq!([100, 1_024, 1_025, 4_096].map(|bytes| units(&item("p", bytes))), [1, 1, 2, 4]);
    }

    #[test]
    fn a_partition_takes_its_units_of_a_second_and_leaves_others_alone() {
        let throughput = Throughput::default();
        assert!((0..100).all(|_| throughput.takes(&item("p", 100), Duration::ZERO)), "it is off by default");
        throughput.measure(Limits { partition: Some(10.0), table: None });
        let takes = |pk: &str, bytes: usize, seconds: f64| {
            let now = Duration::from_secs_f64(seconds);
            (0..100).filter(|_| throughput.takes(&item(pk, bytes), now)).count()
        };
        assert_eq!(takes("p", 100, 0.0), 10);
        assert_eq!(takes("q", 2_000, 0.0), 5);
        assert_eq!(takes("p", 100, 0.5), 5);
        assert_eq!(takes("p", 100, 60.0), 10, "no more than those of a second are saved up");
        assert_eq!(takes("p", 50_000, 120.0), 1, "what is larger than a second's units is not kept out for ever");
        let usage = throughput.usage();
        assert_eq!((usage.units["p"], usage.units["q"]), (10 + 5 + 10 + 49, 10));
        assert_eq!(usage.throttled, 90 + 95 + 95 + 90 + 99);
    }

    #[test]
    fn a_table_takes_its_units_from_all_partitions_together() {
        let throughput = Throughput::default();
        throughput.measure(Limits { partition: Some(10.0), table: Some(15.0) });
        let taken = |pk: &str| (0..20).filter(|_| throughput.takes(&item(pk, 100), Duration::ZERO)).count();
        assert_eq!((taken("p"), taken("q"), taken("r")), (10, 5, 0));
    }
}
