//! Instructions, counted by valgrind: they hardly depend on the machine and what else runs on it, so that a change in them
//! is one of the code.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::environment::Environment;
use crate::figure::Instructions;
use crate::load::Load;
use crate::prepare::Folders;
use crate::sink::Sink;
use crate::subject::{Function, Kind, Subject};

/// The events of the request that the cores are measured with.
pub const EVENTS: usize = 100;
/// What is counted: our functions, and `consume` in the packed storage mode.
const CORES: [&str; 3] = ["ingest", "consume", "packed"];
/// How often more a core runs in the second count than in the first, so that its start cancels out.
const MORE: u64 = 10;
/// What a change may add without anybody deciding on it, in percent. Two counts of the same code differ by less than a
/// thousandth.
const MARGIN_PCT: u64 = 5;
/// How long a count may take.
const COUNT_LIMIT: Duration = Duration::from_secs(60);
/// How long compiling may take.
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);
const VALGRIND: [&str; 2] = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// Instructions an event by core, in the profile of development: what is allowed at the most.
type Budget = BTreeMap<String, u64>;

/// Counts the cores of our functions, and compares them with the budget, or with `update` writes it anew.
///
/// # Errors
/// A core takes more than is allowed; or valgrind cannot be run.
pub async fn check(folders: &Folders, update: bool) -> anyhow::Result<()> {
    let build = ["build", "--quiet", "-p", "bench", "--bin", "core"];
    let mut cargo = Command::new("cargo");
    cargo.args(build).current_dir(&folders.root).kill_on_drop(true);
    let built = tokio::time::timeout(BUILD_LIMIT, cargo.status()).await.context("compiling took too long")??;
    ensure!(built.success(), "cargo ended with {built}");
    let path = folders.root.join("bench/budget.json");
    let mut counted = Budget::new();
    for name in CORES {
        let core = folders.target.join("debug/core");
        let few = count(&core, &[name, "1"]).await?;
        let many = count(&core, &[name, &(1 + MORE).to_string()]).await?;
        counted.insert(name.to_owned(), many.saturating_sub(few) / (MORE * EVENTS as u64));
    }
    if update {
        let allowed: Budget =
            counted.iter().map(|(name, count)| (name.clone(), count + count * MARGIN_PCT / 100)).collect();
        std::fs::write(&path, serde_json::to_string_pretty(&allowed)? + "\n")?;
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (lines, kept) = compare(&counted, &serde_json::from_str(&text)?);
    println!("{lines}");
    ensure!(kept, "more instructions than bench/budget.json allows; if they are worth it, `bench budget --update`");
    Ok(())
}

/// What was counted beside what is allowed, and whether that is kept.
fn compare(counted: &Budget, allowed: &Budget) -> (String, bool) {
    let allowed = |name: &str| allowed.get(name).copied().unwrap_or_default();
    let line = |(name, count): (&String, &u64)| {
        format!("{name}: {count} instructions an event, of {} that are allowed", allowed(name))
    };
    let kept = counted.iter().all(|(name, count)| *count <= allowed(name));
    (counted.iter().map(line).collect::<Vec<_>>().join("\n"), kept)
}

async fn count(program: &Path, arguments: &[&str]) -> anyhow::Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(VALGRIND).arg(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(COUNT_LIMIT, command.output()).await.context("valgrind took too long")?;
    let output = ran.context("valgrind cannot be run; is it installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {said}", program.display(), output.status);
    collected(&said)
}

/// What valgrind says at the end: `Collected : 24121449`.
fn collected(said: &str) -> anyhow::Result<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, count)| count.trim().parse().ok()).context("valgrind has counted nothing")
}

/// Invocations of the second count more than in the first.
const MORE_INVOCATIONS: usize = 20;

/// Counts our functions and the floor as whole processes: SDK, TLS and runtime included.
///
/// # Errors
/// A subject does not do its work under valgrind, or valgrind cannot be run.
pub async fn of_processes(subjects: &[Subject], sink: &Sink, logs: &Path) -> anyhow::Result<Vec<Instructions>> {
    let mut rows = Vec::new();
    for subject in subjects.iter().filter(|subject| matches!(subject.kind, Kind::Holdfast | Kind::Floor)) {
        let load = match subject.function {
            Function::Ingest => Load::request(100),
            Function::Consume => Load::batch(100, 1),
        };
        let first = of_process(subject, load, 1, sink, logs).await?;
        let more = of_process(subject, load, 1 + MORE_INVOCATIONS, sink, logs).await?;
        #[expect(clippy::cast_precision_loss, reason = "counts of seconds are far below 2^52")]
        rows.push(Instructions {
            kind: subject.kind,
            load,
            start_millions: first as f64 / 1e6,
            event_thousands: more.saturating_sub(first) as f64 / (MORE_INVOCATIONS * load.total()) as f64 / 1e3,
        });
    }
    Ok(rows)
}

async fn of_process(
    subject: &Subject,
    load: Load,
    invocations: usize,
    sink: &Sink,
    logs: &Path,
) -> anyhow::Result<u64> {
    let mut args = VALGRIND.map(str::to_owned).to_vec();
    args.push(subject.command.to_string_lossy().into_owned());
    let under_valgrind = Subject { command: "valgrind".into(), args, ..subject.clone() };
    let payloads = load.payloads(subject.kind)?;
    let environment = Environment::start(&under_valgrind, sink, logs).await?;
    for number in 0..invocations {
        environment.idle().await?;
        let answer = environment.invoke(payloads.at(number)).await?;
        crate::warm::check(load.function, &answer.body)?;
    }
    environment.idle().await?;
    let said = environment.terminate().await?;
    if said.is_empty() {
        bail!("valgrind said nothing");
    }
    collected(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(ingest: u64, consume: u64) -> Budget {
        BTreeMap::from([("ingest".to_owned(), ingest), ("consume".to_owned(), consume)])
    }

    #[test]
    fn one_instruction_too_many_is_too_many() {
        let allowed = budget(100, 200);
        assert!(compare(&budget(100, 200), &allowed).1);
        assert!(!compare(&budget(100, 201), &allowed).1);
        let (lines, kept) = compare(&budget(101, 200), &allowed);
        assert!(!kept && lines.contains("ingest: 101 instructions an event, of 100 that are allowed"), "{lines}");
        assert!(!compare(&budget(1, 1), &Budget::new()).1, "what has no budget has none to keep");
    }

    #[test]
    fn what_valgrind_has_counted_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 24121449\n==1==").unwrap(), 24_121_449);
        assert!(collected("==1== Command: core").is_err());
    }
}
