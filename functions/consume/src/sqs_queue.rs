//! The adapter to a queue of SQS.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};
use shared::outcome::Cause;

use crate::queue::{Deferral, Outgoing, Queue};
use crate::redrive::ATTRIBUTE;

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

impl Queue for SqsQueue {
    async fn defer(&self, deferrals: &[Deferral]) -> Result<(), Cause> {
        let entries = deferrals.iter().enumerate().filter_map(|(position, deferral)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(&deferral.receipt_handle)
                .visibility_timeout(i32::try_from(deferral.wait.as_secs()).unwrap_or(i32::MAX))
                .build()
                .ok()
        });
        let request = self.client.change_message_visibility_batch().queue_url(&self.url);
        let reply = request.set_entries(Some(entries.collect())).send().await.map_err(|error| cause(&error))?;
        for entry in reply.failed() {
            tracing::warn!(code = entry.code(), "a message waits for its visibility time-out");
        }
        Ok(())
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<(), Cause> {
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (position, message) in messages.iter().enumerate() {
            let mut entry =
                SendMessageBatchRequestEntry::builder().id(position.to_string()).message_body(&message.body);
            if !message.group.is_empty() {
                entry = entry.message_group_id(&message.group);
            }
            if let Some(redrive) = &message.redrive {
                let value = MessageAttributeValue::builder().data_type("String").string_value(redrive.encode());
                entry = entry.message_attributes(ATTRIBUTE, value.build().map_err(|_| Cause::Denied)?);
            }
            request = request.entries(entry.build().map_err(|_| Cause::Denied)?);
        }
        let reply = request.send().await.map_err(|error| cause(&error))?;
        for entry in reply.failed() {
            tracing::warn!(code = entry.code(), sender_fault = entry.sender_fault(), "the queue refused an entry");
        }
        // What the reply does not confirm is not durable, whether it says "failed" or nothing at all.
        if reply.successful().len() == messages.len() { Ok(()) } else { Err(Cause::Unavailable) }
    }
}

/// Why a call failed, classified once.
fn cause<E>(error: &SdkError<E>) -> Cause
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = match error {
        SdkError::TimeoutError(_) => Cause::TimedOut,
        SdkError::ServiceError(service) => match service.err().code().unwrap_or_default() {
            "RequestThrottled" | "ThrottlingException" | "OverLimit" | "AWS.SimpleQueueService.OverLimit" => {
                Cause::Throttled
            }
            "AccessDeniedException"
            | "AccessDenied"
            | "InvalidSecurity"
            | "QueueDoesNotExist"
            | "AWS.SimpleQueueService.NonExistentQueue"
            | "UnrecognizedClientException"
            | "ExpiredTokenException" => Cause::Denied,
            // What is not known to be final is not final.
            _ => Cause::Unavailable,
        },
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
            Cause::Unavailable
        }
    };
    tracing::warn!(cause = cause.tag(), code = error.code(), "the queue did not take a call");
    cause
}
