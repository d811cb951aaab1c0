//! Reading configuration: every problem is reported at once, by the variable's name and never with a secret value.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What is wrong with the configuration; one line a problem.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the configuration is refused: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

/// Reads variables and collects what is wrong with them.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader over any source of variables. An empty value counts as absent.
    #[must_use]
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable that must be there. Returns an empty text if it is not; [`Self::finish`] then reports it.
    pub fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set"));
            String::new()
        })
    }

    /// A number within `allowed`, or `default` where the variable is absent.
    pub fn number<T>(&mut self, name: &str, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(text) = self.get(name) else { return default };
        match text.parse::<T>() {
            Ok(value) if allowed.contains(&value) => value,
            _ => {
                let (least, most) = (allowed.start(), allowed.end());
                self.problems.push(format!("{name} is {text:?}, not a number from {least} to {most}"));
                default
            }
        }
    }

    /// A value that is read from its text, or `default` where the variable is absent. The error says what would be one.
    pub fn parsed<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr<Err: Display>,
    {
        let Some(text) = self.get(name) else { return default };
        text.parse().unwrap_or_else(|error| {
            self.problems.push(format!("{name} is {text:?}, which {error}"));
            default
        })
    }

    /// Notes a relation between variables that does not hold.
    pub fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Gives the configuration out if nothing was wrong.
    ///
    /// # Errors
    /// All problems found since the reader was made.
    pub fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError(self.problems)) }
    }
}

/// Looks a variable up in the process's environment.
#[expect(clippy::disallowed_methods, reason = "this is the one place where the environment is read")]
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_by_name() {
        let lookup = |name: &str| (name == "LIMIT").then(|| "many".to_owned());
        let mut reader = Reader::new(&lookup);
        reader.required("QUEUE_URL");
        reader.number("LIMIT", 10_usize, 1..=100);
        let error = reader.finish(()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the configuration is refused: QUEUE_URL is not set; LIMIT is \"many\", not a number from 1 to 100"
        );
    }

    #[test]
    fn a_number_outside_its_range_is_refused_and_an_absent_one_is_the_default() {
        let lookup = |name: &str| (name == "HIGH").then(|| "101".to_owned());
        let mut reader = Reader::new(&lookup);
        assert_eq!(reader.number("ABSENT", 7, 1..=100), 7);
        reader.number("HIGH", 7, 1..=100);
        assert!(reader.finish(()).is_err());
    }

    #[test]
    fn an_empty_value_is_an_absent_one() {
        let lookup = |_: &str| Some(String::new());
        let mut reader = Reader::new(&lookup);
        assert_eq!(reader.number("EMPTY", 3, 1..=5), 3);
        assert!(reader.finish(()).is_ok());
    }
}
