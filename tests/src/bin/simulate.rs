//! Long runs of the simulation, and single histories to read.
//!
//! `cargo run --release -p tests --bin simulate -- --histories 1000000` runs many; `-- --seed 1234 --trace` tells one.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::sim::{Campaign, Mistake, Violation, campaign, run};

/// How often a long run says how far it is, in histories.
const TELL_EVERY: u64 = 10_000;
/// The violations after which a long run ends.
const BROKEN_MAX: usize = 20;

/// Runs simulated histories of the pipeline.
#[derive(Parser)]
struct Arguments {
    /// Run the history of this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Tell everything that happens in it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run so many histories.
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
    /// The seed of the first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Build a mistake in: early-acknowledgement, success-by-default, forgetful-retry or home-of-the-user.
    #[arg(long, value_parser = mistake)]
    mistake: Option<Mistake>,
}

fn mistake(name: &str) -> Result<Mistake, String> {
    match name {
        "early-acknowledgement" => Ok(Mistake::AcknowledgesBeforeDurable),
        "success-by-default" => Ok(Mistake::SuccessByDefault),
        "home-of-the-user" => Ok(Mistake::LivesWithTheUser),
        "forgetful-retry" => Ok(Mistake::ForgetsOnRetry),
        _ => Err("no such mistake".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let broken = match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    };
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let history = run(seed, arguments.mistake, arguments.trace);
    for line in &history.trace {
        println!("{line}");
    }
    for (what, count) in &history.counts {
        println!("{count:>12}  {what}");
    }
    for violation in &history.violations {
        println!("{:?} is broken: {}", violation.promise, violation.what);
    }
    !history.violations.is_empty()
}

fn many(arguments: &Arguments) -> bool {
    let began = Instant::now();
    let seeds = arguments.from..arguments.from.saturating_add(arguments.histories);
    let sum = campaign(seeds, arguments.mistake, BROKEN_MAX, |sum: &Campaign, seed, broken: &[Violation]| {
        for violation in broken {
            println!("{:?} is broken: {}", violation.promise, violation.what);
            println!("  cargo run -p tests --bin simulate -- --seed {seed} --trace");
        }
        if sum.histories.is_multiple_of(TELL_EVERY) {
            let rate = sum.histories as f64 / began.elapsed().as_secs_f64();
            println!("{} histories, {rate:.0} a second, {} violations", sum.histories, sum.broken.len());
        }
    });
    for (what, count) in &sum.counts {
        println!("{count:>12}  {what}");
    }
    println!("{:>12}  histories in {:.1} s", sum.histories, began.elapsed().as_secs_f64());
    println!("{:>12}  violations", sum.broken.len());
    !sum.broken.is_empty()
}
