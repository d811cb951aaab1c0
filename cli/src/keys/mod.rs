//! Write keys for the operator: making, listing, disabling and rotating them, and taking over existing ones.
//!
//! The table has a key's hash and never the key, so a key is shown when it is made, or never. What lists keys is the
//! register: a partition with an item for each of them, written together with the key.

mod error;
mod import;
mod list;
mod make;
mod switch;

pub use error::Error;
pub use import::{Imported, LINES_MAX, Line, Problem, import, parse};
pub use list::{KeyEntry, Project, list, projects};
pub use make::{Home, Made, NewKey, create, random_key};
pub use switch::{ID_CHARS, ID_CHARS_MIN, KeySwitch, find, register, set_disabled};
