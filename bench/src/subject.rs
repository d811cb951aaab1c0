//! What is measured: who does the job, and how an environment of it is started.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One of the two functions of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// From HTTP to the queue.
    Ingest,
    /// From the queue to the table.
    Consume,
}

impl Function {
    /// Both, in the order of the pipeline.
    pub const ALL: [Function; 2] = [Function::Ingest, Function::Consume];

    /// Its name, which is that of its binary and of its module in the other languages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Function::Ingest => "ingest",
            Function::Consume => "consume",
        }
    }

    /// Whether there is one of this kind: what packs is `consume` alone.
    #[must_use]
    pub fn differs(self, kind: Kind) -> bool {
        kind != Kind::Packed || self == Function::Consume
    }

    /// Its memory in MiB, as the template has it.
    #[must_use]
    pub fn memory_mib(self) -> u32 {
        match self {
            Function::Ingest => 256,
            Function::Consume => 512,
        }
    }
}

/// How the job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By our functions, built as they are deployed.
    Holdfast,
    /// By the same, in the packed storage mode.
    Packed,
    /// In Rust with the same SDK, passing on what comes in without reading it.
    Floor,
    /// In Rust as common samples have it.
    NaiveRust,
    /// In Node with Powertools and the SDK, bundled.
    Node,
    /// In Python with Powertools and boto3.
    Python,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: [Kind; 6] = [Kind::Holdfast, Kind::Packed, Kind::Floor, Kind::NaiveRust, Kind::Node, Kind::Python];

    /// Whether its messages are those of our `ingest`.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Kind::Holdfast | Kind::Packed)
    }
}

/// As the tables name it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Holdfast => "Holdfast",
            Kind::Packed => "Holdfast, packed",
            Kind::Floor => "floor (Rust)",
            Kind::NaiveRust => "naive Rust",
            Kind::Node => "Node",
            Kind::Python => "Python",
        })
    }
}

/// A function of one kind, ready to be started.
#[derive(Clone, Debug)]
pub struct Subject {
    /// How the job is done.
    pub kind: Kind,
    /// Which of the two jobs it is.
    pub function: Function,
    /// The executable.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder with its code.
    pub folder: PathBuf,
}
