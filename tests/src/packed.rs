//! The mode that events are stored in while tests run, and the events of an item in either.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use consume::bundle::{ids, unpack};
use consume::dynamo_table::{attribute, read};
use consume::period::Period;
use consume::table::{Attributes, Key};

use crate::pipeline::Item;

/// The variable that chooses the mode: the one that the function reads.
const VARIABLE: &str = "PACKED_PERIOD";

/// The hours whose events are kept in bundles.
///
/// # Panics
/// The variable is set and says no period.
#[must_use]
pub fn packed_period() -> Period {
    shared::config::environment(VARIABLE).map_or(Period::NEVER, |text| text.parse().expect("a period"))
}

/// The template's parameter for that, if the variable is set.
#[must_use]
pub fn parameters() -> BTreeMap<String, String> {
    shared::config::environment(VARIABLE).map(|text| ("PackedPeriod".to_owned(), text)).into_iter().collect()
}

/// The events of an item, as they would be as items of their own; of what holds none, the item itself.
pub(crate) fn events_of(item: &Item) -> Vec<Item> {
    let Some((key, attributes)) = read(item) else { return vec![item.clone()] };
    let event = |(key, attributes): (Key, Attributes)| {
        let keys = [("pk", key.pk), ("sk", key.sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text)));
        let rest = attributes.iter().map(|(name, value)| (name.clone(), attribute(value)));
        keys.into_iter().chain(rest).collect::<HashMap<_, _>>()
    };
    unpack(key, attributes).into_iter().map(event).collect()
}

/// What is left in an item of the events that were erased from it: partition and trace of each.
pub(crate) fn traces_of(item: &Item) -> BTreeSet<(String, String)> {
    let Some((key, attributes)) = read(item) else { return BTreeSet::new() };
    let erased = ids(&attributes).map(|ids| ids.erased).unwrap_or_default();
    erased.into_iter().map(|trace| (key.pk.clone(), trace)).collect()
}
