//! A deployed stack, from its outputs and parameters.

use std::collections::BTreeMap;

use shared::limits::EVENT_BYTES_DEFAULT;

use super::Stack;

/// What CloudFormation says of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Values by the names of outputs.
    pub outputs: BTreeMap<String, String>,
    /// Values by the names of parameters.
    pub parameters: BTreeMap<String, String>,
    /// The stack's status, such as `UPDATE_COMPLETE`.
    pub status: String,
}

/// A stack that is not one of Holdfast's, or an older one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("stack {stack} ({status}) has no output {}: is it a stack of Holdfast, and deployed to its end?", missing.join(", "))]
pub struct NotAStack {
    /// The stack's name.
    pub stack: String,
    /// Its status.
    pub status: String,
    /// The outputs that are not there.
    pub missing: Vec<&'static str>,
}

/// The names of a stack with these outputs.
///
/// # Errors
/// All outputs that are missing.
pub fn from_outputs(name: &str, found: &Outputs) -> Result<Stack, NotAStack> {
    let mut missing = Vec::new();
    let mut output = |name: &'static str| {
        found.outputs.get(name).cloned().unwrap_or_else(|| {
            missing.push(name);
            String::new()
        })
    };
    let stack = Stack {
        name: name.to_owned(),
        api_url: output("ApiUrl").trim_end_matches('/').to_owned(),
        events_queue_url: output("EventsQueueUrl"),
        quarantine_queue_url: output("QuarantineQueueUrl"),
        events_table: output("EventsTableName"),
        dead_letters_table: output("DeadLettersTableName"),
        spill_table: output("SpillTableName"),
        ingest_function: output("IngestFunctionName"),
        consume_function: output("ConsumeFunctionName"),
        event_bytes_max: found
            .parameters
            .get("EventBytesMax")
            .and_then(|text| text.parse().ok())
            .unwrap_or(EVENT_BYTES_DEFAULT),
        is_local: false,
    };
    if missing.is_empty() {
        return Ok(stack);
    }
    Err(NotAStack { stack: name.to_owned(), status: found.status.clone(), missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 8] = [
        "ApiUrl",
        "EventsQueueUrl",
        "QuarantineQueueUrl",
        "EventsTableName",
        "DeadLettersTableName",
        "SpillTableName",
        "IngestFunctionName",
        "ConsumeFunctionName",
    ];

    fn outputs(names: &[&str]) -> Outputs {
        let outputs = names.iter().map(|name| ((*name).to_owned(), format!("the {name}/"))).collect();
        let parameters = BTreeMap::from([("EventBytesMax".to_owned(), "300000".to_owned())]);
        Outputs { outputs, parameters, status: "CREATE_COMPLETE".to_owned() }
    }

    #[test]
    fn a_stack_is_what_its_outputs_name() {
        let stack = from_outputs("prod", &outputs(&NAMES)).unwrap();
        assert_eq!((stack.name.as_str(), stack.api_url.as_str()), ("prod", "the ApiUrl"));
        assert_eq!(
            (stack.spill_table.as_str(), stack.event_bytes_max, stack.is_local),
            ("the SpillTableName/", 300_000, false)
        );
        let plain = Outputs { parameters: BTreeMap::new(), ..outputs(&NAMES) };
        assert_eq!(from_outputs("prod", &plain).unwrap().event_bytes_max, EVENT_BYTES_DEFAULT);
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let error = from_outputs("other", &outputs(&NAMES[2..])).unwrap_err();
        assert_eq!(error.missing, ["ApiUrl", "EventsQueueUrl"]);
        assert!(error.to_string().contains("other (CREATE_COMPLETE)"), "{error}");
    }
}
