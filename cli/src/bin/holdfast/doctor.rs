//! `holdfast doctor`.

use std::time::{Duration, Instant};

use cli::doctor::{self, QUEUES, TABLES, canary};
use consume::table::{Guard, Item, Key, Replace, Table};
use serde::Serialize;

use crate::Answer;
use crate::args::DoctorArgs;
use crate::output::Output;
use crate::text::{BAD, FAINT, GOOD, count, harmless, styled};
use crate::world::World;

/// What one check came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    name: String,
    ok: bool,
    /// What was found, or what is wrong: each in a line.
    found: Vec<String>,
    millis: u64,
}

/// The checks so far, each shown as soon as it is done.
struct Checks<'a> {
    output: &'a mut Output,
    failed: usize,
    done: usize,
}

impl Checks<'_> {
    /// Does a check. `Err` are the things that are wrong.
    async fn check(
        &mut self,
        name: &str,
        check: impl Future<Output = Result<String, Vec<String>>>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let result = check.await;
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (ok, found) = match result {
            Ok(found) => (true, vec![found]),
            Err(problems) => (false, problems),
        };
        self.done += 1;
        self.failed += usize::from(!ok);
        let check = Check { name: name.to_owned(), ok, found, millis };
        if self.output.json {
            return self.output.object(&check);
        }
        let mark = if ok { styled(GOOD, "ok  ") } else { styled(BAD, "BAD ") };
        let (first, rest) = check.found.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let took = styled(FAINT, &format!("{millis} ms"));
        self.output.line(&format!("{mark} {name:<28} {}  {took}", harmless(first)))?;
        rest.iter().try_for_each(|problem| self.output.line(&format!("{:<34}{}", "", harmless(problem))))
    }
}

pub(crate) async fn doctor(world: &World, output: &mut Output, arguments: &DoctorArgs) -> anyhow::Result<Answer> {
    let mut checks = Checks { output, failed: 0, done: 0 };
    api(world, &mut checks).await?;
    queues(world, &mut checks).await?;
    tables(world, &mut checks).await?;
    if !world.stack.is_local {
        functions(world, &mut checks).await?;
    }
    if !arguments.no_canary {
        checks
            .check("a canary event", async {
                let http = world.http().map_err(|error| vec![error.to_string()])?;
                let flown =
                    canary(&world.events(), &http, world.now()).await.map_err(|error| vec![error.to_string()])?;
                let millis = |duration: Duration| duration.as_millis();
                Ok(format!(
                    "accepted after {} ms, stored after {} ms, and taken away",
                    millis(flown.accepted),
                    millis(flown.stored)
                ))
            })
            .await?;
    }
    let Checks { failed, done, .. } = checks;
    if !output.json {
        let text = format!("{}, {failed} not well", count(done, "check"));
        output.line(&styled(if failed == 0 { GOOD } else { BAD }, &text))?;
    }
    Ok(if failed == 0 { Answer::Yes } else { Answer::No })
}

/// Nothing wrong, or all that is.
fn none_or(problems: Vec<String>, fine: &str) -> Result<String, Vec<String>> {
    if problems.is_empty() { Ok(fine.to_owned()) } else { Err(problems) }
}

async fn api(world: &World, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    for path in ["/health", "/ready"] {
        let name = format!("GET {path}");
        let asked = async {
            let http = world.http().map_err(|error| vec![error.to_string()])?;
            let answer = http.get(path).await.map_err(|error| vec![error.to_string()])?;
            let said = String::from_utf8_lossy(&answer.body).chars().take(200).collect::<String>();
            if answer.status == 200 { Ok("200".to_owned()) } else { Err(vec![format!("{} {said}", answer.status)]) }
        };
        checks.check(&name, asked).await?;
    }
    Ok(())
}

async fn queues(world: &World, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let urls = [&world.stack.events_queue_url, &world.stack.quarantine_queue_url];
    for (expected, url) in QUEUES.iter().zip(urls) {
        let looked = async {
            let problem = |error: cli::aws::CallError| vec![error.to_string()];
            let attributes = world.clients.queue_attributes(url).await.map_err(problem)?;
            let quarantine =
                world.clients.queue_attributes(&world.stack.quarantine_queue_url).await.map_err(problem)?;
            let arn = quarantine.get("QueueArn").map_or("", String::as_str);
            none_or(doctor::queue(expected, &attributes, arn), "its attributes are as the code expects")
        };
        checks.check(&format!("queue: {}", expected.name), looked).await?;
    }
    Ok(())
}

async fn tables(world: &World, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let stack = &world.stack;
    let names = [&stack.events_table, &stack.dead_letters_table, &stack.spill_table];
    for (expected, name) in TABLES.iter().zip(names) {
        let described = async {
            let facts = world.clients.table_facts(name).await.map_err(|error| vec![error.to_string()])?;
            none_or(doctor::table(expected, &facts), "key, expiry and stream are as the code expects")
        };
        checks.check(&format!("table: {}", expected.name), described).await?;
    }
    checks.check("permission to read", may_read(world)).await?;
    checks.check("permission to write", may_write(world)).await
}

/// Reads of each kind that the commands make.
async fn may_read(world: &World) -> Result<String, Vec<String>> {
    let key = Key { pk: NOBODY.to_owned(), sk: NOBODY.to_owned() };
    let mut problems = Vec::new();
    let tables = [("events", world.events()), ("dead letters", world.letters()), ("spill", world.spill())];
    for (name, table) in &tables {
        if let Err(cause) = table.get(std::slice::from_ref(&key), None).await {
            problems.push(format!("BatchGetItem on the table of {name}: {}", cause.tag()));
        }
    }
    for (name, table) in &tables[..2] {
        if let Err(cause) = table.query(NOBODY, "x", None).await {
            problems.push(format!("Query on the table of {name}: {}", cause.tag()));
        }
    }
    none_or(problems, "keys, people and letters can be read")
}

/// The key of an item that is never there.
const NOBODY: &str = "DOCTOR";

/// Writes whose condition cannot hold, so that nothing is written.
async fn may_write(world: &World) -> Result<String, Vec<String>> {
    let mut item = Item {
        key: Key { pk: NOBODY.to_owned(), sk: NOBODY.to_owned() },
        attributes: std::collections::BTreeMap::default(),
    };
    item.number("ver", 1);
    let mut problems = Vec::new();
    for (name, table) in [("events", world.events()), ("dead letters", world.letters())] {
        match table.replace(&item, Guard::Equals("ver", -1)).await {
            Ok(false) => {}
            Ok(true) => problems.push(format!("the table of {name} has an item {NOBODY} that nobody makes")),
            Err(Replace::Failed(cause)) => problems.push(format!("PutItem on the table of {name}: {}", cause.tag())),
            Err(Replace::Refused(detail)) => problems.push(format!("PutItem on the table of {name}: {detail}")),
        }
    }
    none_or(problems, "keys and letters can be changed")
}

/// What only AWS has: the functions, and what invokes them.
async fn functions(world: &World, checks: &mut Checks<'_>) -> anyhow::Result<()> {
    let (stack, clients) = (&world.stack, &world.clients);
    type Judge = fn(&cli::stack::Stack, &doctor::FunctionFacts) -> Vec<String>;
    let functions: [(&str, &String, Judge); 2] = [
        ("ingest", &stack.ingest_function, doctor::ingest_function),
        ("consume", &stack.consume_function, doctor::consume_function),
    ];
    for (name, function, judge) in functions {
        let described = async {
            let facts = clients.function_facts(function).await.map_err(|error| vec![error.to_string()])?;
            none_or(judge(stack, &facts), "variables, memory and time-out are as the code expects")
        };
        checks.check(&format!("function: {name}"), described).await?;
    }
    let mapped = async {
        let problem = |error: cli::aws::CallError| vec![error.to_string()];
        let queue = clients.queue_attributes(&stack.events_queue_url).await.map_err(problem)?;
        let quarantine = clients.queue_attributes(&stack.quarantine_queue_url).await.map_err(problem)?;
        let arn = |attributes: &std::collections::BTreeMap<String, String>| {
            attributes.get("QueueArn").cloned().unwrap_or_default()
        };
        let stream = clients.table_facts(&stack.spill_table).await.map_err(problem)?.stream_arn.unwrap_or_default();
        let (queue, quarantine) = (arn(&queue), arn(&quarantine));
        let sources = [("queue", queue.as_str()), ("quarantine", quarantine.as_str()), ("spill", stream.as_str())];
        let facts = clients.mapping_facts(&stack.consume_function).await.map_err(problem)?;
        none_or(doctor::mappings(&sources, &facts), "queue, quarantine and spill stream are on")
    };
    checks.check("what invokes consume", mapped).await
}
