//! What an operator of Holdfast can do, as a library: what it finds and does is returned, never printed.
//!
//! The ports are those of `consume`; the time-outs of calls behind them are their adapters'.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod dead_letters;
