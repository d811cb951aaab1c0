//! `holdfast people erase` and `holdfast dead erase`.

use anyhow::Context;
use cli::dead_letters::{
    ByText, Days, Doubt, Erasing, Linked, SEARCHED_DAYS, Tables, erase_by_text, erase_linked, name, parse_name,
};
use cli::people::erase::{Erased, Left, Progress, Whom, erase};
use cli::people::homes;
use consume::dynamo_table::DynamoTable;
use consume::table::Key;
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::json;

use crate::Answer;
use crate::args::{ConsentArgs, PeopleCommand, SearchedArgs, UserArgs, WhoseLetters};
use crate::dead_many::{LINES_MAX, is_dry};
use crate::output::Output;
use crate::progress::{bar, is_interrupted, spinner};
use crate::text::{CARE, FAINT, STRONG, count, harmless, styled};
use crate::world::World;

/// What to say of what was stopped.
const STOPPED: &str = "stopped before the end; running it again goes on";

pub(crate) async fn people(world: &World, output: &mut Output, command: PeopleCommand) -> anyhow::Result<Answer> {
    let PeopleCommand::Erase { user, searched, yes, .. } = command;
    erase_user(world, output, &user, &searched, !yes).await
}

async fn erase_user(
    world: &World,
    output: &mut Output,
    user: &UserArgs,
    searched: &SearchedArgs,
    dry_run: bool,
) -> anyhow::Result<Answer> {
    let project = world.project(user.project.as_deref())?;
    let whom = Whom { project, id: user.user.clone(), moment: world.now(), days: Some(days(world, searched)?) };
    let (events, letters) = (world.events(), world.letters());
    let (is_stopped, spinner) = (is_interrupted(), spinner(output.json));
    let progress = |progress: Progress| {
        spinner.set_message(match progress {
            Progress::Erased(tally) => format!(
                "{}, {}, {}",
                count(tally.events, "event"),
                count(tally.devices, "device"),
                count(tally.letters, "letter")
            ),
            Progress::Searched(letters) => format!("looked at {}", count(letters, "letter")),
        });
        spinner.tick();
    };
    let tables = Tables { events: &events, letters: &letters };
    let erased = erase(tables, &whom, dry_run, &is_stopped, &progress).await;
    spinner.finish_and_clear();
    let erased = erased?;
    if output.json {
        output.object(&erased)?;
    } else {
        show(output, &whom, &erased)?;
    }
    let is_done = !erased.paused && (dry_run || erased.letters_left() == 0);
    Ok(if is_done { Answer::Yes } else { Answer::No })
}

/// The days whose letters are looked through by their texts.
fn days(world: &World, searched: &SearchedArgs) -> anyhow::Result<Days> {
    let now = world.now();
    let last: Date = now.day().parse().context("that is no day")?;
    let first = searched.since.map_or_else(|| Ok(last.saturating_sub(SEARCHED_DAYS.days())), |since| since.day(now))?;
    Ok(Days::new(first, last)?)
}

fn show(output: &mut Output, whom: &Whom, erased: &Erased) -> anyhow::Result<()> {
    let title = format!("{} of project {}", styled(STRONG, &harmless(&whom.id)), whom.project);
    output.line(&format!("{title}, up to {}", whom.moment))?;
    let with = |number: usize, more: usize, what: &str| {
        if more == 0 { number.to_string() } else { format!("{number}, {more} {what}") }
    };
    let letters = with(erased.letters, erased.letters_by_text, "more by their texts");
    for (what, text) in [
        ("ids", erased.ids.to_string()),
        ("devices", with(erased.devices, erased.shared_devices, "of them shared")),
        ("events", erased.events.to_string()),
        ("profiles", erased.profiles.to_string()),
        ("letters", letters),
    ] {
        output.line(&format!("{what:<11} {text}"))?;
    }
    let is_letter = |left: &&Left| left.what == "letter";
    for left in erased.left.iter().filter(is_letter).take(LINES_MAX) {
        output.line(&format!("{:<11} {}", "left", letter_left(left.name.as_deref(), &left.why)))?;
    }
    let hidden = erased.left.iter().filter(is_letter).count().saturating_sub(LINES_MAX);
    if hidden > 0 {
        output.line(&format!("{:<11} {} like these", "left", count(hidden, "further letter")))?;
    }
    for left in erased.left.iter().filter(|left| !is_letter(left)) {
        let number = match (left.what, left.count) {
            ("shared_devices", Some(number)) => format!("{}: ", count(number, "shared device")),
            ("later_ids", Some(number)) => format!("{}: ", count(number, "later id")),
            (_, Some(number)) => format!("{number} "),
            (_, None) => String::new(),
        };
        output.line(&format!("{:<11} {number}{}", "left", left.why))?;
    }
    let end = match (erased.paused, erased.dry_run) {
        (true, _) => styled(CARE, STOPPED),
        (false, true) => styled(FAINT, "nothing was erased; --yes does it"),
        (false, false) => styled(FAINT, "erased; repeating this does no harm"),
    };
    output.line(&end)
}

fn letter_left(name: Option<&str>, why: &str) -> String {
    let name = harmless(name.unwrap_or_default());
    format!("{why}: holdfast dead show '{name}'")
}

pub(crate) async fn letters(
    world: &World,
    output: &mut Output,
    whose: &WhoseLetters,
    consent: &ConsentArgs,
) -> anyhow::Result<Answer> {
    match &whose.user {
        Some(user) => letters_of_user(world, output, user, whose, !consent.yes).await,
        None => named_letters(world, output, &whose.names, consent).await,
    }
}

async fn named_letters(
    world: &World,
    output: &mut Output,
    names: &[String],
    consent: &ConsentArgs,
) -> anyhow::Result<Answer> {
    let keys: Vec<Key> = names.iter().map(|name| parse_name(name)).collect::<Result<_, _>>()?;
    if is_dry(consent, keys.len()) {
        let object = json!({"dryRun": true, "letters": keys.len(), "erased": 0});
        output.either(&object, &format!("{} would be erased; --yes does it", count(keys.len(), "letter")))?;
        return Ok(Answer::Yes);
    }
    let table = world.letters();
    let (progress, is_stopped) = (bar(keys.len() as u64, "letters", output.json), is_interrupted());
    let mut erased = 0;
    for key in &keys {
        if is_stopped() {
            break;
        }
        erased += usize::from(cli::dead_letters::erase(&table, key).await?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let object = json!({"dryRun": false, "letters": keys.len(), "erased": erased});
    let mut text = format!("{} erased", count(erased, "letter"));
    if erased < keys.len() {
        text.push_str(&format!(", {} not there, erased before, or left", keys.len() - erased));
    }
    output.either(&object, &text)?;
    Ok(if erased == keys.len() { Answer::Yes } else { Answer::No })
}

async fn letters_of_user(
    world: &World,
    output: &mut Output,
    user: &str,
    whose: &WhoseLetters,
    dry_run: bool,
) -> anyhow::Result<Answer> {
    let project = world.project(whose.project.as_deref())?;
    let (events, letters) = (world.events(), world.letters());
    let homes = homes(&events, &project, user).await?;
    let (naming, span) = (homes.naming(), (days(world, &whose.searched)?, world.now()));
    let (is_stopped, spinner) = (is_interrupted(), spinner(output.json));
    let progress = |letters: usize| {
        spinner.set_message(format!("looked at {}", count(letters, "letter")));
        spinner.tick();
    };
    let how = Erasing { dry_run, is_stopped: &is_stopped, progress: &progress };
    let tables: Tables<'_, DynamoTable> = Tables { events: &events, letters: &letters };
    let linked = erase_linked(tables, &project, &naming, how).await?;
    let by_text = if linked.is_stopped {
        ByText { is_stopped: true, ..ByText::default() }
    } else {
        erase_by_text(tables, &project, &naming, span, how).await?
    };
    spinner.finish_and_clear();
    show_letters(output, &linked, &by_text, homes.is_whole, dry_run)?;
    let is_done = !by_text.is_stopped && (dry_run || by_text.left == 0);
    Ok(if is_done { Answer::Yes } else { Answer::No })
}

fn show_letters(
    output: &mut Output,
    linked: &Linked,
    by_text: &ByText,
    is_whole: bool,
    dry_run: bool,
) -> anyhow::Result<()> {
    if output.json {
        let left = |(key, doubt): &(Key, Doubt)| json!({"what": "letter", "name": name(key), "why": doubt.words()});
        return output.object(&json!({
            "dryRun": dry_run, "letters": linked.erased, "lettersByText": by_text.erased,
            "left": by_text.doubts.iter().map(left).collect::<Vec<_>>(), "lettersLeft": by_text.left,
            "allIds": is_whole, "paused": by_text.is_stopped,
        }));
    }
    let words = if dry_run { "would be erased" } else { "erased" };
    let texts = if by_text.erased == 0 { String::new() } else { format!(", {} more by their texts", by_text.erased) };
    output.line(&format!("{} {words}{texts}", count(linked.erased, "letter")))?;
    for (key, doubt) in by_text.doubts.iter().take(LINES_MAX) {
        output.line(&format!("{:<11} {}", "left", letter_left(Some(&name(key)), doubt.words())))?;
    }
    let hidden = by_text.left.saturating_sub(LINES_MAX);
    if hidden > 0 {
        output.line(&format!("{:<11} {} that name the user", "left", count(hidden, "further letter")))?;
    }
    if !is_whole {
        output.line(&format!("{:<11} letters that only name others of the user's many ids and devices", "left"))?;
    }
    match (by_text.is_stopped, dry_run) {
        (true, _) => output.line(&styled(CARE, STOPPED)),
        (false, true) => output.line(&styled(FAINT, "nothing was erased; --yes does it")),
        (false, false) => Ok(()),
    }
}
