//! What of a received message is told: the body always, attributes only as asked for.

use serde_json::{Map, Value, json};

use super::content::{MessageAttribute, md5_of_attributes, md5_of_text};
use super::error::{Code, Refusal};
use super::limits::SENDER_ID;
use super::receive::Received;
use super::wire::ReceiveRequest;

/// The system attributes that can be asked for.
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

#[derive(Debug)]
pub(crate) struct Selection {
    system: Vec<String>,
    attributes: Vec<String>,
}

impl Selection {
    /// Reads the names that a receive asks for; refuses system attributes that SQS does not know.
    pub(crate) fn of(request: &mut ReceiveRequest) -> Result<Selection, Refusal> {
        let mut system = request.message_system_attribute_names.take().unwrap_or_default();
        system.extend(request.attribute_names.take().unwrap_or_default());
        if let Some(unknown) = system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str())) {
            return Err(Refusal::new(Code::InvalidAttributeName, format!("Unknown Attribute {unknown:.100}.")));
        }
        Ok(Selection { system, attributes: request.message_attribute_names.take().unwrap_or_default() })
    }

    /// `All` and `.*` ask for every attribute, `name.*` for those that begin with `name`.
    fn asks_for(&self, name: &str) -> bool {
        self.attributes.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => asked == "All" || asked == name,
        })
    }

    /// The message as the reply has it.
    pub(crate) fn render(&self, received: &Received, fifo: bool) -> Value {
        let message = &received.message;
        let mut rendered = json!({
            "MessageId": message.id,
            "ReceiptHandle": received.receipt_handle,
            "MD5OfBody": md5_of_text(&message.body),
            "Body": message.body,
        });
        let system = self.system(received, fifo);
        if !system.is_empty() {
            rendered["Attributes"] = Value::Object(system);
        }
        let asked = message.attributes.iter().filter(|(name, _)| self.asks_for(name));
        let asked: Vec<(&str, &MessageAttribute)> = asked.map(|(name, value)| (name.as_str(), value)).collect();
        // The digest is of what is returned, for that is what the client can check.
        if let Some(digest) = md5_of_attributes(asked.iter().copied()) {
            rendered["MD5OfMessageAttributes"] = digest.into();
            rendered["MessageAttributes"] =
                asked.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        }
        rendered
    }

    fn system(&self, received: &Received, fifo: bool) -> Map<String, Value> {
        let message = &received.message;
        let trace_header = message.trace_header.as_ref().and_then(|trace| trace.string_value.clone());
        let known = [
            ("SenderId", Some(SENDER_ID.to_owned())),
            ("SentTimestamp", Some(message.sent_ms.to_string())),
            ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
            ("ApproximateFirstReceiveTimestamp", message.first_received_ms.map(|at_ms| at_ms.to_string())),
            ("SequenceNumber", fifo.then(|| sequence_number(message.seq))),
            ("MessageDeduplicationId", message.deduplication_id.clone()),
            ("MessageGroupId", message.group.clone()),
            ("AWSTraceHeader", trace_header),
            ("DeadLetterQueueSourceArn", message.dead_letter_source.clone()),
        ];
        let all = self.system.iter().any(|asked| asked == "All");
        let asked = known.into_iter().filter(|(name, _)| all || self.system.iter().any(|asked| asked == name));
        asked.filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
    }
}

/// A FIFO message's place in the order, as long as SQS's.
pub(crate) fn sequence_number(seq: u64) -> String {
    format!("{seq:020}")
}
