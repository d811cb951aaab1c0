//! DynamoDB on one machine: an embedded engine behind a layer that can be told to misbehave.
//!
//! The engine is `dynoxide`, which keeps its tables in SQLite. It never throttles and never leaves a part of a batch
//! undone, so [`Faults`] does, between the clients and the engine. Nothing here deletes items whose time to live is
//! over: in AWS too they may stay for days, and readers have to look at the attribute themselves.

mod faults;
mod refusal;
mod rewrite;
mod server;
mod streams;
mod tables;

#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults, Injected, Target, Times};
pub use refusal::Refusal;
pub use server::{Options, Server};
pub use streams::{Page, Streams};
pub use tables::create_tables;
