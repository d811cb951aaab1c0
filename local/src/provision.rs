//! What a deployment does once: queues and tables as the template describes them, and a first write key.

use std::collections::HashMap;

use anyhow::Context;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use shared::keys::{
    REGISTER_PARTITION, WRITE_KEY_SORT, register_sort, write_key_attribute, write_key_hash, write_key_partition,
};

use crate::template::Template;

/// The project, and the write key, that every local pipeline has.
pub const DEV: &str = "dev";

/// What a queue's attributes are where the template does not say (SQS API reference, `SetQueueAttributes`).
const QUEUE_DEFAULTS: [(&str, &str); 8] = [
    ("DelaySeconds", "0"),
    ("MaximumMessageSize", "1048576"),
    ("MessageRetentionPeriod", "345600"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("RedriveAllowPolicy", ""),
    ("RedrivePolicy", ""),
    ("SqsManagedSseEnabled", "true"),
    ("VisibilityTimeout", "30"),
];

/// Makes what the template describes and what is not there yet. What is there keeps its content; queues take the
/// template's present attributes, and tables its present streams, so that they are the same whatever was set before.
///
/// # Errors
/// A stand-in refuses, which names the resource.
pub async fn provision(
    template: &Template,
    sqs: &aws_sdk_sqs::Client,
    dynamodb: &aws_sdk_dynamodb::Client,
) -> anyhow::Result<()> {
    crate::dynamodb::create_tables(dynamodb, &template.tables).await?;
    // A queue must exist before another can name it as its dead-letter queue, and SQS checks the policies of both.
    let mut queues: Vec<_> = template.queues.iter().collect();
    queues.sort_by_key(|queue| queue.redrive.is_some());
    for queue in &queues {
        let known = sqs.get_queue_url().queue_name(&queue.name).send().await;
        if known.is_err() {
            sqs.create_queue()
                .queue_name(&queue.name)
                .send()
                .await
                .with_context(|| format!("creating queue {}", queue.name))?;
        }
    }
    for queue in &queues {
        let attribute = |(name, value): (&str, &str)| (QueueAttributeName::from(name), value.to_owned());
        let mut attributes: HashMap<_, _> = QUEUE_DEFAULTS.into_iter().map(attribute).collect();
        attributes.extend(queue.attributes.iter().map(|(name, value)| attribute((name.as_str(), value.as_str()))));
        sqs.set_queue_attributes()
            .queue_url(&queue.url)
            .set_attributes(Some(attributes))
            .send()
            .await
            .with_context(|| format!("setting the attributes of queue {}", queue.name))?;
    }
    Ok(())
}

/// Gives a project a write key, and puts it into the register; a key that exists is overwritten.
///
/// # Errors
/// The table refuses.
pub async fn create_write_key(
    dynamodb: &aws_sdk_dynamodb::Client,
    events_table: &str,
    project: &str,
    source: &str,
    write_key: &str,
) -> anyhow::Result<()> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let hash = write_key_hash(write_key);
    dynamodb
        .put_item()
        .table_name(events_table)
        .item("pk", text(REGISTER_PARTITION))
        .item("sk", text(&register_sort(project, source, &hash)))
        .send()
        .await
        .with_context(|| format!("registering a write key of project {project}"))?;
    dynamodb
        .put_item()
        .table_name(events_table)
        .item("pk", text(&write_key_partition(&hash)))
        .item("sk", text(WRITE_KEY_SORT))
        .item(write_key_attribute::PROJECT, text(project))
        .item(write_key_attribute::SOURCE, text(source))
        .send()
        .await
        .with_context(|| format!("giving project {project} a write key"))?;
    Ok(())
}
