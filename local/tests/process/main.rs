//! Tests of the pipeline as people run it: a process with children that is told to stop, killed, and started again.
//!
//! Processes are found through `/proc`, so these tests are for Linux.
#![cfg(target_os = "linux")]

mod client;
mod crashes;
mod fates;
mod inside;
mod outages;
mod proc;
mod process;
mod refusals;
mod resources;
mod stops;
