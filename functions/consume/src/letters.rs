//! Writing dead letters, and noting in those that were sent round again what came of it.
//!
//! A letter is noted under each id that it names before it is written, so that a deletion finds it; and the tombstones of
//! these ids are looked for after it is written. So whichever of a letter and a deletion comes second sees the other.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use shared::clock::Timestamp;
use shared::outcome::Cause;

use crate::dead_letter::{self, Letter, attribute, erased, part_key, settled};
use crate::deliver::CONFLICTS_MAX;
use crate::links;
use crate::redrive::Redrive;
use crate::settle::Failed;
use crate::table::{
    Attributes, Guard, Insert, Item, Key, Replace, Table, Value, delete_all, get_all, insert_all, pause_before,
};
use crate::tombstone::{device_tombstone_key, moment_of, tombstone_key};

/// What the sort keys begin with under which a letter is found by an id that it names; the rest is that of the letter.
pub const LINK_PREFIX: &str = "LETTER#";
/// The attribute of a letter that names no user, but a device.
const IS_ANONYMOUS: &str = "anon";
/// How much later than the letter its note under an id expires, in seconds: two weeks, so that no part of it is left alone.
const LINK_TTL_LATER: i64 = 14 * 24 * 60 * 60;

/// A letter, as it is found by an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the letter is.
    pub letter: Key,
    /// When it came to us.
    pub first_seen: Timestamp,
    /// Whether it names no user, but a device.
    pub is_anonymous: bool,
}

impl Link {
    /// Reads what was found under an id; `None` if it is no letter.
    #[must_use]
    pub fn read(project: &str, key: &Key, attributes: &Attributes) -> Option<Self> {
        let sk = key.sk.strip_prefix(LINK_PREFIX)?;
        let (time, id) = sk.split_once('#')?;
        let first_seen: Timestamp = time.parse().ok()?;
        let is_anonymous = attributes.get(IS_ANONYMOUS) == Some(&Value::Flag(true));
        Some(Self { letter: dead_letter::key(project, first_seen, id), first_seen, is_anonymous })
    }
}

/// The project of a letter.
fn project_of(letter: &Letter) -> &str {
    letter.key.pk.rsplit_once('#').map_or("", |(project, _)| project)
}

/// The notes under the ids that a letter names.
fn link_items(letter: &Letter, now: Timestamp, retention: Duration) -> impl Iterator<Item = Item> {
    letter.names.ids.iter().map(move |id| {
        let key = Key { pk: links::partition(project_of(letter), id), sk: format!("{LINK_PREFIX}{}", letter.key.sk) };
        let mut item = Item { key, attributes: BTreeMap::new() };
        if letter.names.is_anonymous {
            item.attributes.insert(IS_ANONYMOUS, Value::Flag(true));
        }
        item.number("ttl", now.plus(retention).as_millis() / 1_000 + LINK_TTL_LATER);
        item
    })
}

/// The tombstones that a letter must not be older than.
fn tombstones_of(letter: &Letter) -> impl Iterator<Item = Key> {
    let project = project_of(letter);
    letter.names.ids.iter().flat_map(move |id| {
        let of_device = letter.names.is_anonymous.then(|| device_tombstone_key(project, id));
        [tombstone_key(project, id)].into_iter().chain(of_device)
    })
}

/// What a group of messages has for the dead letters.
#[derive(Debug, Default)]
pub struct Letters<'a> {
    /// Letters, each with the position of its message in the batch.
    pub letters: Vec<(usize, Letter)>,
    /// The messages that come from a letter, by their positions.
    pub redrives: BTreeMap<usize, &'a Redrive>,
}

impl Letters<'_> {
    /// Whether a letter is the one that its message comes from.
    fn comes_back(&self, position: usize, letter: &Letter) -> bool {
        self.redrives.get(&position).is_some_and(|redrive| redrive.letter() == letter.key)
    }

    /// Writes what is to be written. The message of whatever cannot be written goes back. Returns how many letters are new
    /// or came back, by their reasons.
    pub async fn write(
        self,
        events: &impl Table,
        table: &impl Table,
        now: Timestamp,
        retention: Duration,
        failed: &mut Failed,
    ) -> BTreeMap<String, usize> {
        // Of a message whose letters cannot be noted, none is written: it comes again.
        let unnoted = self.note_names(events, now, retention, failed).await;
        let mut written: Vec<&Letter> = Vec::new();
        let mut fresh: Vec<(usize, &Letter)> = Vec::new();
        let mut returned = HashSet::new();
        for (position, letter) in self.letters.iter().filter(|(position, _)| !unnoted.contains(position)) {
            let Some(redrive) = self.redrives.get(position).filter(|_| self.comes_back(*position, letter)) else {
                fresh.push((*position, letter));
                continue;
            };
            returned.insert(*position);
            match update(table, redrive, |head| letter.again(head, redrive, now)).await {
                Ok(Update::Written) => written.push(letter),
                Ok(Update::NotDue) => {}
                // Somebody has removed it, or it has expired.
                Ok(Update::Missing) => fresh.push((*position, letter)),
                Err(cause) => failed.note(*position, cause),
            }
        }
        written.extend(insert(table, &fresh, now, retention, failed).await);
        self.erase_late(events, table, failed).await;
        for (position, redrive) in &self.redrives {
            if returned.contains(position) || failed.has(*position) {
                continue;
            }
            if let Err(cause) = update(table, redrive, |head| settled(head, redrive)).await {
                failed.note(*position, cause);
            }
        }
        let mut reasons = BTreeMap::new();
        for letter @ Letter { key, reason, stage, .. } in written {
            let project = project_of(letter);
            let id = key.sk.split_once('#').map_or("", |(_, id)| id);
            tracing::warn!(project, id, reason, stage = stage.tag(), "dead-lettered");
            *reasons.entry(reason.clone()).or_insert(0) += 1;
        }
        reasons
    }

    /// Notes the letters under the ids that they name. Returns the positions of messages for which that failed.
    async fn note_names(
        &self,
        events: &impl Table,
        now: Timestamp,
        retention: Duration,
        failed: &mut Failed,
    ) -> HashSet<usize> {
        let mut notes: Positioned = BTreeMap::new();
        for (position, letter) in &self.letters {
            let items = link_items(letter, now, retention);
            notes.extend(items.map(|item| (item.key.clone(), (*position, item))));
        }
        let mut of_notes = Failed::default();
        insert_items(events, notes, &mut of_notes).await;
        let unnoted = of_notes.iter().map(|(position, _)| position).collect();
        failed.extend(of_notes);
        unnoted
    }

    /// Erases those letters whose names have been deleted later than they came.
    async fn erase_late(&self, events: &impl Table, table: &impl Table, failed: &mut Failed) {
        let keys: Vec<Key> = self.letters.iter().flat_map(|(_, letter)| tombstones_of(letter)).collect();
        if keys.is_empty() {
            return;
        }
        let found = get_all(events, keys, None).await;
        for (position, letter) in &self.letters {
            let erased = match &found {
                Err(cause) => Err(*cause),
                Ok(found) => {
                    let moments = tombstones_of(letter).filter_map(|key| moment_of(found.get(&key)?));
                    match moments.max() {
                        Some(moment) if letter.first_seen <= moment => erase(table, &letter.key).await,
                        _ => Ok(false),
                    }
                }
            };
            if let Err(cause) = erased {
                failed.note(*position, cause);
            }
        }
    }
}

/// Whether there is a letter that has not been erased.
///
/// # Errors
/// The table could not be read.
pub async fn has_body(table: &impl Table, letter: &Key) -> Result<bool, Cause> {
    let found = get_all(table, vec![letter.clone()], None).await?;
    Ok(found.get(letter).is_some_and(|head| erased(letter, head).is_some()))
}

/// Erases a letter: what its producer wrote goes, and what was wrong with it in words. Reason and times stay, so that the
/// letter counts as what it is. Returns whether there was anything to erase.
///
/// # Errors
/// It may not be erased; doing it again is right.
pub async fn erase(table: &impl Table, letter: &Key) -> Result<bool, Cause> {
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let found = get_all(table, vec![letter.clone()], None).await?;
        let Some(head) = found.get(letter) else { return Ok(false) };
        // They can be there again although the head has been erased: a redelivery writes them before it looks at the head.
        let parts = head.get(attribute::PARTS).and_then(Value::number).and_then(|parts| usize::try_from(parts).ok());
        let parts: Vec<Key> = (1..parts.unwrap_or(1)).map(|number| part_key(letter, number)).collect();
        delete_all(table, &parts).await?;
        let Some((item, version)) = erased(letter, head) else { return Ok(false) };
        if table.replace(&item, Guard::Equals(attribute::VERSION, version)).await.map_err(Replace::cause)? {
            return Ok(true);
        }
    }
    Err(Cause::Contended)
}

/// Inserts letters. Returns those that were not there yet.
async fn insert<'a>(
    table: &impl Table,
    letters: &[(usize, &'a Letter)],
    now: Timestamp,
    retention: Duration,
    failed: &mut Failed,
) -> Vec<&'a Letter> {
    let (mut heads, mut parts): (Positioned, Positioned) = (BTreeMap::new(), BTreeMap::new());
    for (position, letter) in letters {
        for item in letter.items(now, retention) {
            let items = if item.key == letter.key { &mut heads } else { &mut parts };
            items.insert(item.key.clone(), (*position, item));
        }
    }
    // A letter's head is written when its parts are there: so a letter that is there is whole.
    insert_items(table, parts, failed).await;
    heads.retain(|_, (position, _)| !failed.has(*position));
    let written = insert_items(table, heads, failed).await;
    letters.iter().map(|(_, letter)| *letter).filter(|letter| written.contains(&letter.key)).collect()
}

/// Items, each with the position of its message.
type Positioned = BTreeMap<Key, (usize, Item)>;

/// Inserts items. Returns the keys of those that were not there yet.
async fn insert_items(table: &impl Table, items: Positioned, failed: &mut Failed) -> HashSet<Key> {
    let (positions, items): (Vec<usize>, Vec<Item>) = items.into_values().unzip();
    let results = insert_all(table, &items).await;
    let mut written = HashSet::new();
    for ((position, item), result) in positions.iter().zip(&items).zip(results) {
        match result {
            Insert::Done => drop(written.insert(item.key.clone())),
            Insert::Exists => {}
            Insert::Failed(cause) => {
                tracing::error!(cause = cause.tag(), "a dead letter could not be written");
                failed.note(*position, cause);
            }
            Insert::Refused(detail) => {
                tracing::error!(detail, "the table refuses a dead letter");
                failed.note(*position, Cause::Denied);
            }
        }
    }
    written
}

/// What became of writing a head anew.
enum Update {
    Written,
    /// There was nothing to write.
    NotDue,
    /// The letter is not there.
    Missing,
}

async fn update(
    table: &impl Table,
    redrive: &Redrive,
    next: impl Fn(&Attributes) -> Option<(Item, i64)>,
) -> Result<Update, Cause> {
    let key = redrive.letter();
    let found = get_all(table, vec![key.clone()], None).await?;
    let Some(head) = found.get(&key) else { return Ok(Update::Missing) };
    let Some((item, version)) = next(head) else { return Ok(Update::NotDue) };
    match table.replace(&item, Guard::Equals(attribute::VERSION, version)).await {
        Ok(true) => Ok(Update::Written),
        // Somebody was faster; the next delivery sees with what.
        Ok(false) => Err(Cause::Contended),
        Err(error) => Err(error.cause()),
    }
}
