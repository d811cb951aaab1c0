//! What a start takes: from the start of the process to the end of its first answer, connections included.

use std::path::Path;
use std::time::Duration;

use crate::environment::Environment;
use crate::figure::{Cold, Largest};
use crate::load::Load;
use crate::sink::Sink;
use crate::stats::Spread;
use crate::subject::{Function, Subject};
use crate::warm;
use crate::workload::{LEAST_BYTES, TYPICAL_BYTES, http_payload, segment_batch};

/// One start.
pub struct Start {
    init: Duration,
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

/// The first thing that an environment is given: ten events.
fn first_load(function: Function) -> Load {
    match function {
        Function::Ingest => Load::request(10),
        Function::Consume => Load::batch(10, 1),
    }
}

/// Starts an environment, has it answer once, and ends it.
///
/// # Errors
/// It does not start, or does not do its work.
pub async fn measure(subject: &Subject, sink: &Sink, logs: &Path) -> anyhow::Result<Start> {
    let payload = first_load(subject.function).payloads(subject.kind)?.at(0);
    let environment = Environment::start(subject, sink, logs).await?;
    environment.idle().await?;
    let init = environment.age();
    let answer = environment.invoke(payload).await?;
    let (wall, cpu) = (environment.age(), environment.cpu()?);
    warm::check(subject.function, &answer.body)?;
    let peak_kib = environment.peak_kib()?;
    environment.stop().await?;
    Ok(Start { init, wall, cpu, peak_kib })
}

/// Puts the starts of one subject together.
#[must_use]
pub fn summary(subject: &Subject, starts: &[Start]) -> Cold {
    let millis = |figure: fn(&Start) -> Duration| {
        Spread::of(starts.iter().map(|start| figure(start).as_secs_f64() * 1_000.0).collect())
    };
    #[expect(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    let peak_mib = Spread::of(starts.iter().map(|start| start.peak_kib as f64 / 1_024.0).collect());
    Cold {
        kind: subject.kind,
        function: subject.function,
        init_ms: millis(|start| start.init),
        wall_ms: millis(|start| start.wall),
        cpu_ms: millis(|start| start.cpu),
        peak_mib,
    }
}

/// How often a largest payload is given: memory that an allocator keeps shows at the second.
const REPETITIONS: usize = 3;

/// Measures the memory of the largest payloads that are accepted: 1 MiB of as many events as a batch may have, 1 MiB of
/// typical events, and a full batch of messages.
///
/// # Errors
/// A payload is not accepted.
pub async fn largest(subject: &Subject, sink: &Sink, logs: &Path) -> anyhow::Result<Vec<Largest>> {
    const MIB: usize = 1024 * 1024;
    let request = |events: usize, bytes: usize| http_payload(&segment_batch(0, events, bytes), "dev");
    let payloads = match subject.function {
        Function::Ingest => vec![
            ("1 MiB, 2,500 events", request(2_500, MIB / 2_500 - 2)),
            ("1 MiB, typical events", request(MIB / (TYPICAL_BYTES + 2), TYPICAL_BYTES)),
        ],
        Function::Consume if subject.kind.is_ours() => {
            let small = Load::batch(10, 600).of_bytes(LEAST_BYTES);
            vec![
                ("10 messages of 256 KiB, small events", small.payloads(subject.kind)?.at(0)),
                ("10 messages of 256 KiB, typical events", Load::batch(10, 170).payloads(subject.kind)?.at(0)),
            ]
        }
        Function::Consume => {
            vec![("1,700 messages, typical events", Load::batch(1_700, 1).payloads(subject.kind)?.at(0))]
        }
    };
    let mut rows = Vec::new();
    for (shape, payload) in payloads {
        let environment = Environment::start(subject, sink, logs).await?;
        for _ in 0..REPETITIONS {
            environment.idle().await?;
            let answer = environment.invoke(payload.clone()).await?;
            warm::check(subject.function, &answer.body)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        let peak_mib = environment.peak_kib()? as f64 / 1_024.0;
        environment.stop().await?;
        let (kind, function, shape) = (subject.kind, subject.function, shape.to_owned());
        rows.push(Largest { kind, function, shape, payload_bytes: payload.len(), peak_mib });
    }
    Ok(rows)
}
