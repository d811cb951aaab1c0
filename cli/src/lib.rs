//! What an operator of Holdfast can do, as a library: what it finds and does is returned, never printed.
//!
//! The time-outs of calls behind the ports are their adapters'. Only [`aws`] knows the AWS SDK.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod advice;
pub mod aws;
pub mod dead_letters;
pub mod people;
