//! Holdfast as a whole: what goes in by HTTP, and what is in the tables in the end.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod accept;
mod alarms;
mod architecture;
mod bad_input;
mod dead_letters;
mod delivery;
mod erasure;
mod identity;
mod incident;
mod memory;
mod openapi;
mod operator;
mod profiles;
mod receipts;
mod samples;
mod scale;
mod simulation;
mod template;
mod trouble;
