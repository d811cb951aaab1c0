//! The shell: a request of the HTTP API in, a response out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use consume::dynamo_table::DynamoTable;
use consume::table::Table;
use ingest::auth::KeyLookup;
use ingest::handler::{call, response};
use ingest::key_table::KeyTable;
use ingest::response::Problem;
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use shared::aws::{Patience, sdk_config};
use shared::clock::SystemClock;
use shared::telemetry;

use crate::answer::Receipts;
use crate::config::Config;
use crate::route::template;

/// How long one call to AWS may take; well within the time for an answer.
const PATIENCE: Patience = Patience { attempt: Duration::from_millis(1_000), call: Duration::from_millis(2_500) };

/// Runs the function until Lambda ends the environment.
///
/// # Errors
/// The configuration is refused, or the Runtime API cannot be reached.
pub async fn run() -> Result<(), Error> {
    telemetry::init("receipts");
    let config = Config::from_lookup(&shared::config::environment)?;
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config(PATIENCE));
    let lookup = KeyTable::new(dynamodb.clone(), config.events_table_name.clone());
    let table = |name: &String| DynamoTable::new(dynamodb.clone(), name.clone());
    let (events, dead_letters) = (table(&config.events_table_name), table(&config.dead_letters_table_name));
    // Opening the connection during initialisation, which has a whole core, spares the first request most of a second.
    let _ = tokio::time::timeout(PATIENCE.call, lookup.find("warm-up")).await;
    let receipts = Receipts::new(config, lookup, events, dead_letters, Arc::new(SystemClock));
    let cold = AtomicBool::new(true);
    lambda_http::run(service_fn(|request: Request| respond(&receipts, request, cold.swap(false, Ordering::Relaxed))))
        .await
}

/// Answers one request, and accounts for it in one log line.
///
/// # Errors
/// None: every failure is an answer.
pub async fn respond<L: KeyLookup, T: Table + Sync>(
    receipts: &Receipts<L, T>,
    request: Request,
    cold_start: bool,
) -> Result<Response<Body>, Error> {
    let started = Instant::now();
    let request_id = request.lambda_context_ref().map(|context| context.request_id.clone()).unwrap_or_default();
    let call = call(request);
    let (answer, account) = receipts.answer(&call).await;
    let reply = answer.reply();
    tracing::info!(
        request_id,
        cold_start,
        method = call.method,
        path = template(&call.path),
        status = reply.status,
        code = answer.problem().map(Problem::code),
        project = account.project,
        receipt = account.receipt,
        items = account.items,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    if let Some(used) = telemetry::memory_used_pct() {
        telemetry::gauge(telemetry::metric::MEMORY_USED_PCT, used);
    }
    telemetry::flush();
    response(reply)
}
