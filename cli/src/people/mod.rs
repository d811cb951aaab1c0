//! What is known of a person, and what they have done: over all ids that became theirs.

mod error;
mod event;
mod known;
mod slice;
mod timeline;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use event::StoredEvent;
pub use known::{Known, known};
pub use slice::{Events, Items};
pub use timeline::{Cursor, IDS_AT_A_TIME, Order, PAGE_MAX, Page, Query, Range, page};
