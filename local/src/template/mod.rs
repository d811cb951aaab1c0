//! What the local pipeline needs of the SAM template: its tables, queues and functions, with every reference resolved.
//!
//! `value` evaluates CloudFormation's functions, `resources` and `sources` turn the results into the types below. Whatever the
//! template says in a way that is not understood here is an error that names resource and property, never a guess.

mod resources;
mod sources;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::stream::Filter;

/// The account that stands in everybody's ARNs and queue URLs on one machine.
pub const ACCOUNT: &str = "000000000000";
/// The region that stands in ARNs on one machine.
pub const REGION: &str = "us-east-1";
/// The stack's name on one machine.
pub const STACK_NAME: &str = "holdfast";

/// What a deployment would supply besides the template.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Values of parameters, in place of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// What queue URLs begin with, without a slash at the end: where SQS is served.
    pub sqs_endpoint: String,
}

impl Default for Settings {
    /// The template's own defaults, and AWS's own form of queue URLs.
    fn default() -> Self {
        Self { parameters: BTreeMap::new(), sqs_endpoint: format!("https://sqs.{REGION}.amazonaws.com") }
    }
}

/// The typed view of a template.
#[derive(Clone, Debug)]
pub struct Template {
    /// In the template's order.
    pub tables: Vec<Table>,
    /// In the template's order.
    pub queues: Vec<Queue>,
    /// In the template's order.
    pub functions: Vec<Function>,
}

impl Template {
    /// Reads a template with its parameters' defaults.
    ///
    /// # Errors
    /// What is not YAML, or not understood: by resource and property.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Self::parse_with(text, &Settings::default())
    }

    /// Reads a template for the given settings.
    ///
    /// # Errors
    /// As [`Self::parse`], and settings that the template does not know or allow.
    pub fn parse_with(text: &str, settings: &Settings) -> anyhow::Result<Self> {
        let document = serde_yaml_ng::from_str(text).context("the template is not YAML")?;
        resources::read(&value::Evaluator::new(document, settings)?)
    }

    /// Reads a template from a file, with its parameters' defaults.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Self::parse`].
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// A table by its logical id.
    #[must_use]
    pub fn table(&self, logical_id: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.logical_id == logical_id)
    }

    /// A queue by its logical id.
    #[must_use]
    pub fn queue(&self, logical_id: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.logical_id == logical_id)
    }

    /// A function by its logical id.
    #[must_use]
    pub fn function(&self, logical_id: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.logical_id == logical_id)
    }
}

/// A DynamoDB table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The resource's name in the template.
    pub logical_id: String,
    /// The table's name.
    pub name: String,
    /// Which attribute partitions the items.
    pub partition_key: Key,
    /// Which attribute orders the items of a partition.
    pub sort_key: Option<Key>,
    /// The attribute whose time, in seconds since 1970, ends an item's life.
    pub ttl_attribute: Option<String>,
    /// What the table's stream shows of each change (`NEW_IMAGE` and the like); absent without a stream.
    pub stream_view_type: Option<String>,
    /// The ARN of the table's stream; absent without one.
    pub stream_arn: Option<String>,
}

/// One attribute of a table's primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The attribute's name.
    pub attribute: String,
    /// The attribute's type: `S`, `N` or `B`.
    pub kind: String,
}

/// An SQS standard queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The resource's name in the template.
    pub logical_id: String,
    /// The queue's name.
    pub name: String,
    /// The queue's URL under [`Settings::sqs_endpoint`].
    pub url: String,
    /// The queue's ARN.
    pub arn: String,
    /// The attributes as `CreateQueue` takes them; the policies are JSON texts.
    pub attributes: BTreeMap<String, String>,
    /// Where messages go that are received too often.
    pub redrive: Option<Redrive>,
}

/// A queue's redrive policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The ARN of the queue that takes the messages.
    pub dead_letter_arn: String,
    /// How often a message is received before it moves.
    pub max_receive_count: u32,
}

/// A Lambda function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The resource's name in the template.
    pub logical_id: String,
    /// The function's name.
    pub name: String,
    /// The function's ARN.
    pub arn: String,
    /// The cargo binary that it runs.
    pub binary: String,
    /// In MB of 1,048,576 bytes.
    pub memory_mb: u32,
    /// For one invocation.
    pub timeout: Duration,
    /// The variables that the template sets; those that resolve to `AWS::NoValue` are left out.
    pub environment: BTreeMap<String, String>,
    /// The routes of the HTTP API that lead to this function, as API Gateway writes them: a method or `ANY` and a path, or
    /// `$default`.
    pub http_routes: Vec<String>,
    /// The queues that it is invoked with.
    pub queue_mappings: Vec<QueueMapping>,
    /// The streams of tables that it is invoked with.
    pub stream_mappings: Vec<StreamMapping>,
    /// When it is invoked without anything having happened.
    pub schedules: Vec<Schedule>,
}

/// An event source mapping from a queue to a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMapping {
    /// The event's name in the template.
    pub name: String,
    /// The queue's ARN.
    pub queue_arn: String,
    /// The most messages of one invocation.
    pub batch_size: u32,
    /// How long messages may gather before an invocation.
    pub batching_window: Duration,
    /// Whether the function says which messages of a batch failed (`ReportBatchItemFailures`); otherwise a batch
    /// succeeds or fails as a whole.
    pub report_batch_item_failures: bool,
    /// The most invocations at one time; absent means no limit of the mapping's own.
    pub maximum_concurrency: Option<u32>,
}

/// An event source mapping from a table's stream to a function. It begins with the oldest record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMapping {
    /// The event's name in the template.
    pub name: String,
    /// The stream's ARN.
    pub stream_arn: String,
    /// The most records of one invocation.
    pub batch_size: u32,
    /// The most invocations for one shard at one time; records of one partition stay in order.
    pub parallelization_factor: u32,
    /// How long records may gather before an invocation.
    pub batching_window: Duration,
    /// Whether a batch is split in two after an error.
    pub bisect_batch_on_function_error: bool,
    /// How often one and the same batch is tried again; absent means until its records expire.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are passed over; absent means that they are tried until they expire.
    pub maximum_record_age: Option<Duration>,
    /// Whether the function says from which record on a batch failed (`ReportBatchItemFailures`); otherwise a batch
    /// succeeds or fails as a whole.
    pub report_batch_item_failures: bool,
    /// Which records the function gets.
    pub filter: Filter,
}

/// A rule that invokes a function every so often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The event's name in the template.
    pub name: String,
    /// The rule's ARN.
    pub rule_arn: String,
    /// From one invocation to the next.
    pub period: Duration,
}
