//! Whether ingestion is healthy, and the figures of the last minutes.

mod figures;
mod health;
mod sparkline;
mod tables;
mod wanted;

pub use figures::{Figure, Minutes, figures};
pub use health::{Alarm, Depth, Letters, Seen, Spilled, problems};
pub use sparkline::sparkline;
pub use tables::{ITEMS_MAX, LETTERS_MAX, arrivals, letters, spilled};
pub use wanted::{OLDEST, Wanted, wanted};
