//! Tests of the pipeline as people run it: a process with children that is told to stop, killed, and started again.
//!
//! Processes are found through `/proc`, so these tests are for Linux.
#![cfg(target_os = "linux")]

mod chaos;
mod client;
mod console;
mod crashes;
mod dice;
mod erasure;
mod fates;
mod inside;
mod killer;
mod load;
mod outages;
mod proc;
mod process;
mod promises;
mod proxy;
mod receipts;
mod refusals;
mod resources;
mod stand_ins;
mod stops;
