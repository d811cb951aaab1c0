//! Times as people write them: a day, a moment, or how long ago.

use std::str::FromStr;

use anyhow::{Context, bail};
use jiff::civil::Date;
use shared::clock::Timestamp;

/// A time as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// A day in UTC.
    Day(Date),
    /// A moment.
    Moment(Timestamp),
    /// So many milliseconds ago.
    Ago(i64),
}

impl FromStr for When {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(day) = text.parse::<Date>()
            && text.len() == "2026-11-23".len()
        {
            return Ok(Self::Day(day));
        }
        if let Ok(moment) = text.parse() {
            return Ok(Self::Moment(moment));
        }
        let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        for (unit, millis) in units {
            if let Some(number) = text.strip_suffix(unit) {
                let number: u32 = number.parse().with_context(|| format!("{number:?} is no number"))?;
                return Ok(Self::Ago(i64::from(number) * millis));
            }
        }
        bail!("write a day (2026-11-23), a moment (2026-11-23T21:00:00Z), or how long ago it is (30m, 12h, 7d)")
    }
}

impl When {
    /// The moment at which it begins.
    pub(crate) fn begins(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day(day) => Timestamp::from_str(&format!("{day}T00:00:00Z")).unwrap_or(now),
            Self::Moment(moment) => moment,
            Self::Ago(millis) => Timestamp::from_millis_clamped(now.as_millis().saturating_sub(millis)),
        }
    }

    /// The moment at which it ends: of a day its last, otherwise that at which it begins.
    pub(crate) fn ends(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day(day) => Timestamp::from_str(&format!("{day}T23:59:59.999Z")).unwrap_or(now),
            Self::Moment(_) | Self::Ago(_) => self.begins(now),
        }
    }

    /// The day in UTC.
    pub(crate) fn day(self, now: Timestamp) -> anyhow::Result<Date> {
        self.begins(now).day().parse().context("that is no day")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-26T09:00:00Z".parse().unwrap();
        for (text, begins, ends) in [
            ("2026-11-23", "2026-11-23T00:00:00.000Z", "2026-11-23T23:59:59.999Z"),
            ("2026-11-23T21:00:00Z", "2026-11-23T21:00:00.000Z", "2026-11-23T21:00:00.000Z"),
            ("90s", "2026-11-26T08:58:30.000Z", "2026-11-26T08:58:30.000Z"),
            ("7d", "2026-11-19T09:00:00.000Z", "2026-11-19T09:00:00.000Z"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(
                (when.begins(now).to_string(), when.ends(now).to_string()),
                (begins.into(), ends.into()),
                "{text}"
            );
        }
        assert_eq!("7d".parse::<When>().unwrap().day(now).unwrap().to_string(), "2026-11-19");
        for text in ["", "yesterday", "-1d", "7w", "d", "99999999999d"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}
