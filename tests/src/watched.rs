//! Watching `consume` at work: a table that counts what is asked of it and waits where a test wants it to, and a clock that
//! runs out.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consume::bundle::unpack;
use consume::decode::Delivery;
use consume::table::{Attributes, Guard, Insert, Item, Key, Page, Replace, Table, as_read};
use futures_util::future::BoxFuture;
use shared::clock::{Clock, ManualClock, Timestamp};
use shared::outcome::Cause;
use tokio::sync::Notify;

use crate::Pipeline;

/// The bytes of items that one read unit pays for.
const READ_UNIT_BYTES: usize = 4 * 1_024;

/// What was asked of tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Calls, by what they do.
    pub calls: BTreeMap<&'static str, u64>,
    /// Write units: one for each KiB begun of what is written, whether or not its condition holds.
    pub write_units: u64,
    /// Half read units: two for each 4 KiB begun of what is read, and one where an eventually consistent read will do.
    pub half_read_units: u64,
}

impl Asked {
    /// All calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// What a call waits for before it is made; it is told how many were made before.
pub type Pace = Arc<dyn Fn(u32) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the tables of an environment share.
#[derive(Clone)]
pub struct Watch {
    asked: Arc<Mutex<Asked>>,
    made: Arc<AtomicU32>,
    pace: Pace,
    refused: Option<String>,
}

impl Default for Watch {
    fn default() -> Self {
        Self::paced(Arc::new(|_| Box::pin(std::future::ready(()))))
    }
}

impl Watch {
    /// Lets every call wait.
    #[must_use]
    pub fn paced(pace: Pace) -> Self {
        Self { asked: Arc::default(), made: Arc::default(), pace, refused: None }
    }

    /// Never takes an event whose id has this in it.
    #[must_use]
    pub fn refusing(id: &str) -> Self {
        Self { refused: Some(id.to_owned()), ..Self::default() }
    }

    /// A table in front of another.
    pub fn over<T>(&self, table: T) -> Watched<T> {
        Watched { table, watch: self.clone() }
    }

    /// What was asked so far.
    ///
    /// # Panics
    /// A test has panicked while it counted.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.asked.lock().expect("no test panics while it counts").clone()
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    async fn call(&self, name: &'static str) {
        let before = self.made.fetch_add(1, Ordering::SeqCst);
        (self.pace)(before).await;
        self.note(|asked| *asked.calls.entry(name).or_default() += 1);
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().expect("no test panics while it counts"));
    }

    fn written(&self, items: &[Item]) {
        let units: usize = items.iter().map(Item::write_units).sum();
        self.note(|asked| asked.write_units += units as u64);
    }

    fn read(&self, bytes: usize, is_consistent: bool) {
        let units = bytes.div_ceil(READ_UNIT_BYTES).max(1) as u64;
        self.note(|asked| asked.half_read_units += if is_consistent { 2 * units } else { units });
    }
}

fn bytes(key: &Key, attributes: &Attributes) -> usize {
    let attributes = attributes.iter().map(|(name, value)| name.len() + value.bytes());
    "pksk".len() + key.pk.len() + key.sk.len() + attributes.sum::<usize>()
}

/// A table that is watched.
pub struct Watched<T> {
    table: T,
    watch: Watch,
}

impl<T: Table + Sync> Watched<T> {
    /// Reads items. A read of one attribute costs what the whole items cost, so these are read for their sizes.
    async fn read(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
        is_consistent: bool,
    ) -> Result<HashMap<Key, Attributes>, Cause> {
        let found =
            if is_consistent { self.table.get(keys, None).await } else { self.table.get_eventually(keys, None).await };
        let mut found = found?;
        for key in keys {
            self.watch.read(found.get(key).map_or(0, |attributes| bytes(key, attributes)), is_consistent);
        }
        if let Some(only) = only {
            found.values_mut().for_each(|attributes| attributes.retain(|name, _| name == only));
        }
        Ok(found)
    }
}

/// Whether an item holds an event whose id has this in it.
fn has_event(item: &Item, id: &str) -> bool {
    unpack(item.key.clone(), as_read(&item.attributes)).iter().any(|(key, _)| key.sk.contains(id))
}

impl<T: Table + Sync> Table for Watched<T> {
    async fn insert(&self, items: &[Item]) -> Vec<Insert> {
        self.watch.call("insert").await;
        self.watch.written(items);
        let Some(id) = self.watch.refused.as_deref().filter(|id| items.iter().any(|item| has_event(item, id))) else {
            return self.table.insert(items).await;
        };
        let refused = || Insert::Refused("the table takes no such item".to_owned());
        let mut results = Vec::new();
        for item in items {
            let insert = async || self.table.insert(std::slice::from_ref(item)).await.remove(0);
            results.push(if has_event(item, id) { refused() } else { insert().await });
        }
        results
    }

    async fn get(&self, keys: &[Key], only: Option<&'static str>) -> Result<HashMap<Key, Attributes>, Cause> {
        self.watch.call("get").await;
        self.read(keys, only, true).await
    }

    async fn get_eventually(
        &self,
        keys: &[Key],
        only: Option<&'static str>,
    ) -> Result<HashMap<Key, Attributes>, Cause> {
        self.watch.call("get eventually").await;
        self.read(keys, only, false).await
    }

    async fn replace(&self, item: &Item, guard: Guard) -> Result<bool, Replace> {
        self.watch.call("replace").await;
        self.watch.written(std::slice::from_ref(item));
        self.table.replace(item, guard).await
    }

    async fn query(&self, partition: &str, prefix: &str, after: Option<&str>) -> Result<Page, Cause> {
        self.watch.call("query").await;
        let page = self.table.query(partition, prefix, after).await?;
        self.watch.read(page.items.iter().map(|(key, attributes)| bytes(key, attributes)).sum(), true);
        Ok(page)
    }

    async fn scan(&self, after: Option<&Key>) -> Result<Vec<(Key, Attributes)>, Cause> {
        self.watch.call("scan").await;
        self.table.scan(after).await
    }

    async fn put(&self, items: &[Item]) -> Result<(), Cause> {
        self.watch.call("put").await;
        self.watch.written(items);
        self.table.put(items).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<(), Cause> {
        self.watch.call("delete").await;
        self.watch.note(|asked| asked.write_units += keys.len() as u64);
        self.table.delete(keys).await
    }
}

/// A clock that stands still, and jumps forward once when it has been asked so often. So a delivery finds at any place
/// that is wanted that its time has run out.
pub struct Jumping {
    from: Timestamp,
    by: Duration,
    left: AtomicU32,
}

impl Jumping {
    /// A clock that jumps `by` when it has been asked `asks` times.
    #[must_use]
    pub fn after(asks: u32, from: Timestamp, by: Duration) -> Self {
        Self { from, by, left: AtomicU32::new(asks) }
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { self.from } else { self.from.plus(self.by) }
    }
}

/// How two environments take turns.
#[derive(Clone, Copy, Debug)]
pub enum Turns {
    /// The first stops before this call of its own until the second has done everything.
    StopsBefore(u32),
    /// Each call of either waits for a moment.
    Random(u64),
}

/// Delivers two messages to two environments at the same time, and again what goes back.
///
/// # Panics
/// A message goes back again and again.
pub async fn deliver_at_once(pipeline: &Pipeline, [first, second]: [&Delivery; 2], turns: Turns) {
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let paces: [Pace; 2] = match turns {
        Turns::StopsBefore(call) => {
            let (reached, go) = (Arc::clone(&reached), Arc::clone(&go));
            let stops = move |before| -> BoxFuture<'static, ()> {
                let (reached, go) = (Arc::clone(&reached), Arc::clone(&go));
                Box::pin(async move {
                    if before == call {
                        reached.notify_one();
                        go.notified().await;
                    }
                })
            };
            [Arc::new(stops), Arc::new(|_| Box::pin(std::future::ready(())))]
        }
        Turns::Random(seed) => {
            reached.notify_one();
            [seed, !seed].map(|seed| -> Pace {
                let random = Mutex::new(fastrand::Rng::with_seed(seed));
                Arc::new(move |_| {
                    let micros = random.lock().expect("nothing panics while it draws").u64(0..3_000);
                    Box::pin(tokio::time::sleep(Duration::from_micros(micros)))
                })
            })
        }
    };
    let clock = || Arc::<ManualClock>::clone(&pipeline.clock);
    let [one, other] = paces.map(Watch::paced);
    let one = pipeline.environment(clock(), |table| one.over(table));
    let other = pipeline.environment(clock(), |table| other.over(table));
    let until = pipeline.clock.now().plus(Duration::from_secs(60));
    let reports = tokio::join!(
        async {
            let report = one.deliver(std::slice::from_ref(first), until).await;
            reached.notify_one();
            report
        },
        async {
            reached.notified().await;
            let report = other.deliver(std::slice::from_ref(second), until).await;
            go.notify_one();
            report
        }
    );
    let alone = pipeline.environment(clock(), |table| table);
    for (mut report, delivery) in [(reports.0, first), (reports.1, second)] {
        for receive_count in 2..6 {
            if !report.failed.is_empty() {
                let again = Delivery { receive_count, ..delivery.clone() };
                report = alone.deliver(&[again], until).await;
            }
        }
        assert!(report.failed.is_empty(), "{turns:?}: a message goes back again and again");
    }
}
