//! Whether what is deployed is what the code expects, and whether an event comes through.

mod canary;
mod expected;

pub use canary::{CANARY_PROJECT, Canary, CanaryError, canary};
pub use expected::{
    FunctionFacts, MAPPINGS, MappingFacts, QUEUES, QueueExpected, TABLES, TableExpected, TableFacts, consume_function,
    ingest_function, mappings, queue, table,
};
