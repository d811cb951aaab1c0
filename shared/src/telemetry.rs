//! Logs and metrics: JSON lines for people, and counters in CloudWatch's embedded metric format for alarms.
//!
//! Never in either: bodies, write keys, addresses, headers.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::Timestamp;
use crate::outcome::Reason;

/// The CloudWatch namespace of all metrics. Each has the dimensions `service` (which function) and `stack`.
pub const NAMESPACE: &str = "Holdfast";
/// What stands for the stack where `STACK_NAME` is not set, as outside AWS.
const STACK_DEFAULT: &str = "local";
/// How long after its arrival an event is due, that is, should have come to its fate. CloudWatch takes data points of up
/// to two hours in the future (`PutMetricData`).
const DUE_AFTER: Duration = Duration::from_secs(60 * 60);

/// The names of the metrics, each a count of events unless its doc says otherwise.
pub mod metric {
    /// Events in requests that could be read, refused ones included.
    pub const EVENTS_RECEIVED: &str = "EventsReceived";
    /// Events that the queue or the spill table has confirmed.
    pub const EVENTS_ACCEPTED: &str = "EventsAccepted";
    /// Items refused within requests that were answered 200.
    pub const EVENTS_REFUSED: &str = "EventsRefused";
    /// Events and refused items that went to the spill table, because the queue did not take them.
    pub const EVENTS_SPILLED: &str = "EventsSpilled";
    /// Events whose item was written.
    pub const EVENTS_STORED: &str = "EventsStored";
    /// Events that another with the same identity had come before.
    pub const EVENTS_DUPLICATE: &str = "EventsDuplicate";
    /// Events whose subject was deleted later than they happened.
    pub const EVENTS_ERASED: &str = "EventsErased";
    /// Events and refused items that were dead-lettered.
    pub const EVENTS_DEAD_LETTERED: &str = "EventsDeadLettered";
    /// Events and refused items that were acknowledged, counted in the minute in which they are due.
    pub const EVENTS_DUE: &str = "EventsDue";
    /// Events and refused items whose message is done with, counted in the minute in which they were due. What is due
    /// and not settled is waiting or lost.
    pub const EVENTS_SETTLED: &str = "EventsSettled";
    /// Messages given back to the queue.
    pub const MESSAGES_RETRIED: &str = "MessagesRetried";
    /// Messages that the sweep put from the spill table into the queue.
    pub const MESSAGES_SWEPT: &str = "MessagesSwept";
    /// Requests answered with an error that is ours (5xx).
    pub const REQUESTS_FAILED: &str = "RequestsFailed";
    /// Requests answered with an error that is the producer's (4xx).
    pub const REQUESTS_REFUSED: &str = "RequestsRefused";
    /// Milliseconds from the arrival of a message's request to its being stored; of the oldest of the batch.
    pub const QUEUE_DELAY_MS: &str = "QueueDelayMs";
    /// The most memory used since the environment started, in percent of the function's size.
    pub const MEMORY_USED_PCT: &str = "MemoryUsedPct";

    /// Every metric of `ingest`.
    pub const OF_INGEST: [&str; 8] = [
        EVENTS_RECEIVED,
        EVENTS_ACCEPTED,
        EVENTS_REFUSED,
        EVENTS_SPILLED,
        EVENTS_DUE,
        REQUESTS_FAILED,
        REQUESTS_REFUSED,
        MEMORY_USED_PCT,
    ];
    /// Every metric of `receipts`.
    pub const OF_RECEIPTS: [&str; 3] = [REQUESTS_FAILED, REQUESTS_REFUSED, MEMORY_USED_PCT];
    /// Every metric of `consume`.
    pub const OF_CONSUME: [&str; 9] = [
        EVENTS_STORED,
        EVENTS_DUPLICATE,
        EVENTS_ERASED,
        EVENTS_DEAD_LETTERED,
        EVENTS_SETTLED,
        MESSAGES_RETRIED,
        MESSAGES_SWEPT,
        QUEUE_DELAY_MS,
        MEMORY_USED_PCT,
    ];
}

static COLLECTOR: OnceLock<&'static Collector> = OnceLock::new();

/// Sets up logs and metrics of the process, once; a second call does nothing.
///
/// The level is `AWS_LAMBDA_LOG_LEVEL` (Lambda sets it from the template), `INFO` without it. It holds for our own
/// code; from libraries only warnings are let through, since their debug output holds requests and so people's data.
pub fn init(service: &'static str) {
    let level = crate::config::environment("AWS_LAMBDA_LOG_LEVEL")
        .and_then(|text| text.parse::<Level>().ok())
        .unwrap_or(Level::INFO);
    let ours = ["shared", "ingest", "consume", "receipts"].map(|name| (name, level));
    let filter = Targets::new().with_default(Level::WARN.min(level)).with_targets(ours);
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // A failure means that someone has set a subscriber up before, which is then the one to use.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    let stack = crate::config::environment("STACK_NAME").filter(|name| !name.is_empty());
    let builder = Builder::new()
        .cloudwatch_namespace(NAMESPACE)
        .with_dimension("service", service)
        .with_dimension("stack", stack.unwrap_or_else(|| STACK_DEFAULT.to_owned()));
    if let Ok(collector) = builder.init() {
        let _ = COLLECTOR.set(collector);
    }
}

/// Adds to a counter of [`metric`]. Without [`init`], as in tests, it counts nothing.
pub fn count(name: &'static str, by: u64) {
    if by > 0 {
        metrics::counter!(name).increment(by);
    }
}

/// Adds to a counter of [`metric`] for one reason of [`crate::outcome::Reason`], apart from the counter of all. A reason
/// that is not known here, as a later version may name one, counts as `other`.
pub fn count_by_reason(name: &'static str, reason: &str, by: u64) {
    let reason = Reason::ALL.into_iter().map(Reason::tag).find(|tag| *tag == reason).unwrap_or("other");
    if by > 0 {
        metrics::counter!(name, "reason" => reason).increment(by);
    }
}

/// Sets a gauge of [`metric`].
pub fn gauge(name: &'static str, value: f64) {
    metrics::gauge!(name).set(value);
}

/// The minute in which the events of a request are due; `None` if `receipt` does not begin with a time.
///
/// A receipt is a UUID of version 7, whose first 48 bits are milliseconds since 1970 (RFC 9562). So both functions find
/// the very same minute, from the message or from its key in the spill table.
#[must_use]
pub fn due_at(receipt: &str) -> Option<Timestamp> {
    const MINUTE: i64 = 60_000;
    let is_version_7 = receipt.as_bytes().get(12) == Some(&b'7');
    let millis = i64::from_str_radix(receipt.get(..12).filter(|_| is_version_7)?, 16).ok()?;
    Some(Timestamp::from_millis(millis - millis % MINUTE)?.plus(DUE_AFTER))
}

/// Lines of counts that [`flush`] is yet to print.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Counts for [`metric`] what belongs to another time than now, as a line of its own, which [`flush`] prints.
pub fn count_at(name: &'static str, moment: Timestamp, by: u64) {
    if let Some(collector) = COLLECTOR.get().filter(|_| by > 0) {
        let dimensions = collector.config.default_dimensions.iter();
        let line = line_at(name, moment, by, dimensions.map(|(name, value)| (name.as_ref(), value.as_ref())));
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend(format!("{line}\n").into_bytes());
    }
}

fn line_at<'a>(
    name: &str,
    moment: Timestamp,
    by: u64,
    dimensions: impl Iterator<Item = (&'a str, &'a str)>,
) -> serde_json::Value {
    let (mut names, mut line) = (Vec::new(), serde_json::Map::new());
    for (dimension, value) in dimensions {
        names.push(dimension);
        line.insert(dimension.to_owned(), value.into());
    }
    line.insert(name.to_owned(), by.into());
    let directive = serde_json::json!({"Namespace": NAMESPACE, "Dimensions": [names], "Metrics": [{"Name": name}]});
    let about = serde_json::json!({"Timestamp": moment.as_millis(), "CloudWatchMetrics": [directive]});
    line.insert("_aws".to_owned(), about);
    line.into()
}

/// Prints what was counted since the last call, line by line and all at once, to standard output.
pub fn flush() {
    flush_to(std::io::stdout());
}

fn flush_to(mut writer: impl std::io::Write) {
    let Some(collector) = COLLECTOR.get() else { return };
    let mut lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = collector.flush(&mut lines).and_then(|()| writer.write_all(&lines)) {
        tracing::warn!(%error, "metrics could not be printed");
    }
}

/// For how long the most memory stands: to read it at each request would be a tenth of a small one.
const MEMORY_FRESH: Duration = Duration::from_secs(1);

/// The most memory that the process has used so far, in percent of the function's size; `None` where either is
/// unknown, as outside Lambda or Linux, and within a second of the last time that it was told.
#[must_use]
pub fn memory_used_pct() -> Option<f64> {
    static ASKED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if asked.is_some_and(|at| at.elapsed() < MEMORY_FRESH) {
        return None;
    }
    *asked = Some(Instant::now());
    let megabytes: f64 = crate::config::environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?.parse().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: f64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    (megabytes > 0.0).then(|| kibibytes / 1024.0 / megabytes * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_one_line_that_cloudwatch_reads() {
        init("test");
        count(metric::EVENTS_STORED, 2);
        count(metric::EVENTS_STORED, 3);
        count(metric::EVENTS_DUPLICATE, 0);
        gauge(metric::QUEUE_DELAY_MS, 17.0);
        let mut line = Vec::new();
        flush_to(&mut line);
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&line["service"], &line["EventsStored"], &line["QueueDelayMs"]),
            (&"test".into(), &5.into(), &17.0.into())
        );
        assert!(line.get("EventsDuplicate").is_none());
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], NAMESPACE);
        assert_eq!(directive["Dimensions"], serde_json::json!([["service", "stack"]]));
        assert_eq!((&line["stack"], line["_aws"]["Timestamp"].is_u64()), (&"local".into(), true));
        let names: Vec<&str> =
            directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names, ["EventsStored", "QueueDelayMs"]);
    }

    #[test]
    fn what_is_due_is_counted_in_the_minute_an_hour_after_the_receipt() {
        let due = due_at("018bcfe568007abcdef0123456789abc").unwrap();
        assert_eq!(due.to_string(), "2023-11-14T23:13:00.000Z");
        assert_eq!(due_at("018bcfe568007abcdef0123456789abc.3"), Some(due));
        for receipt in ["", "receipt000001", "018bcfe568004abcdef0123456789abc", "ééééééééé"] {
            assert_eq!(due_at(receipt), None, "{receipt}");
        }
        let line = line_at(metric::EVENTS_DUE, due, 3, [("service", "test"), ("stack", "s")].into_iter());
        assert_eq!((&line["EventsDue"], &line["service"], &line["stack"]), (&3.into(), &"test".into(), &"s".into()));
        assert_eq!(line["_aws"]["Timestamp"], due.as_millis());
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], serde_json::json!([["service", "stack"]]));
        assert_eq!(directive["Metrics"], serde_json::json!([{"Name": "EventsDue"}]));
    }
}
