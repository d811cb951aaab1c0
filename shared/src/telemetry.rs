//! Logs and metrics: JSON lines for people, and counters in CloudWatch's embedded metric format for alarms.
//!
//! Never in either: bodies, write keys, addresses, headers.

use std::sync::OnceLock;

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::outcome::Reason;

/// The CloudWatch namespace of all metrics.
pub const NAMESPACE: &str = "Holdfast";

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
    /// Messages given back to the queue.
    pub const MESSAGES_RETRIED: &str = "MessagesRetried";
    /// Requests answered with an error that is ours (5xx).
    pub const REQUESTS_FAILED: &str = "RequestsFailed";
    /// Requests answered with an error that is the producer's (4xx).
    pub const REQUESTS_REFUSED: &str = "RequestsRefused";
    /// Milliseconds from the arrival of a message's request to its being stored; of the oldest of the batch.
    pub const QUEUE_DELAY_MS: &str = "QueueDelayMs";
    /// The most memory used since the environment started, in percent of the function's size.
    pub const MEMORY_USED_PCT: &str = "MemoryUsedPct";
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
    let ours = ["shared", "ingest", "consume"].map(|name| (name, level));
    let filter = Targets::new().with_default(Level::WARN.min(level)).with_targets(ours);
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // A failure means that someone has set a subscriber up before, which is then the one to use.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if let Ok(collector) = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("service", service).init() {
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

/// Prints what was counted since the last call, as one line to standard output.
pub fn flush() {
    flush_to(std::io::stdout());
}

fn flush_to(writer: impl std::io::Write) {
    if let Some(collector) = COLLECTOR.get()
        && let Err(error) = collector.flush(writer)
    {
        tracing::warn!(%error, "metrics could not be printed");
    }
}

/// The most memory that the process has used so far, in percent of the function's size; `None` where either is
/// unknown, as outside Lambda or Linux.
#[must_use]
pub fn memory_used_pct() -> Option<f64> {
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
        assert_eq!(directive["Dimensions"], serde_json::json!([["service"]]));
        let names: Vec<&str> =
            directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names, ["EventsStored", "QueueDelayMs"]);
    }
}
