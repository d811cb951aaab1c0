//! A part of a partition, with events in bundles as if each were an item of its own.
//!
//! The bundles of an hour lie before its other events, while what is in them may be of any minute of it. So of an hour
//! nothing is known before its bundles have been read; and from the newest to the oldest they would come last, and are
//! read by themselves.

use std::collections::BTreeMap;

use consume::bundle::{BUNDLES_MAX, number_of, prefix_of, unpack};
use consume::table::{Attributes, Key};
use shared::outcome::Cause;

use super::timeline::{Order, Range};

/// Reads of a slice after which it is given as it is. The bundles of an hour take no more than [`BUNDLES_MAX`], so that
/// it has come on by then, whatever it found.
const READS_MAX: usize = 2 * BUNDLES_MAX;

/// Items of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// The items, in the order that was asked for.
    pub items: Vec<(Key, Attributes)>,
    /// Whether these are all in the range.
    pub is_whole: bool,
}

/// The partitions of events.
pub trait Events {
    /// Reads items of a partition within a range of sort keys: the first in `order`, `count_max` at the most. There may be
    /// fewer although there are more, but always two where there are as many.
    fn items(
        &self,
        partition: &str,
        range: &Range,
        order: Order,
        count_max: usize,
    ) -> impl Future<Output = Result<Items, Cause>> + Send;
}

/// Events of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// The events, as they would be as items of their own, by their sort keys.
    pub(super) events: BTreeMap<String, (Key, Attributes)>,
    /// The sort key up to which, itself included, and in the order that was asked for, these are all in the range; `None`
    /// if they are all.
    pub(super) horizon: Option<String>,
}

impl Slice {
    /// Takes up what of some items is in the range.
    fn add(&mut self, items: Vec<(Key, Attributes)>, range: &Range) {
        let events = items.into_iter().flat_map(|(key, attributes)| unpack(key, attributes));
        let events = events.filter(|(key, _)| (&range.first..=&range.last).contains(&&key.sk));
        self.events.extend(events.map(|(key, attributes)| (key.sk.clone(), (key, attributes))));
    }

    /// How many events there are up to the horizon.
    fn known(&self, order: Order) -> usize {
        match (&self.horizon, order) {
            (None, _) => self.events.len(),
            (Some(horizon), Order::OldestFirst) => self.events.range(..=horizon.clone()).count(),
            (Some(horizon), Order::NewestFirst) => self.events.range(horizon.clone()..).count(),
        }
    }
}

/// Reads the first events of a range in an order: `count` or more, of at least two, where there are as many.
pub(super) async fn slice(
    table: &impl Events,
    partition: &str,
    range: &Range,
    order: Order,
    count: usize,
) -> Result<Slice, Cause> {
    let (mut slice, mut left) = (Slice::default(), range.clone());
    if order == Order::OldestFirst {
        slice.add(bundles_below(table, partition, &range.first).await?, range);
    }
    for _ in 0..READS_MAX {
        // Where it goes on, it begins with the item that it ended with.
        let read = table.items(partition, &left, order, count).await?;
        let end = read.items.last().map(|(key, _)| key.sk.clone()).filter(|_| !read.is_whole);
        slice.add(read.items, range);
        slice.horizon = end.as_deref().map(horizon);
        let Some(end) = end else { break };
        match order {
            Order::OldestFirst => left.first = end,
            Order::NewestFirst => left.last = end,
        }
        if slice.known(order) >= count {
            break;
        }
    }
    if order == Order::NewestFirst {
        let end = if slice.horizon.is_some() { &left.last } else { &range.first };
        slice.add(bundles_below(table, partition, end).await?, range);
    }
    Ok(slice)
}

/// Up to where everything is known when the last item that was read has a sort key: behind a bundle, nothing of its hour.
/// From the newest to the oldest that is the end of the hour, whose other bundles are read by themselves.
fn horizon(sort: &str) -> String {
    prefix_of(sort).filter(|_| number_of(sort).is_some()).unwrap_or_else(|| sort.to_owned())
}

/// The bundles of the hour of a sort key that lie below it.
async fn bundles_below(table: &impl Events, partition: &str, sort: &str) -> Result<Vec<(Key, Attributes)>, Cause> {
    let Some(prefix) = prefix_of(sort) else { return Ok(vec![]) };
    // `$` is the character behind `#`.
    let behind = format!("{}$", prefix.strip_suffix('#').unwrap_or(&prefix));
    let mut range = Range { first: prefix, last: behind.min(sort.to_owned()) };
    let mut bundles = Vec::new();
    while range.first < range.last && bundles.len() <= 2 * BUNDLES_MAX {
        let read = table.items(partition, &range, Order::OldestFirst, BUNDLES_MAX + 1).await?;
        let last = read.items.last().map(|(key, _)| key.sk.clone()).filter(|_| !read.is_whole);
        bundles.extend(read.items);
        let Some(last) = last else { break };
        range.first = last;
    }
    Ok(bundles)
}
