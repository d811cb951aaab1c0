//! Queues and what reads them: no message is delivered twice at a time, given up too early, or failed for its neighbour.

use std::time::Duration;

use consume::backoff;
use local::template::{Function, Queue, Template};
use serde_yaml_ng::Value;
use shared::limits::{LAMBDA_PAYLOAD_BYTES_MAX, MESSAGE_BYTES_TARGET};

use super::document::{Document, at, target};

/// The largest batch that needs no batching window (Lambda API reference).
const BATCH_WITHOUT_WINDOW_MAX: u32 = 10;
/// Visibility time-outs in time-outs of the function (Lambda developer guide, "Using Lambda with Amazon SQS").
const VISIBILITY_TIMEOUTS: u32 = 6;

fn seconds(queue: &Queue, attribute: &str) -> Option<Duration> {
    queue.attributes.get(attribute)?.parse().ok().map(Duration::from_secs)
}

pub(super) fn check(template: &Template, document: &Document, found: &mut Vec<String>) {
    for function in &template.functions {
        check_mappings(template, function, found);
        check_concurrency(document, function, found);
    }
    for queue in &template.queues {
        check_redrive(template, queue, found);
    }
    check_receives(template, document, found);
}

fn check_mappings(template: &Template, function: &Function, found: &mut Vec<String>) {
    let id = &function.logical_id;
    for mapping in &function.queue_mappings {
        let name = &mapping.name;
        let queue = template.queues.iter().find(|queue| queue.arn == mapping.queue_arn);
        let visibility = queue.and_then(|queue| seconds(queue, "VisibilityTimeout")).unwrap_or_default();
        let least = function.timeout * VISIBILITY_TIMEOUTS + mapping.batching_window;
        if visibility < least {
            let queue = queue.map_or("the queue", |queue| queue.logical_id.as_str());
            let (is, least) = (visibility.as_secs(), least.as_secs());
            found.push(format!("{queue}: VisibilityTimeout is {is}, and {name} of {id} needs {least}"));
        }
        if !mapping.report_batch_item_failures {
            found.push(format!("{id}.{name}: without ReportBatchItemFailures one message fails its whole batch"));
        }
        if mapping.batch_size > BATCH_WITHOUT_WINDOW_MAX && mapping.batching_window.is_zero() {
            found.push(format!("{id}.{name}: a batch of {} needs a batching window", mapping.batch_size));
        }
        if mapping.batch_size as usize * MESSAGE_BYTES_TARGET > LAMBDA_PAYLOAD_BYTES_MAX {
            found.push(format!("{id}.{name}: {} packed messages outgrow an invocation", mapping.batch_size));
        }
    }
    for mapping in function.stream_mappings.iter().filter(|mapping| !mapping.report_batch_item_failures) {
        let name = &mapping.name;
        found.push(format!("{id}.{name}: without ReportBatchItemFailures one message fails its whole batch"));
    }
}

/// A mapping that may invoke more than is reserved is throttled, and each throttled message has used up a receive.
fn check_concurrency(document: &Document, function: &Function, found: &mut Vec<String>) {
    let id = function.logical_id.as_str();
    let reserved = document.at(&["Resources", id, "Properties", "ReservedConcurrentExecutions"]);
    let Some(reserved) = reserved.and_then(Value::as_u64) else { return };
    let wanted: u64 =
        function.queue_mappings.iter().map(|mapping| mapping.maximum_concurrency.map_or(u64::MAX / 4, u64::from)).sum();
    if wanted > reserved {
        found.push(format!("{id}: its mappings may invoke more than the reserved concurrency of {reserved}"));
    }
}

fn check_redrive(template: &Template, queue: &Queue, found: &mut Vec<String>) {
    let Some(redrive) = &queue.redrive else { return };
    let dead = template.queues.iter().find(|other| other.arn == redrive.dead_letter_arn);
    let retention = |queue: &Queue| seconds(queue, "MessageRetentionPeriod");
    if dead.and_then(retention) <= retention(queue) {
        // A message's age goes on counting from when it was first sent.
        found.push(format!("{}: its dead-letter queue keeps messages no longer than itself", queue.logical_id));
    }
}

/// What the queue counts is what `consume` was told, and the least that may be set outlasts an outage.
fn check_receives(template: &Template, document: &Document, found: &mut Vec<String>) {
    for function in &template.functions {
        let Some(told) = function.environment.get("RECEIVES_MAX") else { continue };
        let counts = template.queues.iter().filter_map(|queue| queue.redrive.as_ref());
        if counts.clone().any(|redrive| redrive.max_receive_count.to_string() != *told) {
            found.push(format!("{}: RECEIVES_MAX is not the queue's maxReceiveCount", function.logical_id));
        }
    }
    for (id, queue) in document.resources("AWS::SQS::Queue") {
        let Some(count) = at(queue, &["Properties", "RedrivePolicy", "maxReceiveCount"]) else { continue };
        let least = match target(count) {
            Some(parameter) => document.parameter(parameter, "MinValue").unwrap_or(0),
            None => count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
        };
        let outlasts = backoff::outlasts(u32::try_from(least).unwrap_or(u32::MAX));
        if outlasts < backoff::OUTAGE {
            let (is, needs) = (outlasts.as_secs() / 60, backoff::OUTAGE.as_secs() / 60);
            found.push(format!("{id}: {least} receives outlast {is} minutes of an outage, and {needs} are promised"));
        }
    }
}
