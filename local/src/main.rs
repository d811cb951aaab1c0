//! `cargo run -p local`: the pipeline on this machine, from an HTTP call to an item in a table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use local::narrate::{Voice, narrate};
use local::pipeline::{Detours, Options, Pipeline, StandIns};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Runs the whole of Holdfast on 127.0.0.1: the real functions, with stand-ins for API Gateway, Lambda, SQS and
/// DynamoDB.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Serve {
    /// The port of the HTTP API; 0 for any that is free
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The port of SQS; 0 for any that is free
    #[arg(long, default_value_t = 9324)]
    sqs_port: u16,
    /// The port of DynamoDB; 0 for any that is free
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// The folder that keeps what was acknowledged
    #[arg(long, default_value = ".holdfast", conflicts_with = "ephemeral")]
    data: PathBuf,
    /// Keep everything in memory, and forget it at the end
    #[arg(long)]
    ephemeral: bool,
    /// Where the functions call SQS, if not directly: a proxy in front of it
    #[arg(long, value_name = "URL")]
    functions_sqs: Option<String>,
    /// Where the functions call DynamoDB, if not directly: a proxy in front of it
    #[arg(long, value_name = "URL")]
    functions_dynamodb: Option<String>,
    /// A parameter of the template, in place of its default; may be given several times
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Only SQS and DynamoDB, for functions that run elsewhere, as under `sam local`
    #[arg(long)]
    no_functions: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run one environment of a function, as the pipeline starts it
    #[command(hide = true)]
    Function {
        /// `ingest`, `consume` or `receipts`
        name: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Function { name }) => function(&name),
        None => serve(&cli.serve),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a function just as its own `main` does, within the memory that the template gives it.
fn function(name: &str) -> anyhow::Result<()> {
    local::lambda::die_with_parent();
    let memory = shared::config::environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|size| size.parse().ok());
    local::lambda::limit_memory(memory.context("a function is started by the pipeline, not by hand")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = match name {
        "ingest" => runtime.block_on(ingest::run()),
        "consume" => runtime.block_on(consume::run()),
        "receipts" => runtime.block_on(receipts::run()),
        _ => bail!("there is no function {name:?}"),
    };
    result.map_err(|error| anyhow::anyhow!("{error}"))
}

fn serve(serve: &Serve) -> anyhow::Result<()> {
    // Troubles of the stand-ins themselves; the functions tell theirs through their log lines.
    let ours = Targets::new().with_target("local", Level::WARN);
    tracing_subscriber::registry().with(fmt::layer().with_writer(std::io::stderr).without_time()).with(ours).init();
    let options = Options {
        port: serve.port,
        sqs_port: serve.sqs_port,
        dynamodb_port: serve.dynamodb_port,
        data: (!serve.ephemeral).then(|| serve.data.clone()),
        command: std::env::current_exe().context("finding the path of this program")?,
        clock: Arc::new(shared::clock::SystemClock),
        parameters: serve.parameters.iter().cloned().collect(),
        detours: Detours {
            functions_sqs: serve.functions_sqs.clone(),
            functions_dynamodb: serve.functions_dynamodb.clone(),
            mappings_sqs: None,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let voice = Voice::start(std::io::stdout());
        let teller = voice.clone();
        let tell = move |function: &str, line: &str| {
            if let Some(told) = narrate(function, line) {
                teller.say(told);
            }
        };
        let running = if serve.no_functions {
            Parts::StandIns(StandIns::start(options).await?)
        } else {
            Parts::All(Pipeline::start(options, Arc::new(tell)).await?)
        };
        introduce(&voice, &running, serve);
        stop.wait().await;
        voice.say("stopping");
        tokio::select! {
            () = running.stop() => {}
            () = stop.wait() => bail!("stopped before everything under way had ended"),
        }
        voice.finish();
        Ok(())
    });
    // After a second signal nothing is waited for, not even the disk: a death loses nothing.
    runtime.shutdown_background();
    served
}

fn parameter(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("write NAME=VALUE, such as EventBytesMax=393216")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What was asked for.
enum Parts {
    All(Pipeline),
    StandIns(StandIns),
}

impl Parts {
    /// Where SQS and DynamoDB are.
    fn endpoints(&self) -> (String, String) {
        match self {
            Self::All(pipeline) => (pipeline.sqs().endpoint(), pipeline.dynamodb().endpoint()),
            Self::StandIns(stand_ins) => (stand_ins.sqs().endpoint(), stand_ins.dynamodb().endpoint()),
        }
    }

    async fn stop(self) {
        match self {
            Self::All(pipeline) => pipeline.stop().await,
            Self::StandIns(stand_ins) => stand_ins.stop().await,
        }
    }
}

fn introduce(voice: &Voice, running: &Parts, serve: &Serve) {
    let api = if let Parts::All(pipeline) = running { Some(pipeline.api()) } else { None };
    let (sqs, dynamodb) = running.endpoints();
    if let Some(api) = &api {
        voice.say(format!("HTTP API   {api}"));
        voice.say(format!("console    {api}/console"));
    }
    voice.say(format!("SQS        {sqs}"));
    voice.say(format!("DynamoDB   {dynamodb}"));
    let data = if serve.ephemeral { "in memory".to_owned() } else { serve.data.display().to_string() };
    voice.say(format!("data       {data}"));
    if let Some(api) = &api {
        voice.say("\nProject dev takes the write key dev. Try:");
        voice.say(format!("  curl -u dev: {api}/v1/track -d '{{\"userId\":\"ann\",\"event\":\"Signed Up\"}}'\n"));
    }
    voice.say("ready");
}

/// The signals that end the pipeline: the first in order, a second one at once.
#[cfg(unix)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    /// From here on signals are remembered until they are waited for.
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The signal that ends the pipeline.
#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
