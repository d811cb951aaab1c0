//! Which letters are meant.

use std::iter::successors;

use consume::dead_letter::{Head, State};
use jiff::civil::Date;

use super::error::Error;

/// The most days of a range: as long as a letter can be kept (the template's `DeadLettersRetentionDays`).
pub const DAYS_MAX: usize = 3_650;

/// Days in UTC, from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    first: Date,
    last: Date,
}

impl Days {
    /// From `first` to `last`, both included.
    ///
    /// # Errors
    /// [`Error::NotDays`]: `last` is before `first`, or there are more than [`DAYS_MAX`].
    pub fn new(first: Date, last: Date) -> Result<Self, Error> {
        let days = Self { first, last };
        let is_range = (1..=DAYS_MAX).contains(&days.iter_from(first).take(DAYS_MAX + 1).count());
        if is_range { Ok(days) } else { Err(Error::NotDays { first, last }) }
    }

    /// The first day.
    #[must_use]
    pub fn first(&self) -> Date {
        self.first
    }

    /// The days from `day` on.
    pub(super) fn iter_from(self, day: Date) -> impl Iterator<Item = Date> {
        successors(Some(day), |day| day.tomorrow().ok()).take_while(move |day| *day <= self.last)
    }
}

/// What letters must have in common to be meant.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The project, or [`consume::dead_letter::UNKNOWN_PROJECT`] for those that no project is known of.
    pub project: String,
    /// The days on which they came to us.
    pub days: Days,
    /// The tag of their reason.
    pub reason: Option<String>,
    /// The source that they came by.
    pub source: Option<String>,
    /// What has been done about them.
    pub state: Option<State>,
    /// A text that their detail or their body contains, letter for letter.
    pub like: Option<String>,
}

impl Filter {
    /// Whether a letter is meant, as far as its head tells: [`Self::like`] is not looked at.
    #[must_use]
    pub(super) fn takes(&self, head: &Head) -> bool {
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        is(self.reason.as_deref(), &head.reason)
            && is(self.source.as_deref(), &head.source)
            && is(self.state.map(State::tag), &head.state)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days_are_counted_with_both_ends() {
        let days = Days::new(date(2023, 2, 27), date(2023, 3, 1)).unwrap();
        assert_eq!(days.iter_from(days.first()).count(), 3);
        assert_eq!(days.iter_from(date(2023, 3, 1)).last(), Some(date(2023, 3, 1)));
        assert!(Days::new(date(2023, 3, 1), date(2023, 3, 1)).is_ok());
        for (first, last) in [(date(2023, 3, 1), date(2023, 2, 28)), (date(2013, 1, 1), date(2023, 3, 1))] {
            assert!(matches!(Days::new(first, last), Err(Error::NotDays { .. })));
        }
    }
}
