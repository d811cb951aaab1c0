//! `holdfast load`: bounded load, and whether everything that was acknowledged is stored exactly once.

use std::time::Duration;

use anyhow::{Context, bail};
use cli::keys::random_key;
use cli::load::{Checked, Outcome, Plan, check, run};
use consume::table::{Key, Value as Attribute, get_all};
use serde_json::json;
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_hash, write_key_partition};

use crate::Answer;
use crate::args::LoadArgs;
use crate::output::Output;
use crate::progress::{bar, interrupted};
use crate::text::{BAD, FAINT, GOOD, count, harmless, styled};
use crate::world::World;

/// The shares of requests whose latency is told.
const QUANTILES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "longest")];

pub(crate) async fn load(world: &World, output: &mut Output, arguments: &LoadArgs) -> anyhow::Result<Answer> {
    if !is_loopback(&world.stack.api_url) && !arguments.yes {
        bail!("{} is not on this machine; --yes sends load to it, which costs what events cost", world.stack.api_url);
    }
    let write_key = world.write_key(arguments.write_key.as_deref())?;
    let project = project(world, &write_key).await?;
    let plan = Plan {
        run: format!("load-{}", random_key()),
        time: world.now(),
        write_key,
        rate: arguments.rate,
        seconds: arguments.seconds,
        clients: arguments.clients,
        batch: arguments.batch,
        users: arguments.users,
    };
    let plan = plan.checked()?;
    let http = world.http()?;
    let progress = bar(plan.events(), "events", output.json);
    let outcome = run(&http, &plan, interrupted(), |so_far| {
        progress.set_position(so_far.acknowledged + so_far.refused + so_far.failed);
        progress.set_message(format!("{} tried again", so_far.again));
    })
    .await;
    progress.finish_and_clear();
    if !output.json {
        show_run(output, &outcome)?;
        output.line(&styled(FAINT, "looking for each event in the table"))?;
    }
    let patience = Duration::from_secs(u64::from(arguments.patience));
    let checked = check(&world.events(), &project, &plan, &outcome.acknowledged, patience).await;
    let checked = checked.map_err(|cause| anyhow::anyhow!("the events table could not be read ({})", cause.tag()))?;
    if output.json {
        output.object(&object(&plan, &outcome, &checked))?;
    } else {
        show_check(output, &checked)?;
        output.line(&styled(FAINT, &format!("the users {}-user-… of project {project} are left", plan.run)))?;
    }
    let is_well = checked.is_right() && outcome.progress.refused + outcome.progress.failed == 0;
    Ok(if is_well { Answer::Yes } else { Answer::No })
}

/// Whether an address is on this machine, whatever becomes of names.
fn is_loopback(url: &str) -> bool {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = address.split('/').next().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.split(']').next())
        .unwrap_or_else(|| host.split(':').next().unwrap_or_default());
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The project that a write key's events belong to.
async fn project(world: &World, write_key: &str) -> anyhow::Result<String> {
    let key = Key { pk: write_key_partition(&write_key_hash(write_key)), sk: WRITE_KEY_SORT.to_owned() };
    let found = get_all(&world.events(), vec![key.clone()], None).await;
    let found = found.map_err(|cause| anyhow::anyhow!("the write key could not be looked up ({})", cause.tag()))?;
    let item = found.get(&key).context("this write key is nobody's; make one with holdfast keys create")?;
    let project = item.get(write_key_attribute::PROJECT).and_then(Attribute::text);
    project.map(str::to_owned).context("this write key belongs to no project")
}

fn millis(outcome: &Outcome, quantile: f64) -> f64 {
    let micros = u32::try_from(outcome.latency.value_at_quantile(quantile)).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}

/// Events a second that were acknowledged.
fn throughput(outcome: &Outcome) -> f64 {
    let acknowledged = u32::try_from(outcome.progress.acknowledged).unwrap_or(u32::MAX);
    f64::from(acknowledged) / outcome.took.as_secs_f64().max(0.001)
}

fn show_run(output: &mut Output, outcome: &Outcome) -> anyhow::Result<()> {
    let progress = &outcome.progress;
    output.line(&format!(
        "{} events acknowledged in {:.1} s ({:.0} a second), {} refused, {} not accepted, {} tries again",
        progress.acknowledged,
        outcome.took.as_secs_f64(),
        throughput(outcome),
        progress.refused,
        progress.failed,
        progress.again
    ))?;
    if !outcome.trouble.is_empty() {
        output.line(&styled(BAD, &format!("the last trouble: {}", harmless(&outcome.trouble))))?;
    }
    let latency = QUANTILES.map(|(quantile, name)| format!("{name} {:.1} ms", millis(outcome, quantile)));
    output.line(&format!("latency from when a request was due: {}", latency.join(", ")))
}

fn show_check(output: &mut Output, checked: &Checked) -> anyhow::Result<()> {
    let text = format!(
        "{} acknowledged and stored exactly once, {} missing, {} stored more than once, {} stored without an acknowledgement, after {:.1} s",
        checked.once,
        checked.missing,
        checked.doubled,
        checked.unacknowledged,
        checked.took.as_secs_f64()
    );
    output.line(&styled(if checked.is_right() { GOOD } else { BAD }, &text))?;
    if !checked.examples.is_empty() {
        let examples = checked.examples.join(", ");
        output.line(&format!("{}: {examples}", count(checked.examples.len(), "example")))?;
    }
    Ok(())
}

fn object(plan: &Plan, outcome: &Outcome, checked: &Checked) -> serde_json::Value {
    let latency: serde_json::Map<String, serde_json::Value> =
        QUANTILES.iter().map(|(quantile, name)| ((*name).to_owned(), json!(millis(outcome, *quantile)))).collect();
    json!({
        "run": plan.run,
        "events": plan.events(),
        "acknowledged": outcome.progress.acknowledged,
        "refused": outcome.progress.refused,
        "failed": outcome.progress.failed,
        "triesAgain": outcome.progress.again,
        "tookSeconds": outcome.took.as_secs_f64(),
        "eventsPerSecond": throughput(outcome),
        "latencyMs": latency,
        "once": checked.once,
        "missing": checked.missing,
        "doubled": checked.doubled,
        "unacknowledged": checked.unacknowledged,
        "examples": checked.examples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for url in ["http://127.0.0.1:3000", "http://localhost", "http://[::1]:3000/x", "http://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in
            ["https://localhost.example.com", "http://127.0.0.1.example.com", "https://example.com/127.0.0.1", ""]
        {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
