//! What a running environment takes: CPU, time, memory, and what it asks AWS for.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::time::ClockId;
use serde_json::Value;

use crate::environment::Environment;
use crate::figure::{Demand, SinkShare, Warm};
use crate::load::{Load, Payloads};
use crate::runtime_api::Answer;
use crate::sink::{Sink, Tally};
use crate::stats::{Percentiles, Spread};
use crate::subject::{Function, Subject};

/// How much is done for one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How long an environment works before it is measured, so that what compiles while it runs has done so.
    pub warm_up: Duration,
    /// How long it is measured at the most.
    pub measure: Duration,
    /// How many invocations are measured at the most.
    pub invocations_max: usize,
    /// How many are at the least, whatever the time.
    pub invocations_min: usize,
}

impl Effort {
    /// For figures.
    pub const FULL: Self = Self {
        warm_up: Duration::from_millis(700),
        measure: Duration::from_millis(1_500),
        invocations_max: 1_000,
        invocations_min: 12,
    };
    /// To see whether everything works.
    pub const QUICK: Self = Self {
        warm_up: Duration::from_millis(50),
        measure: Duration::from_millis(200),
        invocations_max: 20,
        invocations_min: 3,
    };
}

/// One measurement.
pub struct Round {
    invocations: usize,
    events: usize,
    cpu: Duration,
    own_cpu: Duration,
    times_ms: Vec<f64>,
    peak_kib: u64,
    log_bytes: u64,
    tally: Tally,
}

/// Starts an environment, lets it run warm, and measures it.
///
/// # Errors
/// It does not start, fails, or does not do its work.
pub async fn measure(subject: &Subject, load: Load, sink: &Sink, logs: &Path, effort: Effort) -> anyhow::Result<Round> {
    let payloads = load.payloads(subject.kind)?;
    let environment = Environment::start(subject, sink, logs).await?;
    environment.idle().await?;
    let mut number = 0;
    let began = Instant::now();
    while number < effort.invocations_min || began.elapsed() < effort.warm_up {
        invoke(&environment, load.function, &payloads, number).await?;
        number += 1;
    }
    environment.idle().await?;
    let mut round = Round {
        invocations: 0,
        events: 0,
        cpu: environment.cpu()?,
        own_cpu: own_cpu()?,
        times_ms: Vec::new(),
        peak_kib: 0,
        log_bytes: environment.log_bytes()?,
        tally: sink.ledger.take(),
    };
    let began = Instant::now();
    while round.invocations < effort.invocations_max
        && (round.invocations < effort.invocations_min || began.elapsed() < effort.measure)
    {
        let answer = invoke(&environment, load.function, &payloads, number).await?;
        round.times_ms.push(answer.took.as_secs_f64() * 1_000.0);
        round.invocations += 1;
        number += 1;
    }
    environment.idle().await?;
    round.events = round.invocations * load.total();
    round.cpu = environment.cpu()?.saturating_sub(round.cpu);
    round.own_cpu = own_cpu()?.saturating_sub(round.own_cpu);
    round.peak_kib = environment.peak_kib()?;
    round.log_bytes = environment.log_bytes()?.saturating_sub(round.log_bytes);
    round.tally = sink.ledger.take();
    environment.stop().await?;
    ensure!(round.tally.refused == 0, "the stand-in for AWS refused calls: {:?}", round.tally.calls);
    Ok(round)
}

async fn invoke(
    environment: &Environment,
    function: Function,
    payloads: &Payloads,
    number: usize,
) -> anyhow::Result<Answer> {
    environment.idle().await?;
    let answer = environment.invoke(payloads.at(number)).await?;
    check(function, &answer.body).with_context(|| String::from_utf8_lossy(&answer.body).into_owned())?;
    Ok(answer)
}

/// Makes sure that the work has been done: a request is answered 200, and no message of a batch failed.
///
/// # Errors
/// It has not.
pub fn check(function: Function, answer: &[u8]) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer).context("the answer is not JSON")?;
    match function {
        Function::Ingest => ensure!(answer["statusCode"] == 200, "the request was refused"),
        Function::Consume => {
            let failed = answer["batchItemFailures"].as_array().context("no list of failures")?;
            ensure!(failed.is_empty(), "messages failed");
        }
    }
    Ok(())
}

/// The CPU time of this process.
fn own_cpu() -> anyhow::Result<Duration> {
    Ok(Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?))
}

/// Puts the rounds of one subject and load together.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
pub fn summary(subject: &Subject, load: Load, rounds: &[Round]) -> Warm {
    let micros = |time: Duration, round: &Round| time.as_secs_f64() * 1e6 / round.events.max(1) as f64;
    let spread = |figure: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(figure).collect());
    let events: f64 = rounds.iter().map(|round| round.events as f64).sum();
    let invocations: f64 = rounds.iter().map(|round| round.invocations as f64).sum();
    let wall_ms: f64 = rounds.iter().flat_map(|round| &round.times_ms).sum();
    let service_ns: Vec<f64> = rounds.iter().flat_map(|round| &round.tally.service_ns).map(|ns| *ns as f64).collect();
    let in_sink_ms = service_ns.iter().sum::<f64>() / 1e6;
    let service = Percentiles::of(service_ns);
    let per_event =
        |count: &dyn Fn(&Tally) -> f64| rounds.iter().map(|round| count(&round.tally)).sum::<f64>() / events;
    let mut calls = std::collections::BTreeMap::new();
    for (action, count) in rounds.iter().flat_map(|round| &round.tally.calls) {
        *calls.entry(action.clone()).or_insert(0.0) += *count as f64 / invocations;
    }
    Warm {
        kind: subject.kind,
        load,
        cpu_us: spread(&|round| micros(round.cpu, round)),
        wall_us: spread(&|round| round.times_ms.iter().sum::<f64>() * 1e3 / round.events.max(1) as f64),
        latency_ms: Percentiles::of(rounds.iter().flat_map(|round| round.times_ms.clone()).collect()),
        peak_mib: spread(&|round| round.peak_kib as f64 / 1024.0),
        demand: Demand {
            calls: per_event(&|tally| tally.total_calls() as f64),
            messages: per_event(&|tally| tally.messages as f64),
            queue_units: per_event(&|tally| tally.queue_units as f64),
            items: per_event(&|tally| tally.items as f64),
            item_bytes: per_event(&|tally| tally.item_bytes as f64),
            write_units: per_event(&|tally| tally.write_units as f64),
            read_units: per_event(&|tally| tally.read_units),
        },
        calls,
        log_bytes: rounds.iter().map(|round| round.log_bytes as f64).sum::<f64>() / invocations,
        sink: SinkShare {
            p50_us: service.p50 / 1e3,
            p99_us: service.p99 / 1e3,
            cpu_us: spread(&|round| micros(round.own_cpu, round)).median,
            share_of_wall: in_sink_ms / wall_ms,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_was_done_counts() {
        for (function, answer, done) in [
            (Function::Ingest, r#"{"statusCode":200}"#, true),
            (Function::Ingest, r#"{"statusCode":503}"#, false),
            (Function::Consume, r#"{"batchItemFailures":[]}"#, true),
            (Function::Consume, r#"{"batchItemFailures":[{"itemIdentifier":"m"}]}"#, false),
            (Function::Consume, "{}", false),
            (Function::Consume, "", false),
        ] {
            assert_eq!(check(function, answer.as_bytes()).is_ok(), done, "{answer}");
        }
    }
}
