//! The pipeline, put together as the template describes it.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::gateway::{DEFAULT_ROUTE, Gateway, GatewaySpec};
use crate::lambda::{FunctionSpec, Lambda, Sink};
use crate::running::Running;
use crate::template::{Function, QueueMapping, Settings, StreamMapping, Template};
use crate::{TEMPLATE, clients, console, dynamodb, mapping, private, provision, schedule, sqs, stream};

/// How the pipeline is to run.
#[derive(Clone)]
pub struct Options {
    /// The port of the HTTP API; 0 for any that is free.
    pub port: u16,
    /// The port of SQS; 0 for any that is free.
    pub sqs_port: u16,
    /// The port of DynamoDB; 0 for any that is free.
    pub dynamodb_port: u16,
    /// The folder that keeps what was acknowledged; `None` for memory only.
    pub data: Option<PathBuf>,
    /// The executable that runs a function when it is called with `function NAME`.
    pub command: PathBuf,
    /// The clock of the queues, so that a test need not wait for a visibility time-out. The functions go by the
    /// machine's.
    pub clock: Arc<dyn Clock>,
    /// Values of the template's parameters, in place of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// What stands between the pipeline's parts and the stand-ins.
    pub detours: Detours,
}

/// Endpoints that calls go to instead of the stand-ins themselves: proxies, which pass them on or have them go wrong.
/// Whoever starts the pipeline is not kept from calling the stand-ins directly, and its own set-up does so too.
#[derive(Clone, Debug, Default)]
pub struct Detours {
    /// Where the functions call SQS.
    pub functions_sqs: Option<String>,
    /// Where the functions call DynamoDB.
    pub functions_dynamodb: Option<String>,
    /// Where the queues' mappings poll.
    pub mappings_sqs: Option<String>,
}

/// A pipeline that runs.
pub struct Pipeline {
    gateway: Gateway,
    /// Whatever invokes the functions besides the gateway, queues, streams and schedules; and what watches them.
    sources: Vec<Running>,
    lambda: Lambda,
    stand_ins: StandIns,
}

/// SQS and DynamoDB that run, with the template's queues and tables and nothing that reads them: for functions that run
/// elsewhere, as under `sam local`.
pub struct StandIns {
    sqs: sqs::Server,
    dynamodb: dynamodb::Server,
    template: Template,
    /// Held as long as the folder is used.
    _lock: Option<File>,
}

/// Invocations of one function by the gateway, or by one queue, at one time. A laptop has no more cores to give them.
const CONCURRENCY_MAX: usize = 4;

impl Pipeline {
    /// Starts everything, and makes queues, tables and the project `dev` with the write key `dev`.
    ///
    /// # Errors
    /// A port is taken, another pipeline uses the folder, the data cannot be read or written, or the template is not
    /// understood.
    pub async fn start(options: Options, sink: Sink) -> anyhow::Result<Self> {
        let gateway_listener = listen(options.port, "--port").await?;
        let command = options.command.clone();
        let Detours { functions_sqs, functions_dynamodb, mappings_sqs } = options.detours.clone();
        let stand_ins = StandIns::start(options).await?;
        let StandIns { sqs, dynamodb, template, .. } = &stand_ins;

        let endpoints = [
            ("AWS_ENDPOINT_URL_SQS".to_owned(), functions_sqs.unwrap_or_else(|| sqs.endpoint())),
            ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), functions_dynamodb.unwrap_or_else(|| dynamodb.endpoint())),
            // Fates of single events are told at this level.
            ("AWS_LAMBDA_LOG_LEVEL".to_owned(), "DEBUG".to_owned()),
        ];
        let specs = template.functions.iter().map(|function| spec(function, &command, &endpoints));
        let ear = console::Ear::default();
        let lambda = Lambda::start(specs, ear.tap(sink));
        let polled = clients::sqs(&mappings_sqs.unwrap_or_else(|| sqs.endpoint()));
        let mut sources = start_sources(template, &polled, &dynamodb.streams(), &lambda).await?;
        let parts = console::Parts { ear, template, sqs, dynamodb, lambda: lambda.clone() };
        let (routes, watch) = console::start(parts)?;
        sources.push(watch);
        let spec = GatewaySpec { routes, ..gateway_spec(template)? };
        let gateway = crate::gateway::serve(gateway_listener, lambda.clone(), spec)?;
        Ok(Self { gateway, sources, lambda, stand_ins })
    }

    /// Where the HTTP API is.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// Where the console is.
    #[must_use]
    pub fn console(&self) -> String {
        format!("{}/console", self.api())
    }

    /// Where SQS is.
    #[must_use]
    pub fn sqs(&self) -> &sqs::Server {
        &self.stand_ins.sqs
    }

    /// Where DynamoDB is.
    #[must_use]
    pub fn dynamodb(&self) -> &dynamodb::Server {
        &self.stand_ins.dynamodb
    }

    /// The functions, by the names `ingest`, `consume` and `receipts`.
    #[must_use]
    pub fn lambda(&self) -> &Lambda {
        &self.lambda
    }

    /// The template that the pipeline was built from.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.stand_ins.template
    }

    /// Stops everything in the order in which events flow, so that what is under way can end. Bounded by the bounds of
    /// its parts.
    pub async fn stop(self) {
        self.gateway.stop().await;
        // All at once, so that together they take no longer than the slowest. What one of them has still put into a queue
        // or a table stays there.
        let mut stops: JoinSet<()> = self.sources.into_iter().map(Running::stop).collect();
        while stops.join_next().await.is_some() {}
        self.lambda.stop().await;
        self.stand_ins.stop().await;
    }
}

impl StandIns {
    /// Starts them, and makes queues, tables and the project `dev` with the write key `dev`. Of the options, the port of
    /// the HTTP API and the command are not used.
    ///
    /// # Errors
    /// As [`Pipeline::start`].
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let sqs_listener = listen(options.sqs_port, "--sqs-port").await?;
        let dynamodb_listener = listen(options.dynamodb_port, "--dynamodb-port").await?;
        let lock = options.data.as_deref().map(claim).transpose()?;
        let folder = |name: &str| options.data.as_ref().map(|data| data.join(name));
        let clock = Arc::clone(&options.clock);
        let clock = Arc::new(move || clock.now().as_millis());
        let sqs = sqs::Server::start(sqs_listener, sqs::Options { clock, data: folder("sqs") }).await?;
        let dynamodb =
            dynamodb::Server::start(dynamodb_listener, dynamodb::Options { data: folder("dynamodb") }).await?;
        let settings = Settings { parameters: options.parameters, sqs_endpoint: sqs.endpoint() };
        let template = Template::parse_with(TEMPLATE, &settings)?;
        let (sqs_client, dynamodb_client) = (clients::sqs(&sqs.endpoint()), clients::dynamodb(&dynamodb.endpoint()));
        provision::provision(&template, &sqs_client, &dynamodb_client).await?;
        let events = template.table("EventsTable").context("the template has no EventsTable")?;
        provision::create_write_key(&dynamodb_client, &events.name, provision::DEV, "default", provision::DEV).await?;
        Ok(Self { sqs, dynamodb, template, _lock: lock })
    }

    /// Where SQS is.
    #[must_use]
    pub fn sqs(&self) -> &sqs::Server {
        &self.sqs
    }

    /// Where DynamoDB is.
    #[must_use]
    pub fn dynamodb(&self) -> &dynamodb::Server {
        &self.dynamodb
    }

    /// Stops them. Bounded by the bounds of both.
    pub async fn stop(self) {
        self.sqs.stop().await;
        self.dynamodb.stop().await;
    }
}

async fn listen(port: u16, option: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}; {option} takes another port"))
}

/// Makes the folder, and keeps other pipelines out of it as long as the file is open: what two of them acknowledged into
/// the same folder would be lost.
fn claim(data: &Path) -> anyhow::Result<File> {
    private::make_folder(data).with_context(|| format!("making the folder {}", data.display()))?;
    let path = data.join("lock");
    let file = private::own_file(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another pipeline uses {}; --data takes another folder", data.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The gateway with the template's routes.
fn gateway_spec(template: &Template) -> anyhow::Result<GatewaySpec> {
    let routes = template
        .functions
        .iter()
        .flat_map(|function| function.http_routes.iter().map(|route| (route.clone(), function.binary.clone())));
    let (default, others): (Vec<_>, Vec<_>) = routes.partition(|(route, _)| route == DEFAULT_ROUTE);
    let (_, front) = default.into_iter().next().context("no function of the template has the API's $default route")?;
    Ok(GatewaySpec { functions: others, ..GatewaySpec::new(front) })
}

fn spec(function: &Function, command: &Path, endpoints: &[(String, String)]) -> FunctionSpec {
    let mut environment = function.environment.clone();
    environment.extend(endpoints.iter().cloned());
    FunctionSpec {
        name: function.binary.clone(),
        command: command.to_owned(),
        args: vec!["function".to_owned(), function.binary.clone()],
        memory_mb: function.memory_mb,
        timeout: function.timeout,
        environment,
        environments_max: environments_max(function),
    }
}

/// How many invocations of its function a queue's mapping runs at one time.
fn concurrency(mapping: &QueueMapping) -> usize {
    mapping.maximum_concurrency.map_or(CONCURRENCY_MAX, |most| most as usize).min(CONCURRENCY_MAX)
}

/// How many invocations of its function a stream's mapping runs at one time: the stand-in's stream is one shard.
fn lanes(mapping: &StreamMapping) -> usize {
    (mapping.parallelization_factor as usize).min(CONCURRENCY_MAX)
}

/// Environments of a function at one time: enough for all its sources together, so that none has to wait for another. A
/// message that finds no environment would lose a receive, and on AWS there are far more of them.
fn environments_max(function: &Function) -> usize {
    let gateway = if function.http_routes.is_empty() { 0 } else { CONCURRENCY_MAX };
    let queues: usize = function.queue_mappings.iter().map(concurrency).sum();
    let streams: usize = function.stream_mappings.iter().map(lanes).sum();
    gateway + queues + streams + function.schedules.len()
}

async fn start_sources(
    template: &Template,
    client: &aws_sdk_sqs::Client,
    streams: &dynamodb::Streams,
    lambda: &Lambda,
) -> anyhow::Result<Vec<Running>> {
    let mut sources = Vec::new();
    for function in &template.functions {
        for source in &function.queue_mappings {
            sources.push(mapping::start(queue_spec(template, function, source)?, client.clone(), lambda.clone()));
        }
        for source in &function.stream_mappings {
            let spec = stream_spec(template, function, source)?;
            sources.push(stream::start(spec, streams.clone(), lambda.clone()).await?);
        }
        for source in &function.schedules {
            let (function, rule_arn) = (function.binary.clone(), source.rule_arn.clone());
            let spec = schedule::Spec { function, rule_arn, period: source.period };
            sources.push(schedule::start(spec, lambda.clone()));
        }
    }
    Ok(sources)
}

fn queue_spec(template: &Template, function: &Function, source: &QueueMapping) -> anyhow::Result<mapping::Spec> {
    let queue = template.queues.iter().find(|queue| queue.arn == source.queue_arn);
    let queue = queue.with_context(|| format!("{} reads a queue that the template has not", function.logical_id))?;
    Ok(mapping::Spec {
        queue_url: queue.url.clone(),
        queue_arn: queue.arn.clone(),
        function: function.binary.clone(),
        batch_size: source.batch_size as usize,
        batching_window: source.batching_window,
        concurrency_max: concurrency(source),
        report_batch_item_failures: source.report_batch_item_failures,
    })
}

fn stream_spec(template: &Template, function: &Function, source: &StreamMapping) -> anyhow::Result<stream::Spec> {
    let table = template.tables.iter().find(|table| table.stream_arn.as_ref() == Some(&source.stream_arn));
    let table = table.with_context(|| format!("{} reads a stream that the template has not", function.logical_id))?;
    Ok(stream::Spec {
        table: table.name.clone(),
        partition_key: table.partition_key.attribute.clone(),
        stream_arn: source.stream_arn.clone(),
        function: function.binary.clone(),
        batch_size: source.batch_size as usize,
        lanes: lanes(source),
        batching_window: source.batching_window,
        retry: stream::Retry {
            bisect: source.bisect_batch_on_function_error,
            attempts_max: source.maximum_retry_attempts,
        },
        record_age_max: source.maximum_record_age.unwrap_or(stream::RETENTION),
        report_batch_item_failures: source.report_batch_item_failures,
        filter: source.filter.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_a_function_finds_an_environment() {
        let template = Template::parse(TEMPLATE).unwrap();
        let most = |id: &str| environments_max(template.function(id).unwrap());
        // The gateway, that is; and two queues, of which one is taken two messages at a time, a stream and a schedule.
        assert_eq!((most("IngestFunction"), most("ConsumeFunction")), (4, 4 + 2 + 4 + 1));
        assert_eq!(most("ReceiptsFunction"), 4);
    }
}
