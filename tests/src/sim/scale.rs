//! AWS's limits brought upon the simulated pipeline: what docs/SCALE.md computes, tried with the real code.
//!
//! A trial divides every rate by a number: the traffic, the units that a partition and a table take in a second, the
//! invocations at a time and the messages in flight. Times stay as they are, and so do the sizes of batches, requests and
//! calls. So how long events wait, and what share of a limit is put to use, come out the same as at full size, as long as
//! a second's units are many times those of one call; counts come out divided.

mod counts;
mod mapping;
mod traffic;
mod trial;
mod trials;

pub use super::throughput::Limits;
pub use counts::{Counted, count};
pub use traffic::{Flow, Says};
pub use trial::{Second, Seen, Trial, run};
pub use trials::{AWS, CLOSED_FOR, EXCESS, LASTS, Size};
