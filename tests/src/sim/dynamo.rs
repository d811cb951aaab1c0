//! A table of DynamoDB: conditional writes that are atomic each, batches that succeed in part, and a stream of what is
//! new.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use consume::bundle::unpack;
use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, Value, as_read};
use ingest::auth::{KeyLookup, LookupError, Owner};
use ingest::queue::Entry;
use ingest::spill::{SpillError, SpillStore};
use shared::clock::Timestamp;
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_partition};
use shared::outcome::Cause;
use shared::spill::{HEAD, attribute, parts};
use tokio::sync::Notify;

use super::calls::{KILLS_WRITER, UNSTORABLE};
use super::scenario::Service;
use super::throughput::{Throughput, units};
use super::world::{Env, Trouble, World};

/// Items of a page, small enough that pages happen.
const PAGE: usize = 4;

/// The attributes of an item, in the order of their names.
pub(crate) type Row = BTreeMap<&'static str, Value>;

/// A table.
pub(crate) struct SimTable {
    pub(crate) name: &'static str,
    world: Arc<World>,
    rows: Mutex<BTreeMap<Key, Row>>,
    /// The keys of what was inserted, in their order; `None` if the table has no stream.
    stream: Option<Mutex<Vec<Key>>>,
    pub(crate) streamed: Notify,
    /// What it takes in a second, and what was asked of it.
    pub(crate) throughput: Throughput,
}

impl SimTable {
    pub(crate) fn new(world: &Arc<World>, name: &'static str, has_stream: bool) -> Arc<Self> {
        let stream = has_stream.then(Mutex::default);
        Arc::new(Self {
            name,
            world: Arc::clone(world),
            rows: Mutex::default(),
            stream,
            streamed: Notify::new(),
            throughput: Throughput::default(),
        })
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Row>> {
        self.rows.lock().expect("nothing panics while it holds a table")
    }

    /// Everything that is in it.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.rows().iter().map(|(key, row)| Item { key: key.clone(), attributes: row.clone() }).collect()
    }

    /// The records of the stream from a position on, at most so many.
    pub(crate) fn records(&self, from: usize, max: usize) -> Vec<Key> {
        let stream = self.stream.as_ref().map(|stream| stream.lock().expect("nothing panics while it holds a stream"));
        stream.map(|stream| stream.iter().skip(from).take(max).cloned().collect()).unwrap_or_default()
    }

    /// Writes an item whatever was there.
    pub(crate) fn put(&self, key: Key, row: Row) {
        let is_new = self.rows().insert(key.clone(), row).is_none();
        if let Some(stream) = self.stream.as_ref().filter(|_| is_new) {
            stream.lock().expect("nothing panics while it holds a stream").push(key);
            self.streamed.notify_waiters();
        }
    }

    /// Whether a write is taken. If not, it is throttled.
    fn takes(&self, item: &Item) -> bool {
        let taken = self.throughput.takes(item, self.world.elapsed());
        if !taken {
            self.world.note("write throttled", || format!("{} {} {}", self.name, item.key.pk, item.key.sk));
        }
        taken
    }

    fn insert(&self, item: &Item) -> Insert {
        let is_unstorable = |(_, event): (_, Attributes)| event.get("name").and_then(Value::text) == Some(UNSTORABLE);
        if events_of(item).into_iter().any(is_unstorable) {
            self.world.note("item refused by the table", || item.key.sk.clone());
            return Insert::Refused("the simulation refuses it".to_owned());
        }
        if !self.takes(item) {
            return Insert::Failed(Cause::Throttled);
        }
        let mut rows = self.rows();
        if rows.contains_key(&item.key) {
            self.throughput.note(|usage| usage.units_in_vain += units(item));
            return Insert::Exists;
        }
        rows.insert(item.key.clone(), item.attributes.clone());
        drop(rows);
        self.throughput.note(|usage| usage.inserted.push((item.key.clone(), self.world.elapsed())));
        self.world.note("item inserted", || format!("{} {} {}", self.name, item.key.pk, item.key.sk));
        Insert::Done
    }

    fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Cause> {
        if !self.takes(item) {
            return Err(Cause::Throttled);
        }
        let mut rows = self.rows();
        let present = rows.get(&item.key);
        let holds = match guard {
            Guard::Absent => present.is_none(),
            Guard::Equals(name, number) => {
                present.and_then(|row| row.get(name)).and_then(Value::number) == Some(number)
            }
        };
        if holds {
            rows.insert(item.key.clone(), item.attributes.clone());
        }
        drop(rows);
        let what = if holds { "item replaced" } else { "condition not met" };
        self.world.note(what, || format!("{} {} {} {:?}", self.name, item.key.pk, item.key.sk, item.attributes));
        Ok(holds)
    }

    fn put_items(&self, items: &[Item]) -> Result<(), Cause> {
        let mut put = Ok(());
        for item in items {
            if !self.takes(item) {
                put = Err(Cause::Throttled);
                continue;
            }
            self.rows().insert(item.key.clone(), item.attributes.clone());
            self.world.note("item put", || format!("{} {} {}", self.name, item.key.pk, item.key.sk));
        }
        put
    }

    fn delete(&self, keys: &[Key]) {
        for key in keys {
            if self.rows().remove(key).is_some() {
                self.world.note("item deleted", || format!("{} {} {}", self.name, key.pk, key.sk));
            }
        }
    }
}

/// The events of an item, in a bundle or as the item itself.
fn events_of(item: &Item) -> Vec<(Key, Attributes)> {
    unpack(item.key.clone(), as_read(&item.attributes))
}

/// A table as an environment calls it.
#[derive(Clone)]
pub(crate) struct TablePort {
    pub(crate) env: Arc<Env>,
    pub(crate) table: Arc<SimTable>,
}

fn cause(trouble: Trouble) -> Cause {
    match trouble {
        Trouble::Throttled => Cause::Throttled,
        Trouble::Unavailable => Cause::Unavailable,
        Trouble::TimedOut => Cause::TimedOut,
    }
}

impl TablePort {
    /// Ends the environment if one of the items is of an event that does so.
    async fn beware(&self, items: &[Item]) {
        let is_deadly = |(_, item): (Key, Attributes)| {
            let text = |name: &str| item.get(name).and_then(Value::text).unwrap_or_default();
            // An item of an event, or the marker of one, is written only once its message has been decoded.
            let origins = [text(consume::store::ORIGIN), text("seen")];
            text("name") == KILLS_WRITER || origins.iter().any(|origin| self.env.is_deadly(origin))
        };
        if self.table.name == "events" && items.iter().flat_map(events_of).any(is_deadly) {
            self.env.kill();
            std::future::pending::<()>().await;
        }
    }
}

impl Table for TablePort {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        self.beware(items).await;
        self.table.throughput.called("insert");
        let world = &self.env.world;
        let throttled: Vec<bool> = items.iter().map(|_| world.befalls(world.scenario.trouble / 4.0)).collect();
        if throttled.contains(&true) {
            world.note("items of a batch throttled", || self.env.name.clone());
        }
        let (table, count) = (Arc::clone(&self.table), items.len());
        let items = items.to_vec();
        let inserted = self.env.call(Service::Table, "insert", move || {
            let one = |(item, throttled): (&Item, &bool)| {
                if *throttled { Insert::Failed(Cause::Throttled) } else { table.insert(item) }
            };
            items.iter().zip(&throttled).map(one).collect::<Vec<Insert>>()
        });
        inserted.await.unwrap_or_else(|trouble| vec![Insert::Failed(cause(trouble)); count])
    }

    async fn get(&self, keys: &[Key], only: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        self.table.throughput.called("get");
        let (table, keys) = (Arc::clone(&self.table), keys.to_vec());
        let got = self.env.call(Service::Table, "get", move || {
            let rows = table.rows();
            let wanted = |row: &Row| {
                let mut found = as_read(row);
                found.retain(|name, _| only.is_none_or(|only| only == name));
                found
            };
            keys.iter().filter_map(|key| Some((key.clone(), wanted(rows.get(key)?)))).collect()
        });
        got.await.map_err(cause)
    }

    async fn get_eventually(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
    ) -> Result<HashMap<Key, Attributes>, Cause> {
        let mut found = self.get(keys, only).await?;
        // Another replica answers, to which the last writes have not come yet.
        let world = &self.env.world;
        let before = found.len();
        let mut stale: Vec<Key> = found.keys().cloned().collect();
        stale.sort_unstable();
        stale.retain(|_| world.befalls(0.2));
        stale.iter().for_each(|key| drop(found.remove(key)));
        if found.len() < before {
            world.note("stale read", || self.env.name.clone());
        }
        Ok(found)
    }

    async fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Replace> {
        self.table.throughput.called("replace");
        let (table, item) = (Arc::clone(&self.table), item.clone());
        let replaced = self.env.call(Service::Table, "replace", move || table.replace(&item, guard));
        replaced.await.map_err(cause).flatten().map_err(Replace::Failed)
    }

    async fn query(&self, partition: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        let (table, pk, prefix) = (Arc::clone(&self.table), partition.to_owned(), prefix.to_owned());
        let key = |sk: &str| Key { pk: partition.to_owned(), sk: sk.to_owned() };
        let from = after.map_or(Bound::Included(key(&prefix)), |after| Bound::Excluded(key(after)));
        let page = self.env.call(Service::Table, "query", move || {
            let rows = table.rows();
            let of_partition = rows.range((from.clone(), Bound::Unbounded));
            let matching = of_partition.take_while(|(key, _)| key.pk == pk && key.sk.starts_with(&prefix));
            let mut matching = matching.map(|(key, row)| (key.clone(), as_read(row)));
            let items = matching.by_ref().take(PAGE).collect();
            Page { items, is_last: matching.next().is_none() }
        });
        page.await.map_err(cause)
    }

    async fn scan(&self, after: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        let (table, from) =
            (Arc::clone(&self.table), after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone())));
        let page = self.env.call(Service::Table, "scan", move || {
            let rows = table.rows();
            let behind = rows.range((from.clone(), Bound::Unbounded));
            behind.take(PAGE).map(|(key, row)| (key.clone(), as_read(row))).collect()
        });
        page.await.map_err(cause)
    }

    async fn put(&self, items: &[Item]) -> Result<(), Cause> {
        self.table.throughput.called("put");
        let (table, items) = (Arc::clone(&self.table), items.to_vec());
        self.env.call(Service::Table, "put", move || table.put_items(&items)).await.map_err(cause).flatten()
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        let (table, keys) = (Arc::clone(&self.table), keys.to_vec());
        self.env.call(Service::Table, "delete", move || table.delete(&keys)).await.map_err(cause)
    }
}

impl KeyLookup for TablePort {
    async fn find(&self, hash: &str) -> Result<Option<Owner>, LookupError> {
        let table = Arc::clone(&self.table);
        let key = Key { pk: write_key_partition(hash), sk: WRITE_KEY_SORT.to_owned() };
        let found = self.env.call(Service::Table, "find a key", move || table.rows().get(&key).cloned());
        let row = found.await.map_err(|trouble| LookupError(format!("{trouble:?}").into()))?;
        let owner = |row: Row| {
            let text = |name: &str| row.get(name).and_then(Value::text).map(str::to_owned);
            let (project, source) = (text(write_key_attribute::PROJECT)?, text(write_key_attribute::SOURCE)?);
            Some(Owner { project, source, secret: None, lives_with_user: false })
        };
        Ok(row.and_then(owner))
    }
}

impl SpillStore for TablePort {
    async fn keep(&self, id: &str, entry: &Entry, now: Timestamp) -> Result<(), SpillError> {
        for part in parts(id, &entry.body) {
            let key = Key { pk: id.to_owned(), sk: part.number.clone() };
            let is_head = part.number == HEAD;
            let mut row = Row::from([
                (attribute::BODY, Value::Text(part.body.to_owned())),
                (attribute::GROUP, Value::Text(entry.group.clone())),
                (attribute::WRITTEN_AT, Value::Number(now.as_millis())),
            ]);
            if let Some(parts) = part.parts {
                row.insert(attribute::PARTS, Value::Number(i64::try_from(parts).unwrap_or(i64::MAX)));
            }
            let (table, body) = (Arc::clone(&self.table), entry.body.clone());
            let kept = self.env.call(Service::Table, "spill", move || {
                table.put(key.clone(), row.clone());
                if is_head {
                    table.world.is_durable_now(&body);
                    table.world.note("message spilled", || key.pk.clone());
                }
            });
            kept.await.map_err(|trouble| SpillError(format!("{trouble:?}").into()))?;
        }
        Ok(())
    }
}

/// Whether a message is in a spill table; parts without a head are none.
pub(crate) fn has_messages(table: &SimTable) -> bool {
    table.rows().keys().any(|key| key.sk == HEAD)
}

/// Waits until the stream may have something new.
pub(crate) async fn until_streamed(table: &SimTable) {
    let _ = tokio::time::timeout(Duration::from_secs(60), table.streamed.notified()).await;
}
