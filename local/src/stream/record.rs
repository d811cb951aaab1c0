//! Records of a stream as the event that Lambda makes of them. Pure: values in, values out.

use serde_json::{Value, json};

use crate::lambda::REGION;

/// A record on its way to the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What the function calls it by.
    pub(super) sequence_number: String,
    /// The partition of the item, as JSON. What happens in one partition stays in order.
    pub(super) partition: String,
    /// When the item was changed, in seconds since 1970.
    pub(super) created_secs: i64,
    /// The record of the event, as JSON.
    pub(super) json: String,
}

impl Record {
    /// Takes over a record of the engine, whose Region is its own, and whose times are written with a fraction.
    pub(super) fn new(mut value: Value, stream_arn: &str, partition_key: &str) -> Self {
        let created = &mut value["dynamodb"]["ApproximateCreationDateTime"];
        // Beyond 2^53 seconds nothing is a time; the cast stops at the ends of the range.
        let created_secs = created.as_f64().unwrap_or_default() as i64;
        *created = json!(created_secs);
        value["awsRegion"] = json!(REGION);
        value["eventSourceARN"] = json!(stream_arn);
        let sequence_number = value["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned();
        let partition = value["dynamodb"]["Keys"][partition_key].to_string();
        Self { sequence_number, partition, created_secs, json: value.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_engine_becomes_one_of_lambda() {
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/l";
        let own = json!({
            "eventID": "e1",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "elsewhere",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_763_942_400.0,
                "Keys": {"pk": {"S": "p"}},
                "SequenceNumber": "100000000000000000005",
                "SizeBytes": 3,
                "StreamViewType": "KEYS_ONLY",
            },
        });
        let record = Record::new(own, arn, "pk");
        assert_eq!(record.partition, r#"{"S":"p"}"#);
        assert_eq!(record.sequence_number, "100000000000000000005");
        assert_eq!(record.created_secs, 1_763_942_400);
        let expected = json!({
            "eventID": "e1",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "eventSourceARN": arn,
            "dynamodb": {
                "ApproximateCreationDateTime": 1_763_942_400,
                "Keys": {"pk": {"S": "p"}},
                "SequenceNumber": "100000000000000000005",
                "SizeBytes": 3,
                "StreamViewType": "KEYS_ONLY",
            },
        });
        assert_eq!(serde_json::from_str::<Value>(&record.json).unwrap(), expected);
    }
}
