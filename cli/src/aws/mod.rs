//! The adapters to AWS, and to what stands in for it on one machine.

mod event_table;

pub use event_table::EventTable;
