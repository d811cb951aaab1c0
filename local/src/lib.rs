//! The whole of Holdfast on one machine: the real functions and the real AWS SDK, around stand-ins for AWS.
//!
//! [`pipeline`] puts it together from `template.yaml`; what stands in for AWS is [`gateway`], [`lambda`], [`mapping`],
//! [`stream`], [`schedule`], [`sqs`] and [`dynamodb`], each usable alone; `console` is a page that shows
//! all of it at work. Everything listens on 127.0.0.1 only.

pub mod clients;
mod console;
pub mod dynamodb;
pub mod gateway;
pub mod lambda;
pub mod mapping;
pub mod narrate;
pub mod pipeline;
mod private;
pub mod provision;
pub mod running;
pub mod schedule;
pub mod sqs;
pub mod stream;
pub mod template;

/// The template that is deployed, and that the local pipeline is built from.
pub const TEMPLATE: &str = include_str!("../../template.yaml");
