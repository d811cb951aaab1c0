//! What the code expects of queues, tables and functions, and in what those that are deployed differ. A test holds these
//! expectations against the template.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::Value;

use crate::stack::Stack;

/// What is expected of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueExpected {
    /// Which one.
    pub name: &'static str,
    /// The seconds for which a message that is being dealt with is not given out again.
    pub visibility_secs: u32,
    /// The seconds for which a message is kept.
    pub retention_secs: u32,
    /// The fewest receives before a message moves to the quarantine; `None` for the quarantine.
    pub receives_min: Option<u32>,
}

/// Both queues.
pub const QUEUES: [QueueExpected; 2] = [
    QueueExpected { name: "events", visibility_secs: 361, retention_secs: 345_600, receives_min: Some(60) },
    QueueExpected { name: "quarantine", visibility_secs: 361, retention_secs: 1_209_600, receives_min: None },
];

/// What is expected of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableExpected {
    /// Which one.
    pub name: &'static str,
    /// The attribute that ends an item's life.
    pub ttl_attribute: Option<&'static str>,
    /// What the table's stream shows.
    pub stream_view: Option<&'static str>,
}

/// All tables.
pub const TABLES: [TableExpected; 3] = [
    TableExpected { name: "events", ttl_attribute: Some("ttl"), stream_view: None },
    TableExpected { name: "dead letters", ttl_attribute: Some("ttl"), stream_view: None },
    // Nothing in it ends by itself: it was acknowledged.
    TableExpected { name: "spill", ttl_attribute: None, stream_view: Some("KEYS_ONLY") },
];

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// The attributes of its key.
    pub keys: Vec<String>,
    /// Its status.
    pub status: String,
    /// The attribute that ends an item's life, where that is on.
    pub ttl_attribute: Option<String>,
    /// What its stream shows, where there is one.
    pub stream_view: Option<String>,
    /// The stream.
    pub stream_arn: Option<String>,
}

/// What is known of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Its variables.
    pub variables: BTreeMap<String, String>,
    /// Its memory.
    pub memory_mib: u32,
    /// How long an invocation may take.
    pub timeout_secs: u32,
    /// Its state; empty if Lambda does not say.
    pub state: String,
}

/// What is known of a source that a function is invoked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingFacts {
    /// The queue or stream.
    pub source_arn: String,
    /// Its state.
    pub state: String,
    /// The most messages of an invocation.
    pub batch_size: Option<u32>,
    /// Whether the function says which messages failed.
    pub reports_item_failures: bool,
    /// The most invocations at one time.
    pub concurrency_max: Option<u32>,
}

/// The sources of `consume`: which one, and the most messages of an invocation.
pub const MAPPINGS: [(&str, u32); 3] = [("queue", 10), ("quarantine", 1), ("spill", 10)];

fn differs(what: &str, is: impl Display, wanted: impl Display) -> String {
    format!("{what} is {is}, and should be {wanted}")
}

/// In what a queue with these attributes differs. `quarantine_arn` is that of the queue where messages should go.
#[must_use]
pub fn queue(expected: &QueueExpected, attributes: &BTreeMap<String, String>, quarantine_arn: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let attribute = |name: &str| attributes.get(name).map_or("not set", String::as_str);
    for (name, wanted) in
        [("VisibilityTimeout", expected.visibility_secs), ("MessageRetentionPeriod", expected.retention_secs)]
    {
        if attribute(name) != wanted.to_string() {
            differences.push(differs(name, attribute(name), wanted));
        }
    }
    if let Some(receives_min) = expected.receives_min {
        let policy: Value = serde_json::from_str(attribute("RedrivePolicy")).unwrap_or_default();
        let target = policy["deadLetterTargetArn"].as_str().unwrap_or("not set");
        if target != quarantine_arn {
            differences.push(differs("the queue for what is received too often", target, quarantine_arn));
        }
        // SQS answers with a number, and takes a text as well.
        let receives = &policy["maxReceiveCount"];
        let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok()).unwrap_or(0);
        if receives < u64::from(receives_min) {
            differences.push(differs("maxReceiveCount", receives, format!("{receives_min} or more")));
        }
    }
    differences
}

/// In what a table differs.
#[must_use]
pub fn table(expected: &TableExpected, facts: &TableFacts) -> Vec<String> {
    let mut differences = Vec::new();
    if facts.status != "ACTIVE" {
        differences.push(differs("its status", &facts.status, "ACTIVE"));
    }
    if facts.keys != ["pk", "sk"] {
        differences.push(differs("its key", facts.keys.join(", "), "pk, sk"));
    }
    for (what, is, wanted) in [
        ("the attribute that ends an item", &facts.ttl_attribute, expected.ttl_attribute),
        ("its stream", &facts.stream_view, expected.stream_view),
    ] {
        if is.as_deref() != wanted {
            differences.push(differs(what, is.as_deref().unwrap_or("off"), wanted.unwrap_or("off")));
        }
    }
    differences
}

/// In what `ingest` differs. Its own reader of variables says whether they are right, its memory included.
#[must_use]
pub fn ingest_function(stack: &Stack, facts: &FunctionFacts) -> Vec<String> {
    let wanted = [
        ("EVENTS_QUEUE_URL", &stack.events_queue_url),
        ("EVENTS_TABLE_NAME", &stack.events_table),
        ("SPILL_TABLE_NAME", &stack.spill_table),
        ("STACK_NAME", &stack.name),
    ];
    let config = ingest::config::Config::from_lookup(&|name| lookup(facts, name));
    function(facts, &wanted, 10, config.err().map(|error| error.to_string()))
}

/// In what `consume` differs.
#[must_use]
pub fn consume_function(stack: &Stack, facts: &FunctionFacts) -> Vec<String> {
    let wanted = [
        ("EVENTS_QUEUE_URL", &stack.events_queue_url),
        ("QUARANTINE_QUEUE_URL", &stack.quarantine_queue_url),
        ("EVENTS_TABLE_NAME", &stack.events_table),
        ("DEAD_LETTERS_TABLE_NAME", &stack.dead_letters_table),
        ("SPILL_TABLE_NAME", &stack.spill_table),
        ("STACK_NAME", &stack.name),
    ];
    let config = consume::config::Config::from_lookup(&|name| lookup(facts, name));
    function(facts, &wanted, 60, config.err().map(|error| error.to_string()))
}

/// A variable of a function, with the one that Lambda sets.
fn lookup(facts: &FunctionFacts, name: &str) -> Option<String> {
    if name == "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" {
        return Some(facts.memory_mib.to_string());
    }
    facts.variables.get(name).cloned()
}

fn function(
    facts: &FunctionFacts,
    wanted: &[(&str, &String)],
    timeout_secs: u32,
    refusal: Option<String>,
) -> Vec<String> {
    let mut differences: Vec<String> = refusal.into_iter().collect();
    // One that has had nothing to do for weeks is inactive; and not every answer of Lambda has a state.
    if !["Active", "Inactive", ""].contains(&facts.state.as_str()) {
        differences.push(differs("its state", &facts.state, "Active"));
    }
    for (name, wanted) in wanted {
        let is = facts.variables.get(*name).map_or("not set", String::as_str);
        if is != wanted.as_str() {
            differences.push(differs(name, is, wanted));
        }
    }
    if facts.timeout_secs != timeout_secs {
        differences.push(differs("its time-out", format!("{} s", facts.timeout_secs), format!("{timeout_secs} s")));
    }
    differences
}

/// In what the sources of `consume` differ. Each source is given by its name in [`MAPPINGS`] and its ARN.
#[must_use]
pub fn mappings(sources: &[(&str, &str)], facts: &[MappingFacts]) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, batch_size_max) in MAPPINGS {
        let arn = sources.iter().find(|(source, _)| *source == name).map_or("", |(_, arn)| *arn);
        let found = facts.iter().find(|facts| !arn.is_empty() && facts.source_arn == arn);
        let Some(found) = found else {
            differences.push(format!("nothing invokes it with what comes from the {name}"));
            continue;
        };
        let what = |part: &str| format!("{part} of the {name}'s mapping");
        if found.state != "Enabled" {
            differences.push(differs(&what("the state"), &found.state, "Enabled"));
        }
        if !found.reports_item_failures {
            differences.push(format!(
                "the {name}'s mapping does not read which messages failed: all of a batch would count as done"
            ));
        }
        let batch_size = found.batch_size.unwrap_or(0);
        if !(1..=batch_size_max).contains(&batch_size) {
            differences.push(differs(&what("the batch size"), batch_size, format!("1 to {batch_size_max}")));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{Endpoints, local};

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_queue_that_was_changed_is_told_from_one_that_was_not() {
        let policy = r#"{"deadLetterTargetArn":"q","maxReceiveCount":60}"#;
        let right = attributes(&[
            ("VisibilityTimeout", "361"),
            ("MessageRetentionPeriod", "345600"),
            ("RedrivePolicy", policy),
        ]);
        assert!(queue(&QUEUES[0], &right, "q").is_empty());
        let policy = r#"{"deadLetterTargetArn":"other","maxReceiveCount":"3"}"#;
        let wrong = attributes(&[("VisibilityTimeout", "30"), ("RedrivePolicy", policy)]);
        let differences = queue(&QUEUES[0], &wrong, "q");
        for (difference, part) in differences.iter().zip(["is 30", "not set", "is other", "maxReceiveCount is 3"]) {
            assert!(difference.contains(part), "{difference}");
        }
        assert_eq!(differences.len(), 4);
    }

    #[test]
    fn a_table_without_its_time_to_live_or_stream_is_told() {
        let facts = TableFacts {
            keys: vec!["pk".into(), "sk".into()],
            status: "ACTIVE".into(),
            ttl_attribute: Some("ttl".into()),
            stream_view: None,
            stream_arn: None,
        };
        assert!(table(&TABLES[0], &facts).is_empty());
        assert_eq!(table(&TABLES[2], &facts).len(), 2);
        assert!(
            table(&TABLES[0], &TableFacts { ttl_attribute: None, ..facts })[0].contains("is off, and should be ttl")
        );
    }

    #[test]
    fn a_function_is_judged_by_its_own_reader_and_by_the_stack() {
        let endpoint = || "http://127.0.0.1:1".to_owned();
        let stack = local(&Endpoints { api: endpoint(), sqs: endpoint(), dynamodb: endpoint() });
        let variables = attributes(&[
            ("EVENTS_QUEUE_URL", &stack.events_queue_url),
            ("EVENTS_TABLE_NAME", &stack.events_table),
            ("SPILL_TABLE_NAME", &stack.spill_table),
            ("STACK_NAME", &stack.name),
        ]);
        let facts = FunctionFacts { variables, memory_mib: 256, timeout_secs: 10, state: "Active".into() };
        assert!(ingest_function(&stack, &facts).is_empty());
        let small = FunctionFacts { memory_mib: 128, timeout_secs: 3, ..facts.clone() };
        let differences = ingest_function(&stack, &small);
        assert!(differences[0].contains("MemorySize") && differences[1].contains("3 s"), "{differences:?}");
        let differences = consume_function(&stack, &FunctionFacts { timeout_secs: 60, ..facts });
        assert!(differences[0].contains("RECEIVES_MAX"), "{differences:?}");
        assert!(differences.iter().any(|difference| difference.starts_with("QUARANTINE_QUEUE_URL is not set")));
    }

    #[test]
    fn a_source_that_is_off_or_reads_no_failures_is_told() {
        let mapping = |arn: &str, batch_size| MappingFacts {
            source_arn: arn.to_owned(),
            state: "Enabled".into(),
            batch_size: Some(batch_size),
            reports_item_failures: true,
            concurrency_max: None,
        };
        let sources = [("queue", "arn:q"), ("quarantine", "arn:d"), ("spill", "arn:t/stream/1")];
        let right = vec![mapping("arn:q", 10), mapping("arn:d", 1), mapping("arn:t/stream/1", 10)];
        assert!(mappings(&sources, &right).is_empty());
        let mut wrong = right[..2].to_vec();
        wrong[0] = MappingFacts { state: "Disabled".into(), reports_item_failures: false, ..wrong[0].clone() };
        wrong[1] = mapping("arn:d", 10);
        let differences = mappings(&sources, &wrong);
        for (difference, part) in differences.iter().zip(["Disabled", "which messages failed", "1 to 1", "the spill"]) {
            assert!(difference.contains(part), "{difference}");
        }
        assert_eq!(differences.len(), 4);
    }
}
