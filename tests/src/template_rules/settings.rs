//! What the functions are told: environment variables, limits, and the level of their logs.

use std::cell::RefCell;
use std::collections::BTreeSet;

use consume::period::Period;
use local::template::Template;
use serde_yaml_ng::Value;
use shared::limits;

use super::document::{Document, at, text};

/// Variables that are read outside a `Config`: by `shared::telemetry` and by the AWS SDK.
const READ_ELSEWHERE: [&str; 2] = ["STACK_NAME", "AWS_ENDPOINT_URL"];
/// Room in an invocation's payload for everything but the request's body.
const PAYLOAD_ENVELOPE_BYTES: usize = 64 * 1024;

/// The names that a `Config` looks up, whether it finds them or not.
fn names_read(read: impl Fn(&dyn Fn(&str) -> Option<String>)) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    read(&|name| {
        names.borrow_mut().insert(name.to_owned());
        None
    });
    names.into_inner()
}

pub(super) fn check(template: &Template, document: &Document, found: &mut Vec<String>) {
    check_variables(template, document, found);
    check_sizes(document, found);
    check_period(document, found);
    check_log_level(document, found);
}

fn check_variables(template: &Template, document: &Document, found: &mut Vec<String>) {
    let globals = at_variables(document.at(&["Globals", "Function"]));
    for function in &template.functions {
        let id = function.logical_id.as_str();
        // That nothing is set is refused by each, but only after everything was looked up.
        let read = match function.binary.as_str() {
            "ingest" => names_read(|lookup| drop(ingest::config::Config::from_lookup(lookup))),
            "consume" => names_read(|lookup| drop(consume::config::Config::from_lookup(lookup))),
            "receipts" => names_read(|lookup| drop(receipts::config::Config::from_lookup(lookup))),
            other => {
                found.push(format!("{id}: nothing is known of the binary {other}"));
                continue;
            }
        };
        let own = at_variables(document.at(&["Resources", id, "Properties"]));
        let set: BTreeSet<String> = globals.union(&own).cloned().collect();
        let known = |name: &String| read.contains(name) || READ_ELSEWHERE.contains(&name.as_str());
        // Lambda sets the variables of its own.
        let missing = read.difference(&set).filter(|name| !name.starts_with("AWS_LAMBDA_"));
        found.extend(missing.map(|name| format!("{id}: {name} is read and not set")));
        found.extend(set.iter().filter(|name| !known(name)).map(|name| format!("{id}: {name} is set and not read")));
        if !set.contains("STACK_NAME") {
            found.push(format!("{id}: without STACK_NAME the metrics of several stacks mix"));
        }
    }
}

fn at_variables(properties: Option<&Value>) -> BTreeSet<String> {
    let variables = properties.and_then(|value| at(value, &["Environment", "Variables"])).and_then(Value::as_mapping);
    variables.into_iter().flatten().filter_map(|(name, _)| name.as_str().map(str::to_owned)).collect()
}

/// A deployment that says nothing keeps events as items of their own.
fn check_period(document: &Document, found: &mut Vec<String>) {
    let default = document.at(&["Parameters", "PackedPeriod", "Default"]).and_then(Value::as_str);
    if default.and_then(|text| text.parse().ok()) != Some(Period::NEVER) {
        found.push(format!("PackedPeriod: Default is {default:?}, and consume's is never"));
    }
}

fn check_sizes(document: &Document, found: &mut Vec<String>) {
    for (parameter, default, ceiling) in [
        ("RequestBytesMax", limits::REQUEST_BYTES_DEFAULT, limits::REQUEST_BYTES_CEILING),
        ("EventBytesMax", limits::EVENT_BYTES_DEFAULT, limits::EVENT_BYTES_CEILING),
    ] {
        for (attribute, ours) in [("Default", default), ("MaxValue", ceiling)] {
            let said = document.parameter(parameter, attribute);
            if said != Some(ours) {
                found.push(format!("{parameter}: {attribute} is {said:?}, and shared::limits has {ours}"));
            }
        }
    }
    // In an invocation's JSON every quotation mark of a body takes two bytes.
    let request = document.parameter("RequestBytesMax", "MaxValue").unwrap_or(usize::MAX / 4);
    if 2 * request + PAYLOAD_ENVELOPE_BYTES > limits::LAMBDA_PAYLOAD_BYTES_MAX {
        found.push("RequestBytesMax: a request as large as its MaxValue outgrows an invocation".to_owned());
    }
    let event = document.parameter("EventBytesMax", "MaxValue").unwrap_or(usize::MAX / 4);
    if event + limits::EVENT_ENVELOPE_BYTES_MAX > limits::DYNAMODB_ITEM_BYTES_MAX {
        found.push("EventBytesMax: an event as large as its MaxValue outgrows an item".to_owned());
    }
    for (id, queue) in document.resources("AWS::SQS::Queue") {
        let most = at(queue, &["Properties", "MaximumMessageSize"]).map(|most| most.as_u64().unwrap_or(0));
        if most.is_some_and(|most| most < limits::SQS_MESSAGE_BYTES_MAX as u64) {
            found.push(format!("{id}: MaximumMessageSize is less than shared::limits counts on"));
        }
    }
}

/// Metrics are lines without a level, which Lambda takes for INFO: a higher level would lose them all.
fn check_log_level(document: &Document, found: &mut Vec<String>) {
    let global = document.at(&["Globals", "Function"]);
    let functions = document.resources("AWS::Serverless::Function");
    for (id, function) in functions {
        let level = text(function, &["Properties", "LoggingConfig", "ApplicationLogLevel"])
            .or_else(|| global.and_then(|global| text(global, &["LoggingConfig", "ApplicationLogLevel"])));
        if !matches!(level, Some("INFO" | "DEBUG" | "TRACE")) {
            found.push(format!("{id}: at the log level {} all metrics are lost", level.unwrap_or("of the default")));
        }
    }
}
