//! The packed period: the hours whose events are kept in bundles.
//!
//! Where an event is kept must follow from its identity alone, or else a retry could be stored in another place. So what
//! is configured is no switch but a period, held against the time in the event's key; and it is changed only for hours
//! that are still to come.

use std::str::FromStr;

use shared::clock::Timestamp;

const HOUR_MILLIS: i64 = 60 * 60 * 1_000;

/// A period of whole hours, in milliseconds since 1970: its beginning is in it, its end is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from: i64,
    until: i64,
}

impl Period {
    /// No hour.
    pub const NEVER: Self = Self { from: 0, until: 0 };
    /// Every hour.
    pub const ALWAYS: Self = Self { from: i64::MIN, until: i64::MAX };

    /// Whether a moment is in the period.
    #[must_use]
    pub fn contains(self, moment: Timestamp) -> bool {
        (self.from..self.until).contains(&moment.as_millis())
    }
}

/// Why a text is no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not never, always, or FROM/ or FROM/UNTIL with whole hours such as 2027-01-01T00:00:00Z")]
pub struct NoPeriod;

impl FromStr for Period {
    type Err = NoPeriod;

    fn from_str(text: &str) -> Result<Self, NoPeriod> {
        let moment = |text: &str| {
            let millis = text.parse::<Timestamp>().map_err(|_| NoPeriod)?.as_millis();
            if millis % HOUR_MILLIS == 0 { Ok(millis) } else { Err(NoPeriod) }
        };
        match text {
            "never" => Ok(Self::NEVER),
            "always" => Ok(Self::ALWAYS),
            _ => {
                let (from, until) = text.split_once('/').ok_or(NoPeriod)?;
                let until = if until.is_empty() { i64::MAX } else { moment(until)? };
                let from = moment(from)?;
                if from < until { Ok(Self { from, until }) } else { Err(NoPeriod) }
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
        ] {
            assert_eq!(text.parse::<Period>(), Err(NoPeriod), "{text}");
        }
    }
}
