//! Dead letters for the operator: finding, reading and testing them, sending them round again, or discarding them.
//!
//! A letter is changed by guarded writes only, and `consume` concludes what was sent round. So everything here may be
//! repeated, stopped half way, or done by two people at a time, and no event is stored twice by it.

mod change;
mod discard;
mod error;
mod filter;
mod list;
mod name;
mod one;
mod read;
mod redrive;
mod verdict;

pub use consume::dead_letter::Head;
pub use discard::{NOTE_CHARS_MAX, discard};
pub use error::Error;
pub use filter::{DAYS_MAX, Days, Filter};
pub use list::{Cursor, Page, list, page};
pub use name::{name, parse_name};
pub use one::{Fate, Options, Ports, REDRIVES_MAX, Skip, UNDER_WAY};
pub use read::{DeadLetter, read};
pub use redrive::{FAILED_MAX, Summary, redrive};
pub use verdict::{Verdict, test};

#[cfg(test)]
mod tests;
