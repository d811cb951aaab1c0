//! The crate `segment`: makes the calls that it is told on stdin; `client_process.py` says what is in them.
//!
//! The crate tries nothing again, so its caller does. Its time-out is that of the HTTP client that it is given.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use segment::message::{Alias, BatchMessage, Group, Identify, Page, Screen, Track, User};
use segment::{AutoBatcher, Batcher, Client, HttpClient, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Between two tries of a caller.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Plan {
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Task {
    name: String,
    write_key: String,
    host: String,
    timeout_seconds: Option<f64>,
    tries: usize,
    #[serde(default)]
    batcher: bool,
    #[serde(default)]
    auto_batcher: bool,
    calls: Vec<Call>,
}

#[derive(Clone, Deserialize)]
struct Call {
    #[serde(rename = "call")]
    method: String,
    user: String,
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    both: bool,
    event: Option<String>,
    name: Option<String>,
    #[serde(default)]
    properties: Value,
    #[serde(default)]
    traits: Value,
    group: Option<String>,
    previous: Option<String>,
    timestamp: Option<String>,
    context: Option<Value>,
    integrations: Option<Value>,
    message_id: Option<String>,
}

#[derive(Default, Serialize)]
struct Done {
    name: String,
    failures: BTreeMap<String, usize>,
    gave_up: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_reader(std::io::stdin()).context("reading the tasks")?;
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = plan.tasks.into_iter().map(|task| local.spawn_local(run(task))).collect();
    local
        .run_until(async {
            for task in tasks {
                println!("{}", serde_json::to_string(&task.await??)?);
            }
            Ok(())
        })
        .await
}

async fn run(task: Task) -> anyhow::Result<Done> {
    let mut done = Done { name: task.name.clone(), ..Done::default() };
    let http = reqwest::Client::builder().timeout(Duration::from_secs_f64(task.timeout_seconds.unwrap_or(30.0)));
    let client = HttpClient::new(http.build()?, task.host.clone());
    if task.batcher {
        let mut batcher = Batcher::new(None);
        for call in &task.calls {
            batcher.push(message(call)?)?;
        }
        client.send(task.write_key.clone(), batcher.into_message()).await?;
        return Ok(done);
    }
    if task.auto_batcher {
        let mut batcher = AutoBatcher::new(client, Batcher::new(None), task.write_key.clone());
        for call in &task.calls {
            batcher.push(message(call)?).await?;
        }
        batcher.flush().await?;
        return Ok(done);
    }
    for call in &task.calls {
        let mut delivered = false;
        for attempt in 0..task.tries {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            delivered = client.send(task.write_key.clone(), single(message(call)?)).await.is_ok();
            if delivered {
                break;
            }
            *done.failures.entry(call.user.clone()).or_default() += 1;
        }
        if !delivered {
            done.gave_up.push(call.user.clone());
        }
    }
    Ok(done)
}

/// The same call, sent by itself.
fn single(message: BatchMessage) -> Message {
    match message {
        BatchMessage::Identify(call) => Message::Identify(call),
        BatchMessage::Track(call) => Message::Track(call),
        BatchMessage::Page(call) => Message::Page(call),
        BatchMessage::Screen(call) => Message::Screen(call),
        BatchMessage::Group(call) => Message::Group(call),
        BatchMessage::Alias(call) => Message::Alias(call),
    }
}

fn message(call: &Call) -> anyhow::Result<BatchMessage> {
    let call = call.clone();
    let user_id = call.user.clone();
    let user = match (call.anonymous, call.both) {
        (true, _) => User::AnonymousId { anonymous_id: user_id },
        (_, true) => User::Both { anonymous_id: format!("{user_id}/anonymous"), user_id },
        _ => User::UserId { user_id },
    };
    let timestamp = call.timestamp.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose()?;
    let (context, integrations, properties, traits) = (call.context, call.integrations, call.properties, call.traits);
    let extra: Map<String, Value> =
        call.message_id.into_iter().map(|id| ("messageId".to_owned(), Value::String(id))).collect();
    let name = call.name.unwrap_or_default();
    Ok(match call.method.as_str() {
        "identify" => Identify { user, traits, timestamp, context, integrations, extra }.into(),
        "track" => {
            let event = call.event.context("a track call needs an event")?;
            Track { user, event, properties, timestamp, context, integrations, extra }.into()
        }
        "page" => Page { user, name, properties, timestamp, context, integrations, extra }.into(),
        "screen" => Screen { user, name, properties, timestamp, context, integrations, extra }.into(),
        "group" => {
            let group_id = call.group.context("a group call needs a group")?;
            Group { user, group_id, traits, timestamp, context, integrations, extra }.into()
        }
        "alias" => {
            let previous_id = call.previous.context("an alias call needs a former id")?;
            Alias { user, previous_id, timestamp, context, integrations, extra }.into()
        }
        other => bail!("there is no call {other:?}"),
    })
}
