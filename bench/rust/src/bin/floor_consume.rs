//! The least that a function between a queue and a table can do with the same SDK: write each message as it is, unread,
//! in as few calls as the table takes.

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::limits::DYNAMODB_STATEMENTS_MAX;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let table = subjects::required("EVENTS_TABLE_NAME")?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| write(&dynamodb, &table, event.payload))).await
}

async fn write(dynamodb: &aws_sdk_dynamodb::Client, table: &str, event: SqsEvent) -> Result<SqsBatchResponse, Error> {
    // A call takes as many items as it takes statements.
    for records in event.records.chunks(DYNAMODB_STATEMENTS_MAX) {
        let requests = records.iter().map(put).collect::<Result<Vec<_>, Error>>()?;
        let reply = dynamodb.batch_write_item().request_items(table, requests).send().await?;
        if reply.unprocessed_items().is_some_and(|left| !left.is_empty()) {
            return Err("the table left items out".into());
        }
    }
    Ok(SqsBatchResponse::default())
}

fn put(record: &SqsMessage) -> Result<WriteRequest, Error> {
    let text = |text: &Option<String>| AttributeValue::S(text.clone().unwrap_or_default());
    let put = PutRequest::builder()
        .item("pk", text(&record.message_id))
        .item("sk", AttributeValue::S("E".to_owned()))
        .item("body", text(&record.body))
        .build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}
