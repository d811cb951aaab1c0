//! The spill table: where messages wait that the queue does not take.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::clock::Timestamp;
use shared::spill::{attribute, parts};

use crate::queue::Entry;

/// The spill table did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("the spill table did not take a message")]
pub struct SpillError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where messages go that the queue does not take.
pub trait SpillStore {
    /// Makes one message durable under an id that is the same whenever this message is written, and no other's.
    ///
    /// It may be durable although `Err` was returned: a reply can be lost.
    fn keep(&self, id: &str, entry: &Entry, now: Timestamp) -> impl Future<Output = Result<(), SpillError>> + Send;
}

/// Makes every entry durable, and takes those that are out of `left`. `receipt` is that of their request.
///
/// # Errors
/// At least one entry may not be durable; those are left.
pub async fn spill(
    store: &impl SpillStore,
    receipt: &str,
    left: &mut Vec<Entry>,
    now: Timestamp,
) -> Result<(), SpillError> {
    // From the end, where taking one out moves no other.
    while let Some(entry) = left.last() {
        store.keep(&format!("{receipt}.{}", entry.number), entry, now).await?;
        left.pop();
    }
    Ok(())
}

/// A table of DynamoDB with a partition key `pk` and a sort key `sk`, both texts.
#[derive(Clone, Debug)]
pub struct SpillTable {
    client: aws_sdk_dynamodb::Client,
    name: String,
}

impl SpillTable {
    /// The table of that name.
    #[must_use]
    pub fn new(client: aws_sdk_dynamodb::Client, name: String) -> Self {
        Self { client, name }
    }
}

impl SpillStore for SpillTable {
    async fn keep(&self, id: &str, entry: &Entry, now: Timestamp) -> Result<(), SpillError> {
        for part in parts(id, &entry.body) {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let mut request = self
                .client
                .put_item()
                .table_name(&self.name)
                .item("pk", text(part.id))
                .item("sk", text(&part.number))
                .item(attribute::BODY, text(part.body))
                .item(attribute::GROUP, text(&entry.group))
                .item(attribute::WRITTEN_AT, AttributeValue::N(now.as_millis().to_string()));
            if let Some(parts) = part.parts {
                request = request.item(attribute::PARTS, AttributeValue::N(parts.to_string()));
            }
            request.send().await.map_err(|error| SpillError(error.into()))?;
        }
        Ok(())
    }
}
