//! What is known of a person, and what they have done: over all ids that became theirs.

mod error;
mod event;
mod known;
mod timeline;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use event::StoredEvent;
pub use known::{Known, known};
pub use timeline::{Cursor, Events, IDS_AT_A_TIME, Order, PAGE_MAX, Page, Query, Range, Slice, page};
