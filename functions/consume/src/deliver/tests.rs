//! A batch on tables in memory, one of which can panic.

use std::collections::HashMap;
use std::sync::Mutex;

use shared::clock::ManualClock;

use super::*;
use crate::table::{Attributes, Guard, Replace};

/// A table that panics over items with `killer` in their key.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Key, Item>>);

fn attributes(item: &Item) -> Attributes {
    item.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

impl Table for &Memory {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        assert!(!items.iter().any(|item| item.key.sk.contains("killer")), "a bug of ours");
        let mut table = self.0.lock().unwrap();
        let mut results = Vec::new();
        for item in items {
            let exists = table.contains_key(&item.key);
            results.push(if exists { Insert::Exists } else { Insert::Done });
            table.entry(item.key.clone()).or_insert_with(|| item.clone());
        }
        results
    }

    async fn get(&self, keys: &[Key], _: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        let table = self.0.lock().unwrap();
        Ok(keys.iter().filter_map(|key| Some((key.clone(), attributes(table.get(key)?)))).collect())
    }

    async fn replace(&self, item: &Item, _: Guard) -> Result<bool, Replace> {
        self.0.lock().unwrap().insert(item.key.clone(), item.clone());
        Ok(true)
    }

    async fn query(&self, _: &str, _: &str, _: Option<&str>) -> Result<Vec<(Key, Attributes)>, Cause> {
        Ok(vec![])
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        let mut table = self.0.lock().unwrap();
        keys.iter().for_each(|key| drop(table.remove(key)));
        Ok(())
    }
}

fn delivery(id: &str) -> Delivery {
    let sample: serde_json::Value =
        serde_json::from_str(include_str!("../../../../events/sqs/one_track.json")).unwrap();
    let body = sample["Records"][0]["body"].as_str().unwrap().replace("sample-sqs-0", id);
    let sent_at = Timestamp::from_millis(0).unwrap();
    Delivery { message_id: id.to_owned(), body, receive_count: 1, sent_at }
}

fn consume<'a>(events: &'a Memory, letters: &'a Memory) -> Consume<&'a Memory, &'a Memory> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000).unwrap()));
    Consume::new(events, letters, Duration::from_secs(1), clock)
}

#[tokio::test]
async fn a_message_that_makes_our_code_panic_goes_back_alone() {
    let (events, letters) = (Memory::default(), Memory::default());
    let deliveries = ["a", "killer", "b"].map(delivery);
    let report = consume(&events, &letters).deliver(&deliveries, Timestamp::from_millis(1_060_000).unwrap()).await;
    assert_eq!((report.failed.as_slice(), report.stored), (&[1][..], 2));
}

#[tokio::test]
async fn messages_for_which_the_time_is_too_short_are_not_begun() {
    let (events, letters) = (Memory::default(), Memory::default());
    let deliveries = ["a", "b"].map(delivery);
    let report = consume(&events, &letters).deliver(&deliveries, Timestamp::from_millis(1_011_000).unwrap()).await;
    assert_eq!((report.failed.as_slice(), report.stored), (&[0, 1][..], 0));
    assert!(events.0.lock().unwrap().is_empty());
}
