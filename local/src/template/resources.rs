//! Resources as types: tables, queues and functions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_yaml_ng::{Mapping, Value};

use super::value::{Evaluator, mapping, scalar, text};
use super::{Function, Key, Queue, Redrive, Table, Template, sources};

/// Lambda's memory where neither function nor globals set it, in MB (Lambda API reference).
const MEMORY_MB_DEFAULT: u32 = 128;
/// Lambda's time-out where neither function nor globals set it, in seconds (Lambda API reference).
const TIMEOUT_SECS_DEFAULT: u32 = 3;

/// Queue properties that `CreateQueue` takes under the same name.
const QUEUE_ATTRIBUTES: [&str; 6] = [
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

/// Reads all resources of the kinds that run on one machine; of other kinds nothing is read.
pub(super) fn read(template: &Evaluator) -> anyhow::Result<Template> {
    let (mut tables, mut queues, mut functions) = (Vec::new(), Vec::new(), Vec::<Function>::new());
    for (logical_id, resource) in template.resources()? {
        let kind = resource.get("Type").with_context(|| format!("{logical_id}.Type is missing"))?;
        match kind.as_str() {
            Some("AWS::DynamoDB::Table") => tables.push(table(template, &Node::new(template, logical_id, resource)?)?),
            Some("AWS::SQS::Queue") => queues.push(queue(template, &Node::new(template, logical_id, resource)?)?),
            Some("AWS::Serverless::Function") => functions.push(function(template, logical_id, resource)?),
            Some(_) => {}
            None => bail!("{logical_id}.Type is not a text"),
        }
    }
    for function in &functions {
        for mapping in &function.queue_mappings {
            let known = queues.iter().any(|queue: &Queue| queue.arn == mapping.queue_arn);
            ensure!(known, "the event {} reads {}, which is no queue of the template", mapping.name, mapping.queue_arn);
        }
        for mapping in &function.stream_mappings {
            let arn = &mapping.stream_arn;
            let known = tables.iter().any(|table: &Table| table.stream_arn.as_ref() == Some(arn));
            ensure!(known, "the event {} reads {arn}, which is no stream of the template", mapping.name);
        }
    }
    Ok(Template { tables, queues, functions })
}

/// A resolved mapping that knows where in the template it stands.
pub(super) struct Node {
    path: String,
    pub(super) entries: Mapping,
}

impl Node {
    /// The properties of a resource.
    fn new(template: &Evaluator, logical_id: &str, resource: &Value) -> anyhow::Result<Self> {
        let empty = Value::Mapping(Mapping::new());
        Self::resolved(template, logical_id.to_owned(), resource.get("Properties").unwrap_or(&empty))
    }

    pub(super) fn resolved(template: &Evaluator, path: String, value: &Value) -> anyhow::Result<Self> {
        let resolved = template.resolve(value).with_context(|| path.clone())?.unwrap_or(Value::Null);
        Ok(Self { entries: mapping(&resolved).with_context(|| path.clone())?.clone(), path })
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.entries.get(name)
    }

    pub(super) fn child(&self, name: &str) -> anyhow::Result<Option<Self>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let path = self.path(name);
        Ok(Some(Self { entries: mapping(value).with_context(|| path.clone())?.clone(), path }))
    }

    pub(super) fn children(&self, name: &str) -> anyhow::Result<Vec<Self>> {
        let path = self.path(name);
        let items = self.get(name).and_then(Value::as_sequence).with_context(|| format!("{path} is not a list"))?;
        let child = |item| Ok(Self { path: path.clone(), entries: mapping(item).context(path.clone())?.clone() });
        items.iter().map(child).collect()
    }

    pub(super) fn text(&self, name: &str) -> anyhow::Result<String> {
        self.text_if_any(name)?.with_context(|| format!("{} is missing", self.path(name)))
    }

    pub(super) fn text_if_any(&self, name: &str) -> anyhow::Result<Option<String>> {
        self.get(name).map(scalar).transpose().with_context(|| self.path(name))
    }

    pub(super) fn number(&self, name: &str) -> anyhow::Result<Option<u32>> {
        let Some(text) = self.text_if_any(name)? else { return Ok(None) };
        text.parse().map(Some).with_context(|| format!("{} is {text:?}, not a whole number", self.path(name)))
    }
}

fn table(template: &Evaluator, node: &Node) -> anyhow::Result<Table> {
    let mut kinds = BTreeMap::new();
    for definition in node.children("AttributeDefinitions")? {
        kinds.insert(definition.text("AttributeName")?, definition.text("AttributeType")?);
    }
    let (mut partition_key, mut sort_key) = (None, None);
    for element in node.children("KeySchema")? {
        let attribute = element.text("AttributeName")?;
        let kind = kinds
            .remove(&attribute)
            .with_context(|| format!("{} lacks {attribute}, a key", node.path("AttributeDefinitions")))?;
        let slot = match element.text("KeyType")?.as_str() {
            "HASH" => &mut partition_key,
            "RANGE" => &mut sort_key,
            other => bail!("{} is {other:?}, not HASH or RANGE", element.path("KeyType")),
        };
        ensure!(slot.is_none(), "{} names two keys of one kind", element.path);
        *slot = Some(Key { attribute, kind });
    }
    if let Some(attribute) = kinds.keys().next() {
        bail!("{} has {attribute}, which is no key", node.path("AttributeDefinitions"));
    }
    for index in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        ensure!(node.get(index).is_none(), "{} is not known here", node.path(index));
    }
    let ttl_attribute = match node.child("TimeToLiveSpecification")? {
        Some(ttl) if ttl.text("Enabled")? == "true" => Some(ttl.text("AttributeName")?),
        _ => None,
    };
    let (stream_view_type, stream_arn) = match node.child("StreamSpecification")? {
        Some(stream) => (Some(stream.text("StreamViewType")?), Some(template.attribute(&node.path, "StreamArn")?)),
        None => (None, None),
    };
    Ok(Table {
        name: template.name(&node.path)?,
        partition_key: partition_key.with_context(|| format!("{} has no HASH key", node.path("KeySchema")))?,
        sort_key,
        ttl_attribute,
        stream_view_type,
        stream_arn,
        logical_id: node.path.clone(),
    })
}

fn queue(template: &Evaluator, node: &Node) -> anyhow::Result<Queue> {
    let mut attributes = BTreeMap::new();
    for (name, value) in &node.entries {
        let name = text(name).with_context(|| node.path.clone())?;
        let path = || node.path(name);
        let attribute = match name {
            "QueueName" | "Tags" => continue,
            "RedrivePolicy" | "RedriveAllowPolicy" => serde_json::to_string(value).with_context(path)?,
            _ if QUEUE_ATTRIBUTES.contains(&name) => scalar(value).with_context(path)?,
            _ => bail!("{} is not known here", path()),
        };
        attributes.insert(name.to_owned(), attribute);
    }
    let redrive = match node.child("RedrivePolicy")? {
        Some(policy) => Some(Redrive {
            dead_letter_arn: policy.text("deadLetterTargetArn")?,
            max_receive_count: policy
                .number("maxReceiveCount")?
                .with_context(|| format!("{} is missing", policy.path("maxReceiveCount")))?,
        }),
        None => None,
    };
    let reference = template.resolve(&reference(&node.path))?;
    Ok(Queue {
        name: template.name(&node.path)?,
        url: reference.as_ref().and_then(Value::as_str).map(str::to_owned).context("a queue without a URL")?,
        arn: template.attribute(&node.path, "Arn")?,
        attributes,
        redrive,
        logical_id: node.path.clone(),
    })
}

fn reference(logical_id: &str) -> Value {
    let (tag, value) = (serde_yaml_ng::value::Tag::new("Ref"), Value::String(logical_id.to_owned()));
    Value::Tagged(Box::new(serde_yaml_ng::value::TaggedValue { tag, value }))
}

fn function(template: &Evaluator, logical_id: &str, resource: &Value) -> anyhow::Result<Function> {
    let properties = resource.get("Properties").cloned().unwrap_or(Value::Mapping(Mapping::new()));
    let properties = match template.function_globals() {
        Some(globals) => merge(globals.clone(), properties),
        None => properties,
    };
    // Roles, log groups and the like have no stand-in, so only what is needed is resolved.
    let wanted = ["MemorySize", "Timeout", "Environment"];
    let properties = mapping(&properties).with_context(|| logical_id.to_owned())?;
    let needed = properties.iter().filter(|(name, _)| name.as_str().is_some_and(|name| wanted.contains(&name)));
    let needed = needed.map(|(name, value)| (name.clone(), value.clone())).collect();
    let node = Node::resolved(template, logical_id.to_owned(), &Value::Mapping(needed))?;

    let mut environment = BTreeMap::new();
    if let Some(variables) = node.child("Environment")?.map(|node| node.child("Variables")).transpose()?.flatten() {
        for name in variables.entries.keys() {
            let name = text(name).with_context(|| variables.path.clone())?;
            environment.insert(name.to_owned(), variables.text(name)?);
        }
    }
    let binary = resource.get("Metadata").and_then(|metadata| metadata.get("BuildProperties"));
    let binary = binary.and_then(|properties| properties.get("Binary")).and_then(Value::as_str);
    let (mut http_routes, mut queue_mappings) = (Vec::new(), Vec::new());
    let (mut stream_mappings, mut schedules) = (Vec::new(), Vec::new());
    for (name, event) in properties.get("Events").map(mapping).transpose()?.into_iter().flatten() {
        let name = text(name).with_context(|| logical_id.to_owned())?;
        let path = format!("{logical_id}.Events.{name}");
        match event.get("Type").and_then(Value::as_str) {
            Some("HttpApi") => http_routes.push(sources::http_route(template, path, event)?),
            Some("SQS") => queue_mappings.push(sources::queue(template, name, path, event)?),
            Some("DynamoDB") => stream_mappings.push(sources::stream(template, name, path, event)?),
            Some("Schedule") => schedules.push(sources::schedule(template, logical_id, name, path, event)?),
            Some(other) => bail!("{path}.Type is {other}, which is not known here"),
            None => bail!("{path}.Type is missing"),
        }
    }
    Ok(Function {
        name: template.name(logical_id)?,
        arn: template.attribute(logical_id, "Arn")?,
        binary: binary.with_context(|| format!("{logical_id}.Metadata.BuildProperties.Binary is missing"))?.to_owned(),
        memory_mb: node.number("MemorySize")?.unwrap_or(MEMORY_MB_DEFAULT),
        timeout: seconds(node.number("Timeout")?.unwrap_or(TIMEOUT_SECS_DEFAULT)),
        environment,
        http_routes,
        queue_mappings,
        stream_mappings,
        schedules,
        logical_id: logical_id.to_owned(),
    })
}

/// A number of seconds.
pub(super) fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// What SAM makes of globals and a function's own properties: mappings are united, anything else is replaced.
fn merge(globals: Value, own: Value) -> Value {
    match (globals, own) {
        (Value::Mapping(mut globals), Value::Mapping(own)) => {
            for (name, value) in own {
                let value = match globals.remove(&name) {
                    Some(global) => merge(global, value),
                    None => value,
                };
                globals.insert(name, value);
            }
            Value::Mapping(globals)
        }
        (_, own) => own,
    }
}
