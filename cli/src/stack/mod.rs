//! What is deployed, by name: the queues, tables and functions of a stack, or of the pipeline on this machine.

mod local;
mod outputs;

pub use local::{Endpoints, LOCAL_NAME, local};
pub use outputs::{NotAStack, Outputs, from_outputs};

/// A stack, or the pipeline on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Where producers send to, without a slash at the end.
    pub api_url: String,
    /// The queue of events.
    pub events_queue_url: String,
    /// The quarantine.
    pub quarantine_queue_url: String,
    /// The table of events, profiles and write keys.
    pub events_table: String,
    /// The table of dead letters.
    pub dead_letters_table: String,
    /// The table of spilled messages.
    pub spill_table: String,
    /// The function that accepts events.
    pub ingest_function: String,
    /// The function that stores them.
    pub consume_function: String,
    /// The largest event in bytes (the parameter `EventBytesMax`).
    pub event_bytes_max: usize,
    /// Whether it is the pipeline on this machine: then there are neither metrics nor alarms nor functions to ask for.
    pub is_local: bool,
}
