//! Packed storage: events of a subject and an hour are appended to their log, bundle after bundle.
//!
//! An event is looked for in its log before it is appended, and a bundle is inserted under the first number that is free.
//! So of two who append at the same time one finds the number taken, and reads on. A log is appended to one bundle after
//! the other, and no number is ever freed: an insert that was not answered and has its effect late can only be the one
//! whose number the next delivery tries, too. A log that is full never changes again but for erasure, and its later events
//! have items of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::outcome::{Cause, Outcome, Reason};

use crate::bundle::{self, BUNDLE_BYTES_MAX, BUNDLE_EVENTS_MAX, BUNDLES_MAX, IDS};
use crate::period::Period;
use crate::store::{Case, origin, plain};
use crate::table::{Attributes, Insert, Item, Key, Table, get_all, insert_all};

/// Logs that are read on at the same time, each a page of 1 MB at the most.
pub const LOGS_IN_FLIGHT: usize = 4;
/// Logs whose first bundles are looked for with one call.
pub const LOGS_A_CALL: usize = 50;
/// A log takes no more appends than it has numbers, finds no more of them taken, and is once told to append each event
/// alone.
const ROUNDS_MAX: usize = 2 * BUNDLES_MAX + 2;

/// Which events are kept in bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// The hours of these events.
    pub period: Period,
    /// The most bundles of a log, up to [`BUNDLES_MAX`].
    pub bundles_max: usize,
}

impl From<Period> for Packing {
    fn from(period: Period) -> Self {
        Self { period, bundles_max: BUNDLES_MAX }
    }
}

/// The bundles of a subject and an hour, as far as they tell of some events.
#[derive(Debug)]
struct Log {
    pk: String,
    prefix: String,
    /// The first number that is free.
    next: usize,
    /// What is looked for: sort keys of events.
    wanted: HashSet<String>,
    /// Those that are in it, by their sort keys.
    known: HashMap<String, Known>,
    /// Those that have been erased from it.
    erased: HashSet<String>,
}

/// An event of a log.
#[derive(Clone, Debug)]
struct Known {
    origin: String,
    number: usize,
    /// Whether this very call has appended it.
    is_new: bool,
}

impl Log {
    fn key(&self, number: usize) -> Key {
        Key { pk: self.pk.clone(), sk: bundle::sort_of(&self.prefix, number) }
    }

    /// Notes a bundle that was read.
    fn note(&mut self, key: &Key, attributes: &Attributes) -> Result<(), Cause> {
        let number = bundle::number_of(&key.sk).filter(|number| *number == self.next);
        let (Some(number), Some(ids)) = (number, bundle::ids(attributes)) else {
            tracing::error!(bundle = key.sk, "a stored bundle cannot be read");
            return Err(Cause::Denied);
        };
        for (sk, origin) in ids.events {
            if self.wanted.contains(&sk) {
                self.known.insert(sk, Known { origin, number, is_new: false });
            }
        }
        if !ids.erased.is_empty() {
            let is_erased = |sk: &&String| ids.erased.contains(&bundle::trace_of(sk));
            self.erased.extend(self.wanted.iter().filter(is_erased).cloned());
        }
        self.next = number + 1;
        Ok(())
    }

    /// Whether it has told of everything that is looked for.
    fn is_told(&self) -> bool {
        self.wanted.iter().all(|sk| self.known.contains_key(sk) || self.erased.contains(sk))
    }

    /// Reads what has been appended behind what is known, as far as anything is still looked for.
    async fn read_on(&mut self, table: &impl Table) -> Result<(), Cause> {
        while self.next < BUNDLES_MAX && !self.is_told() {
            let after = self.next.checked_sub(1).map(|last| bundle::sort_of(&self.prefix, last));
            let page = table.query(&self.pk, &self.prefix, after.as_deref()).await?;
            for (key, attributes) in &page.items {
                self.note(key, attributes)?;
            }
            if page.is_last || page.items.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the logs in which events with these keys can be.
async fn read_logs<'a>(table: &impl Table, events: impl Iterator<Item = &'a Key>) -> Result<Vec<Log>, Cause> {
    let mut wanted: BTreeMap<(String, String), HashSet<String>> = BTreeMap::new();
    for key in events {
        if let Some(prefix) = bundle::prefix_of(&key.sk) {
            wanted.entry((key.pk.clone(), prefix)).or_default().insert(key.sk.clone());
        }
    }
    let log =
        |((pk, prefix), wanted)| Log { pk, prefix, next: 0, wanted, known: HashMap::new(), erased: HashSet::new() };
    let mut logs: Vec<Log> = wanted.into_iter().map(log).collect();
    // Most logs are not there yet, and of many one call tells that.
    for some in logs.chunks_mut(LOGS_A_CALL) {
        let firsts = get_all(table, some.iter().map(|log| log.key(0)).collect(), Some(IDS)).await?;
        for log in some {
            let first = log.key(0);
            if let Some(attributes) = firsts.get(&first) {
                log.note(&first, attributes)?;
            }
        }
    }
    let (begun, mut read): (Vec<Log>, Vec<Log>) = logs.into_iter().partition(|log| log.next > 0);
    let rest = stream::iter(begun).map(|mut log| async move { log.read_on(table).await.map(|()| log) });
    read.extend(rest.buffer_unordered(LOGS_IN_FLIGHT).try_collect::<Vec<Log>>().await?);
    Ok(read)
}

/// The origins of those events that are in bundles, by their keys; `None` for one that has been erased from there.
///
/// # Errors
/// The table could not be read.
pub async fn origins(table: &impl Table, events: &[Key]) -> Result<HashMap<Key, Option<String>>, Cause> {
    let mut found = HashMap::new();
    for Log { pk, known, erased, .. } in read_logs(table, events.iter()).await? {
        let key = |sk| Key { pk: pk.clone(), sk };
        found.extend(erased.into_iter().map(|sk| (key(sk), None)));
        found.extend(known.into_iter().map(|(sk, known)| (key(sk), Some(known.origin))));
    }
    Ok(found)
}

/// A log, and the events that are to be in it: those whose outcome is open.
struct Open {
    log: Log,
    positions: Vec<usize>,
    /// The table has refused several events together; which of them is to blame, each one tells when it comes alone.
    apart: bool,
}

impl Open {
    /// Notes what became of those events that are in the log by now.
    fn settle(&mut self, cases: &mut [Case<'_>]) {
        let log = &self.log;
        self.positions.retain(|position| {
            let case = &mut cases[*position];
            let sort = case.key().sk;
            if log.erased.contains(&sort) {
                case.outcome = Some(Outcome::Erased);
                return false;
            }
            let Some(known) = log.known.get(&sort) else { return case.outcome.is_none() };
            let is_own = known.origin == origin(case.message, case.event);
            case.bundle = Some(log.key(known.number));
            case.outcome = Some(match (is_own, known.is_new) {
                (true, true) => Outcome::StoredBefore,
                (true, false) => case.stored_by_its_message(),
                (false, _) => Outcome::Duplicate,
            });
            false
        });
    }

    /// The next bundle, and the positions of the events in it; `None` if there is nothing to append, or no room.
    fn next(&self, cases: &[Case<'_>], bundles_max: usize) -> Option<Append> {
        if self.log.next >= bundles_max {
            return None;
        }
        let (mut items, mut positions, mut bytes) = (BTreeMap::<Key, Item>::new(), Vec::new(), 0);
        for position in &self.positions {
            let case = &cases[*position];
            let item = plain(case.message, case.event);
            let size = bundle::bytes_in(&item);
            // One of two with the same key follows when the other is in.
            let has_no_more = self.apart || bytes + size > BUNDLE_BYTES_MAX || items.len() >= BUNDLE_EVENTS_MAX;
            if has_no_more && !items.is_empty() {
                break;
            }
            if !items.contains_key(&item.key) {
                bytes += size;
                items.insert(item.key.clone(), item);
                positions.push(*position);
            }
        }
        let events = items.values().map(|item| (&item.key, &item.attributes));
        let bundle = bundle::encode(self.log.key(self.log.next), events);
        (!positions.is_empty()).then_some(Append { bundle, positions })
    }
}

/// A bundle on its way into a log.
struct Append {
    bundle: Item,
    positions: Vec<usize>,
}

/// Appends every event of the period whose outcome is open to its log, and notes what each came to. Still open are then
/// those of other hours, and those for which their log has no more room.
pub async fn insert_packed(table: &impl Table, cases: &mut [Case<'_>], packing: Packing) {
    let is_packed = |case: &Case<'_>| case.outcome.is_none() && packing.period.contains(case.key_time());
    let positions: Vec<usize> = (0..cases.len()).filter(|position| is_packed(&cases[*position])).collect();
    if positions.is_empty() {
        return;
    }
    let keys: Vec<Key> = positions.iter().map(|position| cases[*position].key()).collect();
    let logs = match read_logs(table, keys.iter()).await {
        Ok(logs) => logs,
        Err(cause) => return positions.into_iter().for_each(|position| cases[position].retry(cause)),
    };
    let mut open: BTreeMap<(String, String), Open> = logs
        .into_iter()
        .map(|log| ((log.pk.clone(), log.prefix.clone()), Open { log, positions: vec![], apart: false }))
        .collect();
    for (position, key) in positions.into_iter().zip(keys) {
        let log = bundle::prefix_of(&key.sk).and_then(|prefix| open.get_mut(&(key.pk, prefix)));
        if let Some(log) = log {
            log.positions.push(position);
        }
    }
    let mut open: Vec<Open> = open.into_values().collect();
    for _ in 0..ROUNDS_MAX {
        open.iter_mut().for_each(|one| one.settle(cases));
        let appends: Vec<(usize, Append)> =
            open.iter().enumerate().filter_map(|(at, one)| Some((at, one.next(cases, packing.bundles_max)?))).collect();
        if appends.is_empty() {
            return;
        }
        append(table, cases, &mut open, appends).await;
    }
    let left = open.iter().filter(|one| one.log.next < packing.bundles_max).flat_map(|one| &one.positions);
    left.for_each(|position| cases[*position].retry(Cause::Contended));
}

/// Inserts bundles of different logs, and notes what became of each.
async fn append(table: &impl Table, cases: &mut [Case<'_>], open: &mut [Open], appends: Vec<(usize, Append)>) {
    let (places, bundles): (Vec<(usize, Vec<usize>)>, Vec<Item>) =
        appends.into_iter().map(|(at, Append { bundle, positions })| ((at, positions), bundle)).unzip();
    let results = insert_all(table, &bundles).await;
    for ((at, positions), result) in places.into_iter().zip(results) {
        let one = &mut open[at];
        let result = match result {
            Insert::Exists => one.log.read_on(table).await,
            Insert::Failed(cause) => Err(cause),
            Insert::Done => {
                for position in positions {
                    let case = &mut cases[position];
                    case.outcome = Some(Outcome::Stored);
                    case.bundle = Some(one.log.key(one.log.next));
                    let origin = origin(case.message, case.event);
                    let known = Known { origin, number: one.log.next, is_new: true };
                    one.log.known.insert(case.key().sk, known);
                }
                one.positions.retain(|position| cases[*position].outcome.is_none());
                one.log.next += 1;
                Ok(())
            }
            Insert::Refused(detail) => {
                match positions[..] {
                    [position] => cases[position].dead(Reason::Unstorable, detail),
                    _ => one.apart = true,
                }
                Ok(())
            }
        };
        if let Err(cause) = result {
            one.positions.drain(..).for_each(|position| cases[position].retry(cause));
        }
    }
}
