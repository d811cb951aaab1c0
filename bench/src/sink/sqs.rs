//! SQS's side of the sink: every message is taken, and answered with the MD5 that some SDKs check.

use std::borrow::Cow;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::{Reply, Tally};

/// What one billed request holds (SQS pricing): 64 KiB.
const BILLED_BYTES: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Send<'a> {
    #[serde(borrow)]
    message_body: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendBatch<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(default)]
    id: String,
    #[serde(borrow, default)]
    message_body: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Taken {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    successful: Vec<Taken>,
    failed: Vec<Taken>,
}

/// Answers a call.
pub(super) fn answer(action: &str, body: &[u8], tally: &mut Tally) -> Reply {
    let answered = match action {
        "SendMessage" => serde_json::from_slice::<Send<'_>>(body).and_then(|send| {
            let entry = Entry { id: String::new(), message_body: send.message_body };
            count(tally, std::slice::from_ref(&entry));
            serde_json::to_string(&taken(entry))
        }),
        "SendMessageBatch" => serde_json::from_slice::<SendBatch<'_>>(body).and_then(|send| {
            count(tally, &send.entries);
            let successful = send.entries.into_iter().map(taken).collect();
            serde_json::to_string(&Batch { successful, failed: vec![] })
        }),
        "ChangeMessageVisibilityBatch" => serde_json::from_slice::<SendBatch<'_>>(body)
            .and_then(|change| serde_json::to_string(&ids(&change.entries)))
            .inspect(|_| tally.queue_units += 1),
        _ => return Reply::refuse("InvalidAction", "the sink does not know it"),
    };
    answered.map_or_else(|error| Reply::refuse("SerializationException", &error.to_string()), Reply::ok)
}

fn count(tally: &mut Tally, entries: &[Entry<'_>]) {
    let bytes: u64 = entries.iter().map(|entry| entry.message_body.len() as u64).sum();
    tally.messages += entries.len() as u64;
    tally.queue_units += bytes.div_ceil(BILLED_BYTES).max(1);
}

fn taken(entry: Entry<'_>) -> Taken {
    let digest = Md5::digest(entry.message_body.as_bytes());
    let md5 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Taken { id: entry.id, message_id: "19dd0b57-b21e-4ac1-bd88-01bbb068cb00".to_owned(), md5 }
}

fn ids(entries: &[Entry<'_>]) -> serde_json::Value {
    let ids: Vec<_> = entries.iter().map(|entry| serde_json::json!({"Id": entry.id})).collect();
    serde_json::json!({"Successful": ids, "Failed": []})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_a_batch_is_confirmed_with_its_md5_and_64_kib_are_billed_as_one() {
        let mut tally = Tally::default();
        let long = "x".repeat(70_000);
        let body = serde_json::json!({"QueueUrl": "q", "Entries": [
            {"Id": "a", "MessageBody": "h\u{e9}\n"}, {"Id": "b", "MessageBody": long}]});
        let reply = answer("SendMessageBatch", body.to_string().as_bytes(), &mut tally);
        let reply: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((&reply["Successful"][0]["Id"], &reply["Successful"][1]["Id"]), (&"a".into(), &"b".into()));
        // md5sum of "hé\n" in UTF-8.
        assert_eq!(reply["Successful"][0]["MD5OfMessageBody"], "b7b5603da77af9bb84d45ce1325eb325");
        assert_eq!((tally.messages, tally.queue_units), (2, 2));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (action, body) in [("DeleteQueue", "{}"), ("SendMessage", "{}"), ("SendMessageBatch", "no JSON")] {
            assert_eq!(answer(action, body.as_bytes(), &mut Tally::default()).status, 400, "{action}");
        }
    }
}
