//! The console: a page that shows the pipeline at work, and lets a person look into it, break it and mend it.
//!
//! Its figures come from two sides that know nothing of each other. What the functions write tells what was acknowledged
//! and what became of it ([`account`], [`feed`]); a look into the queues and the spill table, once a second, finds what
//! waits ([`watch`], [`contents`]). That the two agree is the proof that nothing is lost ([`picture`]).
//!
//! It serves this machine's own page only ([`guard`]). Everything that came with an event leaves as JSON, and the page
//! ([`assets`]) shows it as text.

mod account;
mod assets;
mod contents;
mod error;
mod feed;
mod guard;
mod history;
mod letters;
mod person;
mod picture;
mod switches;
mod watch;

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use cli::aws::EventTable;
use consume::dynamo_table::DynamoTable;
use consume::sqs_queue::SqsQueue;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::limits::EVENT_BYTES_DEFAULT;

use crate::lambda::{Lambda, Sink, epoch_millis};
use crate::running::Running;
use crate::template::Template;
use crate::{clients, dynamodb, sqs};
use error::Refused;
use picture::Picture;
use switches::{Part, Switches};

/// The most bytes of a call to the console.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the console hears of the functions, before there is anything else of it.
#[derive(Clone, Default)]
pub(crate) struct Ear {
    picture: Picture,
}

impl Ear {
    /// Hears every line that a function writes, and passes it on.
    pub(crate) fn tap(&self, sink: Sink) -> Sink {
        self.picture.tap(sink)
    }
}

/// What the console shows and changes.
pub(crate) struct Parts<'a> {
    pub(crate) ear: Ear,
    pub(crate) template: &'a Template,
    pub(crate) sqs: &'a sqs::Server,
    pub(crate) dynamodb: &'a dynamodb::Server,
    pub(crate) lambda: Lambda,
}

/// What a call needs.
struct Console {
    picture: Picture,
    switches: Switches,
    letters: DynamoTable,
    events: DynamoTable,
    timelines: EventTable,
    queue: SqsQueue,
    event_bytes_max: usize,
    /// When this pipeline was started, in Unix milliseconds: another one counts anew.
    started: i64,
}

/// Starts to watch the pipeline. Returns the routes of the page and of what it calls, and the watch.
///
/// # Errors
/// The template lacks a table or a queue.
pub(crate) fn start(parts: Parts<'_>) -> anyhow::Result<(Router, Running)> {
    let Parts { ear: Ear { picture }, template, sqs, dynamodb, lambda } = parts;
    let table = |id: &str| {
        template.table(id).map(|table| table.name.clone()).with_context(|| format!("the template has no {id}"))
    };
    let queue = |has_redrive: bool| template.queues.iter().find(|queue| queue.redrive.is_some() == has_redrive);
    let (events_queue, quarantine) = queue(true).zip(queue(false)).context("the template lacks a queue")?;
    let function = template.functions.iter().find(|function| !function.queue_mappings.is_empty());
    let function = function.context("no function of the template reads a queue")?.binary.clone();
    let setting = |name: &str| template.functions.iter().find_map(|function| function.environment.get(name));
    let client = clients::dynamodb(&dynamodb.endpoint());
    let past_faults = clients::dynamodb(&dynamodb.endpoint_past_faults());

    let watched = watch::Watched {
        window: sqs.window(),
        queue: events_queue.name.clone(),
        quarantine: quarantine.name.clone(),
        spill: DynamoTable::new(past_faults, table("SpillTable")?),
    };
    let switches = Switches {
        sqs: sqs.faults(),
        dynamodb: dynamodb.faults(),
        lambda,
        function,
        window: sqs.window(),
        queues: [events_queue.name.clone(), quarantine.name.clone()],
        picture: picture.clone(),
        broken: Default::default(),
    };
    let console = Console {
        picture: picture.clone(),
        switches,
        letters: DynamoTable::new(client.clone(), table("DeadLettersTable")?),
        events: DynamoTable::new(client.clone(), table("EventsTable")?),
        timelines: EventTable::new(client, table("EventsTable")?),
        queue: SqsQueue::new(clients::sqs(&sqs.endpoint()), events_queue.url.clone()),
        event_bytes_max: setting("EVENT_BYTES_MAX").and_then(|text| text.parse().ok()).unwrap_or(EVENT_BYTES_DEFAULT),
        started: epoch_millis(),
    };
    Ok((routes(console), watch::start(watched, picture)))
}

fn routes(console: Console) -> Router {
    Router::new()
        .route("/console", get(async || assets::file("")))
        .route("/console/", get(async || assets::file("")))
        .route("/console/{file}", get(async |Path(file): Path<String>| assets::file(&file)))
        .route("/console/api/state", get(state))
        .route("/console/api/switches/{part}", post(turn))
        .route("/console/api/reveal", post(reveal))
        .route("/console/api/letters", get(letters::list))
        .route("/console/api/letter", get(letters::one))
        .route("/console/api/letter/test", get(letters::test))
        .route("/console/api/letter/redrive", post(letters::redrive))
        .route("/console/api/letter/discard", post(letters::discard))
        .route("/console/api/person", get(person::look_up))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(async |response: Response| assets::secured(response)))
        .layer(middleware::from_fn(guard::guard))
        .with_state(Arc::new(console))
}

/// What the page has seen already.
#[derive(Deserialize)]
struct Seen {
    /// Of which pipeline; without it, what follows is not looked at.
    started: Option<i64>,
    #[serde(default)]
    history: u64,
    #[serde(default)]
    feed: u64,
}

/// The picture, from where the page has left off.
async fn state(State(console): State<Arc<Console>>, Query(seen): Query<Seen>) -> Json<Value> {
    let (history, feed) =
        if seen.started == Some(console.started) { (seen.history, seen.feed) } else { Default::default() };
    let mut state = console.picture.state().json(history, feed);
    state["started"] = json!(console.started);
    state["switches"] = console.switches.json();
    state["code_version"] = json!(shared::CODE_VERSION);
    Json(state)
}

/// Whether a part is to be broken.
#[derive(Deserialize)]
struct Turn {
    broken: bool,
}

/// Breaks a part, or mends it.
async fn turn(
    State(console): State<Arc<Console>>,
    Path(part): Path<String>,
    Json(turn): Json<Turn>,
) -> Result<Json<Value>, Refused> {
    let part = Part::of_name(&part).ok_or_else(|| Refused::bad("the switches are sqs, dynamodb and consume"))?;
    console.switches.turn(part, turn.broken);
    Ok(Json(console.switches.json()))
}

/// Nothing.
#[derive(Deserialize)]
struct Nothing {}

/// Lets hidden messages be received again.
///
/// # Errors
/// The queues have stopped.
async fn reveal(State(console): State<Arc<Console>>, Json(Nothing {}): Json<Nothing>) -> Result<Json<Value>, Refused> {
    let revealed = console.switches.reveal().map_err(|refusal| Refused::away(refusal.to_string()))?;
    Ok(Json(json!({"revealed": revealed})))
}
