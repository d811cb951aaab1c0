//! The pipeline on this machine: the names that the template's resources have there.

use shared::limits::EVENT_BYTES_DEFAULT;

use super::Stack;

/// The name that stands for the stack.
pub const LOCAL_NAME: &str = "holdfast";

/// Where the parts of the pipeline are, each without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The HTTP API.
    pub api: String,
    /// SQS.
    pub sqs: String,
    /// DynamoDB.
    pub dynamodb: String,
}

/// The pipeline at these endpoints.
#[must_use]
pub fn local(endpoints: &Endpoints) -> Stack {
    let queue = |name: &str| format!("{}/000000000000/{LOCAL_NAME}-{name}", endpoints.sqs);
    let resource = |name: &str| format!("{LOCAL_NAME}-{name}");
    Stack {
        name: LOCAL_NAME.to_owned(),
        api_url: endpoints.api.clone(),
        events_queue_url: queue("events"),
        quarantine_queue_url: queue("quarantine"),
        events_table: resource("EventsTable"),
        dead_letters_table: resource("DeadLettersTable"),
        spill_table: resource("SpillTable"),
        ingest_function: resource("IngestFunction"),
        consume_function: resource("ConsumeFunction"),
        event_bytes_max: EVENT_BYTES_DEFAULT,
        is_local: true,
    }
}
