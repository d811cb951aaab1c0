//! The figures of a run, as they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::machine::Machine;
use crate::stats::{Percentiles, Spread};
use crate::subject::{Function, Kind};

/// Everything of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The day, in UTC.
    pub day: String,
    /// Where it was made.
    pub machine: Machine,
    /// How often each warm measurement was made.
    pub rounds: usize,
    /// How often each cold start was.
    pub cold_rounds: usize,
    /// What running environments take.
    pub warm: Vec<Warm>,
    /// What starting takes.
    pub cold: Vec<Cold>,
    /// What the largest accepted payloads take.
    pub largest: Vec<Largest>,
    /// What typical events come to in the table.
    pub stored: Vec<Stored>,
    /// Instructions of our function and of the floor.
    pub instructions: Vec<Instructions>,
}

/// What a running environment takes for a load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Warm {
    /// Whose it is.
    pub kind: Kind,
    /// The work.
    pub load: Load,
    /// CPU time of its process, in microseconds an event.
    pub cpu_us: Spread,
    /// Time from the event's hand-over to the response, in microseconds an event.
    pub wall_us: Spread,
    /// The same for a whole invocation, in milliseconds.
    pub latency_ms: Percentiles,
    /// The most memory, in MiB.
    pub peak_mib: Spread,
    /// What it asked AWS for, an event.
    pub demand: Demand,
    /// Calls by action, an invocation.
    pub calls: BTreeMap<String, f64>,
    /// Bytes of logs, an invocation.
    pub log_bytes: f64,
    /// What the stand-in for AWS took.
    pub sink: SinkShare,
}

/// What AWS is asked for, and charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Calls.
    pub calls: f64,
    /// Messages that were sent.
    pub messages: f64,
    /// Requests as SQS bills them.
    pub queue_units: f64,
    /// Items that were written.
    pub items: f64,
    /// Their bytes.
    pub item_bytes: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
}

/// How far the stand-in for AWS was from being the bottleneck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkShare {
    /// The median time of a call in it, in microseconds.
    pub p50_us: f64,
    /// One in a hundred took longer.
    pub p99_us: f64,
    /// CPU time of the whole measuring process, in microseconds an event: the stand-in, TLS and the Runtime API.
    pub cpu_us: f64,
    /// The time that calls spent in it, as a share of the time of the invocations.
    pub share_of_wall: f64,
}

/// What a start takes, up to the first answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cold {
    /// Whose it is.
    pub kind: Kind,
    /// Which of its functions.
    pub function: Function,
    /// From the start of the process until it asks for work, in milliseconds.
    pub init_ms: Spread,
    /// From the start of the process to the end of the first answer, in milliseconds.
    pub wall_ms: Spread,
    /// CPU time of the process up to there, in milliseconds.
    pub cpu_ms: Spread,
    /// The most memory up to there, in MiB.
    pub peak_mib: Spread,
}

/// What the largest payload takes that is accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Largest {
    /// Whose it is.
    pub kind: Kind,
    /// Which of its functions.
    pub function: Function,
    /// What it was given.
    pub shape: String,
    /// The bytes of the payload.
    pub payload_bytes: usize,
    /// The most memory, in MiB.
    pub peak_mib: f64,
}

/// What an event comes to in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Which event.
    pub what: String,
    /// As its producer wrote it.
    pub raw_bytes: usize,
    /// Its item, as DynamoDB counts it.
    pub item_bytes: u64,
    /// The write units of that.
    pub write_units: u64,
}

/// Instructions of a whole process, counted by valgrind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instructions {
    /// Whose they are.
    pub kind: Kind,
    /// The work.
    pub load: Load,
    /// Up to the first answer, in millions.
    pub start_millions: f64,
    /// An event, in thousands, in a running environment.
    pub event_thousands: f64,
}
