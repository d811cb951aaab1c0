//! Bounded load, and the proof that it was kept: each event that was acknowledged is stored exactly once.

mod check;
mod plan;
mod run;

pub use check::{Checked, EXAMPLES_MAX, check};
pub use plan::{BATCH_MAX, CLIENTS_MAX, EVENTS_MAX, Plan, SECONDS_MAX, USERS_MAX, Unbounded};
pub use run::{Outcome, Progress, run};
