//! Erasing letters: those that are named, those that the links of a user lead to, and those whose texts name the user.
//!
//! An erased letter keeps its reason and its times. Everything here may be stopped and repeated.

use consume::dead_letter::Head;
use consume::letters::{LINK_PREFIX, Link};
use consume::links;
use consume::table::{Key, Table, get_all};
use jiff::ToSpan;
use jiff::civil::Date;
use shared::clock::Timestamp;

use super::error::Error;
use super::filter::Days;
use super::naming::{Doubt, Naming};
use super::read::is_erased;
use super::search::{Search, Tables, is_linked};

/// How many days back letters are looked for by their texts, unless it is said otherwise: as long as a letter is kept by
/// default, and as long as its message can have waited before (in the queue and the quarantine), and a few days.
pub const SEARCHED_DAYS: i64 = 90 + 4 + 14 + 7;
/// The most letters that are listed with the reason why they were left.
pub const LEFT_MAX: usize = 100;

/// How letters are erased.
#[derive(Clone, Copy)]
pub struct Erasing<'a> {
    /// Whether nothing is written, and what would be erased is only counted.
    pub dry_run: bool,
    /// Whether to stop. It is asked after each page.
    pub is_stopped: &'a dyn Fn() -> bool,
    /// Is told after each page how many letters have been looked at.
    pub progress: &'a dyn Fn(usize),
}

/// What came of following links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// Letters that were erased, or would be.
    pub erased: usize,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// What came of looking through texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByText {
    /// Letters that were erased, or would be.
    pub erased: usize,
    /// How many letters were left that name the user, too.
    pub left: usize,
    /// These, each with the reason; [`LEFT_MAX`] at the most.
    pub doubts: Vec<(Key, Doubt)>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// Erases a letter. Returns whether there was anything to erase.
///
/// # Errors
/// It may not be erased; doing it again is right.
pub async fn erase(letters: &impl Table, key: &Key) -> Result<bool, Error> {
    consume::letters::erase(letters, key).await.map_err(|cause| Error::Unchanged { key: key.clone(), cause })
}

/// The days that are looked through up to a moment.
///
/// # Errors
/// It is no day of the calendar.
pub(crate) fn days_until(now: Timestamp) -> Result<Days, Error> {
    let last: Date = now.day().parse().unwrap_or(Date::MAX);
    Days::new(last.saturating_sub(SEARCHED_DAYS.days()), last)
}

/// Erases the letters that links of the ids lead to, and those of the devices that name nobody else.
///
/// # Errors
/// A table could not be read or written. Doing it again is right.
pub async fn erase_linked<T: Table>(
    tables: Tables<'_, T>,
    project: &str,
    naming: &Naming,
    how: Erasing<'_>,
) -> Result<Linked, Error> {
    let (mut linked, mut looked_at) = (Linked::default(), 0);
    let ids = naming.ids.iter().map(|id| (id, false));
    let homes: Vec<(&String, bool)> = ids.chain(naming.devices.iter().map(|device| (device, true))).collect();
    for (position, (id, is_device)) in homes.iter().enumerate() {
        let mut after: Option<String> = None;
        loop {
            let partition = links::partition(project, id);
            let page = tables.events.query(&partition, LINK_PREFIX, after.as_deref()).await;
            let page = page.map_err(|cause| Error::Unlisted { partition: project.to_owned(), cause })?;
            let found = page.items.iter().filter_map(|(key, attributes)| Link::read(project, key, attributes));
            let keys: Vec<Key> = found.filter(|link| !is_device || link.is_anonymous).map(|link| link.letter).collect();
            looked_at += keys.len();
            // What another id has led to is counted there.
            let before = || homes[..position].iter().filter(|(_, is_device)| !is_device).map(|(id, _)| *id);
            linked.erased += if how.dry_run {
                would_erase(tables, project, keys, before).await?
            } else {
                erase_all(tables.letters, &keys).await?
            };
            (how.progress)(looked_at);
            linked.is_stopped = (how.is_stopped)();
            after = page.items.last().filter(|_| !page.is_last).map(|(key, _)| key.sk.clone());
            if linked.is_stopped {
                return Ok(linked);
            }
            if after.is_none() {
                break;
            }
        }
    }
    Ok(linked)
}

async fn erase_all(letters: &impl Table, keys: &[Key]) -> Result<usize, Error> {
    let mut erased = 0;
    for key in keys {
        erased += usize::from(erase(letters, key).await?);
    }
    Ok(erased)
}

/// How many of these letters are there, not erased, and not linked with any of the ids `before`.
async fn would_erase<'i, T: Table, I: Iterator<Item = &'i String>>(
    tables: Tables<'_, T>,
    project: &str,
    keys: Vec<Key>,
    before: impl Fn() -> I,
) -> Result<usize, Error> {
    let mut count = 0;
    for key in keys {
        // One at a time: a head has up to 300 KiB of its body.
        let found = get_all(tables.letters, vec![key.clone()], None).await;
        let found = found.map_err(|cause| Error::Unread { key: key.clone(), cause })?;
        let head = found.get(&key).and_then(|attributes| Head::read(&key, attributes));
        let is_there = head.is_some_and(|head| !is_erased(&head));
        let is_new = before().next().is_none() || !is_linked(tables.events, project, before(), [], &key).await?;
        count += usize::from(is_there && is_new);
    }
    Ok(count)
}

/// Looks through the letters of a project, and through those of which no project is known, and erases those that name the
/// user by their texts and are the user's altogether. Others that name the user are told. What is later than `until` stays.
///
/// What links lead to is erased before, and not told; a dry run passes it over.
///
/// # Errors
/// A table could not be read or written. Doing it again is right.
pub async fn erase_by_text<T: Table>(
    tables: Tables<'_, T>,
    project: &str,
    naming: &Naming,
    (days, until): (Days, Timestamp),
    how: Erasing<'_>,
) -> Result<ByText, Error> {
    let mut by_text = ByText::default();
    let mut search = Search::new(tables, project, days, naming);
    while let Some(page) = search.next().await? {
        for named in page {
            let key = named.head.key;
            let is_later = named.head.first_seen.parse::<Timestamp>().is_ok_and(|came| came > until);
            if is_later || is_linked(tables.events, project, &naming.ids, &naming.devices, &key).await? {
                continue;
            }
            if let Some(doubt) = named.doubt {
                by_text.left += 1;
                if by_text.doubts.len() < LEFT_MAX {
                    by_text.doubts.push((key, doubt));
                }
            } else if how.dry_run || erase(tables.letters, &key).await? {
                by_text.erased += 1;
            }
        }
        (how.progress)(search.looked_at);
        if (how.is_stopped)() {
            by_text.is_stopped = true;
            break;
        }
    }
    Ok(by_text)
}
