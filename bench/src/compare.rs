//! Our functions beside the floor alone, in a minute: to see what a change is worth before a whole run is made.

use std::path::Path;

use crate::cold;
use crate::figure::{Cold, Instructions, Warm};
use crate::load::Load;
use crate::sink::Sink;
use crate::subject::{Function, Kind, Subject};
use crate::warm::{self, Effort};
use crate::{budget, prepare};

/// How often each is started.
const STARTS: usize = 20;
/// How often each is measured while it runs.
const ROUNDS: usize = 3;
/// Those who are compared.
const KINDS: [Kind; 2] = [Kind::Holdfast, Kind::Floor];

/// Measures starts and a hundred events an invocation, by instructions and by CPU time, and says so line by line.
///
/// # Errors
/// A subject cannot be built, does not start, fails, or does not do its work.
pub async fn compare(folders: &prepare::Folders) -> anyhow::Result<String> {
    let subjects = prepare::prepare(folders, &KINDS).await?;
    let sink = Sink::start(&folders.scratch).await?;
    let mut lines = Vec::new();
    for function in Function::ALL {
        let ours = of(&subjects, Kind::Holdfast, function, &sink, &folders.scratch).await?;
        let floor = of(&subjects, Kind::Floor, function, &sink, &folders.scratch).await?;
        lines.extend(ours.lines(&floor));
    }
    Ok(lines.join("\n"))
}

/// What one subject takes.
struct Measured {
    counts: Vec<Instructions>,
    cold: Cold,
    warm: Warm,
}

async fn of(
    subjects: &[Subject],
    kind: Kind,
    function: Function,
    sink: &Sink,
    logs: &Path,
) -> anyhow::Result<Measured> {
    let is_it = |subject: &&Subject| subject.kind == kind && subject.function == function;
    let subject = subjects.iter().find(is_it).ok_or_else(|| anyhow::anyhow!("there is no such subject"))?;
    let load = match function {
        Function::Ingest => Load::request(100),
        Function::Consume => Load::batch(100, 1),
    };
    let (mut starts, mut rounds) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        starts.push(cold::measure(subject, sink, logs).await?);
    }
    for _ in 0..ROUNDS {
        rounds.push(warm::measure(subject, load, sink, logs, Effort::FULL).await?);
    }
    Ok(Measured {
        counts: budget::of_processes(std::slice::from_ref(subject), sink, logs).await?,
        cold: cold::summary(subject, &starts),
        warm: warm::summary(subject, load, &rounds),
    })
}

impl Measured {
    fn lines(&self, floor: &Self) -> Vec<String> {
        let name = self.cold.function.name();
        let line = |what: &str, ours: f64, floor: f64| {
            format!("{name:<8}{what:<34}{ours:>9.2}{floor:>9.2}{:>7.2}", ours / floor)
        };
        let mut lines = Vec::new();
        for (ours, floor) in self.counts.iter().zip(&floor.counts) {
            lines.push(line("start, million instructions", ours.start_millions, floor.start_millions));
            lines.push(line("an event, thousand instructions", ours.event_thousands, floor.event_thousands));
        }
        lines.push(line("start, CPU, ms", self.cold.cpu_ms.median, floor.cold.cpu_ms.median));
        lines.push(line("start, until it has answered, ms", self.cold.wall_ms.median, floor.cold.wall_ms.median));
        lines.push(line("an event, CPU, µs", self.warm.cpu_us.median, floor.warm.cpu_us.median));
        lines
    }
}
