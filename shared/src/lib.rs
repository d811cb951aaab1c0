//! What the functions of Holdfast must agree on, and nothing else.
//!
//! `ingest` and `consume` know each other only through [`message`]: what one puts into the queue and the other takes
//! out. This crate knows no Lambda, and does no I/O of its own beyond reading configuration and printing telemetry.

pub mod aws;
pub mod clock;
pub mod compact;
pub mod config;
pub mod event;
pub mod json;
pub mod keys;
pub mod limits;
pub mod message;
pub mod outcome;
pub mod receipt;
pub mod spill;
pub mod telemetry;
pub mod text;

/// The version of this code, as written into messages, items and dead letters.
pub const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");
