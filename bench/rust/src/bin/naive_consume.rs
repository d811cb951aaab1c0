//! A function between a queue and a table as common samples have it: each message parsed whole, and a call for each.

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let table = subjects::required("EVENTS_TABLE_NAME")?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| store(&dynamodb, &table, event.payload))).await
}

async fn store(dynamodb: &aws_sdk_dynamodb::Client, table: &str, event: SqsEvent) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    for record in &event.records {
        if put(dynamodb, table, record.body.as_deref().unwrap_or_default()).await.is_err()
            && let Some(id) = &record.message_id
        {
            response.add_failure(id);
        }
    }
    Ok(response)
}

async fn put(dynamodb: &aws_sdk_dynamodb::Client, table: &str, body: &str) -> Result<(), Error> {
    let event: Value = serde_json::from_str(body)?;
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let mut request = dynamodb
        .put_item()
        .table_name(table)
        .item("pk", AttributeValue::S(format!("{}#{}", text("project"), text("userId"))))
        .item("sk", AttributeValue::S(format!("E#{}#{}", text("timestamp"), text("messageId"))))
        .condition_expression("attribute_not_exists(pk)");
    for (name, value) in event.as_object().into_iter().flatten() {
        request = request.item(name, attribute(value));
    }
    request.send().await?;
    Ok(())
}

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(truth) => AttributeValue::Bool(*truth),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(elements) => AttributeValue::L(elements.iter().map(attribute).collect()),
        Value::Object(members) => {
            AttributeValue::M(members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
    }
}
