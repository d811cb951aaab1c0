//! Attributes of a queue: their names, ranges and defaults, and the policies that some of them hold as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Code, Refusal};
use super::limits;

/// The attributes that a caller can set, typed where the state machine follows them and as text where it only gives
/// them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueAttributes {
    /// How long a new message stays hidden, in seconds.
    pub delay_seconds: i64,
    /// Largest message, in bytes.
    pub maximum_message_size: i64,
    /// How long a message is kept, in seconds.
    pub retention_seconds: i64,
    /// How long a receive waits that does not say, in seconds.
    pub receive_wait_seconds: i64,
    /// How long a received message stays hidden, in seconds.
    pub visibility_timeout_seconds: i64,
    /// Where messages go that were received too often.
    pub redrive_policy: Option<RedrivePolicy>,
    /// Which queues may use this one as their dead-letter queue.
    pub redrive_allow_policy: Option<RedriveAllowPolicy>,
    /// Whether the queue is FIFO; settled when it is created.
    pub fifo: bool,
    /// Whether a FIFO queue derives the deduplication id from the body.
    pub content_based_deduplication: bool,
    /// Attributes without an effect here: `Policy`, encryption, and FIFO's scope and throughput.
    pub verbatim: BTreeMap<String, String>,
}

/// A source queue's `RedrivePolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedrivePolicy {
    /// The dead-letter queue's ARN.
    pub dead_letter_target_arn: String,
    /// How often a message may be received before the next receive moves it.
    pub max_receive_count: i64,
}

/// A dead-letter queue's `RedriveAllowPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedriveAllowPolicy {
    /// Which queues are allowed.
    pub redrive_permission: RedrivePermission,
    /// The queues that are allowed under [`RedrivePermission::ByQueue`]; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_queue_arns: Vec<String>,
}

/// Who may use a queue as dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedrivePermission {
    /// Every queue; also the rule where there is no policy.
    AllowAll,
    /// No queue.
    DenyAll,
    /// The listed queues.
    ByQueue,
}

impl RedriveAllowPolicy {
    pub(crate) fn allows(&self, source_arn: &str) -> bool {
        match self.redrive_permission {
            RedrivePermission::AllowAll => true,
            RedrivePermission::DenyAll => false,
            RedrivePermission::ByQueue => self.source_queue_arns.iter().any(|arn| arn == source_arn),
        }
    }
}

impl Default for QueueAttributes {
    fn default() -> QueueAttributes {
        QueueAttributes {
            delay_seconds: 0,
            maximum_message_size: limits::MAXIMUM_MESSAGE_SIZE.1,
            retention_seconds: limits::RETENTION_SECONDS_DEFAULT,
            receive_wait_seconds: 0,
            visibility_timeout_seconds: limits::VISIBILITY_SECONDS_DEFAULT,
            redrive_policy: None,
            redrive_allow_policy: None,
            fifo: false,
            content_based_deduplication: false,
            verbatim: BTreeMap::from([("SqsManagedSseEnabled".into(), "true".into())]),
        }
    }
}

/// Names of every attribute that can be read, but for the counts and timestamps that the queue itself knows.
pub(crate) const SETTABLE: [&str; 16] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
    "All",
];

impl QueueAttributes {
    /// Reads the attributes of a queue that is being created.
    pub(crate) fn for_new_queue(given: &BTreeMap<String, String>) -> Result<QueueAttributes, Refusal> {
        let mut attributes = QueueAttributes::default();
        if let Some(value) = given.get("FifoQueue") {
            // SQS has no `FifoQueue=false`: a standard queue is one that does not name the attribute.
            if value != "true" {
                return Err(unknown("FifoQueue"));
            }
            attributes.fifo = true;
            attributes.verbatim.insert("DeduplicationScope".into(), "queue".into());
            attributes.verbatim.insert("FifoThroughputLimit".into(), "perQueue".into());
        }
        attributes.with(given)
    }

    /// These attributes after a change; refuses what is unknown, out of range or not for this kind of queue.
    pub(crate) fn with(&self, given: &BTreeMap<String, String>) -> Result<QueueAttributes, Refusal> {
        let mut changed = self.clone();
        for (name, value) in given {
            changed.set(name, value)?;
        }
        Ok(changed)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "DelaySeconds" => self.delay_seconds = number(name, value, limits::DELAY_SECONDS)?,
            "MaximumMessageSize" => self.maximum_message_size = number(name, value, limits::MAXIMUM_MESSAGE_SIZE)?,
            "MessageRetentionPeriod" => self.retention_seconds = number(name, value, limits::RETENTION_SECONDS)?,
            "ReceiveMessageWaitTimeSeconds" => self.receive_wait_seconds = number(name, value, limits::WAIT_SECONDS)?,
            "VisibilityTimeout" => self.visibility_timeout_seconds = number(name, value, limits::VISIBILITY_SECONDS)?,
            "RedrivePolicy" => self.redrive_policy = parse_redrive_policy(value)?,
            "RedriveAllowPolicy" => self.redrive_allow_policy = parse_redrive_allow_policy(value)?,
            "FifoQueue" if self.fifo && value == "true" => {}
            "ContentBasedDeduplication" if self.fifo => self.content_based_deduplication = boolean(name, value)?,
            "DeduplicationScope" if self.fifo => self.choose(name, value, &["queue", "messageGroup"])?,
            "FifoThroughputLimit" if self.fifo => self.choose(name, value, &["perQueue", "perMessageGroupId"])?,
            "Policy" => {
                if !value.is_empty() && !serde_json::from_str::<Value>(value).is_ok_and(|policy| policy.is_object()) {
                    return Err(bad(name, value));
                }
                self.keep(name, value);
            }
            "KmsMasterKeyId" => self.keep(name, value),
            "KmsDataKeyReusePeriodSeconds" => {
                number(name, value, limits::KMS_REUSE_SECONDS)?;
                self.keep(name, value);
            }
            "SqsManagedSseEnabled" => {
                boolean(name, value)?;
                self.keep(name, value);
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn choose(&mut self, name: &str, value: &str, allowed: &[&str]) -> Result<(), Refusal> {
        if !allowed.contains(&value) {
            return Err(bad(name, value));
        }
        self.keep(name, value);
        Ok(())
    }

    /// An empty value takes a policy or a key away again.
    fn keep(&mut self, name: &str, value: &str) {
        match value.is_empty() {
            true => self.verbatim.remove(name),
            false => self.verbatim.insert(name.to_owned(), value.to_owned()),
        };
    }

    /// The value of a settable attribute as `GetQueueAttributes` says it; `None` if the queue has none.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match name {
            "DelaySeconds" => Some(self.delay_seconds.to_string()),
            "MaximumMessageSize" => Some(self.maximum_message_size.to_string()),
            "MessageRetentionPeriod" => Some(self.retention_seconds.to_string()),
            "ReceiveMessageWaitTimeSeconds" => Some(self.receive_wait_seconds.to_string()),
            "VisibilityTimeout" => Some(self.visibility_timeout_seconds.to_string()),
            "RedrivePolicy" => self.redrive_policy.as_ref().map(as_json),
            "RedriveAllowPolicy" => self.redrive_allow_policy.as_ref().map(as_json),
            "FifoQueue" => self.fifo.then(|| "true".to_owned()),
            "ContentBasedDeduplication" => self.fifo.then(|| self.content_based_deduplication.to_string()),
            _ => self.verbatim.get(name).cloned(),
        }
    }
}

fn as_json<T: Serialize>(policy: &T) -> String {
    serde_json::to_string(policy).expect("a policy of strings and numbers is JSON")
}

fn unknown(name: &str) -> Refusal {
    Refusal::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

fn bad(name: &str, value: &str) -> Refusal {
    Refusal::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}. Reason: {value:.200}"))
}

fn number(name: &str, value: &str, (low, high): (i64, i64)) -> Result<i64, Refusal> {
    value.parse().ok().filter(|number| (low..=high).contains(number)).ok_or_else(|| bad(name, value))
}

fn boolean(name: &str, value: &str) -> Result<bool, Refusal> {
    value.to_ascii_lowercase().parse().map_err(|_| bad(name, value))
}

fn bad_policy(name: &str, value: &str, reason: &str) -> Refusal {
    Refusal::invalid(format!("Value {value:.300} for parameter {name} is invalid. Reason: {reason}"))
}

fn parse_redrive_policy(text: &str) -> Result<Option<RedrivePolicy>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| bad_policy("RedrivePolicy", text, reason);
    let policy: Value = serde_json::from_str(text).map_err(|_| refuse("Redrive policy is not a valid JSON map."))?;
    let target = policy.get("deadLetterTargetArn").and_then(Value::as_str);
    let target =
        target.ok_or_else(|| refuse("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    // CloudFormation writes the count as a string, the console as a number; SQS takes both.
    let count = match policy.get("maxReceiveCount") {
        None => Some(limits::MAX_RECEIVE_COUNT_DEFAULT),
        Some(count) => count.as_i64().or_else(|| count.as_str().and_then(|text| text.parse().ok())),
    };
    let (low, high) = limits::MAX_RECEIVE_COUNT;
    let count = count.filter(|count| (low..=high).contains(count));
    let count = count.ok_or_else(|| refuse("Invalid value for maxReceiveCount: must be between 1 and 1000."))?;
    Ok(Some(RedrivePolicy { dead_letter_target_arn: target.to_owned(), max_receive_count: count }))
}

fn parse_redrive_allow_policy(text: &str) -> Result<Option<RedriveAllowPolicy>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| bad_policy("RedriveAllowPolicy", text, reason);
    let policy: RedriveAllowPolicy =
        serde_json::from_str(text).map_err(|_| refuse("Redrive allow policy is not a valid JSON map."))?;
    let by_queue = policy.redrive_permission == RedrivePermission::ByQueue;
    if by_queue == policy.source_queue_arns.is_empty() {
        return Err(refuse("sourceQueueArns must be given with byQueue, and only with it."));
    }
    if policy.source_queue_arns.len() > limits::ALLOWED_SOURCES_MAX {
        return Err(refuse("sourceQueueArns can name at most 10 queues."));
    }
    Ok(Some(policy))
}
