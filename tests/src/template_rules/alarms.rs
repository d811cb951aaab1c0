//! Alarms and the dashboard: each watches a metric that exists, tells somebody, and has a section of the runbook.

use serde_yaml_ng::Value;
use shared::outcome::Reason;
use shared::telemetry::{NAMESPACE, metric};

use super::document::{Document, at, items, pattern, target, text};

/// The metrics of AWS that are watched, each with its dimensions (the services' own lists of metrics).
const OF_AWS: [(&str, &[&str], &[&str]); 6] = [
    ("AWS/ApiGateway", &["ApiId"], &["4xx", "5xx", "Count", "IntegrationLatency", "Latency"]),
    ("AWS/Lambda", &["FunctionName"], &["ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"]),
    (
        "AWS/SQS",
        &["QueueName"],
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfEmptyReceives",
            "NumberOfMessagesDeleted",
            "NumberOfMessagesReceived",
            "NumberOfMessagesSent",
        ],
    ),
    (
        "AWS/DynamoDB",
        &["TableName"],
        &["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"],
    ),
    ("AWS/DynamoDB", &["Operation", "TableName"], &["SystemErrors", "ThrottledRequests"]),
    ("AWS/Logs", &["LogGroupName"], &["IncomingBytes"]),
];

/// A metric as an alarm or a widget names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    namespace: String,
    name: String,
    /// In order of their names; empty values are references.
    dimensions: Vec<(String, String)>,
}

pub(super) fn check(document: &Document, runbook: &str, found: &mut Vec<String>) {
    let mut names = Vec::new();
    for (id, alarm) in document.resources("AWS::CloudWatch::Alarm") {
        names.extend(check_alarm(id, alarm, runbook, found));
        let metrics = metrics(alarm);
        if metrics.is_empty() {
            found.push(format!("{id}: it watches nothing"));
        }
        metrics.iter().for_each(|named| check_metric(document, id, named, found));
        if text(alarm, &["Properties", "TreatMissingData"]).is_none() {
            found.push(format!("{id}: it does not say what missing data means"));
        }
    }
    for (id, alarm) in document.resources("AWS::CloudWatch::CompositeAlarm") {
        names.extend(check_alarm(id, alarm, runbook, found));
        let rule = at(alarm, &["Properties", "AlarmRule"]).and_then(pattern).unwrap_or_default();
        let watched: Vec<&str> = rule.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
        if watched.is_empty() {
            found.push(format!("{id}: it watches nothing"));
        }
        for alarm in watched.iter().filter(|alarm| !document.has_resource(alarm)) {
            found.push(format!("{id}: there is no {alarm}"));
        }
    }
    for section in runbook.lines().filter_map(|line| line.strip_prefix("### ")) {
        if !names.iter().any(|name| name == section) {
            found.push(format!("the runbook: {section} is no alarm"));
        }
    }
    check_deployments(document, found);
    for (id, dashboard) in document.resources("AWS::CloudWatch::Dashboard") {
        check_dashboard(document, id, dashboard, found);
    }
}

/// Checks what all alarms have, and returns the name without the stack's.
fn check_alarm(id: &str, alarm: &Value, runbook: &str, found: &mut Vec<String>) -> Option<String> {
    let actions = items(at(alarm, &["Properties", "AlarmActions"]));
    if actions.is_empty() {
        found.push(format!("{id}: it tells nobody"));
    }
    let name = at(alarm, &["Properties", "AlarmName"]).and_then(pattern);
    let Some(name) = name.and_then(|name| name.strip_prefix("${AWS::StackName}-")) else {
        found.push(format!("{id}: its name does not begin with the stack's"));
        return None;
    };
    let (_, section) = runbook.split_once(&format!("\n### {name}\n")).unwrap_or_default();
    let section = section.split("\n### ").next().unwrap_or_default();
    for part in ["**Means.**", "**Look.**", "**Do.**", "**Try.**"] {
        if !section.contains(part) {
            found.push(format!("{id}: the runbook's section {name} has no {part}"));
        }
    }
    let described = text(alarm, &["Properties", "AlarmDescription"]).unwrap_or_default();
    if !described.ends_with(&format!("docs/OPERATIONS.md, section {name}.")) {
        found.push(format!("{id}: its description does not name its section of the runbook"));
    }
    Some(name.to_owned())
}

fn metrics(alarm: &Value) -> Vec<Named> {
    let Some(properties) = at(alarm, &["Properties"]) else { return vec![] };
    let queries = items(at(properties, &["Metrics"]));
    let stats = queries.into_iter().filter_map(|query| at(query, &["MetricStat", "Metric"]));
    stats.chain(at(properties, &["MetricName"]).map(|_| properties)).filter_map(named).collect()
}

fn named(metric: &Value) -> Option<Named> {
    let mut dimensions: Vec<(String, String)> = items(at(metric, &["Dimensions"]))
        .into_iter()
        .filter_map(|one| {
            let value = text(one, &["Value"]).unwrap_or_default();
            Some((text(one, &["Name"])?.to_owned(), value.to_owned()))
        })
        .collect();
    dimensions.sort();
    let namespace = pattern(at(metric, &["Namespace"])?)?.to_owned();
    Some(Named { namespace, name: text(metric, &["MetricName"])?.to_owned(), dimensions })
}

fn check_metric(document: &Document, id: &str, named: &Named, found: &mut Vec<String>) {
    let Named { namespace, name, dimensions } = named;
    let value = |wanted: &str| dimensions.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let keys: Vec<&str> = dimensions.iter().map(|(name, _)| name.as_str()).collect();
    let is_known = if namespace == NAMESPACE {
        let names: &[&str] = match value("service") {
            Some("ingest") => &metric::OF_INGEST,
            Some("consume") => &metric::OF_CONSUME,
            Some("receipts") => &metric::OF_RECEIPTS,
            _ => &[],
        };
        let reason = value("reason").is_none_or(|reason| Reason::ALL.iter().any(|known| known.tag() == reason));
        let has_reasons = name == metric::EVENTS_DEAD_LETTERED;
        let dimensions = keys == ["service", "stack"] || has_reasons && keys == ["reason", "service", "stack"];
        names.contains(&name.as_str()) && reason && dimensions
    } else if namespace.starts_with("AWS/") {
        OF_AWS.iter().any(|(of, with, names)| of == namespace && keys == *with && names.contains(&name.as_str()))
    } else {
        document.resources("AWS::Logs::MetricFilter").any(|(_, filter)| {
            items(at(filter, &["Properties", "MetricTransformations"])).into_iter().any(|made| {
                at(made, &["MetricNamespace"]).and_then(pattern) == Some(namespace)
                    && text(made, &["MetricName"]) == Some(name)
            })
        })
    };
    if !is_known {
        found.push(format!("{id}: nobody counts {namespace} {name} by [{}]", keys.join(", ")));
    }
}

/// Every deployment is watched by an alarm, and a role of the template may look at it.
fn check_deployments(document: &Document, found: &mut Vec<String>) {
    for (id, function) in document.resources("AWS::Serverless::Function") {
        let preference = at(function, &["Properties", "DeploymentPreference"]);
        let alarms = preference.and_then(|preference| at(preference, &["Alarms"]));
        let listed = match alarms {
            Some(Value::Tagged(condition)) => items(condition.value.get(1)),
            other => items(other),
        };
        if listed.is_empty() || !listed.iter().all(|alarm| target(alarm).is_some_and(|id| document.has_resource(id))) {
            found.push(format!("{id}: no alarm watches its deployments"));
        }
    }
}

fn check_dashboard(document: &Document, id: &str, dashboard: &Value, found: &mut Vec<String>) {
    let body = at(dashboard, &["Properties", "DashboardBody"]).and_then(pattern).unwrap_or_default();
    let body: serde_json::Value = match serde_json::from_str(body) {
        Ok(body) => body,
        Err(error) => return found.push(format!("{id}: its body is not JSON: {error}")),
    };
    let widgets = body["widgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<&str> = widgets
        .iter()
        .flat_map(|widget| widget["properties"]["alarms"].as_array().into_iter().flatten())
        .filter_map(serde_json::Value::as_str)
        .collect();
    let all = document.resources("AWS::CloudWatch::Alarm").chain(document.resources("AWS::CloudWatch::CompositeAlarm"));
    // An alarm that a stack may lack cannot be shown by it.
    let always = all.filter(|(_, alarm)| text(alarm, &["Condition"]) == text(dashboard, &["Condition"]));
    for (alarm, _) in always.filter(|(alarm, _)| !shown.contains(&format!("${{{alarm}.Arn}}").as_str())) {
        found.push(format!("{id}: it does not show {alarm}"));
    }
    let rows = widgets.iter().flat_map(|widget| widget["properties"]["metrics"].as_array().into_iter().flatten());
    for row in rows.filter_map(serde_json::Value::as_array) {
        let texts: Vec<&str> = row.iter().filter_map(serde_json::Value::as_str).collect();
        let [namespace, name, pairs @ ..] = texts.as_slice() else { continue };
        let pair = |pair: &[&str]| (pair[0].to_owned(), pair.get(1).copied().unwrap_or_default().to_owned());
        let mut dimensions: Vec<(String, String)> = pairs.chunks(2).map(pair).collect();
        dimensions.sort();
        let named = Named { namespace: (*namespace).to_owned(), name: (*name).to_owned(), dimensions };
        check_metric(document, id, &named, found);
    }
}
