//! What Lambda hands to the function: messages of the queue or the quarantine, changes of the spill table, or the hour of
//! the sweep.

use std::collections::HashMap;

use serde::Deserialize;
use shared::clock::Timestamp;

use crate::decode::Delivery;
use crate::redrive::{ATTRIBUTE, Redrive};

/// An invocation's payload. Every field may be missing, so that one record of an unknown shape costs no other its
/// delivery.
#[derive(Debug, Default, Deserialize)]
pub struct Payload {
    /// The records of a queue or a stream.
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
    /// The kind of an event of EventBridge.
    #[serde(rename = "detail-type", default)]
    detail_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record {
    message_id: Option<String>,
    receipt_handle: Option<String>,
    body: Option<String>,
    attributes: HashMap<String, String>,
    message_attributes: HashMap<String, MessageAttribute>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Option<String>,
    dynamodb: Option<Change>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MessageAttribute {
    string_value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Change {
    keys: HashMap<String, KeyValue>,
    sequence_number: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct KeyValue {
    #[serde(rename = "S", default)]
    text: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Work {
    /// A batch of the queue.
    Queue(Vec<Delivery>),
    /// A batch of the quarantine.
    Quarantine(Vec<Delivery>),
    /// Items that came into the spill table.
    Spilled(Vec<SpilledRecord>),
    /// Time to look for messages that were left in the spill table.
    Sweep,
}

/// A change of the spill table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpilledRecord {
    /// The change's number in the stream; empty where there was none.
    pub sequence_number: String,
    /// The message's id: the item's partition key.
    pub id: String,
    /// The part: the item's sort key.
    pub part: String,
}

/// The payload is none that the function is invoked with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither records nor a scheduled event")]
pub struct UnknownPayload;

impl Payload {
    /// Tells what is to be done. Messages whose ARN ends with the name of `quarantine` are from there.
    ///
    /// # Errors
    /// There is nothing in it that we know.
    pub fn work(self, quarantine: &str, now: Timestamp) -> Result<Work, UnknownPayload> {
        let Some(first) = self.records.first() else {
            return if self.detail_type.as_deref() == Some("Scheduled Event") {
                Ok(Work::Sweep)
            } else {
                Err(UnknownPayload)
            };
        };
        if first.dynamodb.is_some() {
            return Ok(Work::Spilled(self.records.into_iter().map(spilled).collect()));
        }
        let name = first.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next());
        let is_quarantine = name == Some(quarantine);
        let deliveries = self.records.into_iter().map(|record| delivery(record, now)).collect();
        Ok(if is_quarantine { Work::Quarantine(deliveries) } else { Work::Queue(deliveries) })
    }
}

fn delivery(record: Record, now: Timestamp) -> Delivery {
    let number = |name: &str| record.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
    let redrive = record.message_attributes.get(ATTRIBUTE).and_then(|value| value.string_value.as_deref());
    Delivery {
        receive_count: number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        sent_at: number("SentTimestamp").and_then(Timestamp::from_millis).unwrap_or(now),
        group: record.attributes.get("MessageGroupId").cloned().unwrap_or_default(),
        redrive: redrive.and_then(Redrive::decode),
        message_id: record.message_id.unwrap_or_default(),
        receipt_handle: record.receipt_handle.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    }
}

fn spilled(record: Record) -> SpilledRecord {
    let change = record.dynamodb.unwrap_or_default();
    let key = |name: &str| change.keys.get(name).and_then(|value| value.text.clone()).unwrap_or_default();
    SpilledRecord { id: key("pk"), part: key("sk"), sequence_number: change.sequence_number.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn work(payload: &serde_json::Value) -> Result<Work, UnknownPayload> {
        let now = Timestamp::from_millis(1_700_000_000_000).unwrap();
        serde_json::from_value::<Payload>(payload.clone()).unwrap().work("stack-quarantine", now)
    }

    #[test]
    fn a_message_is_read_with_all_that_a_delivery_needs() {
        let record = |queue: &str| {
            json!({"Records": [{
                "messageId": "m", "receiptHandle": "h", "body": "text",
                "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1699999999000", "MessageGroupId": "dev"},
                "messageAttributes": {"Redrive": {"stringValue": "{\"pk\":\"p\",\"sk\":\"s\",\"round\":2}", "dataType": "String"}},
                "eventSource": "aws:sqs", "eventSourceARN": format!("arn:aws:sqs:eu-west-1:123456789012:{queue}"),
            }]})
        };
        let Ok(Work::Queue(deliveries)) = work(&record("stack-events")) else { panic!() };
        let [delivery] = deliveries.try_into().unwrap();
        assert_eq!((delivery.message_id.as_str(), delivery.receipt_handle.as_str()), ("m", "h"));
        assert_eq!((delivery.receive_count, delivery.sent_at.as_millis()), (3, 1_699_999_999_000));
        assert_eq!((delivery.group.as_str(), delivery.body.as_str()), ("dev", "text"));
        assert_eq!(delivery.redrive, Some(Redrive { pk: "p".into(), sk: "s".into(), round: 2 }));
        assert!(matches!(work(&record("stack-quarantine")), Ok(Work::Quarantine(_))));
    }

    #[test]
    fn changes_of_the_spill_table_and_the_sweep_are_told_apart() {
        let change = json!({"Records": [{
            "eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb",
            "dynamodb": {"Keys": {"pk": {"S": "r.0"}, "sk": {"S": "0"}}, "SequenceNumber": "111", "StreamViewType": "KEYS_ONLY"},
        }]});
        let Ok(Work::Spilled(records)) = work(&change) else { panic!() };
        assert_eq!(records, [SpilledRecord { sequence_number: "111".into(), id: "r.0".into(), part: "0".into() }]);
        assert!(matches!(work(&json!({"detail-type": "Scheduled Event", "source": "aws.events"})), Ok(Work::Sweep)));
        for unknown in [json!({}), json!({"Records": []}), json!({"detail-type": "Other"})] {
            assert_eq!(work(&unknown).unwrap_err(), UnknownPayload);
        }
    }

    #[test]
    fn a_record_of_an_unknown_shape_costs_no_other_its_delivery() {
        let Ok(Work::Queue(deliveries)) = work(&json!({"Records": [{"messageId": "m", "body": "b"}, {"x": 1}]})) else {
            panic!()
        };
        assert_eq!((deliveries[0].body.as_str(), deliveries[1].body.as_str()), ("b", ""));
        assert_eq!(deliveries[1].receive_count, 1);
    }
}
