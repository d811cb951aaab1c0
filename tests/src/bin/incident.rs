//! Vero's outage of 1 May 2019, replayed on Holdfast. Prints a table and draws it: `incident [--svg FILE]`.

use std::process::ExitCode;

use clap::Parser;
use tests::sim::incident::{Incident, PHASES, replay};

/// Replays the outage on virtual time.
#[derive(Parser)]
struct Cli {
    /// Where to draw it
    #[arg(long)]
    svg: Option<std::path::PathBuf>,
    /// What is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests a second
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let incident = replay(cli.seed, cli.rate);
    print(&incident);
    if let Some(path) = &cli.svg
        && let Err(error) = std::fs::write(path, tests::sim::picture::draw(&incident))
    {
        eprintln!("error: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    for violation in &incident.violations {
        eprintln!("{:?} is broken: {}", violation.promise, violation.what);
    }
    if incident.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(incident: &Incident) {
    println!("minute  errors  Vero   backlog  oldest s  accepted    stored  dead");
    for minute in incident.minutes.iter().filter(|minute| minute.minute % 5 == 0) {
        let errors = 100.0 * f64::from(minute.errors) / f64::from(minute.requests.max(1));
        println!(
            "{:>6} {:>6.1}% {:>4.0}% {:>9} {:>9} {:>9} {:>9} {:>5}",
            minute.minute,
            errors,
            100.0 * tests::sim::incident::vero(minute.minute),
            minute.backlog,
            minute.oldest,
            minute.accepted,
            minute.stored,
            minute.dead
        );
    }
    for (from, to, what) in PHASES {
        println!("minutes {from} to {to}: {what}");
    }
    let last = incident.minutes.last().copied().unwrap_or_default();
    println!(
        "{} of {} deliveries of consume were ended; {} requests answered 200, {} never were; {} events stored, {} dead \
         letters, 0 acknowledged events lost: {}",
        incident.killed,
        incident.deliveries,
        last.accepted,
        incident.given_up,
        last.stored,
        last.dead,
        incident.violations.is_empty()
    );
}
