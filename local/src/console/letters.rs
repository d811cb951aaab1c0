//! Dead letters for the page: the last of them, each with its body, tested, sent round again or discarded.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use cli::dead_letters::{
    self, Days, Error, Fate, Filter, Head, Options, Ports, REDRIVES_MAX, Skip, Verdict, name, parse_name,
};
use consume::dead_letter::UNKNOWN_PROJECT;
use consume::table::Key;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use jiff::{ToSpan as _, civil::Date};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};

use super::Console;
use super::error::Refused;

/// How many days the list goes back.
const DAYS: i64 = 7;
/// The most letters of a day that are looked at, and the most of all days that are shown.
const OF_A_DAY_MAX: usize = 2_000;
const SHOWN_MAX: usize = 100;

/// Which project.
#[derive(Deserialize)]
pub(super) struct OfProject {
    project: String,
}

/// Which letter.
#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

/// Which letter, and why it need not be stored.
#[derive(Deserialize)]
pub(super) struct Discarded {
    name: String,
    note: String,
}

/// The last letters of a project and of those whose project nobody knows, the latest first.
///
/// # Errors
/// The table does not answer.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Query(of): Query<OfProject>,
) -> Result<Json<Value>, Refused> {
    let today: Date = SystemClock.now().day().parse().map_err(|_| Refused::away("the clock shows no day"))?;
    let (mut letters, mut more) = (Vec::new(), false);
    // The queues' clock may have been moved ahead.
    for back in -1..DAYS {
        let day = today.saturating_sub(back.days());
        let days = Days::new(day, day).map_err(|error| refused(&error))?;
        let mut of_day: Vec<Head> = Vec::new();
        for project in [of.project.as_str(), UNKNOWN_PROJECT] {
            let filter =
                Filter { project: project.to_owned(), days, reason: None, source: None, state: None, like: None };
            let found = dead_letters::list(&console.letters, &filter).take(OF_A_DAY_MAX);
            let found: Vec<Head> = found.try_collect().await.map_err(|error| refused(&error))?;
            more |= found.len() == OF_A_DAY_MAX;
            of_day.extend(found);
        }
        of_day.sort_by(|one, other| other.key.sk.cmp(&one.key.sk));
        letters.extend(of_day);
        if letters.len() > SHOWN_MAX {
            letters.truncate(SHOWN_MAX);
            more = true;
            break;
        }
    }
    Ok(Json(json!({"letters": letters.iter().map(head).collect::<Vec<_>>(), "more": more, "days": DAYS})))
}

/// One letter with its body.
///
/// # Errors
/// There is none of that name, or the table does not answer.
pub(super) async fn one(
    State(console): State<Arc<Console>>,
    Query(named): Query<Named>,
) -> Result<Json<Value>, Refused> {
    let letter = read(&console, &key(&named.name)?).await?;
    Ok(Json(json!({"letter": head(&letter.head), "body": letter.body})))
}

/// What would become of a letter if it were sent round now.
///
/// # Errors
/// As [`one`].
pub(super) async fn test(
    State(console): State<Arc<Console>>,
    Query(named): Query<Named>,
) -> Result<Json<Value>, Refused> {
    let letter = read(&console, &key(&named.name)?).await?;
    Ok(Json(match dead_letters::test(&letter, console.event_bytes_max) {
        Verdict::Storable { events, refused } => {
            json!({"verdict": "storable", "events": events, "refused": refused})
        }
        Verdict::StillDead { reason, detail } => {
            json!({"verdict": "still_dead", "reason": reason.tag(), "detail": detail})
        }
        Verdict::Unknowable { why } => json!({"verdict": "unknowable", "detail": why}),
        Verdict::Erased => json!({"verdict": "unknowable", "detail": "its body was erased"}),
    }))
}

/// Sends a letter round again.
///
/// # Errors
/// It cannot be sent as it stands, or the table or the queue do not answer.
pub(super) async fn redrive(
    State(console): State<Arc<Console>>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, Refused> {
    let ports = Ports { letters: &console.letters, queue: &console.queue, clock: &SystemClock };
    let options = Options {
        dry_run: false,
        again: false,
        redrives_max: REDRIVES_MAX,
        letters_max: 1,
        per_second: NonZeroU32::MIN,
        event_bytes_max: console.event_bytes_max,
    };
    let mut fate = None;
    let keys = stream::iter([Ok(key(&named.name)?)]);
    dead_letters::redrive(&ports, keys, &options, |_, became| fate = Some(told(became))).await;
    fate.unwrap_or_else(|| Err(Refused::away("nothing became of it; try again")))
}

/// Decides that a letter need not be stored.
///
/// # Errors
/// It has no note, is not open, or the table does not answer.
pub(super) async fn discard(
    State(console): State<Arc<Console>>,
    Json(discarded): Json<Discarded>,
) -> Result<Json<Value>, Refused> {
    let key = key(&discarded.name)?;
    dead_letters::discard(&console.letters, &key, &discarded.note).await.map_err(|error| refused(&error))?;
    Ok(Json(json!({"state": "discarded"})))
}

fn told(fate: &Fate) -> Result<Json<Value>, Refused> {
    let conflict = |code, message: String| Err(Refused::new(StatusCode::CONFLICT, code, message));
    match fate {
        Fate::Sent { round } => Ok(Json(json!({"state": "redriven", "round": round}))),
        Fate::WouldSend(_) => Err(Refused::away("it was not sent; try again")),
        Fate::Failed(error) => Err(refused(error)),
        Fate::Skipped(skip) => conflict(
            skip.tag(),
            match skip {
                Skip::Missing => "it is not there any more".to_owned(),
                Skip::Closed(state) => format!("it is {state}, and only one that is waiting can be sent round"),
                Skip::UnderWay { since } => format!("it is under way since {since}"),
                Skip::TooOften { redrives } => format!("it has been sent round {redrives} times, which is enough"),
                Skip::StillDead { reason, detail } => format!("it would come back: {}: {detail}", reason.tag()),
                Skip::Unsendable { bytes } => format!("the queue cannot take its message of {bytes} bytes"),
                Skip::Damaged(detail) => detail.clone(),
                Skip::Changed => "somebody changed it meanwhile; look again".to_owned(),
            },
        ),
    }
}

async fn read(console: &Console, key: &Key) -> Result<dead_letters::DeadLetter, Refused> {
    let letter = dead_letters::read(&console.letters, key).await.map_err(|error| refused(&error))?;
    letter.ok_or_else(|| refused(&Error::Missing { key: key.clone() }))
}

fn key(name: &str) -> Result<Key, Refused> {
    parse_name(name).map_err(|error| refused(&error))
}

fn refused(error: &Error) -> Refused {
    let message = error.to_string();
    match error {
        Error::NotAName { .. } | Error::NotDays { .. } | Error::NoNote { .. } => Refused::bad(message),
        Error::Missing { .. } => Refused::new(StatusCode::NOT_FOUND, "missing", message),
        Error::NotOpen { .. } | Error::Changed { .. } | Error::Damaged { .. } | Error::PartMissing { .. } => {
            Refused::new(StatusCode::CONFLICT, "not_open", message)
        }
        Error::Unlisted { .. }
        | Error::Unread { .. }
        | Error::Unchanged { .. }
        | Error::NotSent { .. }
        | Error::TooManyFailed { .. } => Refused::away(message),
    }
}

fn head(head: &Head) -> Value {
    json!({
        "name": name(&head.key),
        "project": head.key.pk.split('#').next().unwrap_or_default(),
        "reason": head.reason,
        "stage": head.stage,
        "detail": head.detail,
        "source": head.source,
        "call": head.call,
        "first_seen": head.first_seen,
        "last_seen": head.last_seen,
        "attempts": head.attempts,
        "bytes": head.bytes,
        "state": head.state,
        "redrives": head.redrives,
        "note": head.note,
    })
}
