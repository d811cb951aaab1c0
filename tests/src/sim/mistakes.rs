//! Known mistakes of systems like this one, as wrappers around ports that work: they show that the simulation can find
//! something.

use std::time::Duration;

use ingest::queue::{Entry, EventQueue, QueueError};
use ingest::spill::{SpillError, SpillStore};
use shared::clock::Timestamp;

use super::dynamo::TablePort;
use super::sqs::QueuePort;

/// A mistake that is built into a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The queue's port says yes at once, and sends later from memory.
    AcknowledgesBeforeDurable,
    /// Whatever a delivery came to, it answers that no message has to come again.
    SuccessByDefault,
    /// The spill table's port takes the entries out of its buffer before it writes them. Where the write goes wrong, it
    /// writes again, what by then is nothing, and says yes.
    ForgetsOnRetry,
    /// Events live with the user that they name, whatever device they happened on.
    LivesWithTheUser,
}

/// The queue as `ingest` calls it.
pub(crate) struct IngestQueue {
    pub(crate) port: QueuePort,
    pub(crate) mistake: Option<Mistake>,
}

impl EventQueue for IngestQueue {
    async fn send(&self, batch: &[Entry]) -> Result<Vec<usize>, QueueError> {
        if self.mistake == Some(Mistake::LivesWithTheUser) {
            let batch: Vec<Entry> = batch.iter().map(without_devices).collect();
            return self.port.send(&batch).await;
        }
        if self.mistake != Some(Mistake::AcknowledgesBeforeDurable) {
            return self.port.send(batch).await;
        }
        let (port, batch) = (self.port.clone(), batch.to_vec());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            // What ends the environment ends this too.
            if !port.env.is_killed() {
                let _ = port.send(&batch).await;
            }
        });
        Ok(vec![])
    }
}

/// A message whose events have no device.
fn without_devices(entry: &Entry) -> Entry {
    let mut message: serde_json::Value = serde_json::from_str(&entry.body).unwrap_or_default();
    for event in message["events"].as_array_mut().into_iter().flatten() {
        event.as_object_mut().into_iter().for_each(|event| drop(event.remove("device")));
    }
    Entry { body: message.to_string(), ..entry.clone() }
}

/// The spill table as `ingest` calls it.
pub(crate) struct IngestSpill {
    pub(crate) port: TablePort,
    pub(crate) mistake: Option<Mistake>,
}

impl SpillStore for IngestSpill {
    async fn keep(&self, id: &str, entry: &Entry, now: Timestamp) -> Result<(), SpillError> {
        let mut buffer = vec![entry.clone()];
        let tries = if self.mistake == Some(Mistake::ForgetsOnRetry) { 2 } else { 1 };
        let mut kept = Ok(());
        for _ in 0..tries {
            kept = Ok(());
            for entry in std::mem::take(&mut buffer) {
                kept = self.port.keep(id, &entry, now).await;
            }
            if kept.is_ok() {
                break;
            }
        }
        kept
    }
}
