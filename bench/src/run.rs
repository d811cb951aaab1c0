//! One run: everything side by side, so that each figure has its neighbours in the same minutes on the same machine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use shared::clock::{Clock, SystemClock};

use crate::figure::Run;
use crate::load::Load;
use crate::machine::Machine;
use crate::sink::Sink;
use crate::subject::{Function, Kind, Subject};
use crate::warm::{Effort, Round};
use crate::workload::LEAST_BYTES;
use crate::{budget, cold, stored, warm};

/// How much a run does.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often each warm measurement is made.
    pub rounds: usize,
    /// How often each cold start is.
    pub cold_rounds: usize,
    /// How much one measurement does.
    pub effort: Effort,
}

impl Extent {
    /// For figures: about a quarter of an hour.
    pub const FULL: Self = Self { rounds: 5, cold_rounds: 20, effort: Effort::FULL };
    /// To see whether everything works: about two minutes.
    pub const QUICK: Self = Self { rounds: 1, cold_rounds: 2, effort: Effort::QUICK };
}

/// Requests of typical events, for everyone.
pub const REQUESTS: [Load; 4] = [Load::request(1), Load::request(10), Load::request(100), Load::request(500)];
/// Batches of messages with one typical event each, for everyone.
pub const SINGLES: [Load; 3] = [Load::batch(1, 1), Load::batch(10, 1), Load::batch(100, 1)];
/// Batches of messages as our `ingest` packs them, for ours alone.
pub const PACKED: [Load; 4] = [Load::batch(1, 10), Load::batch(1, 100), Load::batch(10, 10), Load::batch(10, 100)];
/// Batches of messages that are each about one person, for ours alone, in either storage mode.
pub const PERSONAL: [Load; 6] = [
    Load::batch(1, 1).of_one_person(),
    Load::batch(10, 1).of_one_person(),
    Load::batch(1, 10).of_one_person(),
    Load::batch(1, 100).of_one_person(),
    Load::batch(10, 10).of_one_person(),
    Load::batch(10, 100).of_one_person(),
];
/// What grows in turn, for ours alone: the size of events, and the number of projects.
pub const GROWING: [Load; 11] = [
    Load::request(100).of_bytes(LEAST_BYTES + 100),
    Load::request(100).of_bytes(4_000),
    Load::request(100).of_bytes(8_000),
    Load::request(100).of_projects(10),
    Load::request(100).of_projects(100),
    Load::request(100).of_projects(10_000),
    Load::batch(10, 10).of_bytes(LEAST_BYTES + 100),
    Load::batch(10, 10).of_bytes(4_000),
    Load::batch(10, 10).of_bytes(8_000),
    Load::batch(10, 10).of_projects(2),
    Load::batch(10, 10).of_projects(10),
];

fn loads(kind: Kind, function: Function) -> Vec<Load> {
    let all = REQUESTS.iter().chain(&SINGLES).copied();
    let ours = PACKED.iter().chain(&PERSONAL).chain(&GROWING).copied().filter(|_| kind.is_ours());
    all.chain(ours).filter(|load| load.function == function && load.suits(kind)).collect()
}

/// Measures subjects side by side. Logs and certificates go to `scratch`.
///
/// # Errors
/// A subject does not start, fails, or does not do its work.
pub async fn run(subjects: &[Subject], extent: Extent, scratch: &Path) -> anyhow::Result<Run> {
    let sink = Sink::start(scratch).await?;
    let mut starts: BTreeMap<usize, Vec<cold::Start>> = BTreeMap::new();
    for round in 0..extent.cold_rounds {
        eprintln!("cold starts, round {} of {}", round + 1, extent.cold_rounds);
        for (position, subject) in subjects.iter().enumerate().filter(|(_, subject)| subject.kind != Kind::Packed) {
            let start = cold::measure(subject, &sink, scratch).await.with_context(|| name(subject))?;
            starts.entry(position).or_default().push(start);
        }
    }
    let mut largest = Vec::new();
    for subject in subjects.iter().filter(|subject| subject.kind != Kind::Packed) {
        largest.extend(cold::largest(subject, &sink, scratch).await.with_context(|| name(subject))?);
    }
    let mut rounds: BTreeMap<(Load, usize), Vec<Round>> = BTreeMap::new();
    for round in 0..extent.rounds {
        eprintln!("running environments, round {} of {}", round + 1, extent.rounds);
        // Subjects that are compared with each other are measured next to each other.
        let mut work: Vec<(Load, usize)> = Vec::new();
        for (position, subject) in subjects.iter().enumerate() {
            work.extend(loads(subject.kind, subject.function).into_iter().map(|load| (load, position)));
        }
        work.sort();
        for (load, position) in work {
            let subject = &subjects[position];
            let measured = warm::measure(subject, load, &sink, scratch, extent.effort).await;
            let measured = measured.with_context(|| format!("{} with {load:?}", name(subject)))?;
            rounds.entry((load, position)).or_default().push(measured);
        }
    }
    Ok(Run {
        day: SystemClock.now().day(),
        machine: Machine::look(),
        rounds: extent.rounds,
        cold_rounds: extent.cold_rounds,
        warm: rounds
            .iter()
            .map(|((load, position), rounds)| warm::summary(&subjects[*position], *load, rounds))
            .collect(),
        cold: starts.iter().map(|(position, starts)| cold::summary(&subjects[*position], starts)).collect(),
        largest,
        stored: stored::rows()?,
        instructions: budget::of_processes(subjects, &sink, scratch).await?,
    })
}

fn name(subject: &Subject) -> String {
    format!("{} of {}", subject.function.name(), subject.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_what_can_be_compared_and_only_ours_the_rest() {
        let of = |kind, function| loads(kind, function).len();
        assert_eq!((of(Kind::Node, Function::Ingest), of(Kind::Node, Function::Consume)), (4, 3));
        assert_eq!((of(Kind::Holdfast, Function::Ingest), of(Kind::Holdfast, Function::Consume)), (10, 18));
        assert_eq!(of(Kind::Packed, Function::Consume), 6);
    }
}
