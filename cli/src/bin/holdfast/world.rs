//! What a command works on: a stack, or the pipeline on this machine, with clients for its parts.

use anyhow::{Context, bail};
use cli::aws::{Clients, EventTable, WriteKeys};
use cli::http::Http;
use cli::stack::{Endpoints, Stack, from_outputs, local};
use consume::dynamo_table::DynamoTable;
use consume::sqs_queue::SqsQueue;
use shared::clock::{Clock, SystemClock, Timestamp};

use crate::args::Global;

/// The project and the write key of every local pipeline.
const DEV: &str = "dev";
/// Where the local pipeline's API is.
const LOCAL_API: &str = "http://127.0.0.1:3000";

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) clients: Clients,
    pub(crate) clock: SystemClock,
}

impl World {
    /// Finds out what is meant, and where it is.
    pub(crate) async fn connect(global: &Global) -> anyhow::Result<Self> {
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        let stack = global.stack.clone().or_else(|| shared::config::environment("HOLDFAST_STACK"));
        let (stack, clients) = if global.local {
            let api = bare(global.api.as_deref().unwrap_or(LOCAL_API));
            let endpoints = Endpoints { api, sqs: bare(&global.sqs), dynamodb: bare(&global.dynamodb) };
            (local(&endpoints), Clients::of_stand_ins(&endpoints).await)
        } else if let Some(name) = &stack {
            let clients = Clients::of_account(global.region.clone(), global.profile.clone()).await;
            let outputs = clients.outputs(name).await.with_context(|| format!("looking for the stack {name}"))?;
            let mut stack = from_outputs(name, &outputs)?;
            if let Some(api) = &global.api {
                stack.api_url = bare(api);
            }
            (stack, clients)
        } else {
            bail!("say what is meant: --local, or --stack NAME (or HOLDFAST_STACK in the environment)");
        };
        Ok(Self { stack, clients, clock: SystemClock })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn http(&self) -> anyhow::Result<Http> {
        Ok(Http::new(&self.stack.api_url)?)
    }

    pub(crate) fn events(&self) -> DynamoTable {
        self.clients.table(&self.stack.events_table)
    }

    pub(crate) fn timelines(&self) -> EventTable {
        self.clients.event_table(&self.stack.events_table)
    }

    pub(crate) fn write_keys(&self) -> WriteKeys {
        self.clients.write_keys(&self.stack.events_table)
    }

    pub(crate) fn letters(&self) -> DynamoTable {
        self.clients.table(&self.stack.dead_letters_table)
    }

    pub(crate) fn spill(&self) -> DynamoTable {
        self.clients.table(&self.stack.spill_table)
    }

    pub(crate) fn queue(&self) -> SqsQueue {
        self.clients.queue(&self.stack.events_queue_url)
    }

    /// The names of all projects that have a key.
    pub(crate) async fn projects(&self) -> anyhow::Result<Vec<String>> {
        let keys = cli::keys::list(&self.events(), None).await?;
        Ok(cli::keys::projects(&keys).into_iter().map(|project| project.project).collect())
    }

    /// The project that was given, or the one of this machine.
    pub(crate) fn project(&self, given: Option<&str>) -> anyhow::Result<String> {
        let own = self.stack.is_local.then_some(DEV);
        given.or(own).map(str::to_owned).context("say of which project: --project NAME")
    }

    /// The write key that was given, or the one of this machine.
    pub(crate) fn write_key(&self, given: Option<&str>) -> anyhow::Result<String> {
        let own = self.stack.is_local.then_some(DEV);
        let key = given.or(own).map(str::to_owned);
        key.context("say with which write key: --write-key KEY, or HOLDFAST_WRITE_KEY in the environment")
    }
}
