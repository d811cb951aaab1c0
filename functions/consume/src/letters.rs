//! Writing dead letters, and noting in those that were sent round again what came of it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use shared::clock::Timestamp;
use shared::outcome::Cause;

use crate::dead_letter::{Letter, attribute, settled};
use crate::redrive::Redrive;
use crate::settle::Failed;
use crate::table::{Attributes, Guard, Insert, Item, Key, Table, get_all, insert_all};

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
        table: &impl Table,
        now: Timestamp,
        retention: Duration,
        failed: &mut Failed,
    ) -> BTreeMap<String, usize> {
        let mut written: Vec<&Letter> = Vec::new();
        let mut fresh: Vec<(usize, &Letter)> = Vec::new();
        let mut returned = HashSet::new();
        for (position, letter) in &self.letters {
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
        for (position, redrive) in &self.redrives {
            if returned.contains(position) || failed.has(*position) {
                continue;
            }
            if let Err(cause) = update(table, redrive, |head| settled(head, redrive)).await {
                failed.note(*position, cause);
            }
        }
        let mut reasons = BTreeMap::new();
        for Letter { key, reason, stage, .. } in written {
            let project = key.pk.rsplit_once('#').map_or("", |(project, _)| project);
            let id = key.sk.split_once('#').map_or("", |(_, id)| id);
            tracing::warn!(project, id, reason, stage = stage.tag(), "dead-lettered");
            *reasons.entry(reason.clone()).or_insert(0) += 1;
        }
        reasons
    }
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
