//! Events → messages under SQS's limits, and messages → batches of one `SendMessageBatch`.

use shared::event::Event;
use shared::limits::{MESSAGE_ENVELOPE_BYTES_MAX, SQS_BATCH_ENTRIES_MAX, SQS_MESSAGE_BYTES_MAX};
use shared::message::{Message, Refused, encoded};

use crate::queue::Entry;

/// Packs everything of a request into as few messages of about `bytes_target` as an in-order filling gives. An event
/// larger than that is a message of its own, which `limits` keeps within SQS's.
#[must_use]
pub fn pack(envelope: &Message, events: Vec<Event>, refused: Vec<Refused>, bytes_target: usize) -> Vec<Entry> {
    let room = bytes_target.saturating_sub(MESSAGE_ENVELOPE_BYTES_MAX);
    let mut packer = Packer { envelope, room, open: Open::default(), entries: vec![] };
    for event in events {
        let text = encoded(&event);
        packer.make_room(text.len());
        packer.open.events.push(text);
    }
    for item in refused {
        let text = encoded(&item);
        packer.make_room(text.len());
        packer.open.refused.push(text);
    }
    packer.close();
    packer.entries
}

/// A message without contents, as it is sent.
#[must_use]
pub fn probe(envelope: &Message) -> Entry {
    entry(envelope, &Open::default(), 0)
}

/// A message as it is sent. Those of a key that could not be checked are a group of their own.
fn entry(envelope: &Message, open: &Open, number: usize) -> Entry {
    let group = envelope.write_key_hash.as_ref().unwrap_or(&envelope.project).clone();
    let body = envelope.encode_with(&open.events, &open.refused);
    Entry { group, body, number, items: open.events.len() + open.refused.len() }
}

struct Packer<'a> {
    envelope: &'a Message,
    room: usize,
    open: Open,
    entries: Vec<Entry>,
}

/// The message that is being filled: the texts of what is in it.
#[derive(Default)]
struct Open {
    events: Vec<String>,
    refused: Vec<String>,
    bytes: usize,
}

impl Packer<'_> {
    /// Makes sure that `bytes` more fit the open message, closing it if they do not.
    fn make_room(&mut self, bytes: usize) {
        // One more for the comma between elements.
        if self.open.bytes > 0 && self.open.bytes + bytes + 1 > self.room {
            self.close();
        }
        self.open.bytes += bytes + 1;
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.bytes > 0 {
            self.entries.push(entry(self.envelope, &open, self.entries.len()));
        }
    }
}

/// How many entries from the first on one `SendMessageBatch` takes: at most ten, and 1 MiB together.
#[must_use]
pub fn batch_len(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.body.len();
        bytes <= SQS_MESSAGE_BYTES_MAX
    };
    // One alone always goes: what is too large for SQS is for SQS to say.
    entries.iter().take(SQS_BATCH_ENTRIES_MAX).take_while(fits).count().clamp(1, SQS_BATCH_ENTRIES_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::clock::Timestamp;
    use shared::event::{Identity, Kind};
    use shared::limits::{EVENT_BYTES_CEILING, MESSAGE_BYTES_TARGET, REFUSED_BYTES_MAX};

    use super::*;

    fn envelope() -> Message {
        Message {
            version: shared::message::VERSION,
            project: "p".repeat(64),
            source: "s".repeat(64),
            receipt: "r".repeat(64),
            received_at: Timestamp::from_millis(0).unwrap(),
            code_version: "0.1.0".into(),
            verified: true,
            write_key_hash: None,
            lists_items: true,
            list_key: "k".repeat(64),
            events: vec![],
            refused: vec![],
        }
    }

    fn event(index: u32, filler: &str) -> Event {
        let time = Timestamp::from_millis(0).unwrap();
        Event {
            index,
            id: "i".repeat(400),
            identity: Identity::Forever,
            kind: Kind::Track,
            subject: "é".repeat(480),
            device: Some("d".repeat(480)),
            address: Some("a".repeat(480)),
            name: Some("n".into()),
            target: None,
            data: Some(serde_json::from_str(&format!("{{\"a\":\"{filler}\"}}")).unwrap()),
            context: None,
            extra: None,
            client_time: Some(time),
            sent_at: Some(time),
            timestamp: time,
        }
    }

    fn item(index: u32, bytes: usize) -> Refused {
        let body = serde_json::from_str(&format!("\"{}\"", "x".repeat(bytes))).unwrap();
        Refused { index, reason: "bad_request".into(), detail: String::new(), call: "batch".into(), body }
    }

    #[test]
    fn a_typical_request_is_one_message() {
        let entries = pack(
            &envelope(),
            (0..50).map(|index| event(index, "x")).collect(),
            vec![item(50, 10)],
            MESSAGE_BYTES_TARGET,
        );
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].group, "p".repeat(64));
        let message = Message::decode(&entries[0].body).unwrap();
        assert_eq!((message.events.len(), message.refused.len()), (50, 1));
    }

    #[test]
    fn the_largest_event_and_the_largest_refused_item_fit_a_message_whatever_they_hold() {
        // U+FFFE is the worst: three bytes that must become six.
        let event = event(0, &"\u{FFFE}".repeat(EVENT_BYTES_CEILING / 3));
        let body = serde_json::from_str(&format!("\"{}\"", "\u{FFFF}".repeat(REFUSED_BYTES_MAX / 3))).unwrap();
        let item =
            Refused { index: 1, reason: "bad_request".into(), detail: "d".repeat(200), call: "batch".into(), body };
        let entries = pack(&envelope(), vec![event], vec![item], MESSAGE_BYTES_TARGET);
        assert_eq!(entries.len(), 2);
        for entry in entries {
            assert!(entry.body.len() <= SQS_MESSAGE_BYTES_MAX, "{}", entry.body.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn nothing_is_lost_and_every_limit_is_kept(
            sizes in prop::collection::vec(0_usize..60_000, 0..30),
            refused in prop::collection::vec(0_usize..60_000, 0..10),
            target in 3_000_usize..300_000,
        ) {
            let events: Vec<Event> = (0..).zip(&sizes).map(|(index, size)| event(index, &"x".repeat(*size))).collect();
            let items: Vec<Refused> = (1000..).zip(&refused).map(|(index, size)| item(index, *size)).collect();
            let entries = pack(&envelope(), events, items, target);
            let (mut indexes, mut refused_indexes) = (vec![], vec![]);
            for entry in &entries {
                let message = Message::decode(&entry.body).unwrap();
                let alone = message.events.len() + message.refused.len() == 1;
                prop_assert!(alone || entry.body.len() <= target, "{} in {}", entry.body.len(), target);
                indexes.extend(message.events.iter().map(|event| event.index));
                refused_indexes.extend(message.refused.iter().map(|item| item.index));
            }
            prop_assert_eq!(indexes, (0..u32::try_from(sizes.len()).unwrap()).collect::<Vec<_>>());
            prop_assert_eq!(refused_indexes.len(), refused.len());
            let mut left = entries.as_slice();
            while !left.is_empty() {
                let (batch, rest) = left.split_at(batch_len(left));
                prop_assert!((1..=SQS_BATCH_ENTRIES_MAX).contains(&batch.len()));
                prop_assert!(batch.iter().map(|entry| entry.body.len()).sum::<usize>() <= SQS_MESSAGE_BYTES_MAX);
                left = rest;
            }
        }
    }
}
