//! `cargo run --release -p bench`: measures everything side by side and writes docs/PERFORMANCE.md.

use std::path::PathBuf;

use anyhow::Context;
use bench::compare::compare;
use bench::figure::Run;
use bench::prepare::{Folders, prepare};
use bench::run::{Extent, run};
use bench::subject::Kind;
use bench::{budget, cost, report};
use clap::{Parser, Subcommand};

/// Measures Holdfast side by side with the same job in Python, in Node and in plain Rust.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only look whether everything works: few rounds, and no document is written.
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Writes docs/PERFORMANCE.md and its plots from the figures that are committed.
    Report,
    /// Tells what a million events cost, and writes docs/COST.md and its plot.
    Cost(cost::Question),
    /// Measures our functions beside the floor alone, in a minute, and writes nothing.
    Compare,
    /// Counts the instructions of our functions' cores, and compares them with what is allowed.
    Budget {
        /// Write what was counted, with a margin, as what is allowed from now on.
        #[arg(long)]
        update: bool,
    },
}

/// Where the figures of the last run are kept.
fn figures(folders: &Folders) -> PathBuf {
    folders.root.join("bench/figures.json")
}

fn committed(folders: &Folders) -> anyhow::Result<Run> {
    let path = figures(folders);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is of another version; run it again", path.display()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { command, quick } = Arguments::parse();
    let folders = Folders::find()?;
    match command {
        None => {
            let subjects = prepare(&folders, &Kind::ALL).await?;
            let extent = if quick { Extent::QUICK } else { Extent::FULL };
            let figures = run(&subjects, extent, &folders.scratch).await?;
            println!("{}", report::markdown(&figures));
            if !quick {
                let text = serde_json::to_string_pretty(&figures)? + "\n";
                std::fs::write(self::figures(&folders), text)?;
                report::write(&figures, &folders.root)?;
            }
        }
        Some(Command::Report) => report::write(&committed(&folders)?, &folders.root)?,
        Some(Command::Cost(question)) => cost::answer(&question, &committed(&folders)?, &folders.root)?,
        Some(Command::Compare) => println!("{}", compare(&folders).await?),
        Some(Command::Budget { update }) => budget::check(&folders, update).await?,
    }
    Ok(())
}
