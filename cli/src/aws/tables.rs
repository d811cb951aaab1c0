//! What DynamoDB says of a table.

use super::{CallError, Clients};
use crate::doctor::TableFacts;

impl Clients {
    /// What is known of a table.
    ///
    /// # Errors
    /// There is no such table, or a call failed.
    pub async fn table_facts(&self, name: &str) -> Result<TableFacts, CallError> {
        const CALL: &str = "dynamodb:DescribeTable";
        let reply = self.dynamodb.describe_table().table_name(name).send().await;
        let reply = reply.map_err(|error| CallError::of(CALL, &error))?;
        let table = reply.table().ok_or_else(|| CallError::incomplete(CALL, "it tells of no table"))?;
        let ttl = self.dynamodb.describe_time_to_live().table_name(name).send().await;
        let ttl = ttl.map_err(|error| CallError::of("dynamodb:DescribeTimeToLive", &error))?;
        let is_on = |status: &str| matches!(status, "ENABLED" | "ENABLING");
        let ttl = ttl
            .time_to_live_description()
            .filter(|ttl| ttl.time_to_live_status().is_some_and(|status| is_on(status.as_str())));
        let stream = table.stream_specification().filter(|stream| stream.stream_enabled());
        Ok(TableFacts {
            keys: table.key_schema().iter().map(|key| key.attribute_name().to_owned()).collect(),
            status: table.table_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
            ttl_attribute: ttl.and_then(|ttl| ttl.attribute_name()).map(str::to_owned),
            stream_arn: table.latest_stream_arn().map(str::to_owned),
            stream_view: stream.and_then(|stream| stream.stream_view_type()).map(|view| view.as_str().to_owned()),
        })
    }
}
