//! What the tables tell: letters by reason, spilled messages, and, where there are no metrics, what came when.

use std::collections::{BTreeMap, HashSet};

use consume::bundle::unpack;
use consume::dead_letter::{Stage, State, UNKNOWN_PROJECT};
use consume::store::EVENT_SORT;
use consume::table::{Key, Table, Value};
use futures_util::TryStreamExt;
use jiff::ToSpan;
use jiff::civil::Date;
use shared::clock::Timestamp;
use shared::outcome::Cause;

use super::figures::Minutes;
use super::health::{Letters, Spilled};
use crate::dead_letters::{self, Days, Filter, list};

/// The most letters that are counted.
pub const LETTERS_MAX: usize = 1_000;
/// The most items of a table that are read one by one.
pub const ITEMS_MAX: usize = 10_000;

/// Counts the letters of today and yesterday that wait, of these projects and of none, by reason; and those that `minutes`
/// have, by what they are: `refused` by `ingest`, or `dead` for another reason.
///
/// # Errors
/// The table could not be read.
pub async fn letters(
    table: &impl Table,
    projects: impl IntoIterator<Item = String>,
    minutes: Minutes,
    now: Timestamp,
) -> Result<Letters, dead_letters::Error> {
    let today: Date = now.day().parse().unwrap_or_default();
    let days = Days::new(today.saturating_sub(1.day()), today)?;
    let mut letters = Letters::default();
    for project in projects.into_iter().chain([UNKNOWN_PROJECT.to_owned()]) {
        let filter = Filter { project, days, reason: None, source: None, state: None, like: None };
        let mut found = std::pin::pin!(list(table, &filter));
        while let Some(head) = found.try_next().await? {
            if letters.looked_at == LETTERS_MAX {
                letters.is_whole = false;
                return Ok(letters);
            }
            letters.looked_at += 1;
            if head.state == State::Waiting.tag() {
                *letters.by_reason.entry(head.reason.clone()).or_insert(0) += 1;
            }
            let figure = if head.stage == Stage::Ingest.tag() { "refused" } else { "dead" };
            let minute = head.first_seen.parse().ok().and_then(|moment| minutes.of(moment));
            if let Some(minute) = minute {
                *letters.by_minute.entry(figure).or_default().entry(minute).or_insert(0.0) += 1.0;
            }
        }
    }
    Ok(letters)
}

/// Counts the messages in the spill table, as far as one page of it.
///
/// # Errors
/// The table could not be read.
pub async fn spilled(table: &impl Table) -> Result<Spilled, Cause> {
    let page = table.scan(None).await?;
    let messages: HashSet<&str> = page.iter().map(|(key, _)| key.pk.as_str()).collect();
    let is_whole = match page.last() {
        Some((last, _)) => table.scan(Some(last)).await?.is_empty(),
        None => true,
    };
    Ok(Spilled { messages: messages.len(), is_whole })
}

/// Counts the stored events by the minute in which they came; `false` if there are more items in the table than are looked
/// at. It reads the whole table, and is for one on this machine.
///
/// # Errors
/// The table could not be read.
pub async fn arrivals(table: &impl Table, minutes: Minutes) -> Result<(BTreeMap<Timestamp, f64>, bool), Cause> {
    let (mut by_minute, mut after, mut read) = (BTreeMap::new(), None::<Key>, 0);
    while read < ITEMS_MAX {
        let page = table.scan(after.as_ref()).await?;
        let Some((last, _)) = page.last() else { return Ok((by_minute, true)) };
        after = Some(last.clone());
        read += page.len();
        let items = page.into_iter().filter(|(key, _)| key.sk.starts_with(EVENT_SORT));
        for (_, event) in items.flat_map(|(key, item)| unpack(key, item)) {
            let came = event.get("recv").and_then(Value::number).map(Timestamp::from_millis_clamped);
            if let Some(minute) = came.and_then(|moment| minutes.of(moment)) {
                *by_minute.entry(minute).or_insert(0.0) += 1.0;
            }
        }
    }
    Ok((by_minute, false))
}
