//! The trials and counts that docs/SCALE.md quotes: `scale`. Time is virtual, so every run prints the same.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::sim::scale::{AWS, Counted, LASTS, Says, Seen, Size, Trial, count, run};

/// Brings AWS's limits upon the simulated pipeline, and prints what came of it.
#[derive(Parser)]
struct Cli {
    /// Deliver one message of so many events instead, to a table that takes as little as the template lets it
    #[arg(long)]
    message: Option<u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let trials = match cli.message {
        Some(events) => vec![("one message, least table", 1, AWS.one_message(events))],
        None => {
            print_counts();
            trials()
        }
    };
    println!("\nRates and counts as at full size.\n");
    println!(
        "| what is tried | at 1 in | others, half within | 99 % | flood, half within | all | in flight at most | drained \
         after | units in vain |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut is_well = true;
    for (what, divisor, trial) in &trials {
        is_well &= tell(what, *divisor, trial);
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is tried, by what number it is divided, and the trial.
fn trials() -> Vec<(&'static str, u32, Trial)> {
    let trial = |what, divisor: u32, of: &dyn Fn(Size) -> Trial| (what, divisor, of(AWS.divided_by(divisor.into())));
    let many = |size: Size| size.with_concurrency(1_000.0);
    // Where requests carry many events, a message must stay small beside what a limit takes in a second; and where
    // messages pile up, there must not be too many of them for a short run.
    vec![
        trial("others alone", 10, &|size| size.quiet()),
        trial("hot person, 100 events a request", 2, &|size| size.hot_person(100)),
        trial("the same", 10, &|size| size.hot_person(100)),
        trial("hot person, 1 event a request", 5, &|size| size.hot_person(1)),
        trial("the same", 20, &|size| size.hot_person(1)),
        trial("the same, 1,000 invocations", 20, &|size| many(size).hot_person(1)),
        trial("the same, 200 invocations", 20, &|size| size.with_concurrency(200.0).hot_person(1)),
        trial("letters, 100 items a request", 10, &|size| size.hot_letters(100)),
        trial("letters, 1 item a request", 10, &|size| size.hot_letters(1)),
        trial("the same call", 10, &Size::same_call),
        trial("narrow table, 1 event a request", 10, &|size| size.narrow_table(1)),
        trial("the same", 25, &|size| size.narrow_table(1)),
        trial("narrow table, 100 events a request", 5, &|size| size.narrow_table(100)),
        trial("the same", 20, &|size| size.narrow_table(100)),
        trial("one message of 130 events, least table", 1, &|size| size.one_message(130)),
        trial("one message of 150 events, least table", 1, &|size| size.one_message(150)),
        trial("closed table", 25, &Size::closed_table),
        trial("the same, 1,000 invocations", 25, &|size| many(size).closed_table()),
    ]
}

fn print_counts() {
    println!(
        "| one batch | messages | events | bytes sent | in messages | inserts | reads | replacements | write units |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (what, says, people, packed) in [
        ("1 event a request", Says::Events, 1_000, 1),
        ("100 events a request", Says::Events, 1_000, 100),
        ("100 events a request, one person", Says::Events, 1, 100),
        ("10 KB of traits a request, one person", Says::Traits, 1, 1),
    ] {
        let Counted { messages, events, bytes_sent, bytes, inserts, reads, replacements, units, .. } =
            count(says, people, packed);
        println!(
            "| {what} | {messages} | {events} | {bytes_sent} | {bytes} | {inserts} | {reads} | {replacements} | {units} |"
        );
    }
}

/// Runs a trial and prints its row. Returns whether no promise was broken.
fn tell(what: &str, divisor: u32, trial: &Trial) -> bool {
    let seen: Seen = run(trial);
    let lasts = trial.flows.iter().map(|flow| flow.lasts).max().unwrap_or(LASTS);
    let delay = |who: &str, percent: usize| {
        if seen.delays.contains_key(who) { seconds(seen.delay(who, percent)) } else { "–".to_owned() }
    };
    println!(
        "| {what} | {divisor} | {} | {} | {} | {} | {} | {} | {} % |",
        delay("others", 50),
        delay("others", 99),
        delay("flood", 50),
        delay("flood", 100),
        seen.in_flight_max() as u64 * u64::from(divisor),
        seconds(seen.lasted().saturating_sub(lasts)),
        100 * seen.units_in_vain / seen.units.max(1)
    );
    for violation in &seen.violations {
        eprintln!("{:?} is broken: {}", violation.promise, violation.what);
    }
    seen.violations.is_empty() && seen.quarantined == 0
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.2} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
    }
}
