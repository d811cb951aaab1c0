//! Where events are kept: nothing there is lost with the stack, nor readable on the way.

use serde_yaml_ng::Value;

use super::document::{Document, at, is_true, items, target, text};

/// The table whose items must not expire: what is there has been acknowledged.
const SPILL_TABLE: &str = "SpillTable";

pub(super) fn check(document: &Document, found: &mut Vec<String>) {
    for (id, table) in document.resources("AWS::DynamoDB::Table") {
        check_table(id, table, found);
    }
    for (id, queue) in document.resources("AWS::SQS::Queue") {
        if !is_true(queue, &["Properties", "SqsManagedSseEnabled"]) {
            found.push(format!("{id}: it is not encrypted"));
        }
        let is_guarded = document.resources("AWS::SQS::QueuePolicy").any(|(_, policy)| {
            let queues = items(at(policy, &["Properties", "Queues"]));
            queues.into_iter().any(|queue| target(queue) == Some(id)) && denies_without_tls(policy)
        });
        if !is_guarded {
            found.push(format!("{id}: it can be reached without TLS"));
        }
    }
    for (id, group) in document.resources("AWS::Logs::LogGroup") {
        if at(group, &["Properties", "RetentionInDays"]).is_none() {
            found.push(format!("{id}: its lines are kept for ever"));
        }
    }
}

fn check_table(id: &str, table: &Value, found: &mut Vec<String>) {
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        if text(table, &[policy]) != Some("Retain") {
            found.push(format!("{id}: its {policy} is not Retain"));
        }
    }
    for (path, said) in [
        (
            ["PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"],
            "it cannot be restored to a point in time",
        ),
        (["SSESpecification", "SSEEnabled"], "it is not encrypted with a key of KMS"),
    ] {
        if !is_true(table, &["Properties", path[0], path[1]]) {
            found.push(format!("{id}: {said}"));
        }
    }
    // A condition is enough: it is for the stage to say.
    if at(table, &["Properties", "DeletionProtectionEnabled"]).is_none_or(|value| value.as_bool() == Some(false)) {
        found.push(format!("{id}: it is not protected against deletion"));
    }
    if at(table, &["Properties", "OnDemandThroughput", "MaxWriteRequestUnits"]).is_none() {
        found.push(format!("{id}: nothing bounds what writing to it costs"));
    }
    let expires = at(table, &["Properties", "TimeToLiveSpecification"]).is_some();
    if expires == (id == SPILL_TABLE) {
        let said = if expires { "what was acknowledged would expire" } else { "nothing in it expires" };
        found.push(format!("{id}: {said}"));
    }
}

fn denies_without_tls(policy: &Value) -> bool {
    let statements = items(at(policy, &["Properties", "PolicyDocument", "Statement"]));
    statements.into_iter().any(|statement| {
        text(statement, &["Effect"]) == Some("Deny")
            && text(statement, &["Condition", "Bool", "aws:SecureTransport"]) == Some("false")
    })
}
