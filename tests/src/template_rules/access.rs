//! Who may do what: each function exactly what its adapters call, on exactly its own resources.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;

use super::document::{Document, at, items, pattern, target, text};

/// What the adapters call: role, resource, and the actions on it.
const CALLS: [(&str, &str, &[&str]); 12] = [
    ("IngestRole", "EventsQueue", &["sqs:SendMessage"]),
    ("IngestRole", "EventsTable", &["dynamodb:GetItem"]),
    ("IngestRole", "SpillTable", &["dynamodb:PutItem"]),
    ("ReceiptsRole", "EventsTable", &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]),
    ("ReceiptsRole", "DeadLettersTable", &["dynamodb:BatchGetItem"]),
    // What it tells of events that are on their way is that nothing is found of them.
    ("ReceiptsRole", "SpillTable", &[]),
    ("ReceiptsRole", "EventsQueue", &[]),
    ("ConsumeRole", "EventsQueue", MESSAGES),
    ("ConsumeRole", "QuarantineQueue", MESSAGES),
    (
        "ConsumeRole",
        "EventsTable",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:PartiQLInsert",
            "dynamodb:PutItem",
            "dynamodb:Query",
        ],
    ),
    (
        "ConsumeRole",
        "DeadLettersTable",
        &["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLInsert", "dynamodb:PutItem"],
    ),
    ("ConsumeRole", "SpillTable", &["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:Scan"]),
];
/// What the mapping and the function do with a queue.
const MESSAGES: &[&str] = &[
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
];
/// Actions that know no resources (service authorization reference).
const WITHOUT_RESOURCES: [&str; 2] = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];

pub(super) fn check(document: &Document, found: &mut Vec<String>) {
    for (id, function) in document.resources("AWS::Serverless::Function") {
        let role = at(function, &["Properties", "Role"]).and_then(target);
        if role.is_none_or(|role| !document.has_resource(role)) {
            found.push(format!("{id}: without a role of the template, SAM adds policies on *"));
        }
    }
    for (id, role) in document.resources("AWS::IAM::Role") {
        if at(role, &["Properties", "ManagedPolicyArns"]).is_some() {
            found.push(format!("{id}: a managed policy allows more than is needed"));
        }
        let policies = items(at(role, &["Properties", "Policies"]));
        let statements = policies.into_iter().flat_map(|policy| items(at(policy, &["PolicyDocument", "Statement"])));
        statements.for_each(|statement| check_statement(id, statement, found));
    }
    for (id, policy) in document.resources("AWS::IAM::Policy") {
        let statements = items(at(policy, &["Properties", "PolicyDocument", "Statement"]));
        statements.into_iter().for_each(|statement| check_statement(id, statement, found));
    }
    for (role, resource, calls) in CALLS {
        let allowed = allowed(document, role, resource);
        let calls: BTreeSet<&str> = calls.iter().copied().collect();
        found.extend(calls.difference(&allowed).map(|action| format!("{role}: {action} on {resource} is missing")));
        found
            .extend(allowed.difference(&calls).map(|action| format!("{role}: {action} on {resource} is never called")));
    }
}

fn check_statement(id: &str, statement: &Value, found: &mut Vec<String>) {
    let actions: Vec<&str> = items(at(statement, &["Action"])).into_iter().filter_map(Value::as_str).collect();
    if actions.iter().any(|action| action.contains('*')) {
        found.push(format!("{id}: {} allows more than is needed", actions.join(", ")));
    }
    let resources = items(at(statement, &["Resource"]));
    let is_bound = !resources.is_empty() && resources.into_iter().all(|resource| pattern(resource) != Some("*"));
    if !is_bound && !actions.iter().all(|action| WITHOUT_RESOURCES.contains(action)) {
        found.push(format!("{id}: {} is allowed on *", actions.join(", ")));
    }
}

/// What a role may do with the very resource.
fn allowed<'a>(document: &'a Document, role: &str, resource: &str) -> BTreeSet<&'a str> {
    let policies = items(document.at(&["Resources", role, "Properties", "Policies"]));
    let statements = policies.into_iter().flat_map(|policy| items(at(policy, &["PolicyDocument", "Statement"])));
    let ours = statements.filter(|statement| {
        let resources = items(at(statement, &["Resource"]));
        text(statement, &["Effect"]) == Some("Allow") && resources.into_iter().any(|one| target(one) == Some(resource))
    });
    ours.flat_map(|statement| items(at(statement, &["Action"]))).filter_map(Value::as_str).collect()
}
