//! What `receipts` reads from its environment.

use shared::config::{ConfigError, Reader};
use shared::limits::{EVENT_BYTES_CEILING, EVENT_BYTES_DEFAULT, REQUEST_BYTES_CEILING, REQUEST_BYTES_DEFAULT};

use crate::memory;

/// The configuration, checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The table of events, markers and write keys.
    pub events_table_name: String,
    /// The table of dead letters.
    pub dead_letters_table_name: String,
    /// The largest body in bytes, inflated.
    pub request_bytes_max: usize,
    /// The largest event in bytes, as its producer wrote it.
    pub event_bytes_max: usize,
}

impl Config {
    /// Reads the configuration from any source of variables.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(lookup);
        let config = Self {
            events_table_name: reader.required("EVENTS_TABLE_NAME"),
            dead_letters_table_name: reader.required("DEAD_LETTERS_TABLE_NAME"),
            request_bytes_max: reader.number("REQUEST_BYTES_MAX", REQUEST_BYTES_DEFAULT, 1024..=REQUEST_BYTES_CEILING),
            event_bytes_max: reader.number("EVENT_BYTES_MAX", EVENT_BYTES_DEFAULT, 1024..=EVENT_BYTES_CEILING),
        };
        let size_mib = reader.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", usize::MAX, memory::SIZES_MIB);
        if let Some(problem) = memory::refusal(size_mib, config.request_bytes_max, config.event_bytes_max) {
            reader.refuse(problem);
        }
        reader.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut pairs = vec![("EVENTS_TABLE_NAME", "events"), ("DEAD_LETTERS_TABLE_NAME", "letters")];
        pairs.extend_from_slice(extra);
        Config::from_lookup(&|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn limits_are_those_of_what_was_accepted() {
        let config = read(&[]).unwrap();
        assert_eq!((config.request_bytes_max, config.event_bytes_max), (1_048_576, 262_144));
        for (name, value) in [("REQUEST_BYTES_MAX", "2621441"), ("EVENT_BYTES_MAX", "393217")] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_function_that_is_too_small_for_its_requests_is_refused_with_both_numbers() {
        let needed = memory::bound(REQUEST_BYTES_DEFAULT, EVENT_BYTES_DEFAULT).div_ceil(1_048_576);
        let read = |size: usize| read(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", size.to_string().as_str())]);
        assert!(read(needed).is_ok());
        let error = read(needed - 1).unwrap_err().to_string();
        for part in [format!("{needed} MiB"), format!("{} MiB", needed - 1), "REQUEST_BYTES_MAX (1048576)".to_owned()] {
            assert!(error.contains(&part), "{error}");
        }
    }

    #[test]
    fn nothing_set_names_everything_that_is_missing() {
        let error = Config::from_lookup(&|_| None).unwrap_err().to_string();
        assert!(error.contains("EVENTS_TABLE_NAME") && error.contains("DEAD_LETTERS_TABLE_NAME"), "{error}");
    }
}
