//! Messages as the event that Lambda makes of them. Pure: values in, values out.

use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The event of a batch: what the function is invoked with.
#[must_use]
pub fn event(messages: &[Message], queue_arn: &str, region: &str) -> Bytes {
    joined(messages.iter().map(|message| record(message, queue_arn, region).to_string()))
}

/// What [`joined`] adds to the records of an event, in bytes, besides one comma a record.
pub(crate) const ENVELOPE_BYTES: usize = r#"{"Records":[]}"#.len();

/// An event of records that are JSON already, so that each is written once, when its size is taken.
pub(crate) fn joined(records: impl Iterator<Item = impl AsRef<str>>) -> Bytes {
    let mut event = String::from(r#"{"Records":["#);
    for (index, record) in records.enumerate() {
        if index > 0 {
            event.push(',');
        }
        event.push_str(record.as_ref());
    }
    event.push_str("]}");
    event.into()
}

/// One message as a record of an event. What the message does not have is an empty text, or absent where AWS leaves it
/// out.
pub(super) fn record(message: &Message, queue_arn: &str, region: &str) -> Value {
    let attributes = message.attributes().into_iter().flatten();
    let attributes: Map<_, _> = attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
    let own = message.message_attributes().into_iter().flatten();
    let own: Map<_, _> = own.map(|(name, value)| (name.clone(), attribute(value))).collect();
    let mut record = json!({
        "messageId": message.message_id().unwrap_or_default(),
        "receiptHandle": message.receipt_handle().unwrap_or_default(),
        "body": message.body().unwrap_or_default(),
        "attributes": attributes,
        "messageAttributes": own,
        "md5OfBody": message.md5_of_body().unwrap_or_default(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    });
    if let Some(md5) = message.md5_of_message_attributes() {
        record["md5OfMessageAttributes"] = json!(md5);
    }
    record
}

fn attribute(value: &MessageAttributeValue) -> Value {
    let mut attribute = json!({ "stringListValues": [], "binaryListValues": [], "dataType": value.data_type() });
    if let Some(text) = value.string_value() {
        attribute["stringValue"] = json!(text);
    }
    if let Some(binary) = value.binary_value() {
        attribute["binaryValue"] = json!(STANDARD.encode(binary));
    }
    attribute
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::primitives::Blob;
    use aws_sdk_sqs::types::MessageSystemAttributeName as System;

    const ARN: &str = "arn:aws:sqs:us-east-1:000000000000:events";

    #[test]
    fn a_message_becomes_the_record_that_lambda_makes() {
        let text = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
        let binary = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build();
        let message = Message::builder()
            .message_id("059f36b4-87a3-44ab-83d2-661975830a7d")
            .receipt_handle("AQEB")
            .body("{\"a\":\"\\\"\"}")
            .md5_of_body("098f6bcd4621d373cade4e832627b4f6")
            .md5_of_message_attributes("0408b1d2c0bf2f4a4d4ed8d1ecbe2d02")
            .attributes(System::ApproximateReceiveCount, "2")
            .attributes(System::SentTimestamp, "1545082649183")
            .attributes(System::from("DeadLetterQueueSourceArn"), ARN)
            .message_attributes("t", text)
            .message_attributes("b", binary.unwrap())
            .build();
        let expected = json!({ "Records": [{
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEB",
            "body": "{\"a\":\"\\\"\"}",
            "attributes": {
                "ApproximateReceiveCount": "2",
                "SentTimestamp": "1545082649183",
                "DeadLetterQueueSourceArn": ARN,
            },
            "messageAttributes": {
                "t": { "stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String" },
                "b": { "binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary" },
            },
            "md5OfBody": "098f6bcd4621d373cade4e832627b4f6",
            "md5OfMessageAttributes": "0408b1d2c0bf2f4a4d4ed8d1ecbe2d02",
            "eventSource": "aws:sqs",
            "eventSourceARN": ARN,
            "awsRegion": "us-east-1",
        }] });
        let event = event(&[message], ARN, "us-east-1");
        assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), expected);
    }

    #[test]
    fn records_are_joined_and_the_size_adds_up() {
        assert_eq!(event(&[], ARN, "us-east-1"), r#"{"Records":[]}"#);
        let message = Message::builder().message_id("a").build();
        let one = record(&message, ARN, "us-east-1").to_string().len();
        assert_eq!(event(std::slice::from_ref(&message), ARN, "us-east-1").len(), ENVELOPE_BYTES + one);
        let three = event(&[message.clone(), message.clone(), message], ARN, "us-east-1");
        assert_eq!(three.len(), ENVELOPE_BYTES + 3 * one + 2);
        assert_eq!(serde_json::from_slice::<Value>(&three).unwrap()["Records"].as_array().unwrap().len(), 3);
    }
}
