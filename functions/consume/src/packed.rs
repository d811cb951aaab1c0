//! Packed storage: events of a subject and an hour are appended to their log, bundle after bundle.
//!
//! An event is looked for in its log before it is appended, and a bundle is inserted under the first number that is free.
//! So of two who append at the same time one finds the number taken, and reads on. A log is appended to one bundle after
//! the other, and no number is ever freed: an insert that was not answered and has its effect late can only be the one
//! whose number the next delivery tries, too. A log that is full never changes again but for erasure, and its later events
//! have items of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, stream};
use shared::limits::DYNAMODB_ITEM_BYTES_MAX;
use shared::outcome::{Cause, Outcome, Reason};

use crate::bundle::{self, BUNDLE_BYTES_MAX, BUNDLE_EVENTS_MAX, BUNDLES_MAX, IDS, IDS_BYTES_MAX, LOG_BYTES_MAX};
use crate::period::Period;
use crate::store::{Case, origin, plain};
use crate::table::{Attributes, Insert, Item, Key, Table, get_all, insert_all, pause_before};

/// Logs that are read on at the same time.
pub const LOGS_IN_FLIGHT: usize = 8;
/// Logs whose first bundles are looked for with one call.
pub const LOGS_A_CALL: usize = 50;
/// The most bytes of bundles that are read at a time: ids of first bundles; or logs, the last bundle of each as large as an
/// item can be.
pub const LOGS_READ_BYTES: usize = {
    let (firsts, logs) = (LOGS_A_CALL * IDS_BYTES_MAX, LOGS_IN_FLIGHT * (LOG_BYTES_MAX + DYNAMODB_ITEM_BYTES_MAX));
    if firsts > logs { firsts } else { logs }
};
/// A log takes no more appends than it has numbers, finds no more of them taken, and is once told to append each event
/// alone.
const ROUNDS_MAX: u32 = 2 * BUNDLES_MAX as u32 + 2;

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
    /// The bytes of all bundles before that.
    bytes: usize,
    /// What is looked for: sort keys of events.
    wanted: HashSet<String>,
    /// Those that are in it, by their sort keys.
    known: HashMap<String, Known>,
    /// Those that have been erased from it.
    erased: HashSet<String>,
    /// Why it could not be read; nothing is known of its events then.
    failed: Option<Cause>,
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
    fn new(pk: String, prefix: String, wanted: HashSet<String>) -> Self {
        let (known, erased) = (HashMap::new(), HashSet::new());
        Self { pk, prefix, next: 0, bytes: 0, wanted, known, erased, failed: None }
    }

    fn key(&self, number: usize) -> Key {
        Key { pk: self.pk.clone(), sk: bundle::sort_of(&self.prefix, number) }
    }

    /// Notes a bundle that was read.
    fn note(&mut self, key: &Key, attributes: &Attributes) -> Result<(), Cause> {
        let number = bundle::number_of(&key.sk);
        if number.is_some_and(|number| number > self.next) {
            // The one before was written while the page was read.
            return Err(Cause::Contended);
        }
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
        (self.next, self.bytes) = (number + 1, ids.log_bytes);
        Ok(())
    }

    /// Whether it takes no more bundles.
    fn is_full(&self, bundles_max: usize) -> bool {
        self.next >= bundles_max || self.bytes >= LOG_BYTES_MAX
    }

    /// Whether it has told of everything that is looked for.
    fn is_told(&self) -> bool {
        self.wanted.iter().all(|sk| self.known.contains_key(sk) || self.erased.contains(sk))
    }

    /// Reads what has been appended behind what is known, as far as anything is still looked for.
    async fn read_on(&mut self, table: &impl Table) {
        if let Err(cause) = self.try_read_on(table).await {
            self.failed = Some(cause);
        }
    }

    async fn try_read_on(&mut self, table: &impl Table) -> Result<(), Cause> {
        while !self.is_full(BUNDLES_MAX) && !self.is_told() {
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

/// Reads the logs in which events with these keys can be. One that cannot be read says so, and holds no other up.
async fn read_logs<'a>(table: &impl Table, events: impl Iterator<Item = &'a Key>) -> Vec<Log> {
    let mut wanted: BTreeMap<(String, String), HashSet<String>> = BTreeMap::new();
    for key in events {
        if let Some(prefix) = bundle::prefix_of(&key.sk) {
            wanted.entry((key.pk.clone(), prefix)).or_default().insert(key.sk.clone());
        }
    }
    let mut logs: Vec<Log> = wanted.into_iter().map(|((pk, prefix), wanted)| Log::new(pk, prefix, wanted)).collect();
    // Most logs are not there yet, and of many one call tells that.
    for some in logs.chunks_mut(LOGS_A_CALL) {
        let firsts = get_all(table, some.iter().map(|log| log.key(0)).collect(), Some(IDS)).await;
        for log in some {
            let first = log.key(0);
            let noted = match &firsts {
                Ok(firsts) => firsts.get(&first).map_or(Ok(()), |attributes| log.note(&first, attributes)),
                Err(cause) => Err(*cause),
            };
            log.failed = noted.err();
        }
    }
    let (begun, mut read): (Vec<Log>, Vec<Log>) =
        logs.into_iter().partition(|log| log.next > 0 && log.failed.is_none());
    let rest = stream::iter(begun).map(|mut log| async move {
        log.read_on(table).await;
        log
    });
    read.extend(rest.buffer_unordered(LOGS_IN_FLIGHT).collect::<Vec<Log>>().await);
    read
}

/// The origins of those events that are in bundles, by their keys; `None` for one that has been erased from there.
///
/// # Errors
/// The table could not be read.
pub async fn origins(table: &impl Table, events: &[Key]) -> Result<HashMap<Key, Option<String>>, Cause> {
    let mut found = HashMap::new();
    for Log { pk, known, erased, failed, .. } in read_logs(table, events.iter()).await {
        if let Some(cause) = failed {
            return Err(cause);
        }
        let key = |sk| Key { pk: pk.clone(), sk };
        found.extend(erased.into_iter().map(|sk| (key(sk), None)));
        found.extend(known.into_iter().map(|(sk, known)| (key(sk), Some(known.origin))));
    }
    Ok(found)
}

/// A log, and the events that are to be in it: those whose outcome is open.
struct Open {
    log: Log,
    /// Positions, each with the event as it would be as an item.
    events: Vec<(usize, Item)>,
    /// The table has refused several events together; which of them is to blame, each one tells when it comes alone.
    apart: bool,
}

impl Open {
    /// Notes what became of those events of which the log tells by now.
    fn settle(&mut self, cases: &mut [Case<'_>]) {
        let log = &self.log;
        self.events.retain(|(position, item)| {
            let case = &mut cases[*position];
            if case.outcome.is_some() {
                return false;
            }
            if let Some(cause) = log.failed {
                case.retry(cause);
            } else if log.erased.contains(&item.key.sk) {
                case.outcome = Some(Outcome::Erased);
            } else if let Some(known) = log.known.get(&item.key.sk) {
                let is_own = known.origin == origin(case.message, case.event);
                case.bundle = Some(log.key(known.number));
                case.outcome = Some(match (is_own, known.is_new) {
                    (true, true) => Outcome::StoredBefore,
                    (true, false) => case.stored_by_its_message(),
                    (false, _) => Outcome::Duplicate,
                });
            }
            case.outcome.is_none()
        });
    }

    /// The next bundle, and the positions of the events in it; `None` if there is nothing to append, or no room.
    fn next(&self, bundles_max: usize) -> Option<(Item, Vec<usize>)> {
        if self.log.is_full(bundles_max) {
            return None;
        }
        let (mut chosen, mut positions, mut bytes) = (BTreeMap::<&Key, &Item>::new(), Vec::new(), 0);
        for (position, item) in &self.events {
            let size = bundle::bytes_in(item);
            let has_no_more = self.apart || bytes + size > BUNDLE_BYTES_MAX || chosen.len() >= BUNDLE_EVENTS_MAX;
            if has_no_more && !chosen.is_empty() {
                break;
            }
            // One of two with the same key follows when the other is in.
            if !chosen.contains_key(&item.key) {
                bytes += size;
                chosen.insert(&item.key, item);
                positions.push(*position);
            }
        }
        let events = chosen.into_iter().map(|(key, item)| (key, &item.attributes));
        (!positions.is_empty())
            .then(|| (bundle::encode(self.log.key(self.log.next), self.log.bytes, events), positions))
    }

    /// Notes what became of a bundle. Returns whether somebody else has taken its number.
    async fn note(
        &mut self,
        table: &impl Table,
        cases: &mut [Case<'_>],
        bundle: &Item,
        positions: &[usize],
        result: Insert,
    ) -> bool {
        match result {
            Insert::Done => {
                let (number, bytes) = (self.log.next, bundle::log_bytes(bundle, self.log.bytes));
                (self.log.next, self.log.bytes) = (number + 1, bytes);
                for position in positions {
                    let case = &mut cases[*position];
                    case.outcome = Some(Outcome::Stored);
                    case.bundle = Some(bundle.key.clone());
                    let known = Known { origin: origin(case.message, case.event), number, is_new: true };
                    self.log.known.insert(case.key().sk, known);
                }
            }
            Insert::Exists => {
                self.log.read_on(table).await;
                return true;
            }
            Insert::Failed(cause) => self.log.failed = Some(cause),
            Insert::Refused(detail) => match positions {
                [position] => cases[*position].dead(Reason::Unstorable, detail),
                _ => self.apart = true,
            },
        }
        false
    }
}

/// Appends every event of the period whose outcome is open to its log, and notes what each came to. Still open are then
/// those of other hours, and those for which their log has no more room.
pub async fn insert_packed(table: &impl Table, cases: &mut [Case<'_>], packing: Packing) {
    let is_packed = |case: &&Case<'_>| case.outcome.is_none() && packing.period.contains(case.key_time());
    let keys: Vec<Key> = cases.iter().filter(is_packed).map(Case::key).collect();
    let logs = read_logs(table, keys.iter()).await;
    let place = |log: &Log| (log.pk.clone(), log.prefix.clone());
    let mut open: BTreeMap<(String, String), Open> =
        logs.into_iter().map(|log| (place(&log), Open { log, events: vec![], apart: false })).collect();
    for (position, case) in cases.iter().enumerate().filter(|(_, case)| is_packed(case)) {
        let item = plain(case.message, case.event);
        let log = bundle::prefix_of(&item.key.sk).and_then(|prefix| open.get_mut(&(item.key.pk.clone(), prefix)));
        if let Some(log) = log {
            log.events.push((position, item));
        }
    }
    let mut open: Vec<Open> = open.into_values().collect();
    let mut lost = 0;
    for _ in 0..ROUNDS_MAX {
        open.iter_mut().for_each(|one| one.settle(cases));
        let next: Vec<_> = open.iter_mut().filter_map(|one| Some((one.next(packing.bundles_max)?, one))).collect();
        if next.is_empty() {
            return;
        }
        pause_before(lost).await;
        let (bundles, appended): (Vec<Item>, Vec<_>) =
            next.into_iter().map(|((bundle, positions), one)| (bundle, (positions, one))).unzip();
        let results = insert_all(table, &bundles).await;
        let mut somebody_was_faster = false;
        for ((bundle, (positions, one)), result) in bundles.iter().zip(appended).zip(results) {
            somebody_was_faster |= one.note(table, cases, bundle, &positions, result).await;
        }
        lost += u32::from(somebody_was_faster);
    }
    for one in &mut open {
        one.settle(cases);
        let left = one.events.iter().filter(|_| !one.log.is_full(packing.bundles_max));
        left.for_each(|(position, _)| cases[*position].retry(Cause::Contended));
    }
}
