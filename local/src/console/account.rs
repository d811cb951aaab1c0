//! The account: what was acknowledged since the start, and what became of every item of it. Pure.
//!
//! An item is an event or a refused item, and is known by its origin: the receipt of its request and its position there.
//! However often its fate is told, as after a redelivery, it is counted once; so the sum comes out exactly.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::Serialize;

/// The most requests that are remembered one by one; the oldest are forgotten first. It is a few minutes of a busy
/// pipeline, and some 20 MB.
const REQUESTS_MAX: usize = 100_000;

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    Duplicate,
    Erased,
    Dead,
}

impl Fate {
    /// The fate that a log line tells by the tag of its outcome.
    pub(super) fn of_outcome(tag: &str) -> Option<Self> {
        match tag {
            "stored" | "stored_before" => Some(Self::Stored),
            "duplicate" => Some(Self::Duplicate),
            "erased" => Some(Self::Erased),
            _ => None,
        }
    }
}

/// How many items were acknowledged, and how many of those have come to which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) acknowledged: u64,
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    pub(super) erased: u64,
    pub(super) dead: u64,
}

impl Totals {
    /// How many have come to no fate yet.
    pub(super) fn open(&self) -> u64 {
        self.acknowledged.saturating_sub(self.stored + self.duplicate + self.erased + self.dead)
    }

    fn of(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Stored => &mut self.stored,
            Fate::Duplicate => &mut self.duplicate,
            Fate::Erased => &mut self.erased,
            Fate::Dead => &mut self.dead,
        }
    }
}

/// What is known of a request.
#[derive(Debug, Default)]
struct Request {
    /// How many items it has; `None` as long as nobody has said that it was acknowledged.
    items: Option<u64>,
    fates: HashMap<u32, Fate>,
}

/// The account.
#[derive(Debug, Default)]
pub(super) struct Account {
    requests: HashMap<String, Request>,
    /// Their receipts, the oldest first.
    order: VecDeque<String>,
    totals: Totals,
}

impl Account {
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// A request was acknowledged with so many items. Their fates may have been told before.
    pub(super) fn acknowledge(&mut self, receipt: &str, items: u64) {
        let request = self.request(receipt);
        if request.items.replace(items).is_some() {
            return;
        }
        let told: Vec<Fate> = request.fates.values().copied().collect();
        self.totals.acknowledged += items;
        for fate in told {
            *self.totals.of(fate) += 1;
        }
    }

    /// An item has come to a fate. The first that is told stands, but for a dead letter, which may be stored after all
    /// when it is sent round again.
    pub(super) fn settle(&mut self, origin: &str, fate: Fate) {
        let Some((receipt, Ok(index))) = origin.rsplit_once('.').map(|(receipt, index)| (receipt, index.parse()))
        else {
            return;
        };
        let request = self.request(receipt);
        let counts = request.items.is_some();
        let before = request.fates.get(&index).copied();
        if before.is_some_and(|before| before != Fate::Dead) {
            return;
        }
        request.fates.insert(index, fate);
        if counts {
            if let Some(before) = before {
                *self.totals.of(before) -= 1;
            }
            *self.totals.of(fate) += 1;
        }
    }

    /// How many of the items that were found waiting are acknowledged and have no fate yet, each counted once.
    pub(super) fn open_among<'a>(&self, found: impl Iterator<Item = (&'a str, u32)>) -> u64 {
        let is_open = |(receipt, index): &(&str, u32)| {
            let request = self.requests.get(*receipt);
            request.is_some_and(|request| request.items.is_some() && !request.fates.contains_key(index))
        };
        found.filter(is_open).collect::<HashSet<_>>().len() as u64
    }

    fn request(&mut self, receipt: &str) -> &mut Request {
        if !self.requests.contains_key(receipt) {
            if self.order.len() >= REQUESTS_MAX {
                self.forget_oldest();
            }
            self.order.push_back(receipt.to_owned());
        }
        self.requests.entry(receipt.to_owned()).or_default()
    }

    /// Forgets a request. What of it is still open leaves the account altogether, since nobody could say any more whether
    /// it has come to its fate.
    fn forget_oldest(&mut self) {
        let Some(request) = self.order.pop_front().and_then(|receipt| self.requests.remove(&receipt)) else { return };
        let open = request.items.unwrap_or_default().saturating_sub(request.fates.len() as u64);
        self.totals.acknowledged -= open;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_acknowledged_item_is_counted_once_however_often_its_fate_is_told() {
        let mut account = Account::default();
        account.acknowledge("r1", 3);
        assert_eq!((account.totals().acknowledged, account.totals().open()), (3, 3));
        account.settle("r1.0", Fate::Stored);
        account.settle("r1.0", Fate::Duplicate);
        account.settle("r1.1", Fate::Duplicate);
        account.settle("r1.1", Fate::Duplicate);
        account.settle("r1.2", Fate::Erased);
        // Nobody said that these were acknowledged; and what has no position is no item.
        account.settle("r0.0", Fate::Stored);
        account.settle("m:4f", Fate::Dead);
        let totals = Totals { acknowledged: 3, stored: 1, duplicate: 1, erased: 1, dead: 0 };
        assert_eq!((account.totals(), account.totals().open()), (totals, 0));
    }

    #[test]
    fn fates_may_be_told_before_the_acknowledgement() {
        let mut account = Account::default();
        account.settle("r1.0", Fate::Stored);
        assert_eq!(account.totals(), Totals::default());
        account.acknowledge("r1", 2);
        account.acknowledge("r1", 2);
        assert_eq!(account.totals(), Totals { acknowledged: 2, stored: 1, ..Totals::default() });
    }

    #[test]
    fn a_dead_letter_that_is_stored_after_all_moves_over() {
        let mut account = Account::default();
        account.acknowledge("r1", 1);
        account.settle("r1.0", Fate::Dead);
        account.settle("r1.0", Fate::Dead);
        assert_eq!(account.totals(), Totals { acknowledged: 1, dead: 1, ..Totals::default() });
        account.settle("r1.0", Fate::Stored);
        assert_eq!(account.totals(), Totals { acknowledged: 1, stored: 1, ..Totals::default() });
    }

    #[test]
    fn what_is_found_waiting_counts_once_and_only_while_it_is_open() {
        let mut account = Account::default();
        account.acknowledge("r1", 2);
        account.settle("r1.1", Fate::Stored);
        let found = [("r1", 0), ("r1", 0), ("r1", 1), ("r9", 0)];
        assert_eq!(account.open_among(found.into_iter()), 1);
    }

    #[test]
    fn what_is_forgotten_takes_its_open_items_with_it() {
        let mut account = Account::default();
        account.acknowledge("first", 2);
        account.settle("first.0", Fate::Stored);
        for number in 0..REQUESTS_MAX {
            account.acknowledge(&format!("r{number}"), 1);
        }
        let totals = account.totals();
        assert_eq!((totals.acknowledged, totals.stored), (REQUESTS_MAX as u64 + 1, 1));
        assert_eq!((account.requests.len(), account.order.len()), (REQUESTS_MAX, REQUESTS_MAX));
    }
}
