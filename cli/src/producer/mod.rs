//! Sending events as a producer does: by either protocol, again where that can help, and safe to repeat.

mod call;
mod deliver;
mod file;

pub use call::{Call, Malformed, Protocol, batch, single};
pub use deliver::{Delivered, TRIES, deliver};
pub use file::{BATCH_BYTES_MAX, BATCH_ITEMS_MAX, BadLine, Calls, LINE_BYTES_MAX};
