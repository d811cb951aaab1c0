//! What `consume` reads from its environment.

use std::time::Duration;

use shared::config::{ConfigError, Reader};

use crate::period::Period;
use crate::{backoff, memory};

/// How long a dead letter is kept by default, in days.
const RETENTION_DAYS_DEFAULT: u64 = 90;
/// The longest that it may be kept, in days: ten years.
const RETENTION_DAYS_MAX: u64 = 3_650;

/// The configuration, checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The queue that messages come from.
    pub events_queue_url: String,
    /// Its dead-letter queue.
    pub quarantine_queue_url: String,
    /// The table of events, profiles and markers.
    pub events_table_name: String,
    /// The table of dead letters.
    pub dead_letters_table_name: String,
    /// The table of messages that the queue did not take.
    pub spill_table_name: String,
    /// How long a dead letter is kept.
    pub dead_letters_retention: Duration,
    /// The hours whose events are kept in bundles.
    pub packed_period: Period,
}

impl Config {
    /// Reads the configuration from any source of variables.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(lookup);
        let days = reader.number("DEAD_LETTERS_RETENTION_DAYS", RETENTION_DAYS_DEFAULT, 1..=RETENTION_DAYS_MAX);
        let receives = reader.number("RECEIVES_MAX", 0, 0..=1_000);
        let (outlasts, least) = (backoff::outlasts(receives).as_secs() / 60, backoff::OUTAGE.as_secs() / 60);
        if outlasts < least {
            reader.refuse(format!("RECEIVES_MAX ({receives}) outlasts {outlasts} minutes, of at least {least}"));
        }
        let packed_period = reader.parsed("PACKED_PERIOD", Period::NEVER);
        let size_mib = reader.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", usize::MAX, memory::SIZES_MIB);
        if let Some(problem) = memory::refusal(size_mib) {
            reader.refuse(problem);
        }
        let config = Self {
            events_queue_url: reader.required("EVENTS_QUEUE_URL"),
            quarantine_queue_url: reader.required("QUARANTINE_QUEUE_URL"),
            events_table_name: reader.required("EVENTS_TABLE_NAME"),
            dead_letters_table_name: reader.required("DEAD_LETTERS_TABLE_NAME"),
            spill_table_name: reader.required("SPILL_TABLE_NAME"),
            dead_letters_retention: Duration::from_secs(days * 24 * 60 * 60),
            packed_period,
        };
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a configuration that is right but for one variable.
    fn read(variable: &str, value: &str) -> Result<Config, ConfigError> {
        Config::from_lookup(&|name| match name {
            _ if name == variable => Some(value.to_owned()),
            "RECEIVES_MAX" => Some("60".to_owned()),
            "DEAD_LETTERS_RETENTION_DAYS" | "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" | "PACKED_PERIOD" => None,
            _ => Some("name".to_owned()),
        })
    }

    #[test]
    fn the_retention_has_a_default_and_a_checked_range() {
        let read = |days| read("DEAD_LETTERS_RETENTION_DAYS", days);
        assert_eq!(read("").unwrap().dead_letters_retention, Duration::from_secs(90 * 86_400));
        assert_eq!(read("1").unwrap().dead_letters_retention, Duration::from_secs(86_400));
        for days in ["0", "3651", "-1", "a year"] {
            assert!(read(days).unwrap_err().to_string().contains("DEAD_LETTERS_RETENTION_DAYS"));
        }
    }

    #[test]
    fn a_function_that_is_too_small_for_its_batches_is_refused_with_both_numbers() {
        let read = |size: usize| read("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &size.to_string());
        let needed = memory::bound().div_ceil(1_048_576);
        assert!(read(needed).is_ok());
        let error = read(needed - 1).unwrap_err().to_string();
        let (needed, size) = (format!("{needed} MiB"), format!("{} MiB", needed - 1));
        assert!(error.contains(&needed) && error.contains(&size) && error.contains("MemorySize"), "{error}");
    }

    #[test]
    fn too_few_receives_to_outlast_an_outage_are_refused_with_both_numbers() {
        let read = |receives| read("RECEIVES_MAX", receives);
        assert!(read("60").is_ok());
        for receives in ["", "10", "58"] {
            let error = read(receives).unwrap_err().to_string();
            assert!(error.contains("RECEIVES_MAX") && error.contains("of at least 360"), "{error}");
        }
    }

    #[test]
    fn a_packed_period_that_is_none_is_refused_with_what_would_be_one() {
        let read = |period| read("PACKED_PERIOD", period);
        assert_eq!(read("").unwrap().packed_period, Period::NEVER);
        assert_eq!(read("always").unwrap().packed_period, Period::ALWAYS);
        let error = read("2027-01-01T00:30:00Z/").unwrap_err().to_string();
        assert!(error.contains("PACKED_PERIOD") && error.contains("whole hours"), "{error}");
    }
}
