//! The adapters to AWS, and to what stands in for it on one machine.

#[cfg(feature = "program")]
mod alarms;
#[cfg(feature = "program")]
mod clients;
#[cfg(feature = "program")]
mod deployed;
#[cfg(feature = "program")]
mod error;
mod event_table;
#[cfg(feature = "program")]
mod functions;
#[cfg(feature = "program")]
mod metrics;
#[cfg(feature = "program")]
mod queues;
#[cfg(feature = "program")]
mod tables;
mod write_keys;

#[cfg(feature = "program")]
pub use clients::Clients;
#[cfg(feature = "program")]
pub use error::CallError;
pub use event_table::EventTable;
pub use write_keys::WriteKeys;
