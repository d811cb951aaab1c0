//! `holdfast receipt`: what has become of the events of a request.

use anyhow::Context;
use receipts::fates::{Fate, ItemFate, fates, fates_in_any};
use serde_json::json;
use shared::receipt::Receipt;

use crate::Answer;
use crate::args::ReceiptArgs;
use crate::output::Output;
use crate::text::{count, cut, harmless};
use crate::world::World;

/// Tells the fate of each item. The answer is no if any of them has come to none yet, or to one that is not known.
pub(crate) async fn receipt(world: &World, output: &mut Output, arguments: &ReceiptArgs) -> anyhow::Result<Answer> {
    let receipt = Receipt::read(&arguments.id).context("it is what X-Holdfast-Receipt says in the answer")?;
    let (events, letters, now) = (world.events(), world.letters(), world.now());
    let unread = |cause: shared::outcome::Cause| anyhow::anyhow!("the tables could not be read: {}", cause.tag());
    let found = match &arguments.project {
        Some(project) if !receipt.may_be_of(project) => None,
        Some(project) => {
            Some((project.clone(), fates(&events, &letters, project, &receipt, now).await.map_err(unread)?))
        }
        None => {
            let projects = world.projects().await?;
            fates_in_any(&events, &letters, &projects, &receipt, now).await.map_err(unread)?
        }
    };
    let Some((project, items)) = found else {
        output.either(&serde_json::Value::Null, "the receipt is of no such project")?;
        return Ok(Answer::No);
    };
    show(output, &receipt, &project, &items)?;
    let is_settled = |item: &ItemFate| !matches!(item.fate, Fate::Waiting | Fate::Unknown);
    Ok(if items.iter().all(is_settled) { Answer::Yes } else { Answer::No })
}

fn show(output: &mut Output, receipt: &Receipt, project: &str, items: &[ItemFate]) -> anyhow::Result<()> {
    if output.json {
        for ItemFate { index, event, fate } in items {
            let (reason, state) = reason(fate);
            let id = event.as_ref().map(|event| &event.id);
            let subject = event.as_ref().map(|event| &event.subject);
            let fate = fate.tag();
            output.object(
                &json!({"index": index, "id": id, "subject": subject, "fate": fate, "reason": reason, "state": state}),
            )?;
        }
        return Ok(());
    }
    let (receipt, at) = (harmless(&receipt.receipt), receipt.received_at);
    output.line(&format!("{} of project {project}, received {at} as {receipt}", count(items.len(), "item")))?;
    let row = |item: &ItemFate| {
        let event = item.event.as_ref();
        let (kind, id) = event.map_or(("", ""), |event| (event.kind.tag(), event.id.as_str()));
        let fate = match reason(&item.fate) {
            (Some(reason), Some(state)) => format!("{}: {reason}, {state}", item.fate.tag()),
            _ => item.fate.tag().to_owned(),
        };
        vec![item.index.to_string(), fate, kind.to_owned(), cut(&harmless(id), 60)]
    };
    output.table(&["INDEX", "FATE", "KIND", "EVENT ID"], &items.iter().map(row).collect::<Vec<_>>())
}

/// Why an item lies among the dead letters, and what has been done about it.
fn reason(fate: &Fate) -> (Option<&str>, Option<&str>) {
    match fate {
        Fate::DeadLettered { reason, state } => (Some(reason), Some(state)),
        Fate::Stored | Fate::Duplicate | Fate::Erased | Fate::Waiting | Fate::Unknown => (None, None),
    }
}
