//! What an operator of Holdfast can do, as a library: what it finds and does is returned, never printed.
//!
//! The time-outs of calls behind the ports are their adapters'. Only [`aws`] knows the AWS SDK. The letters, the people and
//! the keys need nothing but the ports; everything else is there with the feature `program`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod advice;
pub mod aws;
pub mod dead_letters;
#[cfg(feature = "program")]
pub mod doctor;
#[cfg(feature = "program")]
pub mod http;
pub mod keys;
#[cfg(feature = "program")]
pub mod load;
pub mod people;
#[cfg(feature = "program")]
pub mod producer;
#[cfg(feature = "program")]
pub mod stack;
#[cfg(feature = "program")]
pub mod status;
