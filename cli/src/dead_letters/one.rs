//! Sending one letter round again.
//!
//! The letter is marked first and sent then, since `consume` concludes a redrive only where it finds the mark of its round.
//! What ends in between leaves a letter that is marked, and nothing under way; so a mark that is old is not believed. That
//! the message may then be there twice does no harm: both stand for the same events.

use std::time::Duration;

use consume::dead_letter::{Head, State, redriven};
use consume::queue::{Outgoing, Queue};
use consume::redrive::ATTRIBUTE;
use consume::table::{Key, Table, pause_before};
use shared::clock::{Clock, Timestamp};
use shared::keys::is_project;
use shared::limits::SQS_MESSAGE_BYTES_MAX;
use shared::outcome::{Cause, Reason};

use super::change::change;
use super::error::Error;
use super::read::{DeadLetter, find, whole_body};
use super::verdict::{Verdict, message_text, test};

/// How often a letter may be redriven unless it is said otherwise: what came back so often will come back again.
pub const REDRIVES_MAX: i64 = 5;
/// How long a redriven letter is taken to be under way. A queue without a backlog takes seconds.
pub const UNDER_WAY: Duration = Duration::from_secs(60 * 60);
/// How often sending is tried, on top of what the adapter tries within a call.
const SENDS: u32 = 3;

/// What a redrive works with.
#[derive(Clone, Copy)]
pub struct Ports<'a, T, Q> {
    /// The table of dead letters.
    pub letters: &'a T,
    /// The queue of events.
    pub queue: &'a Q,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// How letters are redriven.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether only to tell what would be done. Nothing is written or sent then.
    pub dry_run: bool,
    /// Whether to take letters that were redriven within [`UNDER_WAY`], too.
    pub again: bool,
    /// How often a letter may be redriven, all in all; usually [`REDRIVES_MAX`].
    pub redrives_max: i64,
    /// The most letters that are taken, whatever becomes of them.
    pub letters_max: usize,
    /// The most letters that are taken in a second; a dry run does not wait.
    pub per_second: std::num::NonZeroU32,
    /// The largest event in bytes: what `ingest` is configured with (`EVENT_BYTES_MAX`).
    pub event_bytes_max: usize,
}

/// What became of redriving a letter.
#[derive(Debug)]
pub enum Fate {
    /// It is under way.
    Sent {
        /// Which of its redrives this is, from 1.
        round: i64,
    },
    /// It would be sent, were this no dry run; and this is what would come of it.
    WouldSend(Verdict),
    /// It was left as it is.
    Skipped(Skip),
    /// It was not sent, or that is not known.
    Failed(Error),
}

/// Why a letter is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It is not there any more.
    Missing,
    /// It has been settled, discarded or erased, or is in a state that this code does not know: the tag of it.
    Closed(String),
    /// It was redriven a short while ago.
    UnderWay {
        /// When.
        since: Timestamp,
    },
    /// It has been redriven as often as is allowed.
    TooOften {
        /// How often.
        redrives: i64,
    },
    /// It is an item that `ingest` refused, and would still refuse.
    StillDead {
        /// The reason.
        reason: Reason,
        /// What exactly is wrong, for a person.
        detail: String,
    },
    /// The queue cannot take its message, which is empty, or too large with what must be said of the letter.
    Unsendable {
        /// The size of the message in bytes.
        bytes: usize,
    },
    /// It is not whole, for the reason given.
    Damaged(String),
    /// Somebody else was faster.
    Changed,
}

impl Skip {
    /// The word for it.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Skip::Missing => "missing",
            Skip::Closed(_) => "closed",
            Skip::UnderWay { .. } => "under_way",
            Skip::TooOften { .. } => "too_often",
            Skip::StillDead { .. } => "still_dead",
            Skip::Unsendable { .. } => "unsendable",
            Skip::Damaged(_) => "damaged",
            Skip::Changed => "changed",
        }
    }
}

/// Redrives a letter.
pub(super) async fn redrive_one<T: Table, Q: Queue>(ports: &Ports<'_, T, Q>, key: &Key, options: &Options) -> Fate {
    match attempt(ports, key, options).await {
        Ok(fate) => fate,
        Err(Error::Changed { .. }) => Fate::Skipped(Skip::Changed),
        // Unlike what fails, this says nothing of the letters to come.
        Err(error @ (Error::Damaged { .. } | Error::PartMissing { .. })) => {
            Fate::Skipped(Skip::Damaged(error.to_string()))
        }
        Err(error) => Fate::Failed(error),
    }
}

async fn attempt<T: Table, Q: Queue>(ports: &Ports<'_, T, Q>, key: &Key, options: &Options) -> Result<Fate, Error> {
    let Some((head, attributes)) = find(ports.letters, key).await? else { return Ok(Fate::Skipped(Skip::Missing)) };
    let now = ports.clock.now();
    if let Some(objection) = objection(&head, options, now) {
        return Ok(Fate::Skipped(objection));
    }
    let body = whole_body(ports.letters, &head, &attributes).await?;
    let letter = DeadLetter { head, body };
    let verdict = test(&letter, options.event_bytes_max);
    let text = match (message_text(&letter, options.event_bytes_max), &verdict) {
        (Err((reason, detail)), _) => return Ok(Fate::Skipped(Skip::StillDead { reason, detail })),
        (Ok(_), Verdict::StillDead { reason, detail }) if letter.head.holds_item() => {
            return Ok(Fate::Skipped(Skip::StillDead { reason: *reason, detail: detail.clone() }));
        }
        (Ok(text), _) => text,
    };
    let (item, version, redrive) = redriven(key, &attributes, now)
        .ok_or_else(|| Error::Damaged { key: key.clone(), detail: "it has no version".to_owned() })?;
    let bytes = text.len() + ATTRIBUTE.len() + "String".len() + redrive.encode().len();
    if text.is_empty() || bytes > SQS_MESSAGE_BYTES_MAX {
        return Ok(Fate::Skipped(Skip::Unsendable { bytes }));
    }
    if options.dry_run {
        return Ok(Fate::WouldSend(verdict));
    }
    change(ports.letters, &item, version).await?;
    let round = redrive.round;
    let message = Outgoing { group: group(key), body: text.into_owned(), redrive: Some(redrive) };
    send(ports.queue, message).await.map_err(|cause| Error::NotSent { key: key.clone(), cause })?;
    Ok(Fate::Sent { round })
}

/// Why a letter must not be sent as it stands.
fn objection(head: &Head, options: &Options, now: Timestamp) -> Option<Skip> {
    match State::of_tag(&head.state) {
        Some(State::Waiting) => {}
        Some(State::Redriven) => {
            // A time that cannot be read tells of nothing under way.
            let since = head.redriven_at.parse::<Timestamp>().ok();
            if let Some(since) = since.filter(|since| !options.again && now.since(*since) < UNDER_WAY) {
                return Some(Skip::UnderWay { since });
            }
        }
        Some(State::Settled | State::Discarded | State::Erased) | None => {
            return Some(Skip::Closed(head.state.clone()));
        }
    }
    (head.redrives >= options.redrives_max).then_some(Skip::TooOften { redrives: head.redrives })
}

/// The message group of a letter's message: its project, as `ingest` has it.
fn group(key: &Key) -> String {
    let project = key.pk.split('#').next().filter(|project| is_project(project));
    project.unwrap_or_default().to_owned()
}

async fn send(queue: &impl Queue, message: Outgoing) -> Result<(), Cause> {
    let messages = [message];
    let mut result = Err(Cause::Unstarted);
    for attempt in 0..SENDS {
        pause_before(attempt).await;
        result = queue.send(&messages).await;
        // A refusal for lack of permission does not pass in a moment.
        if matches!(result, Ok(()) | Err(Cause::Denied)) {
            break;
        }
    }
    result
}
