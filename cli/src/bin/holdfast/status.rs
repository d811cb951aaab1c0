//! `holdfast status`.

use std::collections::BTreeMap;
use std::time::Duration;

use cli::status::{
    Alarm, Depth, Figure, Letters, Minutes, OLDEST, Seen, Spilled, arrivals, figures, letters, problems, sparkline,
    spilled, wanted,
};
use serde::Serialize;
use shared::clock::Timestamp;

use crate::Answer;
use crate::args::StatusArgs;
use crate::output::Output;
use crate::progress::interrupted;
use crate::text::{BAD, CARE, FAINT, GOOD, STRONG, count, harmless, styled};
use crate::world::World;

/// From one look to the next, unless it is given.
const WATCH: u16 = 30;
const WATCH_LOCAL: u16 = 2;

/// Everything that is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    stack: String,
    time: Timestamp,
    healthy: bool,
    problems: Vec<String>,
    figures: Vec<Figure>,
    /// Whether the figures count everything.
    figures_are_whole: bool,
    queue: Depth,
    /// The age of the queue's oldest message; `None` where nobody measures it.
    oldest_seconds: Option<f64>,
    quarantine: Depth,
    spilled: Spilled,
    dead_letters: Letters,
    /// `None` where there are no alarms.
    alarms: Option<Vec<Alarm>>,
}

pub(crate) async fn status(world: &World, output: &mut Output, arguments: &StatusArgs) -> anyhow::Result<Answer> {
    let Some(seconds) = arguments.watch else {
        let status = look(world, arguments.minutes).await?;
        return show(output, &status);
    };
    let usual = if world.stack.is_local { WATCH_LOCAL } else { WATCH };
    let pause = Duration::from_secs(u64::from(if seconds == 0 { usual } else { seconds }));
    let stop = interrupted();
    tokio::pin!(stop);
    loop {
        let status = tokio::select! {
            status = look(world, arguments.minutes) => status?,
            () = &mut stop => return Ok(Answer::Yes),
        };
        if !output.json {
            output.clear()?;
        }
        let answer = show(output, &status)?;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Ok(answer),
        }
    }
}

async fn look(world: &World, minutes: u16) -> anyhow::Result<Status> {
    let now = world.now();
    let minutes = Minutes::until(now, minutes);
    let stack = &world.stack;
    let ready = match world.http()?.get("/ready").await {
        Ok(answer) => Ok(answer.status),
        Err(error) => Err(error.to_string()),
    };
    let (queue, quarantine) = tokio::try_join!(
        world.clients.queue_attributes(&stack.events_queue_url),
        world.clients.queue_attributes(&stack.quarantine_queue_url)
    )?;
    let spilled = spilled(&world.spill()).await;
    let spilled = spilled.map_err(|cause| anyhow::anyhow!("the spill table could not be read ({})", cause.tag()))?;
    let letters = letters(&world.letters(), world.projects().await?, minutes, now).await?;
    let counted =
        if stack.is_local { of_tables(world, minutes, &letters).await? } else { of_metrics(world, minutes).await? };
    let alarms = if stack.is_local { None } else { Some(world.clients.alarms(&stack.name).await?) };
    let quarantine = Depth::of(&quarantine);
    let seen = Seen {
        ready: &ready,
        quarantine,
        spilled,
        oldest_secs: counted.oldest_secs,
        alarms: alarms.as_deref().unwrap_or_default(),
    };
    let problems = problems(&seen);
    Ok(Status {
        stack: stack.name.clone(),
        time: now,
        healthy: problems.is_empty(),
        problems,
        figures: counted.figures,
        figures_are_whole: counted.is_whole,
        queue: Depth::of(&queue),
        oldest_seconds: counted.oldest_secs,
        quarantine,
        spilled,
        dead_letters: letters,
        alarms,
    })
}

/// Figures, from where there are some.
struct Counted {
    figures: Vec<Figure>,
    is_whole: bool,
    oldest_secs: Option<f64>,
}

async fn of_metrics(world: &World, minutes: Minutes) -> anyhow::Result<Counted> {
    let wanted = wanted(&world.stack);
    let found = world.clients.metrics(&wanted, minutes).await?;
    let names: Vec<&'static str> = wanted.iter().filter_map(cli::status::Wanted::figure).collect();
    let oldest_secs = found.get(OLDEST).and_then(|values| values.values().next_back()).copied();
    Ok(Counted { figures: figures(&names, &found, minutes), is_whole: true, oldest_secs })
}

/// Without metrics, what came when is read from the tables; what has not come to its fate yet is in none of them.
async fn of_tables(world: &World, minutes: Minutes, letters: &Letters) -> anyhow::Result<Counted> {
    let stored = arrivals(&world.events(), minutes).await;
    let (stored, is_whole) =
        stored.map_err(|cause| anyhow::anyhow!("the events table could not be read ({})", cause.tag()))?;
    let mut found: BTreeMap<&'static str, BTreeMap<Timestamp, f64>> = letters.by_minute.clone();
    found.insert("stored", stored);
    let figures = figures(&["stored", "refused", "dead"], &found, minutes);
    Ok(Counted { figures, is_whole: is_whole && letters.is_whole, oldest_secs: None })
}

fn show(output: &mut Output, status: &Status) -> anyhow::Result<Answer> {
    let answer = if status.healthy { Answer::Yes } else { Answer::No };
    if output.json {
        output.object(status)?;
        return Ok(answer);
    }
    let verdict = if status.healthy { styled(GOOD, "healthy") } else { styled(BAD, "not healthy") };
    output.line(&format!(
        "{} is {verdict}  {}",
        styled(STRONG, &status.stack),
        styled(FAINT, &status.time.to_string())
    ))?;
    for problem in &status.problems {
        output.line(&format!("  {}", styled(BAD, &harmless(problem))))?;
    }
    output.line("")?;
    let minutes = status.figures.first().map_or(0, |figure| figure.per_minute.len());
    output.line(&styled(FAINT, &format!("{:<11} {:>8} {:>9}  the last {minutes} minutes", "", "a minute", "sum")))?;
    for figure in &status.figures {
        let (last, sum) = (figure.last(), figure.sum());
        output.line(&format!("{:<11} {last:>8.0} {sum:>9.0}  {}", figure.name, sparkline(&figure.per_minute)))?;
    }
    if !status.figures_are_whole {
        output.line(&styled(FAINT, "there is more in the tables than was looked at: the figures are too small"))?;
    }
    output.line("")?;
    let oldest = status.oldest_seconds.map(|age| format!(", the oldest {age:.0} s old")).unwrap_or_default();
    let depth = |depth: Depth| format!("{} waiting, {} in flight", depth.waiting, depth.in_flight);
    output.line(&format!("queue       {}{oldest}", depth(status.queue)))?;
    output.line(&format!("quarantine  {}", depth(status.quarantine)))?;
    let more = if status.spilled.is_whole { "" } else { " or more" };
    output.line(&format!("spill       {}{more}", count(status.spilled.messages, "message")))?;
    let letters = &status.dead_letters;
    let reasons = letters.by_reason.iter().map(|(reason, count)| format!("{} {count}", harmless(reason)));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let reasons = if reasons.is_empty() { "none".to_owned() } else { styled(CARE, &reasons) };
    let more = if letters.is_whole { "" } else { ", and more" };
    output.line(&format!("dead letters of today and yesterday that wait: {reasons}{more}"))?;
    if let Some(alarms) = &status.alarms {
        let names = alarms.iter().map(|alarm| harmless(&alarm.name)).collect::<Vec<_>>().join(", ");
        output.line(&format!(
            "alarms      {}",
            if names.is_empty() { "none is on".to_owned() } else { styled(BAD, &names) }
        ))?;
    }
    Ok(answer)
}
