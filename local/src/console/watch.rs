//! Looks, once a second, where messages wait: in the queue, in the quarantine and in the spill table. It looks past the
//! faults, so that the picture stays true while something is switched off.

use std::collections::HashMap;
use std::time::Duration;

use consume::dynamo_table::DynamoTable;
use consume::table::{Table, Value};
use shared::spill::{HEAD, attribute};
use tokio::time::timeout;

use super::contents::Look;
use super::picture::{Picture, Places};
use crate::lambda::epoch_millis;
use crate::running::{Running, pause, stopped};
use crate::sqs::{Depth, Window};

const PERIOD: Duration = Duration::from_secs(1);
/// How long the spill table may take to answer a look.
const SPILL_LIMIT: Duration = Duration::from_secs(5);
/// The most pages of the spill table that one look reads, of 100 items each.
const SPILL_PAGES_MAX: usize = 20;

/// Where to look.
pub(super) struct Watched {
    pub(super) window: Window,
    /// The names of the queues.
    pub(super) queue: String,
    pub(super) quarantine: String,
    /// The spill table, past the faults.
    pub(super) spill: DynamoTable,
}

/// Looks until it is stopped.
pub(super) fn start(watched: Watched, picture: Picture) -> Running {
    Running::start(async move |mut stop| {
        while !stopped(&stop) {
            look(&watched, &picture).await;
            pause(&mut stop, PERIOD).await;
        }
    })
}

async fn look(watched: &Watched, picture: &Picture) {
    // Before the queues, since that is the way of a message that the sweep moves.
    let spilled = timeout(SPILL_LIMIT, spilled(&watched.spill)).await.ok().flatten();
    let mut look = picture.state().waiting.look_again();
    if spilled.is_none() {
        look.missed_some();
    }
    let spilled = spilled.unwrap_or_default();
    let mut hidden_until = 0;
    let mut queue = |name: &str, look: &mut Look| {
        let depth = watched.window.look(name, |message| {
            look.found(&message.id, &message.body);
            hidden_until = hidden_until.max(message.visible_at_ms);
        });
        // A server that has stopped holds nothing that could be shown.
        depth.unwrap_or_default()
    };
    let (waiting, quarantine) = (queue(&watched.queue, &mut look), queue(&watched.quarantine, &mut look));
    for (id, body) in &spilled {
        look.found(&format!("spilled:{id}"), body);
    }
    let hidden = |depth: Depth| depth.in_flight + depth.delayed;
    let hidden_until = if hidden(waiting) + hidden(quarantine) == 0 { 0 } else { hidden_until };
    let whole = look.is_whole();
    let mut state = picture.state();
    state.waiting.keep(look);
    let spill = spilled.len() as u64;
    state.looked(epoch_millis(), Places { queue: waiting, quarantine, spill, hidden_until, whole });
}

/// The messages in the spill table, by id; `None` if they could not all be read.
async fn spilled(table: &DynamoTable) -> Option<HashMap<String, String>> {
    let mut parts: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let mut after = None;
    for page in 0.. {
        if page == SPILL_PAGES_MAX {
            return None;
        }
        let page = table.scan(after.as_ref()).await.ok()?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, attributes) in page {
            let body = attributes.get(attribute::BODY).and_then(Value::text).unwrap_or_default();
            parts.entry(key.pk).or_default().push((key.sk, body.to_owned()));
        }
    }
    // Without its head it is not whole yet, and nobody was told that it is durable.
    parts.retain(|_, parts| parts.iter().any(|(number, _)| number == HEAD));
    let joined = |(id, mut parts): (String, Vec<(String, String)>)| {
        parts.sort_unstable_by_key(|(number, _)| number.parse().unwrap_or(u32::MAX));
        (id, parts.into_iter().map(|(_, body)| body).collect())
    };
    Some(parts.into_iter().map(joined).collect())
}
