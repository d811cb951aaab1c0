//! The stand-in as the functions' own client sees it: the AWS SDK for Rust, which checks digests and maps errors.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, SendMessageBatchRequestEntry};

use super::super::{Action, Times};
use super::*;

fn client(local: &Local) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(local.server.endpoint())
        .region(Region::new("us-east-1"))
        .retry_config(RetryConfig::disabled())
        // The stand-in reads no signature, so the tests need no credentials.
        .allow_no_auth()
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn the_sdk_sends_receives_and_deletes() {
    let local = Local::start().await;
    let sqs = client(&local);
    let url = sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let attribute = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let entry = |id: &str| {
        let entry = SendMessageBatchRequestEntry::builder().id(id).message_body("héllo").message_group_id("tenant");
        entry.message_attributes("a", attribute.clone()).build().unwrap()
    };
    let sent = sqs.send_message_batch().queue_url(&url).entries(entry("1")).entries(entry("2")).send().await.unwrap();
    assert_eq!((sent.successful.len(), sent.failed.len()), (2, 0));
    let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10).message_attribute_names("All");
    let received = receive.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
    let messages = received.messages.unwrap();
    assert_eq!(messages.len(), 2);
    let attributes = messages[0].attributes.as_ref().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "tenant");
    for message in messages {
        sqs.delete_message().queue_url(&url).receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
    }
    let empty = sqs.receive_message().queue_url(&url).send().await.unwrap();
    assert!(empty.messages.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn the_sdk_recognises_the_errors() {
    let local = Local::start().await;
    let sqs = client(&local);
    let missing = sqs.send_message().queue_url(local.server.queue_url("nope")).message_body("a").send().await;
    assert!(missing.unwrap_err().into_service_error().is_queue_does_not_exist());
    let url = sqs.create_queue().queue_name("q").send().await.unwrap().queue_url.unwrap();
    let bad = sqs.send_message().queue_url(&url).message_body("\u{1}").send().await;
    assert!(bad.unwrap_err().into_service_error().is_invalid_message_contents());
    let garbage = sqs.delete_message().queue_url(&url).receipt_handle("garbage").send().await;
    assert!(garbage.unwrap_err().into_service_error().is_receipt_handle_is_invalid());
    local.server.faults().throttle(Action::SendMessage, Times::Next(1));
    let throttled = sqs.send_message().queue_url(&url).message_body("a").send().await;
    assert!(throttled.unwrap_err().into_service_error().is_request_throttled());
    local.server.faults().refuse(Action::SendMessage, Times::Next(1));
    let refused = sqs.send_message().queue_url(&url).message_body("a").send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 503);
    local.server.faults().drop_reply(Action::SendMessage, Times::Next(1));
    let dropped = sqs.send_message().queue_url(&url).message_body("a").send().await.unwrap_err();
    assert!(dropped.raw_response().is_none(), "{dropped:?}");
    assert_eq!(local.server.with_queues(|queues, now| queues.depth(now, "q")).unwrap().visible, 1);
}
