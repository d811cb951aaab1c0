//! Erasing a user, by an operator and without a limit of time.
//!
//! It is the erasure of a deletion that a producer sends, done from here: a tombstone first, and then everything that is
//! older. Besides, it looks for dead letters that name the user without a link that leads to them.

use consume::erase::{Erasure, Tally};
use consume::table::Table;
use serde::Serialize;
use shared::clock::Timestamp;
use shared::keys::is_project;
use shared::limits::SUBJECT_CHARS_MAX;
use shared::outcome::Cause;

use super::homes::Homes;
use super::{Error as Unread, homes};
use crate::advice::advice;
use crate::dead_letters::{self, ByText, Days, Erasing, Naming, Tables, days_until, erase_by_text, name};

/// Why a user may not be erased altogether.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can be nobody's id.
    #[error("a user's id has 1 to {SUBJECT_CHARS_MAX} characters")]
    NoId,
    /// Something could not be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A part of the erasure failed.
    #[error("not everything is erased ({}); {}: it goes on, and does no harm", cause.tag(), advice(*cause))]
    Unfinished {
        /// Why.
        cause: Cause,
    },
    /// A letter could not be read or erased.
    #[error(transparent)]
    Letters(#[from] dead_letters::Error),
}

/// Who is to be erased.
#[derive(Clone, Debug)]
pub struct Whom {
    /// The project.
    pub project: String,
    /// The user's id.
    pub id: String,
    /// Up to when. What comes later and is older than that is erased when it comes.
    pub moment: Timestamp,
    /// The days whose letters are looked through; [`dead_letters::SEARCHED_DAYS`] unless given.
    pub days: Option<Days>,
}

/// How far an erasure has come.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// It goes through everything that links lead to.
    Erased(Tally),
    /// It looks through letters, and has looked at so many.
    Searched(usize),
}

/// Something that is left, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// `shared_devices`, `letter`, `letters`, `later_ids`, `more_ids`, `on_its_way` or `backups`.
    pub what: &'static str,
    /// The letter, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many of these there are, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Why it is left, and what becomes of it.
    pub why: String,
}

/// What an erasure came to, or would come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// Ids: the one that was asked for, and those that became it.
    pub ids: usize,
    /// Devices, and other homes, that were seen with one of them.
    pub devices: usize,
    /// Of these, devices on which somebody was seen who has not been deleted.
    pub shared_devices: usize,
    /// Events.
    pub events: usize,
    /// Profiles with something in them.
    pub profiles: usize,
    /// Dead letters that links lead to.
    pub letters: usize,
    /// Dead letters that only their texts lead to.
    pub letters_by_text: usize,
    /// What is left.
    pub left: Vec<Left>,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether it was stopped before its end. Doing it again erases the rest.
    pub paused: bool,
}

impl Erased {
    /// How many letters are left that name the user.
    #[must_use]
    pub fn letters_left(&self) -> usize {
        let letters = self.left.iter().filter(|left| ["letter", "letters"].contains(&left.what));
        letters.map(|left| left.count.unwrap_or(1)).sum()
    }
}

/// Erases a user: everything of the id up to the moment, and of every id that became it. Once `is_stopped` says so, it pauses
/// after the next page; doing it again erases the rest.
///
/// # Errors
/// Nobody can have that project or id; or a call failed, and not everything is erased.
pub async fn erase<T: Table>(
    tables: Tables<'_, T>,
    whom: &Whom,
    dry_run: bool,
    is_stopped: &dyn Fn() -> bool,
    progress: &dyn Fn(Progress),
) -> Result<Erased, Error> {
    let Whom { project, id, moment, .. } = whom;
    if !is_project(project) {
        return Err(Unread::NoProject { project: project.clone() }.into());
    }
    if !(1..=SUBJECT_CHARS_MAX).contains(&id.chars().count()) {
        return Err(Error::NoId);
    }
    let tell = |tally: &Tally| progress(Progress::Erased(*tally));
    let mut erasure = Erasure::new(tables.events, tables.letters, project, *moment, is_stopped).telling(&tell);
    if dry_run {
        erasure = erasure.rehearsed();
    }
    let is_paused = match erasure.erase(id, *moment).await {
        Ok(()) => false,
        Err(Cause::Unstarted) => true,
        Err(cause) => return Err(Error::Unfinished { cause }),
    };
    let tally = erasure.tally;
    // Links outlast what they lead to.
    let homes = homes(tables.events, project, id).await?;
    let by_text = if is_paused {
        ByText { is_stopped: true, ..ByText::default() }
    } else {
        let days = whom.days.map_or_else(|| days_until(*moment), Ok)?;
        let how = Erasing { dry_run, is_stopped, progress: &|looked_at| progress(Progress::Searched(looked_at)) };
        erase_by_text(tables, project, &homes.naming(), (days, *moment), how).await?
    };
    Ok(Erased {
        ids: tally.ids,
        devices: tally.devices,
        shared_devices: tally.shared_devices,
        events: tally.events,
        profiles: tally.profiles,
        letters: tally.letters,
        letters_by_text: by_text.erased,
        left: left(&tally, &homes, &by_text),
        dry_run,
        paused: by_text.is_stopped,
    })
}

impl Homes {
    /// The ids by which texts name the user: all ids, and the devices on which nobody else was seen.
    #[must_use]
    pub fn naming(&self) -> Naming {
        Naming::new(self.ids.clone(), self.own_devices().map(str::to_owned).collect())
    }
}

/// What is left after an erasure, and why.
fn left(tally: &Tally, homes: &Homes, by_text: &ByText) -> Vec<Left> {
    let mut left = Vec::new();
    let mut add = |what, name, count, why: &str| left.push(Left { what, name, count, why: why.to_owned() });
    if tally.shared_devices > 0 {
        let why = "what names nobody on a device where somebody was seen who has not been deleted: it may be theirs";
        add("shared_devices", None, Some(tally.shared_devices), why);
    }
    for (key, doubt) in &by_text.doubts {
        add("letter", Some(name(key)), None, doubt.words());
    }
    let more = by_text.left - by_text.doubts.len();
    if more > 0 {
        add("letters", None, Some(more), "further letters that name the user and are not the user's altogether");
    }
    if !homes.later_ids.is_empty() {
        let why = "what this id became in its turn: erase that, too, if the person is to be erased";
        add("later_ids", None, Some(homes.later_ids.len()), why);
    }
    if !homes.is_whole {
        let why = "letters were looked for by the first of the user's ids and devices only: there are too many";
        add("more_ids", None, None, why);
    }
    let why = "messages in the queue, the quarantine and the spill table: what is older is erased when they arrive";
    add("on_its_way", None, None, why);
    add("backups", None, None, "backups and exports: nothing here reaches them");
    left
}
