//! Creating the template's tables.

use std::time::Duration;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, StreamSpecification,
    StreamViewType, TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::template::{Key, Table};

/// For one table, with everything that belongs to it. The embedded engine needs milliseconds.
const TABLE_DEADLINE: Duration = Duration::from_secs(30);

/// Creates the tables that do not exist yet, and switches on their time to live and their streams. Items, keys and a
/// time to live that exist are left as they are.
///
/// # Errors
/// A table that cannot be created or described within 30 seconds, by its name.
pub async fn create_tables(client: &Client, tables: &[Table]) -> anyhow::Result<()> {
    for table in tables {
        let created = tokio::time::timeout(TABLE_DEADLINE, create_table(client, table)).await;
        created
            .unwrap_or_else(|_| anyhow::bail!("it took more than {} s", TABLE_DEADLINE.as_secs()))
            .with_context(|| format!("cannot create the table {}", table.name))?;
    }
    Ok(())
}

async fn create_table(client: &Client, table: &Table) -> anyhow::Result<()> {
    let keys = || [(Some(&table.partition_key), KeyType::Hash), (table.sort_key.as_ref(), KeyType::Range)];
    let mut schema = Vec::with_capacity(2);
    let mut definitions = Vec::with_capacity(2);
    for (Key { attribute, kind }, key_type) in keys().into_iter().filter_map(|(key, kind)| Some((key?, kind))) {
        schema.push(KeySchemaElement::builder().attribute_name(attribute).key_type(key_type).build()?);
        let kind = ScalarAttributeType::from(kind.as_str());
        definitions.push(AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind).build()?);
    }
    let created = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(schema))
        .set_attribute_definitions(Some(definitions))
        .send()
        .await;
    if let Err(error) = created {
        let error = error.into_service_error();
        if !error.is_resource_in_use_exception() {
            return Err(error.into());
        }
    }
    client.wait_until_table_exists().table_name(&table.name).wait(TABLE_DEADLINE).await?;
    set_stream(client, table).await?;
    match &table.ttl_attribute {
        Some(attribute) => enable_ttl(client, &table.name, attribute).await,
        None => Ok(()),
    }
}

/// Gives a table, be it new or of an earlier start, the stream that the template wants. A stream's view cannot be changed:
/// another one takes its place.
async fn set_stream(client: &Client, table: &Table) -> anyhow::Result<()> {
    let described = client.describe_table().table_name(&table.name).send().await?;
    let present = described.table.and_then(|table| table.stream_specification).filter(|stream| stream.stream_enabled);
    let present = present.and_then(|stream| stream.stream_view_type);
    let wanted = table.stream_view_type.as_deref().map(StreamViewType::from);
    if present == wanted {
        return Ok(());
    }
    let update = async |specification: StreamSpecification| {
        client.update_table().table_name(&table.name).stream_specification(specification).send().await?;
        client.wait_until_table_exists().table_name(&table.name).wait(TABLE_DEADLINE).await?;
        anyhow::Ok(())
    };
    if present.is_some() {
        update(StreamSpecification::builder().stream_enabled(false).build()?).await?;
    }
    if let Some(view) = wanted {
        update(StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build()?).await?;
    }
    Ok(())
}

/// DynamoDB refuses to switch on what is switched on, hence the look before.
async fn enable_ttl(client: &Client, table: &str, attribute: &str) -> anyhow::Result<()> {
    let described = client.describe_time_to_live().table_name(table).send().await?;
    let status = described.time_to_live_description.and_then(|description| description.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build()?;
    client.update_time_to_live().table_name(table).time_to_live_specification(specification).send().await?;
    Ok(())
}
