//! What is known of a user, and what they have done: over all ids that became theirs, and all their devices;
//! and how they are erased.

pub mod erase;
mod error;
mod event;
mod homes;
mod known;
mod slice;
mod timeline;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use event::StoredEvent;
pub use homes::Homes;
pub use known::{Known, homes, known};
pub use slice::{Events, Items};
pub use timeline::{Cursor, HOMES_AT_A_TIME, Order, PAGE_MAX, Page, Query, Range, page};
