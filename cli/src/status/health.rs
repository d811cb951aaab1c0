//! What is wrong, told from what was seen.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::clock::Timestamp;

/// The objective for the age of the queue's oldest message in seconds: the default of the template's `QueueAgeMaxSeconds`.
const QUEUE_AGE_MAX_SECS: f64 = 300.0;

/// An alarm that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// Its name, without that of the stack.
    pub name: String,
    /// Why it is on, in CloudWatch's words.
    pub why: String,
}

/// How much there is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that are being dealt with, or wait for their next delivery.
    pub in_flight: u64,
}

impl Depth {
    /// The depth by a queue's attributes.
    #[must_use]
    pub fn of(attributes: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            waiting: number("ApproximateNumberOfMessages"),
            in_flight: number("ApproximateNumberOfMessagesNotVisible"),
        }
    }
}

/// Messages in the spill table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spilled {
    /// How many.
    pub messages: usize,
    /// Whether these are all.
    pub is_whole: bool,
}

/// Letters of today and yesterday.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letters {
    /// Those that wait, by reason.
    pub by_reason: BTreeMap<String, u64>,
    /// Whether these are all.
    pub is_whole: bool,
    /// All of them by what they are and the minute in which they came.
    #[serde(skip)]
    pub by_minute: BTreeMap<&'static str, BTreeMap<Timestamp, f64>>,
    /// How many were looked at.
    #[serde(skip)]
    pub looked_at: usize,
}

impl Default for Letters {
    fn default() -> Self {
        Self { by_reason: BTreeMap::new(), is_whole: true, by_minute: BTreeMap::new(), looked_at: 0 }
    }
}

/// What was seen, as far as it decides whether ingestion is healthy.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// What `GET /ready` was answered: the status, or why there was none.
    pub ready: &'a Result<u16, String>,
    /// The quarantine.
    pub quarantine: Depth,
    /// The spill table.
    pub spilled: Spilled,
    /// The age of the queue's oldest message in seconds; `None` where nobody measures it.
    pub oldest_secs: Option<f64>,
    /// The alarms that are on; none where there are no alarms.
    pub alarms: &'a [Alarm],
}

/// What is wrong, each in a sentence; nothing if ingestion is healthy. Dead letters are no trouble of ingestion's: each has
/// its fate.
#[must_use]
pub fn problems(seen: &Seen<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    match seen.ready {
        Ok(200) => {}
        Ok(status) => problems.push(format!("events are not taken: GET /ready is answered {status}")),
        Err(why) => problems.push(format!("events are not taken: GET /ready is {why}")),
    }
    problems.extend(seen.alarms.iter().map(|alarm| format!("the alarm {} is on", alarm.name)));
    let quarantined = seen.quarantine.waiting + seen.quarantine.in_flight;
    if quarantined > 0 {
        problems.push(format!(
            "{quarantined} messages are in the quarantine: they ended consume, or used up their receives"
        ));
    }
    if seen.spilled.messages > 0 {
        let more = if seen.spilled.is_whole { "" } else { " or more" };
        problems.push(format!(
            "{}{more} messages are in the spill table: the queue did not take them",
            seen.spilled.messages
        ));
    }
    if let Some(age) = seen.oldest_secs.filter(|age| *age > QUEUE_AGE_MAX_SECS) {
        problems
            .push(format!("the oldest message of the queue is {age:.0} s old, of {QUEUE_AGE_MAX_SECS:.0} s at most"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_is_named_and_nothing_else_is_one() {
        let (fine, away) = (Ok(200), Ok(503));
        let none = Spilled { messages: 0, is_whole: true };
        let healthy =
            Seen { ready: &fine, quarantine: Depth::default(), spilled: none, oldest_secs: Some(300.0), alarms: &[] };
        assert!(problems(&healthy).is_empty());
        let alarms = [Alarm { name: "retries".into(), why: String::new() }];
        let ill = Seen {
            ready: &away,
            quarantine: Depth { waiting: 1, in_flight: 2 },
            spilled: Spilled { messages: 7, is_whole: false },
            oldest_secs: Some(301.0),
            alarms: &alarms,
        };
        let problems = problems(&ill);
        for (problem, part) in problems.iter().zip(["503", "retries", "3 messages", "7 or more", "301 s"]) {
            assert!(problem.contains(part), "{problem}");
        }
        assert_eq!(problems.len(), 5);
    }

    #[test]
    fn what_a_queue_does_not_say_is_nothing() {
        let attributes = BTreeMap::from([("ApproximateNumberOfMessages".to_owned(), "3".to_owned())]);
        assert_eq!(Depth::of(&attributes), Depth { waiting: 3, in_flight: 0 });
    }
}
