//! The wire: the actions by name, and the JSON that each takes. What JSON cannot say wrongly is checked here; the rest
//! is the state machine's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::content::MessageAttribute;
use super::error::{Code, Refusal};
use super::names::queue_name_of_url;
use super::send::NewMessage;

/// Declares the actions and their names in one list, so that no name is written twice.
macro_rules! actions {
    ($($name:ident)+) => {
        /// An action of SQS that the stand-in offers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                $name,
            )+
        }

        impl Action {
            /// The action that an `X-Amz-Target` header names.
            pub(crate) fn of_target(target: &str) -> Option<Action> {
                match target.strip_prefix("AmazonSQS.")? {
                    $(stringify!($name) => Some(Action::$name),)+
                    _ => None,
                }
            }
        }
    };
}

actions! {
    CancelMessageMoveTask ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue DeleteMessage
    DeleteMessageBatch DeleteQueue GetQueueAttributes GetQueueUrl ListDeadLetterSourceQueues ListMessageMoveTasks
    ListQueues ListQueueTags PurgeQueue ReceiveMessage SendMessage SendMessageBatch SetQueueAttributes
    StartMessageMoveTask TagQueue UntagQueue
}

/// Reads a request's body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(Code::Serialization, error.to_string()))
}

/// The queue that a request names.
pub(crate) fn queue_of(url: Option<&String>) -> Result<String, Refusal> {
    let url = url.ok_or_else(|| Refusal::missing("QueueUrl"))?;
    queue_name_of_url(url).map(str::to_owned).ok_or_else(Refusal::no_queue)
}

/// A parameter that must be there.
pub(crate) fn required<T>(name: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::missing(name))
}

/// A request that names a queue and, according to the action, a few things about it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct QueueRequest {
    pub(crate) queue_url: Option<String>,
    pub(crate) queue_name: Option<String>,
    pub(crate) queue_name_prefix: Option<String>,
    pub(crate) attributes: Option<BTreeMap<String, String>>,
    pub(crate) attribute_names: Option<Vec<String>>,
    #[serde(rename = "tags", alias = "Tags")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) tag_keys: Option<Vec<String>>,
    pub(crate) max_results: Option<i64>,
    pub(crate) next_token: Option<String>,
}

/// `StartMessageMoveTask`, `ListMessageMoveTasks`, `CancelMessageMoveTask`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct MoveTaskRequest {
    pub(crate) source_arn: Option<String>,
    pub(crate) destination_arn: Option<String>,
    pub(crate) max_number_of_messages_per_second: Option<i64>,
    pub(crate) max_results: Option<i64>,
    pub(crate) task_handle: Option<String>,
}

/// `SendMessage`, and with an id an entry of `SendMessageBatch`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SendRequest {
    pub(crate) queue_url: Option<String>,
    pub(crate) id: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<BTreeMap<String, MessageAttribute>>,
    message_system_attributes: Option<BTreeMap<String, MessageAttribute>>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

impl SendRequest {
    pub(crate) fn into_message(self) -> NewMessage {
        NewMessage {
            // A body that is not there is refused like an empty one.
            body: self.message_body.unwrap_or_default(),
            delay_seconds: self.delay_seconds,
            attributes: self.message_attributes.unwrap_or_default(),
            system_attributes: self.message_system_attributes.unwrap_or_default(),
            group: self.message_group_id,
            deduplication_id: self.message_deduplication_id,
        }
    }
}

/// `DeleteMessage`, `ChangeMessageVisibility`, and with an id an entry of their batches.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct SettleRequest {
    pub(crate) queue_url: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) receipt_handle: Option<String>,
    pub(crate) visibility_timeout: Option<i64>,
}

/// A batch of requests to one queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchRequest<T> {
    pub(crate) queue_url: Option<String>,
    pub(crate) entries: Option<Vec<T>>,
}

/// `ReceiveMessage`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ReceiveRequest {
    pub(crate) queue_url: Option<String>,
    /// The older name of `MessageSystemAttributeNames`; SQS returns what either asks for.
    pub(crate) attribute_names: Option<Vec<String>>,
    pub(crate) message_system_attribute_names: Option<Vec<String>>,
    pub(crate) message_attribute_names: Option<Vec<String>>,
    pub(crate) max_number_of_messages: Option<i64>,
    pub(crate) visibility_timeout: Option<i64>,
    pub(crate) wait_time_seconds: Option<i64>,
}
