//! The port to a queue: giving messages back for a while, and sending some.

use std::time::Duration;

use shared::limits::{SQS_BATCH_ENTRIES_MAX, SQS_MESSAGE_BYTES_MAX};
use shared::outcome::Cause;

use crate::redrive::Redrive;

/// A message that is to come again after some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// The handle that it was received with.
    pub receipt_handle: String,
    /// How long it stays invisible from now on; whole seconds, at most 12 hours (SQS quotas).
    pub wait: Duration,
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whose messages these are, for SQS's fair queues; empty if unknown.
    pub group: String,
    /// The text.
    pub body: String,
    /// The dead letter that it comes from, if any.
    pub redrive: Option<Redrive>,
}

/// A queue.
pub trait Queue {
    /// Lets at most ten messages wait. One that was not understood, or whose call failed, waits for the queue's own
    /// visibility time-out instead, which is no harm.
    fn defer(&self, deferrals: &[Deferral]) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Sends at most ten messages of at most 1 MiB together. `Err` if any may not be durable; others may be, and any may
    /// be there twice: a reply can be lost.
    fn send(&self, messages: &[Outgoing]) -> impl Future<Output = Result<(), Cause>> + Send;
}

/// Lets any number of messages wait, as far as that succeeds.
pub async fn defer_all(queue: &impl Queue, deferrals: &[Deferral]) {
    for batch in deferrals.chunks(SQS_BATCH_ENTRIES_MAX) {
        if let Err(cause) = queue.defer(batch).await {
            // A queue that does not answer now will not for the others either.
            tracing::warn!(cause = cause.tag(), "messages wait for their visibility time-out");
            return;
        }
    }
}

/// Sends any number of messages.
///
/// # Errors
/// At least one may not be durable.
pub async fn send_all(queue: &impl Queue, messages: &[Outgoing]) -> Result<(), Cause> {
    let mut left = messages;
    while !left.is_empty() {
        let mut bytes = 0;
        let fits = |message: &&Outgoing| {
            bytes += message.body.len();
            bytes <= SQS_MESSAGE_BYTES_MAX
        };
        let count = left.iter().take(SQS_BATCH_ENTRIES_MAX).take_while(fits).count().max(1);
        let (batch, rest) = left.split_at(count);
        queue.send(batch).await?;
        left = rest;
    }
    Ok(())
}
