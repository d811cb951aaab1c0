//! Lists of what large requests carried: the items of those whose receipt's id has no room for them.
//!
//! Each message of such a request has a list of its own, found under its receipt by the first index in it. What is in a
//! list follows from the message alone. So whoever writes it first has written it for all deliveries.
//!
//! A list names users, and is there for two weeks. So it is sealed: only who has the receipt can read it, and an erasure
//! need not find it.

use std::collections::BTreeMap;

use shared::keys::{seal, unseal};
use shared::limits::{BATCH_EVENTS_MAX, RECEIPT_LIFE};
use shared::message::Message;
use shared::outcome::Cause;
use shared::receipt::{Listed, Receipt, list, read_list};

use crate::compressed::{deflate, inflate};
use crate::settle::Failed;
use crate::table::{Attributes, Insert, Item, Key, Table, Value, insert_all};

/// What the sort key of a list begins with.
pub const SORT: &str = "RECEIPT#";
/// The attribute with the list.
const LIST: &str = "list";

/// The partition of a receipt's lists.
fn partition(project: &str, receipt: &str) -> String {
    format!("{project}#RECEIPT#{receipt}")
}

/// The list of a message; `None` if its receipt needs none.
#[must_use]
pub fn item(message: &Message) -> Option<Item> {
    let events = message.events.iter().map(|event| event.index);
    let first = events.chain(message.refused.iter().map(|item| item.index)).min().filter(|_| message.lists_items)?;
    let key = Key { pk: partition(&message.project, &message.receipt), sk: format!("{SORT}{first:010}") };
    let mut item = Item { key, attributes: BTreeMap::new() };
    let sealed = seal(&message.list_key, &item.key.sk, &deflate(&list(message)));
    item.bytes_of(LIST, sealed);
    item.number("ttl", message.received_at.plus(RECEIPT_LIFE).as_millis() / 1000);
    Some(item)
}

/// Writes the lists of messages, which come with their positions in the batch. A message whose list could not be written
/// goes back.
pub async fn write_lists<'a>(
    table: &impl Table,
    messages: impl Iterator<Item = (usize, &'a Message)>,
    failed: &mut Failed,
) {
    // A message can be in a batch twice, and is the same list then.
    let mut lists: BTreeMap<Key, (Item, Vec<usize>)> = BTreeMap::new();
    for (position, message) in messages {
        if let Some(item) = item(message) {
            lists.entry(item.key.clone()).or_insert_with(|| (item, vec![])).1.push(position);
        }
    }
    let (items, positions): (Vec<Item>, Vec<Vec<usize>>) = lists.into_values().unzip();
    for (positions, inserted) in positions.into_iter().zip(insert_all(table, &items).await) {
        match inserted {
            Insert::Done | Insert::Exists => {}
            Insert::Failed(cause) => positions.into_iter().for_each(|position| failed.note(position, cause)),
            // Only a message that is none of ours can be that large; its events must not wait for a list.
            Insert::Refused(detail) => tracing::error!(detail, "the table refuses the list of a receipt"),
        }
    }
}

fn read(sort: &str, list: &Value, receipt: &Receipt) -> Option<Vec<Listed>> {
    let Value::Bytes(sealed) = list else { return None };
    read_list(&inflate(&unseal(&receipt.list_key, sort, sealed))?, receipt.received_at)
}

/// Reads the items of a request from its lists, those by index that are there by now.
///
/// # Errors
/// The table could not be read.
pub async fn read_lists(table: &impl Table, project: &str, receipt: &Receipt) -> Result<Vec<Listed>, Cause> {
    let partition = partition(project, &receipt.receipt);
    let mut items: BTreeMap<u32, Listed> = BTreeMap::new();
    let mut after: Option<String> = None;
    // There are no more lists than items, so this ends even if somebody goes on adding some.
    for _ in 0..=BATCH_EVENTS_MAX {
        let page = table.query(&partition, SORT, after.as_deref()).await?;
        let read = |(key, attributes): &(Key, Attributes)| read(&key.sk, attributes.get(LIST)?, receipt);
        let listed = page.items.iter().filter_map(read).flatten();
        items.extend(listed.filter(|item| item.index < receipt.items).map(|item| (item.index, item)));
        match page.items.last() {
            Some((last, _)) if !page.is_last => after = Some(last.sk.clone()),
            Some(_) | None => break,
        }
    }
    Ok(items.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../events/sqs/refused_items.json");

    fn message() -> Message {
        let sample: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
        Message::decode(sample["Records"][0]["body"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn only_a_message_that_asks_for_it_is_listed() {
        assert_eq!(item(&message()), None);
        assert_eq!(item(&Message { events: vec![], refused: vec![], lists_items: true, ..message() }), None);
    }

    #[test]
    fn a_list_is_found_under_its_receipt_and_leaves_with_it() {
        let message = Message { lists_items: true, list_key: "k".to_owned(), ..message() };
        let item = item(&message).unwrap();
        assert_eq!(item.key.pk, format!("{}#RECEIPT#{}", message.project, message.receipt));
        assert_eq!(item.key.sk, "RECEIPT#0000000000");
        let days = (item.attributes["ttl"].number().unwrap() - message.received_at.as_millis() / 1000) / 86_400;
        assert_eq!(days, 14);
        let Value::Bytes(bytes) = &item.attributes[LIST] else { panic!() };
        assert_eq!(inflate(bytes), None, "nobody reads it without the key");
        let listed = read_list(&inflate(&unseal("k", &item.key.sk, bytes)).unwrap(), message.received_at).unwrap();
        assert_eq!(listed.len(), message.events.len() + message.refused.len());
        assert_eq!(item, super::item(&message).unwrap(), "on every delivery the same");
    }

    #[test]
    fn the_list_of_the_largest_message_fits_an_item() {
        let event = message().events.remove(0);
        let mut large = Message { lists_items: true, refused: vec![], ..message() };
        let mut bytes = 0;
        while bytes < shared::limits::MESSAGE_BYTES_TARGET {
            let index = u32::try_from(large.events.len()).unwrap();
            let subject = format!("{index:480}");
            large.events.push(shared::event::Event { index, subject, id: format!("{index:400}"), ..event.clone() });
            bytes += shared::message::encoded_bytes(large.events.last().unwrap());
        }
        assert!(item(&large).unwrap().bytes() < shared::limits::DYNAMODB_ITEM_BYTES_MAX);
    }
}
