//! The shell: a request of the HTTP API in, a response out. The only file that knows `lambda_http`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lambda_http::http::{HeaderName, StatusCode};
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use shared::aws::{Patience, sdk_config};
use shared::clock::SystemClock;
use shared::telemetry;

use crate::accept::{Call, Ingest};
use crate::auth::KeyLookup;
use crate::config::Config;
use crate::key_table::KeyTable;
use crate::queue::{EventQueue, SqsQueue};
use crate::response::{Problem, Reply};
use crate::route;
use crate::spill::{SpillStore, SpillTable};

/// How long one call to AWS may take; well within the time for an answer.
const PATIENCE: Patience = Patience { attempt: Duration::from_millis(700), call: Duration::from_millis(1_300) };

/// Runs the function until Lambda ends the environment.
///
/// # Errors
/// The configuration is refused, or the Runtime API cannot be reached.
pub async fn run() -> Result<(), Error> {
    telemetry::init("ingest");
    let config = Config::from_lookup(&shared::config::environment)?;
    let sdk = sdk_config(PATIENCE);
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let lookup = KeyTable::new(dynamodb.clone(), config.events_table_name.clone());
    let spill = SpillTable::new(dynamodb, config.spill_table_name.clone());
    let queue = SqsQueue::new(aws_sdk_sqs::Client::new(&sdk), config.events_queue_url.clone());
    // Opening the connections during initialisation, which has a whole core, spares the first request most of a second.
    let _ = tokio::time::timeout(PATIENCE.call, lookup.find("warm-up")).await;
    let ingest = Ingest::new(config, lookup, queue, spill, Arc::new(SystemClock));
    let cold = AtomicBool::new(true);
    lambda_http::run(service_fn(|request: Request| respond(&ingest, request, cold.swap(false, Ordering::Relaxed))))
        .await
}

/// Answers one request, and accounts for it in one log line.
///
/// # Errors
/// None: every failure is an answer.
pub async fn respond<L: KeyLookup, Q: EventQueue, S: SpillStore>(
    ingest: &Ingest<L, Q, S>,
    request: Request,
    cold_start: bool,
) -> Result<Response<Body>, Error> {
    let started = Instant::now();
    let request_id = request.lambda_context_ref().map(|context| context.request_id.clone()).unwrap_or_default();
    let retry_count = header(&request, "x-retry-count").and_then(|text| text.parse::<u32>().ok());
    let call = call(request);
    let (answer, account) = ingest.answer(&call, &receipt()).await;
    let reply = match &account.receipt_id {
        Some(id) => answer.reply().with_receipt(id),
        None => answer.reply(),
    };
    tracing::info!(
        request_id,
        cold_start,
        method = call.method,
        path = path_to_log(&call.path),
        status = reply.status,
        code = answer.problem().map(Problem::code),
        project = account.project,
        receipt = account.receipt,
        events = account.events,
        refused = account.refused,
        spilled = account.spilled,
        verified = account.verified,
        body_bytes = call.body.len(),
        retry_count,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    if let Some(used) = telemetry::memory_used_pct() {
        telemetry::gauge(telemetry::metric::MEMORY_USED_PCT, used);
    }
    if answer.problem().is_none()
        && let Some(due_at) = telemetry::due_at(&account.receipt)
    {
        telemetry::count_at(telemetry::metric::EVENTS_DUE, due_at, (account.events + account.refused) as u64);
    }
    telemetry::flush();
    response(reply)
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A request, of no framework.
#[must_use]
pub fn call(request: Request) -> Call {
    Call {
        method: request.method().as_str().to_owned(),
        path: request.raw_http_path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorization: header(&request, "authorization"),
        host: header(&request, "host"),
        signature: header(&request, "x-signature"),
        content_type: header(&request, "content-type"),
        content_encoding: header(&request, "content-encoding"),
        body: match request.into_body() {
            Body::Text(text) => text.into_bytes(),
            Body::Binary(bytes) => bytes,
            Body::Empty | _ => Vec::new(),
        },
    }
}

/// A reply as `lambda_http` takes it.
///
/// # Errors
/// None: status and headers are ours.
pub fn response(reply: Reply) -> Result<Response<Body>, Error> {
    let mut builder =
        Response::builder().status(StatusCode::from_u16(reply.status)?).header("content-type", reply.content_type);
    for (name, value) in reply.headers {
        builder = builder.header(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    // What is text goes out as it is, and only an image in base64.
    let body = String::from_utf8(reply.body);
    Ok(builder.body(body.map_or_else(|error| Body::Binary(error.into_bytes()), Body::Text))?)
}

/// A path for the log: as the routes have it, since as it was sent it may carry a write key.
fn path_to_log(path: &str) -> String {
    route::template(path).map_or_else(|| path.chars().take(100).collect(), str::to_owned)
}

/// A new receipt: a UUID of version 7, so that receipts sort by time. Without randomness it panics, which fails the
/// request: two requests with one receipt would be taken for each other.
fn receipt() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}
