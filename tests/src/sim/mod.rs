//! A deterministic simulation of the whole pipeline: the real cores and handlers on stand-ins in memory that have AWS's
//! manners, in one thread, on a virtual clock, everything decided by a seed.
//!
//! A history has producers, faults and an operator; then the faults end, time runs until nothing is under way, and a model
//! that knows only what was sent says what must be in the tables.

mod answers;
mod calls;
mod campaign;
mod chance;
mod check;
mod client;
mod dynamo;
mod fates;
mod history;
pub mod incident;
mod lambda;
mod mapping;
mod mistakes;
mod model;
mod operator;
mod people;
pub mod picture;
pub mod scale;
mod scenario;
mod sqs;
mod stream;
mod throughput;
mod world;

pub use campaign::{Campaign, campaign};
pub use history::{History, run};
pub use mistakes::Mistake;

/// A promise of the design, as far as a history can break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// What is answered 200 is durable.
    P1,
    /// Every accepted event has exactly one fate.
    P2,
    /// Order and repetition change nothing.
    P3,
    /// Only what is to blame is dead-lettered.
    P4,
    /// One service may be away, and everything drains when it comes back.
    P6,
    /// Answers are honest.
    P7,
    /// Projects are apart.
    P8,
}

/// A promise that a history has broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What was seen.
    pub what: String,
}
