//! A user's timeline: the events of all their homes in the order of the times in their keys, a page at a time.
//!
//! Each home has a partition of its own, in the order of time. A page is the beginning of what they are when merged; where
//! it goes on is a place in that, the same for all of them, so that it stays as short with fifty homes as with one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use consume::store::partition;
use consume::table::{Attributes, Key};
use futures_util::{StreamExt, TryStreamExt, stream};
use shared::clock::Timestamp;
use shared::keys::is_project;
use std::cmp::Ordering;

use super::error::Error;
use super::event::StoredEvent;
use super::homes::Homes;
use super::slice::{Events, Slice, slice};

/// The most events of a page. A query answers with 1 MB at the most, and there are few for each of up to
/// [`JOINED_MAX`] homes.
///
/// [`JOINED_MAX`]: shared::limits::JOINED_MAX
pub const PAGE_MAX: usize = 1_000;
/// Homes that are read at the same time.
pub const HOMES_AT_A_TIME: usize = 8;

/// Which end of a timeline comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest event.
    OldestFirst,
    /// The newest event.
    NewestFirst,
}

/// Sort keys from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub first: String,
    /// The greatest.
    pub last: String,
}

/// What of a timeline is wanted.
#[derive(Clone, Debug)]
pub struct Query {
    /// The project.
    pub project: String,
    /// Where the user's events are: [`super::homes()`], or one home alone.
    pub homes: Homes,
    /// What comes first.
    pub order: Order,
    /// Only what happened then or later, by the time in the event's key.
    pub since: Option<Timestamp>,
    /// Only what happened then or before.
    pub until: Option<Timestamp>,
    /// Events of a page, from 1 to [`PAGE_MAX`].
    pub count: usize,
}

/// A place in a timeline. As a text it is one word, to be copied into a command or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    sk: String,
    home: String,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(&(&self.sk, &self.home)).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let pair: Option<(String, String)> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let is_place = |(sk, _): &(String, String)| sk.starts_with("E#");
        let (sk, home) = pair.filter(is_place).ok_or_else(|| Error::NoCursor { text: text.to_owned() })?;
        Ok(Self { sk, home })
    }
}

/// A part of a timeline.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events, in the order that was asked for; there may be fewer than were asked for, even none, although the
    /// timeline goes on.
    pub events: Vec<StoredEvent>,
    /// Where it goes on; `None` at its end.
    pub next: Option<Cursor>,
}

/// Reads a page of a timeline, from its beginning or behind a place. It takes a query or two a home.
///
/// # Errors
/// It is no project, a page of that size is not possible, or the table could not be read.
pub async fn page(events: &impl Events, query: &Query, after: Option<&Cursor>) -> Result<Page, Error> {
    if !is_project(&query.project) {
        return Err(Error::NoProject { project: query.project.clone() });
    }
    if !(1..=PAGE_MAX).contains(&query.count) {
        return Err(Error::NoPage { count: query.count });
    }
    let Some(range) = range(query, after) else { return Ok(Page { events: vec![], next: None }) };
    let range = &range;
    let reads = query.homes.iter().map(|home| async move {
        // The place itself may be among them.
        let slice = slice(events, &partition(&query.project, home), range, query.order, query.count + 1).await;
        let unread =
            |cause| Error::Unread { what: "the events", project: query.project.clone(), id: home.to_owned(), cause };
        Ok::<_, Error>((home, slice.map_err(unread)?))
    });
    // All made before the first is awaited: a future that holds the closure could not be sent to another thread.
    let reads: Vec<_> = reads.collect();
    let slices: Vec<(&str, Slice)> = stream::iter(reads).buffered(HOMES_AT_A_TIME).try_collect().await?;
    Ok(merge(slices, query, after))
}

/// The range of sort keys that is left of a query behind a place; `None` if there cannot be any.
fn range(query: &Query, after: Option<&Cursor>) -> Option<Range> {
    let mut first = query.since.map_or_else(|| "E#".to_owned(), |since| format!("E#{since}#"));
    // `$` is the character behind `#`.
    let mut last = query.until.map_or_else(|| "E$".to_owned(), |until| format!("E#{until}$"));
    match (after, query.order) {
        (Some(after), Order::OldestFirst) => first = first.max(after.sk.clone()),
        (Some(after), Order::NewestFirst) => last = last.min(after.sk.clone()),
        (None, _) => {}
    }
    (first <= last).then_some(Range { first, last })
}

fn merge(slices: Vec<(&str, Slice)>, query: &Query, after: Option<&Cursor>) -> Page {
    let compare = |a: &Cursor, b: &Cursor| match query.order {
        Order::OldestFirst => a.cmp(b),
        Order::NewestFirst => b.cmp(a),
    };
    // Behind the horizon of any home, one does not know what comes next.
    let horizon = |(home, slice): &(&str, Slice)| Some(Cursor { sk: slice.horizon.clone()?, home: (*home).to_owned() });
    let horizon = slices.iter().filter_map(horizon).min_by(compare);
    let is_known = |place: &Cursor| horizon.as_ref().is_none_or(|horizon| compare(place, horizon).is_le());
    let is_behind = |place: &Cursor| after.is_none_or(|after| compare(place, after) == Ordering::Greater);
    let mut items: Vec<(Cursor, Key, Attributes)> = slices
        .into_iter()
        .flat_map(|(home, slice)| {
            slice.events.into_iter().map(move |(sk, (key, item))| (Cursor { sk, home: home.to_owned() }, key, item))
        })
        .filter(|(place, _, item)| is_behind(place) && is_known(place) && query.homes.has(&place.home, item))
        .collect();
    items.sort_by(|a, b| compare(&a.0, &b.0));
    let (mut events, mut last) = (Vec::new(), None);
    for (place, key, item) in items {
        if events.len() == query.count {
            return Page { events, next: last };
        }
        events.extend(StoredEvent::read(&key, &item));
        last = Some(place);
    }
    Page { events, next: horizon }
}
