//! `holdfast dead redrive` and `discard`: many letters at a time, and not before somebody has seen what would be done.

use std::pin::pin;

use cli::dead_letters::{
    Days, Error, FAILED_MAX, Fate, Filter, Head, Options, Ports, Skip, Summary, Verdict, list, name, parse_name, read,
};
use consume::dead_letter::{State, UNKNOWN_PROJECT};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use shared::keys::is_project;

use crate::Answer;
use crate::args::{ConsentArgs, FilterArgs, SelectedArgs, StateArg};
use crate::dead::{ERASED, said};
use crate::output::Output;
use crate::progress::{bar, interrupted};
use crate::text::{BAD, FAINT, count, harmless, styled};
use crate::world::World;

/// The heads of the letters that are meant, in order of time within each project.
pub(crate) async fn selected(world: &World, arguments: &SelectedArgs) -> anyhow::Result<Vec<Head>> {
    let (table, max) = (world.letters(), usize::try_from(arguments.max)?);
    let mut heads = Vec::new();
    if !arguments.names.is_empty() {
        for text in &arguments.names {
            let key = parse_name(text)?;
            let letter = read(&table, &key).await?.ok_or(Error::Missing { key })?;
            heads.push(letter.head);
        }
        return Ok(heads);
    }
    for filter in filters(world, &arguments.filter).await? {
        let mut found = pin!(list(&table, &filter));
        while let Some(head) = found.try_next().await? {
            if is_in(arguments.filter.state, &head) {
                heads.push(head);
            }
            if heads.len() == max {
                return Ok(heads);
            }
        }
    }
    Ok(heads)
}

/// One filter for each project that is meant.
async fn filters(world: &World, arguments: &FilterArgs) -> anyhow::Result<Vec<Filter>> {
    let projects = match &arguments.project {
        Some(project) if is_project(project) || project == UNKNOWN_PROJECT => vec![project.clone()],
        Some(project) => anyhow::bail!("{project:?} is no project"),
        None => {
            let mut projects = world.projects().await?;
            projects.push(UNKNOWN_PROJECT.to_owned());
            projects
        }
    };
    let now = world.now();
    let last = arguments.until.map_or_else(|| now.day().parse().map_err(Into::into), |until| until.day(now))?;
    let days = Days::new(arguments.since.day(now)?, last)?;
    let state = match arguments.state {
        StateArg::Open | StateArg::Any => None,
        StateArg::Waiting => Some(State::Waiting),
        StateArg::Redriven => Some(State::Redriven),
        StateArg::Settled => Some(State::Settled),
        StateArg::Discarded => Some(State::Discarded),
        StateArg::Erased => Some(State::Erased),
    };
    let filter = |project| Filter {
        project,
        days,
        reason: arguments.reason.clone(),
        source: arguments.source.clone(),
        state,
        like: arguments.like.clone(),
    };
    Ok(projects.into_iter().map(filter).collect())
}

fn is_in(state: StateArg, head: &Head) -> bool {
    state != StateArg::Open || [State::Waiting, State::Redriven].map(State::tag).contains(&head.state.as_str())
}

/// Whether only to say what would be done.
pub(crate) fn is_dry(consent: &ConsentArgs, letters: usize) -> bool {
    consent.dry_run || (letters > 1 && !consent.yes)
}

pub(crate) async fn redrive(
    world: &World,
    output: &mut Output,
    arguments: &SelectedArgs,
    consent: &ConsentArgs,
    options: Options,
) -> anyhow::Result<Answer> {
    let heads = selected(world, arguments).await?;
    let options = Options { dry_run: is_dry(consent, heads.len()), ..options };
    let (letters, queue) = (world.letters(), world.queue());
    let ports = Ports { letters: &letters, queue: &queue, clock: &world.clock };
    let progress = bar(heads.len() as u64, "letters", output.json);
    let keys = stream::iter(heads.iter().map(|head| Ok(head.key.clone()))).take_until(interrupted());
    let (mut would_pass, mut lines) = (0, Vec::new());
    let summary = cli::dead_letters::redrive(&ports, keys, &options, |key, fate| {
        progress.inc(1);
        would_pass += usize::from(matches!(fate, Fate::WouldSend(Verdict::Storable { .. })));
        if lines.len() < LINES_MAX {
            lines.extend(told(fate).map(|told| format!("{}  {told}", harmless(&name(key)))));
        }
    })
    .await;
    progress.finish_and_clear();
    if output.json {
        output.object(&json!({
            "dryRun": options.dry_run, "letters": heads.len(), "sent": summary.sent, "wouldSend": summary.would_send,
            "wouldPass": would_pass, "skipped": summary.skipped, "failed": summary.failed,
            "stopped": summary.stopped.as_ref().map(ToString::to_string),
        }))?;
    } else {
        lines.iter().try_for_each(|line| output.line(line))?;
        output.line(&summarised(&summary, heads.len(), would_pass, options.dry_run))?;
    }
    let is_done = summary.failed == 0 && summary.stopped.is_none() && summary.skipped.is_empty();
    let taken = summary.sent + summary.would_send;
    Ok(if is_done && taken == heads.len() { Answer::Yes } else { Answer::No })
}

/// The most letters of which each is told what became of it.
pub(crate) const LINES_MAX: usize = 20;

/// What to tell of one letter; nothing if all went as it should.
fn told(fate: &Fate) -> Option<String> {
    match fate {
        Fate::Sent { .. } | Fate::WouldSend(Verdict::Storable { .. }) => None,
        Fate::WouldSend(verdict) => Some(said(verdict)),
        Fate::Skipped(skip) => Some(format!("left as it is: {}", why(skip))),
        Fate::Failed(error) => Some(styled(BAD, &error.to_string())),
    }
}

fn why(skip: &Skip) -> String {
    match skip {
        Skip::Missing => "it is not there any more".to_owned(),
        Skip::Closed(state) if State::of_tag(state) == Some(State::Erased) => ERASED.to_owned(),
        Skip::Closed(state) => format!("it is {state}"),
        Skip::UnderWay { since } => format!("it is under way since {since}; --again takes it all the same"),
        Skip::TooOften { redrives } => format!("it was sent round {redrives} times; --redrives-max allows more"),
        Skip::StillDead { reason, detail } => format!("it would come back: {}: {}", reason.tag(), harmless(detail)),
        Skip::Unsendable { bytes } => format!("the queue cannot take its {bytes} bytes"),
        Skip::Damaged(detail) => harmless(detail),
        Skip::Changed => "somebody else has changed it meanwhile".to_owned(),
    }
}

fn summarised(summary: &Summary, letters: usize, would_pass: usize, dry_run: bool) -> String {
    let skipped: usize = summary.skipped.values().sum();
    let mut text = if dry_run {
        let tried = summary.would_send;
        format!("of {}, {tried} would be sent ({would_pass} of them would be stored)", count(letters, "letter"))
    } else {
        format!("of {}, {} were sent", count(letters, "letter"), summary.sent)
    };
    text.push_str(&format!(", {skipped} left as they are, {} failed", summary.failed));
    if let Some(stopped) = &summary.stopped {
        text.push_str(&format!("\n{}", styled(BAD, &stopped.to_string())));
    }
    if dry_run && summary.would_send > 0 {
        text.push_str(&styled(FAINT, "\nnothing was sent; --yes does it"));
    } else if summary.sent > 0 {
        text.push_str(&styled(
            FAINT,
            "\nthey are settled when everything in them has its fate; repeating this does no harm",
        ));
    }
    text
}

pub(crate) async fn discard(
    world: &World,
    output: &mut Output,
    arguments: &SelectedArgs,
    consent: &ConsentArgs,
    note: &str,
) -> anyhow::Result<Answer> {
    let heads = selected(world, arguments).await?;
    if is_dry(consent, heads.len()) {
        let object = json!({"dryRun": true, "letters": heads.len(), "discarded": 0, "failed": 0});
        let text = format!("{} would be discarded; --yes does it", count(heads.len(), "letter"));
        output.either(&object, &text)?;
        return Ok(Answer::Yes);
    }
    let table = world.letters();
    let progress = bar(heads.len() as u64, "letters", output.json);
    let (mut discarded, mut failed) = (0, 0);
    let mut letters = pin!(stream::iter(&heads).take_until(interrupted()));
    while let Some(head) = letters.next().await {
        match cli::dead_letters::discard(&table, &head.key, note).await {
            Ok(()) => discarded += 1,
            // The note is the same for all.
            Err(error @ Error::NoNote { .. }) => return Err(error.into()),
            Err(error) => {
                failed += 1;
                progress.suspend(|| anstream::eprintln!("{error}"));
            }
        }
        progress.inc(1);
        if failed == FAILED_MAX {
            break;
        }
    }
    progress.finish_and_clear();
    let left = heads.len() - discarded - failed;
    let object = json!({"dryRun": false, "letters": heads.len(), "discarded": discarded, "failed": failed});
    let text = format!("{} discarded, {failed} failed, {left} left as they are", count(discarded, "letter"));
    output.either(&object, &text)?;
    Ok(if discarded == heads.len() { Answer::Yes } else { Answer::No })
}
