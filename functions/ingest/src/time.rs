//! Reading the times that clients really send. An unreadable time never refuses an event.

use serde_json::value::RawValue;
use shared::clock::Timestamp;

/// Numbers from here on are milliseconds since 1970 rather than seconds: as seconds they would lie beyond the year 5138.
const MILLIS_FROM: f64 = 1e11;

/// Reads a time from a JSON value: a text as [`parse`] does, or a number of seconds or milliseconds since 1970.
#[must_use]
pub fn from_json(value: &RawValue) -> Option<Timestamp> {
    let text = value.get();
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => from_number(text),
        // Hardly a time is written with escapes.
        Some(plain) if !plain.contains('\\') => parse(plain),
        Some(_) => parse(&serde_json::from_str::<String>(text).ok()?),
    }
}

/// Reads ISO 8601 as clients write it: any number of digits after the second, months and days without leading zero,
/// offsets with or without colon, a space for the `T`, a year or a date alone; or seconds or milliseconds since 1970.
/// What names no offset is UTC. Finer digits than milliseconds are cut. A text of fewer than nine digits is no number:
/// it may as well be a date without its hyphens.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let numeric = text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric { from_number(text) } else { Cursor(text).date_time() }
}

/// The digits of a time's second that [`parse`] cuts, without zeros at the end. Two events that differ in them alone
/// are two.
#[must_use]
pub fn beyond_millis(value: &RawValue) -> &str {
    let text = value.get();
    let fraction = text.split_once(['.', ',']).map_or("", |(_, fraction)| fraction);
    let digits = fraction.len() - fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    fraction[..digits].get(3..).unwrap_or_default().trim_end_matches('0')
}

fn from_number(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok()?;
    let millis = if number.abs() < MILLIS_FROM { number * 1000.0 } else { number };
    // The bound keeps the cast exact; `from_millis` has the real range.
    if !millis.is_finite() || millis.abs() > 1e15 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded to 1e15 just above")]
    Timestamp::from_millis(millis.round() as i64)
}

/// The rest of a text that is being read from the left.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn date_time(mut self) -> Option<Timestamp> {
        let year = self.digits(4, 4)?;
        let month = if self.eat(&['-']) { self.digits(1, 2)? } else { 1 };
        let day = if self.eat(&['-']) { self.digits(1, 2)? } else { 1 };
        let (mut hour, mut minute, mut second, mut millis, mut offset_minutes) = (0, 0, 0, 0, 0);
        if self.eat(&['T', 't', ' ']) {
            hour = self.digits(1, 2)?;
            minute = if self.eat(&[':']) { self.digits(1, 2)? } else { 0 };
            second = if self.eat(&[':']) { self.digits(1, 2)? } else { 0 };
            millis = if self.eat(&['.', ',']) { self.millis() } else { 0 };
            offset_minutes = self.offset()?;
        }
        if !self.0.is_empty() {
            return None;
        }
        let narrow = |number: i64| i8::try_from(number).ok();
        // A leap second is the last moment of its minute.
        let second = second.min(59);
        let civil = jiff::civil::DateTime::new(
            i16::try_from(year).ok()?,
            narrow(month)?,
            narrow(day)?,
            narrow(hour)?,
            narrow(minute)?,
            narrow(second)?,
            0,
        );
        let utc = jiff::tz::TimeZone::UTC.to_timestamp(civil.ok()?).ok()?.as_millisecond();
        Timestamp::from_millis(utc + millis - offset_minutes * 60_000)
    }

    fn eat(&mut self, any_of: &[char]) -> bool {
        let rest = self.0.strip_prefix(any_of);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Reads as many digits as there are, up to `most`; `None` if they are fewer than `least`.
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        if count < least { None } else { digits.parse().ok() }
    }

    fn millis(&mut self) -> i64 {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let digit = |place: usize| digits.as_bytes().get(place).map_or(0, |digit| i64::from(digit - b'0'));
        digit(0) * 100 + digit(1) * 10 + digit(2)
    }

    fn offset(&mut self) -> Option<i64> {
        if self.eat(&['Z', 'z']) || self.0.is_empty() {
            return Some(0);
        }
        let sign = if self.eat(&['+']) {
            1
        } else if self.eat(&['-']) {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2, 2)?;
        self.eat(&[':']);
        let minutes = if self.0.is_empty() { 0 } else { self.digits(2, 2)? };
        Some(sign * (hours * 60 + minutes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_format_that_clients_send_is_read() {
        for (text, expected) in [
            ("2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.123Z"),
            ("2023-11-14T22:13:20.123+00:00", "2023-11-14T22:13:20.123Z"),
            ("2023-11-14T22:13:20.123456+00:00", "2023-11-14T22:13:20.123Z"),
            ("2023-11-14T22:13:20.123456789Z", "2023-11-14T22:13:20.123Z"),
            ("2023-11-14T22:13:20.1234567+02:00", "2023-11-14T20:13:20.123Z"),
            ("2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.500Z"),
            ("2023-05-30T04:46:31+0000", "2023-05-30T04:46:31.000Z"),
            ("2023-05-30T04:46:31-05", "2023-05-30T09:46:31.000Z"),
            ("2023-05-30T04:46:31", "2023-05-30T04:46:31.000Z"),
            ("2023-05-30 04:46:31 ", "2023-05-30T04:46:31.000Z"),
            ("2015-2-02T00:30:08.276Z", "2015-02-02T00:30:08.276Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
            ("2023-05-30", "2023-05-30T00:00:00.000Z"),
            ("2014", "2014-01-01T00:00:00.000Z"),
            ("1700000000", "2023-11-14T22:13:20.000Z"),
            ("1700000000123", "2023-11-14T22:13:20.123Z"),
            ("1700000000.123", "2023-11-14T22:13:20.123Z"),
        ] {
            assert_eq!(parse(text).map(|time| time.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        for (json, expected) in [
            ("1700000000", Some("2023-11-14T22:13:20.000Z")),
            ("1700000000123", Some("2023-11-14T22:13:20.123Z")),
            ("1.7e9", Some("2023-11-14T22:13:20.000Z")),
            ("-1", Some("1969-12-31T23:59:59.000Z")),
            ("1e300", None),
            ("true", None),
            ("{}", None),
            ("\"\\ud800\"", None),
        ] {
            let value: Box<RawValue> = serde_json::from_str(json).unwrap();
            assert_eq!(from_json(&value).map(|time| time.to_string()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2023-13-01",
            "2023-02-30T00:00:00Z",
            "2023-11-14T25:00:00Z",
            "2023-11-14T22:13:20Zx",
            "20231",
            "99999999999999999999",
            "2023-11-14T22:13:20+1",
            "ü",
            "2023-é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not_but_never_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn our_own_times_read_back(millis in -62_167_219_200_000_i64..253_370_764_800_000) {
            let time = Timestamp::from_millis(millis).unwrap();
            prop_assert_eq!(parse(&time.to_string()), Some(time));
        }
    }
}
