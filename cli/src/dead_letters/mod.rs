//! Dead letters for the operator: finding, reading and testing them, sending them round again, discarding or erasing them.
//!
//! A letter is changed by guarded writes only, and `consume` concludes what was sent round. So everything here may be
//! repeated, stopped half way, or done by two people at a time, and no event is stored twice by it.

mod change;
mod discard;
mod erase;
mod error;
mod filter;
mod list;
mod name;
mod naming;
mod one;
mod read;
mod redrive;
mod search;
mod verdict;

pub use consume::dead_letter::Head;
pub use discard::{NOTE_CHARS_MAX, discard};
pub(crate) use erase::days_until;
pub use erase::{ByText, Erasing, LEFT_MAX, Linked, SEARCHED_DAYS, erase, erase_by_text, erase_linked};
pub use error::Error;
pub use filter::{DAYS_MAX, Days, Filter};
pub use list::{Cursor, Page, list, page};
pub use name::{name, parse_name};
pub use naming::{Doubt, Form, Naming};
pub use one::{Fate, Options, Ports, REDRIVES_MAX, Skip, UNDER_WAY};
pub use read::{DeadLetter, read};
pub use redrive::{FAILED_MAX, Summary, redrive};
pub use search::{Named, Search, Tables};
pub use verdict::{Verdict, test};

#[cfg(test)]
mod tests;
