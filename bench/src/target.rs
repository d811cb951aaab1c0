//! What we want to reach, and how far it is.

use crate::bill::{Profile, Storage, bill, total};
use crate::figure::{Run, Warm};
use crate::load::Load;
use crate::prices::Prices;
use crate::stored::BROWSER;
use crate::subject::{Function, Kind};
use crate::workload::{LEAST_BYTES, TYPICAL_BYTES};

/// The most memory that the largest payload may take, in MiB.
const LARGEST_MIB: f64 = 64.0;

/// One aim, and what a run says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What is compared.
    pub what: String,
    /// The limit.
    pub goal: f64,
    /// Whether more is better.
    pub at_least: bool,
    /// What was measured; `None` where the run has no figure for it.
    pub measured: Option<f64>,
}

impl Target {
    /// Whether it is reached.
    #[must_use]
    pub fn met(&self) -> bool {
        self.measured.is_some_and(|measured| if self.at_least { measured >= self.goal } else { measured <= self.goal })
    }
}

/// The figures of a subject with a load.
#[must_use]
pub fn warm(run: &Run, kind: Kind, load: Load) -> Option<&Warm> {
    run.warm.iter().find(|warm| warm.kind == kind && warm.load == load)
}

fn cpu(run: &Run, kind: Kind, load: Load) -> Option<f64> {
    warm(run, kind, load).map(|warm| warm.cpu_us.median)
}

fn start_cpu(run: &Run, kind: Kind, function: Function) -> Option<f64> {
    run.cold.iter().find(|cold| cold.kind == kind && cold.function == function).map(|cold| cold.cpu_ms.median)
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?)
}

/// What a million events of a size cost, 100 a request and 1,000 a second.
fn dollars(run: &Run, bytes: usize, storage: Storage) -> Option<f64> {
    let lines = bill(Profile { events: 100, bytes, rate: 1_000.0, storage }, run, &Prices::load().ok()?).ok()?;
    Some(total(&lines))
}

/// Everything that is aimed at.
#[must_use]
pub fn targets(run: &Run) -> Vec<Target> {
    let at_least = |what: String, goal, measured| Target { what, goal, at_least: true, measured };
    let at_most = |what: String, goal, measured| Target { what, goal, at_least: false, measured };
    let mut all = Vec::new();
    for function in Function::ALL {
        let (name, ours) = (function.name(), start_cpu(run, Kind::Holdfast, function));
        for (kind, goal) in [(Kind::Python, 20.0), (Kind::Node, 8.0)] {
            let what = format!("cold start of {name}, CPU: {kind} / Holdfast");
            all.push(at_least(what, goal, ratio(start_cpu(run, kind, function), ours)));
        }
        let what = format!("cold start of {name}, CPU: Holdfast / floor");
        all.push(at_most(what, 1.2, ratio(ours, start_cpu(run, Kind::Floor, function))));
    }
    let compared = [(Load::request(100), Load::request(100)), (Load::batch(100, 1), Load::batch(100, 1))];
    for (function, (theirs, ours)) in Function::ALL.into_iter().zip(compared) {
        let peak = |kind, load| warm(run, kind, load).map(|warm| warm.peak_mib.median);
        for kind in [Kind::Python, Kind::Node] {
            let what = format!("peak memory of {}, 100 events: {kind} / Holdfast", function.name());
            all.push(at_least(what, 5.0, ratio(peak(kind, theirs), peak(Kind::Holdfast, ours))));
        }
        let largest = run.largest.iter().filter(|row| row.kind.is_ours() && row.function == function);
        let largest = largest.map(|row| row.peak_mib).reduce(f64::max);
        all.push(at_most(format!("peak memory of {}, largest payload, MiB", function.name()), LARGEST_MIB, largest));
    }
    let request = Load::request(100);
    let ours = cpu(run, Kind::Holdfast, request);
    all.push(at_most("ingest, CPU: Holdfast / floor".to_owned(), 1.5, ratio(ours, cpu(run, Kind::Floor, request))));
    for (kind, goal) in [(Kind::Python, 4.0), (Kind::Node, 3.0)] {
        all.push(at_least(format!("ingest, CPU: {kind} / Holdfast"), goal, ratio(cpu(run, kind, request), ours)));
    }
    let single = Load::batch(100, 1);
    for (kind, goal) in [(Kind::Python, 15.0), (Kind::Node, 8.0)] {
        for (what, load) in [("one event a message", single), ("as each packs them", Load::batch(1, 100))] {
            let measured = ratio(cpu(run, kind, single), cpu(run, Kind::Holdfast, load));
            all.push(at_least(format!("consume, CPU, 100 events, {what}: {kind} / Holdfast"), goal, measured));
        }
    }
    let calls = |load| warm(run, Kind::Holdfast, load).map(|warm| warm.demand.calls);
    let calls = calls(Load::request(500)).zip(calls(Load::batch(10, 100))).map(|(ingest, consume)| ingest + consume);
    let what = "AWS requests an event: 500 events a request, batches of 1,000";
    all.push(at_most(what.to_owned(), 0.05, calls));
    let browser = run
        .stored
        .iter()
        .find(|row| row.what == BROWSER)
        .map(|row| f64::from(u32::try_from(row.write_units).unwrap_or(u32::MAX)));
    all.push(at_most("write units of an event of a browser".to_owned(), 1.0, browser));
    for (who, bytes) in [("a browser", TYPICAL_BYTES), ("a server", LEAST_BYTES + 100)] {
        let what = format!("dollars a million events of {who}, 100 events a request");
        all.push(at_most(what, 0.70, dollars(run, bytes, Storage::Items)));
    }
    let what = "dollars a million events of a browser, 100 events of a person a request, packed";
    all.push(at_most(what.to_owned(), 0.15, dollars(run, TYPICAL_BYTES, Storage::Packed)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_a_figure_is_not_met() {
        let target = |goal, at_least, measured| Target { what: String::new(), goal, at_least, measured };
        assert!(target(5.0, true, Some(5.0)).met() && !target(5.0, true, Some(4.9)).met());
        assert!(target(5.0, false, Some(5.0)).met() && !target(5.0, false, Some(5.1)).met());
        assert!(!target(5.0, true, None).met());
    }

    #[test]
    fn every_target_is_told_even_where_nothing_was_measured() {
        let targets = targets(&crate::bill::tests::run());
        assert_eq!(targets.len(), 24);
        let requests = targets.iter().find(|target| target.what.starts_with("AWS requests")).unwrap();
        assert!(!requests.met() && requests.measured.is_some());
    }
}
