//! `cargo run -p local`: the pipeline on this machine, from an HTTP call to an item in a table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use local::narrate::narrate;
use local::pipeline::{Options, Pipeline};

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
}

#[derive(Subcommand)]
enum Command {
    /// Run one environment of a function, as the pipeline starts it
    #[command(hide = true)]
    Function {
        /// `ingest` or `consume`
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
        _ => bail!("there is no function {name:?}"),
    };
    result.map_err(|error| anyhow::anyhow!("{error}"))
}

fn serve(serve: &Serve) -> anyhow::Result<()> {
    let options = Options {
        port: serve.port,
        sqs_port: serve.sqs_port,
        dynamodb_port: serve.dynamodb_port,
        data: (!serve.ephemeral).then(|| serve.data.clone()),
        command: std::env::current_exe().context("finding the path of this program")?,
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut stop = Stop::listen()?;
        let tell = |function: &str, line: &str| {
            if let Some(told) = narrate(function, line) {
                println!("{told}");
            }
        };
        let pipeline = Pipeline::start(options, Arc::new(tell)).await?;
        introduce(&pipeline, serve);
        stop.wait().await;
        println!("stopping");
        pipeline.stop().await;
        Ok(())
    })
}

fn introduce(pipeline: &Pipeline, serve: &Serve) {
    let api = pipeline.api();
    println!("HTTP API   {api}");
    println!("SQS        {}", pipeline.sqs().endpoint());
    println!("DynamoDB   {}", pipeline.dynamodb().endpoint());
    println!("data       {}", if serve.ephemeral { "in memory".to_owned() } else { serve.data.display().to_string() });
    println!();
    println!("Project dev takes the write key dev. Try:");
    println!("  curl -u dev: {api}/v1/track -d '{{\"userId\":\"ann\",\"event\":\"Signed Up\"}}'");
    println!();
    println!("ready");
}

/// The signals that end the pipeline.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
