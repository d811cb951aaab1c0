//! The port to a table with partition and sort key, and the writing of many items through it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use shared::limits::{DYNAMODB_GET_KEYS_MAX, DYNAMODB_STATEMENTS_MAX, STORE_BATCH_BYTES_MAX};
use shared::outcome::Cause;

/// Partition key and sort key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A truth value.
    Flag(bool),
    /// What is compressed.
    Bytes(Vec<u8>),
}

impl Value {
    /// The text; `None` for any other value.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Flag(_) | Value::Bytes(_) => None,
        }
    }

    /// The bytes that it takes in an item (DynamoDB developer guide, item sizes): of a number, one for each two digits, and
    /// one more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Number(number) => {
                let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
                (digits + usize::from(*number < 0)).div_ceil(2) + 1
            }
            Value::Flag(_) => 1,
            Value::Bytes(bytes) => bytes.len(),
        }
    }

    /// The number; `None` for any other value.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(_) | Value::Flag(_) | Value::Bytes(_) => None,
        }
    }
}

/// An item: its key and its other attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// The other attributes.
    pub attributes: BTreeMap<&'static str, Value>,
}

impl Item {
    /// Adds a text.
    pub fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.attributes.insert(name, Value::Text(text.into()));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &'static str, number: i64) {
        self.attributes.insert(name, Value::Number(number));
    }

    /// Adds bytes.
    pub fn bytes_of(&mut self, name: &'static str, bytes: Vec<u8>) {
        self.attributes.insert(name, Value::Bytes(bytes));
    }

    /// How many bytes the item takes, by its names and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.bytes());
        "pk".len() + self.key.pk.len() + "sk".len() + self.key.sk.len() + attributes.sum::<usize>()
    }

    /// The write units that the item takes: one for each KiB that is begun.
    #[must_use]
    pub fn write_units(&self) -> usize {
        self.bytes().div_ceil(1_024)
    }
}

/// The attributes of an item that was read. Names are not ours alone: others may have added some.
pub type Attributes = HashMap<String, Value>;

/// Attributes that were written, as a read gives them back: for what stands in for a table.
#[must_use]
pub fn as_read(written: &BTreeMap<&'static str, Value>) -> Attributes {
    written.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// A part of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The items, in the order of their sort keys.
    pub items: Vec<(Key, Attributes)>,
    /// Whether there are no more behind them.
    pub is_last: bool,
}

/// What became of an insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insert {
    /// The item was not there and is now.
    Done,
    /// An item with its key was there; nothing was changed.
    Exists,
    /// The table can never take the item, for the reason given.
    Refused(String),
    /// It was not written, or we do not know; it may be the next time.
    Failed(Cause),
}

/// What must hold for an item to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// There is no item.
    Absent,
    /// The number attribute has this value.
    Equals(&'static str, i64),
}

/// A table. Any call may have had its effect although it failed: a reply can be lost.
pub trait Table {
    /// Inserts items with different keys, at most 25 and about 4 MiB; one result an item, in their order.
    fn insert(&self, items: &[Item]) -> impl Future<Output = Vec<Insert>> + Send;

    /// Reads at most 100 different items, each as the last completed write left it, and of each only the attribute
    /// `only` where that is given. An item that is not there is absent from the result.
    fn get(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
    ) -> impl Future<Output = Result<HashMap<Key, Attributes>, Cause>> + Send;

    /// The same at half the price, but what was written a moment ago may be missing: for what is only ever added, and is
    /// written on the condition that it is not there.
    fn get_eventually(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
    ) -> impl Future<Output = Result<HashMap<Key, Attributes>, Cause>> + Send {
        self.get(keys, only)
    }

    /// Writes one item in place of what is there, if `guard` holds; otherwise returns `false`. `Err` with a text means
    /// that the table can never take the item.
    fn replace(&self, item: &Item, guard: Guard) -> impl Future<Output = Result<bool, Replace>> + Send;

    /// Reads a page of a partition's items whose sort keys begin with `prefix`, in their order, beginning behind the
    /// sort key `after`.
    fn query(
        &self,
        partition: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Page, Cause>> + Send;

    /// Reads a page of all the table's items, in any order, beginning behind the item `after`. Items written in the
    /// meantime may be missing. An empty page is the end.
    fn scan(&self, after: Option<&Key>) -> impl Future<Output = Result<Vec<(Key, Attributes)>, Cause>> + Send;

    /// Writes at most 25 different items in place of whatever is there. `Err` if any may not have been written.
    fn put(&self, items: &[Item]) -> impl Future<Output = Result<(), Cause>> + Send;

    /// Deletes at most 25 different items; one that is not there counts as deleted. `Err` if any may be left.
    fn delete(&self, keys: &[Key]) -> impl Future<Output = Result<(), Cause>> + Send;
}

/// Why an item was not replaced, other than for its guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The table can never take the item, for the reason given.
    Refused(String),
    /// It was not written, or we do not know; it may be the next time.
    Failed(Cause),
}

impl Replace {
    /// The cause, of an item that is ours altogether: only the table's own settings can refuse it for good.
    #[must_use]
    pub fn cause(self) -> Cause {
        match self {
            Replace::Refused(_) => Cause::Denied,
            Replace::Failed(cause) => cause,
        }
    }
}

/// How often an insert that may pass is tried within one invocation.
const ROUNDS: u32 = 4;
/// The pause before the second round; it doubles each time.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits before an attempt at something that failed, longer each time; not before the first.
pub async fn pause_before(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(PAUSE * 2_u32.pow(attempt.min(ROUNDS) - 1)).await;
    }
}

/// Inserts any number of items with different keys, in as few calls as the limits allow, and those that may pass again
/// a few times. One result an item, in their order.
pub async fn insert_all(table: &impl Table, items: &[Item]) -> Vec<Insert> {
    let mut results = vec![Insert::Failed(Cause::Unstarted); items.len()];
    for round in 0..ROUNDS {
        let pending: Vec<usize> =
            (0..items.len()).filter(|position| matches!(results[*position], Insert::Failed(_))).collect();
        if pending.is_empty() {
            break;
        }
        pause_before(round).await;
        for batch in batches(items, &pending) {
            let wanted: Vec<Item> = batch.iter().map(|position| items[*position].clone()).collect();
            let answers = table.insert(&wanted).await;
            for (position, answer) in batch.iter().zip(answers) {
                results[*position] = answer;
            }
        }
    }
    results
}

fn batches(items: &[Item], positions: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for position in positions {
        let size = items[*position].bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < DYNAMODB_STATEMENTS_MAX && bytes + size <= STORE_BATCH_BYTES_MAX => {
                bytes += size;
                batch.push(*position);
            }
            _ => {
                bytes = size;
                batches.push(vec![*position]);
            }
        }
    }
    batches
}

/// Reads any number of items, and of each only the attribute `only` where that is given: items of events are as large
/// as their producers like, so only what is needed of them may be held.
///
/// # Errors
/// At least one could not be read.
pub async fn get_all(
    table: &impl Table,
    mut keys: Vec<Key>,
    only: Option<&'static str>,
) -> Result<HashMap<Key, Attributes>, Cause> {
    keys.sort_unstable();
    keys.dedup();
    let mut found = HashMap::new();
    for batch in keys.chunks(DYNAMODB_GET_KEYS_MAX) {
        found.extend(table.get(batch, only).await?);
    }
    Ok(found)
}

/// Writes any number of different items in place of whatever is there.
///
/// # Errors
/// At least one may not have been written.
pub async fn put_all(table: &impl Table, items: &[Item]) -> Result<(), Cause> {
    for batch in items.chunks(DYNAMODB_STATEMENTS_MAX) {
        table.put(batch).await?;
    }
    Ok(())
}

/// Deletes any number of different items.
///
/// # Errors
/// At least one may be left.
pub async fn delete_all(table: &impl Table, keys: &[Key]) -> Result<(), Cause> {
    for batch in keys.chunks(DYNAMODB_STATEMENTS_MAX) {
        table.delete(batch).await?;
    }
    Ok(())
}
