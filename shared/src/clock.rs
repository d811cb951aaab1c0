//! Time as a value: a moment in milliseconds, and the port it comes from.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, in whole milliseconds, between the years 0000 and 9998.
///
/// The range is that of RFC 3339, so the text form has a fixed width and sorts as the moments do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// 0000-01-01T00:00:00.000Z in milliseconds since 1970.
const MILLIS_MIN: i64 = -62_167_219_200_000;
/// 9998-12-31T23:59:59.999Z in milliseconds since 1970; jiff's own range ends within the year 9999.
const MILLIS_MAX: i64 = 253_370_764_799_999;

impl Timestamp {
    /// Makes a moment of milliseconds since 1970; `None` outside the years 0000 to 9998.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        (MILLIS_MIN..=MILLIS_MAX).contains(&millis).then_some(Self(millis))
    }

    /// Like [`Self::from_millis`], but brings what lies outside the range to its nearer end.
    #[must_use]
    pub fn from_millis_clamped(millis: i64) -> Self {
        Self(millis.clamp(MILLIS_MIN, MILLIS_MAX))
    }

    /// Milliseconds since 1970; negative before.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment later by `duration`, no later than the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis_clamped(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The day in UTC, as `YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        self.to_string()[..10].to_owned()
    }
}

/// Writes `2026-11-23T21:01:18.123Z`: always 24 characters, so that text order is time order.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).expect("the range of Timestamp lies within jiff's");
        write!(f, "{moment:.3}")
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    /// Reads RFC 3339; finer digits than milliseconds are cut.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment: jiff::Timestamp = text.parse()?;
        Ok(Self::from_millis_clamped(moment.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Where the present moment comes from.
pub trait Clock: Send + Sync {
    /// The present moment. Two calls may give the same moment, and a later call an earlier one: machines' clocks are
    /// set back.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time comes in")]
    fn now(&self) -> Timestamp {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis_clamped(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is told to move; for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_millis()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis_clamped(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_fixed_width_over_the_whole_range_and_reads_back() {
        for millis in [MILLIS_MIN, -1, 0, 1, 999, 1_700_000_000_123, MILLIS_MAX] {
            let moment = Timestamp::from_millis(millis).unwrap();
            let text = moment.to_string();
            assert_eq!(text.len(), 24, "{text}");
            assert_eq!(text.parse::<Timestamp>().unwrap(), moment);
        }
        assert_eq!(Timestamp::from_millis(1_700_000_000_123).unwrap().to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn moments_outside_four_digit_years_do_not_exist() {
        assert_eq!(Timestamp::from_millis(MILLIS_MIN - 1), None);
        assert_eq!(Timestamp::from_millis(MILLIS_MAX + 1), None);
        assert_eq!(Timestamp::from_millis_clamped(i64::MAX).as_millis(), MILLIS_MAX);
    }

    #[test]
    fn a_difference_is_never_negative() {
        let early = Timestamp::from_millis(1_000).unwrap();
        let late = Timestamp::from_millis(3_500).unwrap();
        assert_eq!(late.since(early), Duration::from_millis(2_500));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.plus(Duration::from_millis(2_500)), late);
    }
}
