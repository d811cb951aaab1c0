//! Figures by the minute.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::clock::Timestamp;

const MINUTE_MS: i64 = 60_000;

/// Whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minutes {
    /// Where the first begins.
    pub first: Timestamp,
    /// Where the last ends.
    pub end: Timestamp,
}

impl Minutes {
    /// The last `count` minutes, the one that is not over yet included.
    #[must_use]
    pub fn until(now: Timestamp, count: u16) -> Self {
        let end = (now.as_millis().div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        let first = end - i64::from(count) * MINUTE_MS;
        Self { first: Timestamp::from_millis_clamped(first), end: Timestamp::from_millis_clamped(end) }
    }

    /// Where each minute begins.
    pub fn iter(self) -> impl Iterator<Item = Timestamp> {
        let step = usize::try_from(MINUTE_MS).unwrap_or(1);
        (self.first.as_millis()..self.end.as_millis()).step_by(step).map(Timestamp::from_millis_clamped)
    }

    /// The beginning of the minute of a moment; `None` if it is not among these.
    #[must_use]
    pub fn of(self, moment: Timestamp) -> Option<Timestamp> {
        let minute = moment.as_millis().div_euclid(MINUTE_MS) * MINUTE_MS;
        (self.first <= moment && moment < self.end).then(|| Timestamp::from_millis_clamped(minute))
    }
}

/// A figure over some minutes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What is counted.
    pub name: &'static str,
    /// The values of the minutes, the oldest first; the last minute is not over yet.
    pub per_minute: Vec<f64>,
}

impl Figure {
    /// The sum of the minutes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.per_minute.iter().sum()
    }

    /// The value of the last whole minute.
    #[must_use]
    pub fn last(&self) -> f64 {
        self.per_minute.iter().rev().nth(1).copied().unwrap_or_default()
    }
}

/// Puts what was found for each figure into the order of minutes. A minute without a value has none of what is counted.
#[must_use]
pub fn figures(
    names: &[&'static str],
    found: &BTreeMap<&'static str, BTreeMap<Timestamp, f64>>,
    minutes: Minutes,
) -> Vec<Figure> {
    let figure = |name: &&'static str| {
        let values = found.get(name);
        let value = |minute| values.and_then(|values| values.get(&minute)).copied().unwrap_or_default();
        Figure { name, per_minute: minutes.iter().map(value).collect() }
    };
    names.iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn the_last_minute_is_the_one_that_is_not_over() {
        let minutes = Minutes::until(at(60_000 * 10 + 1), 3);
        assert_eq!(minutes.iter().map(Timestamp::as_millis).collect::<Vec<_>>(), [480_000, 540_000, 600_000]);
        assert_eq!(minutes.of(at(600_500)), Some(at(600_000)));
        assert_eq!((minutes.of(at(479_999)), minutes.of(at(660_000))), (None, None));
    }

    #[test]
    fn a_minute_without_a_value_has_none_of_it() {
        let found = BTreeMap::from([("stored", BTreeMap::from([(at(480_000), 2.0), (at(600_000), 1.0)]))]);
        let minutes = Minutes::until(at(600_000), 3);
        let figures = figures(&["stored", "dead"], &found, minutes);
        assert_eq!(figures[0], Figure { name: "stored", per_minute: vec![2.0, 0.0, 1.0] });
        assert_eq!((figures[0].sum(), figures[0].last(), figures[1].sum()), (3.0, 0.0, 0.0));
    }
}
