//! The queue: its port, the sending of everything of a request, and the adapter to SQS.

use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use crate::pack::batch_len;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The project, for SQS's fair queues (`MessageGroupId`).
    pub group: String,
    /// The text of the message.
    pub body: String,
    /// Its place among the messages of its request, from 0.
    pub number: usize,
    /// How many events and refused items it carries.
    pub items: usize,
}

/// The queue did not take messages.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The call failed as a whole, after the SDK's own retries; it may have had its effect all the same.
    #[error("the queue could not be reached or refused the call")]
    Call(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call succeeded, but some entries were refused again and again.
    #[error("the queue refused {0} entries")]
    Entries(usize),
}

/// Where messages go.
pub trait EventQueue {
    /// Sends at most ten messages of at most 1 MiB together.
    ///
    /// Returns the positions of those that were refused while the others are durable. A message may be enqueued twice,
    /// or be durable although `Err` was returned: a reply can be lost.
    fn send(&self, batch: &[Entry]) -> impl Future<Output = Result<Vec<usize>, QueueError>> + Send;
}

/// How often entries that the queue refuses are sent, the first time included.
const ROUNDS: u32 = 3;
/// The pause before the second round; it doubles each time.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes every entry durable, sending those that are refused again, and takes those that are out of `left`.
///
/// # Errors
/// At least one entry may not be durable; those are left. What is there twice in the end is recognised by its identity.
pub async fn enqueue(queue: &impl EventQueue, left: &mut Vec<Entry>) -> Result<(), QueueError> {
    while !left.is_empty() {
        let mut batch = batch_len(left);
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE * 2_u32.pow(round - 1)).await;
            }
            let refused = queue.send(&left[..batch]).await?;
            // Those that were refused are the next batch, at the place of this one.
            let (mut position, sent) = (0, batch);
            left.retain(|_| {
                let is_left = position >= sent || refused.contains(&position);
                batch -= usize::from(!is_left);
                position += 1;
                is_left
            });
            if batch == 0 {
                break;
            }
        }
        if batch > 0 {
            return Err(QueueError::Entries(batch));
        }
    }
    Ok(())
}

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: aws_sdk_sqs::Client, url: String) -> Self {
        Self { client, url }
    }
}

impl EventQueue for SqsQueue {
    async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
        let call = |error: Box<dyn std::error::Error + Send + Sync>| QueueError::Call(error);
        let mut request = self.client.send_message_batch().queue_url(&self.url);
        for (position, entry) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .message_group_id(&entry.group)
                .message_body(&entry.body)
                .build()
                .map_err(|error| call(error.into()))?;
            request = request.entries(entry);
        }
        let reply = request.send().await.map_err(|error| call(error.into()))?;
        // What the reply does not confirm by name is not durable, whether it says "failed" or nothing at all.
        let confirmed: Vec<&str> = reply.successful().iter().map(|entry| entry.id()).collect();
        let refused = (0..batch.len()).filter(|position| !confirmed.contains(&position.to_string().as_str())).collect();
        for entry in reply.failed() {
            tracing::warn!(code = entry.code(), sender_fault = entry.sender_fault(), "the queue refused an entry");
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A queue that refuses, call by call, the positions it is told to, and remembers what it took.
    struct Scripted {
        refusals: Mutex<Vec<Result<Vec<usize>, ()>>>,
        taken: Mutex<Vec<String>>,
    }

    impl Scripted {
        fn new(refusals: &[Result<Vec<usize>, ()>]) -> Self {
            Self { refusals: Mutex::new(refusals.iter().rev().cloned().collect()), taken: Mutex::default() }
        }
    }

    impl EventQueue for Scripted {
        async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
            let refused = self.refusals.lock().unwrap().pop().unwrap_or(Ok(vec![]));
            let refused = refused.map_err(|()| QueueError::Call("down".into()))?;
            let taken = batch.iter().enumerate().filter(|(position, _)| !refused.contains(position));
            self.taken.lock().unwrap().extend(taken.map(|(_, entry)| entry.body.clone()));
            Ok(refused)
        }
    }

    fn entries(bodies: &[&str]) -> Vec<Entry> {
        let entry =
            |(number, body): (usize, &&str)| Entry { group: "g".into(), body: (*body).to_owned(), number, items: 1 };
        bodies.iter().enumerate().map(entry).collect()
    }

    fn bodies(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.body.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_refused_is_sent_again() {
        let queue = Scripted::new(&[Ok(vec![0, 2]), Ok(vec![1])]);
        let mut left = entries(&["a", "b", "c"]);
        enqueue(&queue, &mut left).await.unwrap();
        assert_eq!(*queue.taken.lock().unwrap(), ["b", "a", "c"]);
        assert!(left.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_again_and_again_is_left() {
        let queue = Scripted::new(&[Ok(vec![0]), Ok(vec![0]), Ok(vec![0])]);
        let mut left = entries(&["a", "b"]);
        let error = enqueue(&queue, &mut left).await.unwrap_err();
        assert!(matches!(error, QueueError::Entries(1)), "{error}");
        assert_eq!(bodies(&left), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_failed_call_had_and_all_behind_it_is_left() {
        let texts: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let queue = Scripted::new(&[Ok(vec![]), Err(())]);
        let mut left = entries(&texts);
        assert!(enqueue(&queue, &mut left).await.is_err());
        assert_eq!(queue.taken.lock().unwrap().len(), 10);
        assert_eq!(bodies(&left), texts[10..]);
    }
}
