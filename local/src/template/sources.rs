//! What invokes a function: queues, streams of tables, and schedules.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_yaml_ng::Value;

use super::resources::{Node, seconds};
use super::value::Evaluator;
use super::{ACCOUNT, QueueMapping, REGION, STACK_NAME, Schedule, StreamMapping};
use crate::gateway::DEFAULT_ROUTE;
use crate::stream::{BATCH_SIZE_MAX, Filter};

/// The batch size of a queue where a mapping does not set one (Lambda API reference).
const QUEUE_BATCH_SIZE_DEFAULT: u32 = 10;
/// The batch size of a stream where a mapping does not set one (Lambda API reference).
const STREAM_BATCH_SIZE_DEFAULT: u32 = 100;
/// The most batches of one shard at one time (Lambda API reference).
const PARALLELIZATION_FACTOR_MAX: u32 = 10;
/// The most retries that a mapping may set (Lambda API reference).
const RETRY_ATTEMPTS_MAX: u32 = 10_000;
/// The range of ages that a mapping may set, in seconds (Lambda API reference): a minute to a week.
const RECORD_AGE_SECS: (u32, u32) = (60, 604_800);

/// An event of the type `HttpApi`: the key of its route. Without method and path it is the API's `$default`, as SAM has it.
pub(super) fn http_route(template: &Evaluator, path: String, event: &Value) -> anyhow::Result<String> {
    // The API has no stand-in of its own to be referred to: there is one.
    let without_api = event.get("Properties").and_then(Value::as_mapping).map(|properties| {
        let others = properties.iter().filter(|(name, _)| name.as_str() != Some("ApiId"));
        Value::Mapping(others.map(|(name, value)| (name.clone(), value.clone())).collect())
    });
    let event = Value::Mapping([("Properties".into(), without_api.unwrap_or_default())].into_iter().collect());
    let node = properties(template, path, &event, &["Method", "Path"])?;
    match (node.text_if_any("Method")?, node.text_if_any("Path")?) {
        (None, None) => Ok(DEFAULT_ROUTE.to_owned()),
        (Some(method), Some(path)) => Ok(format!("{} {path}", method.to_ascii_uppercase())),
        _ => bail!("{} has one of Method and Path, and needs both", node.path("Properties")),
    }
}

/// An event of the type `SQS`.
pub(super) fn queue(template: &Evaluator, name: &str, path: String, event: &Value) -> anyhow::Result<QueueMapping> {
    let known = ["Queue", "BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "ScalingConfig"];
    let node = properties(template, path, event, &known)?;
    let scaling = node.child("ScalingConfig")?;
    Ok(QueueMapping {
        name: name.to_owned(),
        queue_arn: node.text("Queue")?,
        batch_size: node.number("BatchSize")?.unwrap_or(QUEUE_BATCH_SIZE_DEFAULT),
        batching_window: seconds(node.number("MaximumBatchingWindowInSeconds")?.unwrap_or(0)),
        report_batch_item_failures: reports_batch_item_failures(&node)?,
        maximum_concurrency: scaling.map(|scaling| scaling.number("MaximumConcurrency")).transpose()?.flatten(),
    })
}

/// An event of the type `DynamoDB`.
pub(super) fn stream(template: &Evaluator, name: &str, path: String, event: &Value) -> anyhow::Result<StreamMapping> {
    let known = [
        "Stream",
        "StartingPosition",
        "BatchSize",
        "ParallelizationFactor",
        "MaximumBatchingWindowInSeconds",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "MaximumRecordAgeInSeconds",
        "FunctionResponseTypes",
        "FilterCriteria",
    ];
    let node = properties(template, path, event, &known)?;
    // Positions are not kept over a restart, so that LATEST would leave out what came in between.
    let position = node.text("StartingPosition")?;
    ensure!(position == "TRIM_HORIZON", "{} is {position}, not TRIM_HORIZON", node.path("StartingPosition"));
    let batch_size = node.number("BatchSize")?.unwrap_or(STREAM_BATCH_SIZE_DEFAULT);
    let range = 1..=BATCH_SIZE_MAX;
    ensure!(range.contains(&batch_size), "{} is not a number from 1 to {BATCH_SIZE_MAX}", node.path("BatchSize"));
    let parallelization_factor = node.number("ParallelizationFactor")?.unwrap_or(1);
    ensure!(
        (1..=PARALLELIZATION_FACTOR_MAX).contains(&parallelization_factor),
        "{} is not a number from 1 to {PARALLELIZATION_FACTOR_MAX}",
        node.path("ParallelizationFactor")
    );
    Ok(StreamMapping {
        name: name.to_owned(),
        stream_arn: node.text("Stream")?,
        batch_size,
        parallelization_factor,
        batching_window: seconds(node.number("MaximumBatchingWindowInSeconds")?.unwrap_or(0)),
        bisect_batch_on_function_error: flag(&node, "BisectBatchOnFunctionError")?,
        maximum_retry_attempts: limit(&node, "MaximumRetryAttempts", (0, RETRY_ATTEMPTS_MAX))?,
        maximum_record_age: limit(&node, "MaximumRecordAgeInSeconds", RECORD_AGE_SECS)?.map(seconds),
        report_batch_item_failures: reports_batch_item_failures(&node)?,
        filter: filter(&node)?,
    })
}

/// An event of the type `Schedule`, whose rule has the name that SAM makes of the function's and the event's.
pub(super) fn schedule(
    template: &Evaluator,
    function: &str,
    name: &str,
    path: String,
    event: &Value,
) -> anyhow::Result<Schedule> {
    let node = properties(template, path, event, &["Schedule"])?;
    let expression = node.text("Schedule")?;
    Ok(Schedule {
        name: name.to_owned(),
        rule_arn: format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{STACK_NAME}-{function}{name}"),
        period: period(&expression).with_context(|| format!("{} is {expression:?}", node.path("Schedule")))?,
    })
}

/// An event's properties. Those that are not known could change what happens to messages and records (a queue's filter
/// deletes what it does not match), so that they are refused.
fn properties(template: &Evaluator, path: String, event: &Value, known: &[&str]) -> anyhow::Result<Node> {
    let properties = event.get("Properties").with_context(|| format!("{path}.Properties is missing"))?;
    let node = Node::resolved(template, path, properties)?;
    for property in node.entries.keys().filter_map(Value::as_str) {
        ensure!(known.contains(&property), "{} is not known here", node.path(property));
    }
    Ok(node)
}

fn reports_batch_item_failures(node: &Node) -> anyhow::Result<bool> {
    match node.get("FunctionResponseTypes") {
        None => Ok(false),
        Some(Value::Sequence(types)) => match types.as_slice() {
            [] => Ok(false),
            [only] if only.as_str() == Some("ReportBatchItemFailures") => Ok(true),
            _ => bail!("{} is not known here", node.path("FunctionResponseTypes")),
        },
        Some(_) => bail!("{} is not a list", node.path("FunctionResponseTypes")),
    }
}

fn flag(node: &Node, name: &str) -> anyhow::Result<bool> {
    match node.text_if_any(name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => bail!("{} is {other:?}, not true or false", node.path(name)),
    }
}

/// A number within a range; -1 is no limit, and so is nothing.
fn limit(node: &Node, name: &str, (least, most): (u32, u32)) -> anyhow::Result<Option<u32>> {
    if node.text_if_any(name)?.as_deref() == Some("-1") {
        return Ok(None);
    }
    let number = node.number(name)?;
    let within = number.is_none_or(|number| (least..=most).contains(&number));
    ensure!(within, "{} is neither -1 nor a number from {least} to {most}", node.path(name));
    Ok(number)
}

fn filter(node: &Node) -> anyhow::Result<Filter> {
    let Some(criteria) = node.child("FilterCriteria")? else { return Ok(Filter::default()) };
    let patterns =
        criteria.children("Filters")?.iter().map(|filter| filter.text("Pattern")).collect::<Result<Vec<_>, _>>();
    Filter::parse(&patterns?).with_context(|| criteria.path("Filters"))
}

/// Reads `rate(1 minute)`, `rate(5 minutes)` and the like; EventBridge insists on the right number of the noun.
fn period(expression: &str) -> anyhow::Result<Duration> {
    ensure!(!expression.starts_with("cron("), "only rate(…) is known here");
    let rate = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let (count, unit) = rate.and_then(|rate| rate.split_once(' ')).context("it is not rate(NUMBER UNIT)")?;
    let count: u32 = count.parse().with_context(|| format!("{count:?} is not a whole number"))?;
    let seconds = match (count, unit) {
        (1, "minute") | (2.., "minutes") => 60,
        (1, "hour") | (2.., "hours") => 3_600,
        (1, "day") | (2.., "days") => 86_400,
        _ => bail!("a rate is 1 minute, hour or day, or several minutes, hours or days"),
    };
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        for (expression, secs) in [
            ("rate(1 minute)", 60),
            ("rate(5 minutes)", 300),
            ("rate(1 hour)", 3_600),
            ("rate(12 hours)", 43_200),
            ("rate(1 day)", 86_400),
            ("rate(7 days)", 604_800),
        ] {
            assert_eq!(period(expression).unwrap(), Duration::from_secs(secs), "{expression}");
        }
        for (expression, said) in [
            ("cron(0 12 * * ? *)", "only rate(…) is known here"),
            ("rate(5)", "it is not rate(NUMBER UNIT)"),
            ("every 5 minutes", "it is not rate(NUMBER UNIT)"),
            ("rate(x minutes)", "\"x\" is not a whole number"),
            ("rate(0 minutes)", "a rate is 1 minute"),
            ("rate(1 minutes)", "a rate is 1 minute"),
            ("rate(5 minute)", "a rate is 1 minute"),
            ("rate(5 seconds)", "a rate is 1 minute"),
        ] {
            let error = format!("{:#}", period(expression).unwrap_err());
            assert!(error.starts_with(said), "{expression}: {error}");
        }
    }
}
