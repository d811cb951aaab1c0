//! The adapter to the events of the events table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use consume::dynamo_table::{cause, read};
use shared::outcome::Cause;

use crate::people::{Events, Items, Order, Range};

/// The events table, for reading its events in either order.
#[derive(Clone, Debug)]
pub struct EventTable {
    client: Client,
    name: String,
}

impl EventTable {
    /// The table of that name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl Events for EventTable {
    async fn items(&self, partition: &str, range: &Range, order: Order, count_max: usize) -> Result<Items, Cause> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let reply = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", text(partition))
            .expression_attribute_values(":first", text(&range.first))
            .expression_attribute_values(":last", text(&range.last))
            .scan_index_forward(order == Order::OldestFirst)
            .limit(i32::try_from(count_max).unwrap_or(i32::MAX))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| cause("query", &error))?;
        let items: Vec<_> = reply.items().iter().filter_map(read).collect();
        let is_whole = reply.last_evaluated_key().is_none() || items.is_empty();
        Ok(Items { items, is_whole })
    }
}
