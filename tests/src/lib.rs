//! The harness: the real functions around the stand-ins, in one process and on a clock that stands still.
//!
//! A test sends calls, lets messages be delivered as often and in whatever way it likes, and ends with
//! [`Pipeline::finish`], which checks the promise that every accepted event has exactly one fate. A test that forgets
//! it fails.

pub mod alarm_model;
mod law;
pub mod packed;
mod pipeline;
pub mod sim;
pub mod template_rules;
pub mod watched;

pub use pipeline::{Delivered, Item, Pipeline, track};
