//! The packed period: the hours whose events are kept in bundles.
//!
//! Where an event is kept must follow from its identity alone, or else a retry could be stored in another place. So what
//! is configured is no switch but a period, held against the time in the event's key; and it is changed only for hours
//! that are still to come, by adding to it.

use std::str::FromStr;

use shared::clock::Timestamp;

const HOUR_MILLIS: i64 = 60 * 60 * 1_000;

/// The most spans of a period: each change of the mode and back takes one.
const SPANS_MAX: usize = 4;

/// A period of whole hours, in spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// In milliseconds since 1970: the beginning is in it, the end is not.
    spans: [(i64, i64); SPANS_MAX],
}

impl Period {
    /// No hour.
    pub const NEVER: Self = Self { spans: [(0, 0); SPANS_MAX] };
    /// Every hour.
    pub const ALWAYS: Self = Self { spans: [(i64::MIN, i64::MAX); SPANS_MAX] };

    /// Whether a moment is in the period.
    #[must_use]
    pub fn contains(self, moment: Timestamp) -> bool {
        self.spans.iter().any(|(from, until)| (*from..*until).contains(&moment.as_millis()))
    }
}

/// Why a text is no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not never, always, or up to four of FROM/ and FROM/UNTIL, whole hours such as 2027-01-01T00:00:00Z")]
pub struct NoPeriod;

impl FromStr for Period {
    type Err = NoPeriod;

    fn from_str(text: &str) -> Result<Self, NoPeriod> {
        let moment = |text: &str| {
            let millis = text.parse::<Timestamp>().map_err(|_| NoPeriod)?.as_millis();
            if millis % HOUR_MILLIS == 0 { Ok(millis) } else { Err(NoPeriod) }
        };
        let span = |text: &str| {
            let (from, until) = text.split_once('/').ok_or(NoPeriod)?;
            let until = if until.is_empty() { i64::MAX } else { moment(until)? };
            let from = moment(from)?;
            if from < until { Ok((from, until)) } else { Err(NoPeriod) }
        };
        match text {
            "never" => Ok(Self::NEVER),
            "always" => Ok(Self::ALWAYS),
            _ => {
                let mut period = Self::NEVER;
                for (number, text) in text.split(',').enumerate() {
                    *period.spans.get_mut(number).ok_or(NoPeriod)? = span(text)?;
                }
                Ok(period)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_its_beginning_and_not_its_end() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (before, first) = (at("2026-12-31T23:59:59.999Z"), at("2027-01-01T00:00:00Z"));
        let (last, after) = (at("2027-01-01T01:59:59.999Z"), at("2027-01-01T02:00:00Z"));
        let contains =
            |text: &str| [before, first, last, after].map(|moment| text.parse::<Period>().unwrap().contains(moment));
        assert_eq!(contains("never"), [false; 4]);
        assert_eq!(contains("always"), [true; 4]);
        assert_eq!(contains("2027-01-01T00:00:00Z/"), [false, true, true, true]);
        assert_eq!(contains("2027-01-01T00:00:00Z/2027-01-01T02:00:00Z"), [false, true, true, false]);
        let twice = "2026-12-31T23:00:00Z/2027-01-01T00:00:00Z,2027-01-01T02:00:00Z/";
        assert_eq!(contains(twice), [true, false, false, true]);
    }

    #[test]
    fn what_cuts_an_hour_or_is_no_period_is_refused() {
        for text in [
            "",
            "/",
            "on",
            "2027-01-01T00:00:00Z",
            "2027-01-01T00:30:00Z/",
            "/2027-01-01T00:00:00Z",
            "2027-01-01T00:00:00Z/2026-01-01T00:00:00Z",
            "2027-01-01T00:00:00Z/,",
            "2027-01-01T00:00:00Z/,2027-01-01T00:00:00Z/,2027-01-01T00:00:00Z/,2027-01-01T00:00:00Z/,2027-01-01T00:00:00Z/",
        ] {
            assert_eq!(text.parse::<Period>(), Err(NoPeriod), "{text}");
        }
    }
}
