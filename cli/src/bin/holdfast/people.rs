//! `holdfast profile` and `holdfast events`.

use std::collections::BTreeSet;

use cli::people::{Cursor, Homes, Known, Order, Query, StoredEvent, homes, known, page};
use serde_json::json;

use crate::Answer;
use crate::args::{EventsCommand, PageArgs, ProfileCommand, UserArgs};
use crate::output::Output;
use crate::tail::tail;
use crate::text::{FAINT, STRONG, cut, harmless, styled};
use crate::world::World;

pub(crate) async fn profile(world: &World, output: &mut Output, command: ProfileCommand) -> anyhow::Result<Answer> {
    let ProfileCommand::Show(arguments) = command;
    let project = world.project(arguments.project.as_deref())?;
    let homes = homes(&world.events(), &project, &arguments.user).await?;
    let Some(found) = known(&world.events(), &project, &arguments.user, &homes).await? else {
        let text = format!(
            "nothing is known of {} in project {project}; it may have events all the same",
            harmless(&arguments.user)
        );
        output.either(&serde_json::Value::Null, &text)?;
        return Ok(Answer::No);
    };
    if output.json {
        output.object(&found)?;
    } else {
        show(output, &found)?;
    }
    Ok(Answer::Yes)
}

fn show(output: &mut Output, found: &Known) -> anyhow::Result<()> {
    let joined = |texts: &BTreeSet<String>| texts.iter().map(|text| harmless(text)).collect::<Vec<_>>().join(", ");
    output.line(&format!("{} of project {}", styled(STRONG, &harmless(&found.id)), found.project))?;
    let others: BTreeSet<String> = found.ids.iter().filter(|id| **id != found.id).cloned().collect();
    let subscribed = found.subscribed.map(|subscribed| if subscribed { "yes" } else { "no" });
    for (what, text) in [
        ("was", joined(&others)),
        ("became", joined(&found.later_ids)),
        ("devices", joined(&found.devices)),
        ("not all", if found.is_whole { String::new() } else { MORE.to_owned() }),
        ("tags", joined(&found.tags)),
        ("subscribed", subscribed.unwrap_or_default().to_owned()),
        ("forgotten", found.deleted.map(|moment| format!("everything up to {moment}")).unwrap_or_default()),
    ] {
        if !text.is_empty() {
            output.line(&format!("{what:<11} {text}"))?;
        }
    }
    for (what, values) in [("traits", &found.traits), ("groups", &found.groups)] {
        for (name, value) in values {
            output.line(&format!("{what:<11} {} = {}", harmless(name), cut(&harmless(value.get()), 100)))?;
        }
    }
    Ok(())
}

pub(crate) async fn events(world: &World, output: &mut Output, command: EventsCommand) -> anyhow::Result<Answer> {
    match command {
        EventsCommand::List { user, page } => list(world, output, &user, &page).await,
        EventsCommand::Tail { user, seconds } => tail(world, output, &user, seconds).await,
    }
}

/// What to say of a user with more ids and devices than are read as one.
const MORE: &str = "there are more ids or devices, which are not shown here; an erasure reaches them all";

async fn list(world: &World, output: &mut Output, user: &UserArgs, arguments: &PageArgs) -> anyhow::Result<Answer> {
    let project = world.project(user.project.as_deref())?;
    let homes = if arguments.this_id_only {
        Homes::only(&user.user)
    } else {
        homes(&world.events(), &project, &user.user).await?
    };
    if !homes.is_whole && !output.json {
        output.line(&styled(FAINT, MORE))?;
    }
    let (now, wanted) = (world.now(), usize::from(arguments.count));
    let order = if arguments.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
    let (since, until) = (arguments.since.map(|since| since.begins(now)), arguments.until.map(|until| until.ends(now)));
    let mut query = Query { project, homes, order, since, until, count: wanted };
    let mut after: Option<Cursor> = arguments.after.as_deref().map(str::parse).transpose()?;
    let (table, mut shown) = (world.timelines(), 0);
    // A page may be short although the timeline goes on.
    loop {
        query.count = wanted - shown;
        let found = page(&table, &query, after.as_ref()).await?;
        shown += found.events.len();
        found.events.iter().try_for_each(|event| show_event(output, event))?;
        after = found.next;
        if after.is_none() || shown == wanted {
            break;
        }
    }
    if let Some(next) = &after {
        let text = styled(FAINT, &format!("there are more: --after {next}"));
        output.either(&json!({"next": next.to_string()}), &text)?;
    } else if shown == 0 && !output.json {
        output.line("no events")?;
    }
    Ok(if shown == 0 { Answer::No } else { Answer::Yes })
}

/// Prints one event in a line.
pub(crate) fn show_event(output: &mut Output, event: &StoredEvent) -> anyhow::Result<()> {
    if output.json {
        return output.object(event);
    }
    let named = event.name.as_deref().or(event.target.as_deref()).map(harmless).unwrap_or_default();
    let data = event.data.as_ref().map(|data| cut(&harmless(data.get()), 80)).unwrap_or_default();
    let line = format!(
        "{}  {:<11} {}  {}  {}",
        event.said_time,
        harmless(&event.kind),
        styled(STRONG, &named),
        data,
        styled(FAINT, &format!("{} by {}", harmless(&event.id), harmless(&event.source)))
    );
    output.line(line.trim_end())
}
