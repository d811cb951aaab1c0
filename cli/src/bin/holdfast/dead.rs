//! `holdfast dead`: letters listed, shown, tested and exported.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use cli::dead_letters::{DeadLetter, Head, Verdict, name, parse_name, read, test};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::Answer;
use crate::args::{DeadCommand, FilterArgs, RulesArgs, SelectedArgs};
use crate::dead_many::{discard, redrive, selected};
use crate::erase;
use crate::output::Output;
use crate::progress::{bar, interrupted};
use crate::text::{BAD, CARE, FAINT, GOOD, STRONG, body, count, cut, harmless, styled};
use crate::world::World;

pub(crate) async fn dead(world: &World, output: &mut Output, command: DeadCommand) -> anyhow::Result<Answer> {
    match command {
        DeadCommand::List { filter, max } => list(world, output, &filter, max.get()).await,
        DeadCommand::Show { name, rules } => show(world, output, &name, &rules).await,
        DeadCommand::Test { selected, rules } => test_all(world, output, &selected, &rules).await,
        DeadCommand::Redrive { selected, rules, consent, rate, again, redrives_max } => {
            let options = cli::dead_letters::Options {
                dry_run: true,
                again,
                redrives_max,
                letters_max: usize::try_from(selected.max)?,
                per_second: rate,
                event_bytes_max: event_bytes_max(world, &rules),
            };
            redrive(world, output, &selected, &consent, options).await
        }
        DeadCommand::Discard { selected, consent, note } => discard(world, output, &selected, &consent, &note).await,
        DeadCommand::Erase { whose, consent } => erase::letters(world, output, &whose, &consent).await,
        DeadCommand::Export { selected, output: file } => export(world, output, &selected, file).await,
    }
}

/// By which rule letters are judged.
fn event_bytes_max(world: &World, rules: &RulesArgs) -> usize {
    rules.event_bytes_max.unwrap_or(world.stack.event_bytes_max)
}

/// A letter's head for a script.
pub(crate) fn object(head: &Head) -> Value {
    json!({
        "name": name(&head.key),
        "reason": head.reason,
        "stage": head.stage,
        "detail": head.detail,
        "source": head.source,
        "call": head.call,
        "state": head.state,
        "firstSeen": head.first_seen,
        "lastSeen": head.last_seen,
        "attempts": head.attempts,
        "receiveCount": head.receive_count,
        "redrives": head.redrives,
        "redrivenAt": head.redriven_at,
        "bytes": head.bytes,
        "codeVersion": head.code_version,
        "enqueuedBy": head.enqueued_by,
        "note": head.note,
    })
}

async fn list(world: &World, output: &mut Output, filter: &FilterArgs, max: u32) -> anyhow::Result<Answer> {
    let arguments = SelectedArgs { names: vec![], filter: filter.clone(), max };
    let letters = selected(world, &arguments).await?;
    let is_full = letters.len() == usize::try_from(max)?;
    if output.json {
        letters.iter().try_for_each(|head| output.object(&object(head)))?;
        return Ok(Answer::Yes);
    }
    if letters.is_empty() {
        output.line("no letters")?;
        return Ok(Answer::Yes);
    }
    let row = |head: &Head| {
        let source = if head.source.is_empty() { "-" } else { &head.source };
        vec![
            harmless(&name(&head.key)),
            harmless(&head.reason),
            harmless(source),
            head.state.clone(),
            cut(&harmless(&head.detail), 60),
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    output.table(&["NAME", "REASON", "SOURCE", "STATE", "DETAIL"], &rows)?;
    if is_full {
        output.line(&styled(FAINT, &format!("there may be more than these {max}; --max takes more")))?;
    }
    Ok(Answer::Yes)
}

async fn show(world: &World, output: &mut Output, text: &str, rules: &RulesArgs) -> anyhow::Result<Answer> {
    let key = parse_name(text)?;
    let Some(letter) = read(&world.letters(), &key).await? else {
        output.either(&Value::Null, &format!("there is no letter {}; it may have expired", harmless(text)))?;
        return Ok(Answer::No);
    };
    let verdict = test(&letter, event_bytes_max(world, rules));
    if output.json {
        let mut shown = object(&letter.head);
        shown["body"] = Value::String(letter.body);
        shown["verdict"] = verdict_object(&verdict);
        output.object(&shown)?;
        return Ok(Answer::Yes);
    }
    let head = &letter.head;
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { harmless(text) };
    let times = |number: i64| count(usize::try_from(number).unwrap_or(0), "time");
    for (what, text) in [
        ("letter", harmless(&name(&head.key))),
        ("reason", format!("{} (found by {})", styled(STRONG, &harmless(&head.reason)), harmless(&head.stage))),
        ("detail", or_none(&head.detail)),
        ("source", or_none(&head.source)),
        ("call", or_none(&head.call)),
        ("came", or_none(&head.first_seen)),
        ("last found", format!("{}, by version {}", or_none(&head.last_seen), or_none(&head.code_version))),
        ("found", format!("{}, received {}", times(head.attempts), times(head.receive_count))),
        ("state", head.state.clone()),
        ("redriven", format!("{} {}", times(head.redrives), harmless(&head.redriven_at))),
        ("note", or_none(&head.note)),
        ("now", said(&verdict)),
        ("body", format!("{} bytes{}", head.bytes, if verdict == Verdict::Erased { ", erased" } else { "" })),
    ] {
        output.line(&format!("{what:<11} {}", text.trim_end()))?;
    }
    if verdict != Verdict::Erased {
        output.line(&body(&letter.body))?;
    }
    Ok(Answer::Yes)
}

fn verdict_object(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Storable { events, refused } => json!({"verdict": "storable", "events": events, "refused": refused}),
        Verdict::StillDead { reason, detail } => {
            json!({"verdict": "still_dead", "reason": reason.tag(), "detail": detail})
        }
        Verdict::Unknowable { why } => json!({"verdict": "unknowable", "why": why}),
        Verdict::Erased => json!({"verdict": "erased"}),
    }
}

/// What to say of a letter that was erased.
pub(crate) const ERASED: &str = "its body was erased, and there is nothing left to send";

/// What would become of a letter, for a person.
pub(crate) fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Storable { events, refused: 0 } => {
            styled(GOOD, &format!("would be stored ({})", count(*events, "event")))
        }
        Verdict::Storable { events, refused } => {
            let text = format!("{} would be stored, {} refused", count(*events, "event"), count(*refused, "item"));
            styled(CARE, &text)
        }
        Verdict::StillDead { reason, detail } => {
            styled(BAD, &format!("would come back: {}: {}", reason.tag(), harmless(detail)))
        }
        Verdict::Unknowable { why } => styled(CARE, &format!("only trying would tell: {why}")),
        Verdict::Erased => styled(CARE, ERASED),
    }
}

/// How many letters of a reason would come to what.
#[derive(Default)]
struct Tested {
    storable: usize,
    still_dead: usize,
    unknowable: usize,
    damaged: usize,
    erased: usize,
}

async fn test_all(
    world: &World,
    output: &mut Output,
    arguments: &SelectedArgs,
    rules: &RulesArgs,
) -> anyhow::Result<Answer> {
    let heads = selected(world, arguments).await?;
    let (table, bytes_max) = (world.letters(), event_bytes_max(world, rules));
    let progress = bar(heads.len() as u64, "letters", output.json);
    let mut tested: BTreeMap<String, Tested> = BTreeMap::new();
    for head in &heads {
        let of_reason = tested.entry(head.reason.clone()).or_default();
        match read(&table, &head.key).await {
            Ok(Some(letter)) => match test(&letter, bytes_max) {
                Verdict::Storable { .. } => of_reason.storable += 1,
                Verdict::StillDead { .. } => of_reason.still_dead += 1,
                Verdict::Unknowable { .. } => of_reason.unknowable += 1,
                Verdict::Erased => of_reason.erased += 1,
            },
            // It has expired in the meantime.
            Ok(None) => {}
            Err(error @ cli::dead_letters::Error::Unread { .. }) => return Err(error.into()),
            Err(_) => of_reason.damaged += 1,
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    if output.json {
        for (reason, tested) in &tested {
            output.object(&json!({
                "reason": reason, "storable": tested.storable, "stillDead": tested.still_dead,
                "unknowable": tested.unknowable, "damaged": tested.damaged, "erased": tested.erased,
            }))?;
        }
    } else if tested.is_empty() {
        output.line("no letters")?;
    } else {
        let number = |number: usize| number.to_string();
        let row = |(reason, tested): (&String, &Tested)| {
            let counts = [tested.storable, tested.still_dead, tested.unknowable, tested.damaged];
            std::iter::once(harmless(reason)).chain(counts.map(number)).collect()
        };
        let rows: Vec<Vec<String>> = tested.iter().map(row).collect();
        output.table(&["REASON", "WOULD PASS", "WOULD COME BACK", "UNKNOWN", "DAMAGED"], &rows)?;
        let erased: usize = tested.values().map(|tested| tested.erased).sum();
        if erased > 0 {
            output.line(&styled(FAINT, &format!("{} passed over: {ERASED}", count(erased, "letter"))))?;
        }
    }
    let is_passing = |one: &Tested| one.still_dead + one.unknowable + one.damaged + one.erased == 0;
    let all_pass = tested.values().all(is_passing);
    Ok(if all_pass { Answer::Yes } else { Answer::No })
}

async fn export(
    world: &World,
    output: &mut Output,
    arguments: &SelectedArgs,
    path: Option<PathBuf>,
) -> anyhow::Result<Answer> {
    let heads = selected(world, arguments).await?;
    let table = world.letters();
    let mut file = match &path {
        Some(path) => {
            let file = File::create_new(path).with_context(|| format!("making the file {}", path.display()))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let progress = bar(heads.len() as u64, "letters", output.json || path.is_none());
    let (mut written, mut damaged) = (0, 0);
    let letters = futures_util::stream::iter(heads.iter().map(Ok::<_, anyhow::Error>));
    let mut letters = std::pin::pin!(futures_util::StreamExt::take_until(letters, interrupted()));
    while let Some(head) = letters.try_next().await? {
        progress.inc(1);
        let letter = match read(&table, &head.key).await {
            Ok(Some(letter)) => letter,
            Ok(None) => continue,
            Err(error @ cli::dead_letters::Error::Unread { .. }) => return Err(error.into()),
            Err(_) => {
                damaged += 1;
                continue;
            }
        };
        written += 1;
        let exported = exported(letter);
        match &mut file {
            Some(file) => writeln!(file, "{exported}")?,
            None => output.object(&exported)?,
        }
    }
    progress.finish_and_clear();
    if let Some(mut file) = file {
        file.flush()?;
        let summary = json!({"written": written, "damaged": damaged});
        output.either(&summary, &format!("{} written, {damaged} damaged and left out", count(written, "letter")))?;
    }
    Ok(if damaged == 0 { Answer::Yes } else { Answer::No })
}

fn exported(letter: DeadLetter) -> Value {
    let mut exported = object(&letter.head);
    exported["body"] = Value::String(letter.body);
    exported
}
