//! Links: what belongs to an id, each an item of its own that is never changed and never taken back.
//!
//! An event that names a user on a device links the two; an alias links two ids. So whoever reads or erases a user finds
//! every home of their events, however many there are, page by page.
//!
//! Links outlast an erasure, which must reach what comes later, too. So they say nothing to whoever only reads the table:
//! their keys have hashes of ids, and the other id of a link is sealed with the one under which it is found.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::Kind as EventKind;
use shared::keys::{hash, seal, unseal};
use shared::outcome::{Cause, Outcome};

use crate::erase::{Erasure, reached_key};
use crate::store::Case;
use crate::table::{Attributes, Insert, Item, Key, Table, Value, get_all, insert_all};
use crate::tombstone::{done_of, moment_of, tombstone_key};

/// Links that are followed at the same time, for a deletion that came before them. Each reads a page at a time.
pub const REACHES_IN_FLIGHT: usize = 4;
/// The attribute with the other id of a link, sealed.
const ID: &str = "id";

/// What a link says of the id under which it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A device, or another home, that was seen with this user.
    Device,
    /// An id that became this one.
    Former,
    /// An id that this one became.
    Later,
    /// A user who was seen on this device. Only a hash tells who: it is enough to look for their deletion.
    User,
}

impl Kind {
    /// What the sort keys of such links begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Device => "DEVICE#",
            Kind::Former => "FORMER#",
            Kind::Later => "LATER#",
            Kind::User => "USER#",
        }
    }
}

/// The hash of an id, as keys of links and tombstones have it.
#[must_use]
pub fn hash_of(id: &str) -> String {
    hash(&["id", id])
}

/// The partition of the links of an id.
#[must_use]
pub fn partition(project: &str, id: &str) -> String {
    format!("{project}#LINKS#{}", hash_of(id))
}

/// Where a link is that is found under `id`.
fn key(project: &str, id: &str, kind: Kind, other: &str) -> Key {
    Key { pk: partition(project, id), sk: format!("{}{}", kind.prefix(), hash_of(other)) }
}

/// The item of a link that is found under `id`.
#[must_use]
pub fn item(project: &str, id: &str, kind: Kind, other: &str) -> Item {
    let mut item = Item { key: key(project, id, kind, other), attributes: BTreeMap::new() };
    if kind != Kind::User {
        let sealed = seal(id, &item.key.sk, other.as_bytes());
        item.bytes_of(ID, sealed);
    }
    item
}

/// The other id of a link that was found under `id`; `None` if it cannot be read.
#[must_use]
pub fn other(id: &str, key: &Key, attributes: &Attributes) -> Option<String> {
    let Value::Bytes(sealed) = attributes.get(ID)? else { return None };
    String::from_utf8(unseal(id, &key.sk, sealed)).ok()
}

/// A page of the links of a kind that are found under an id: the other ids, and the sort key behind which it goes on;
/// `None` if there are no more.
///
/// # Errors
/// The table could not be read.
pub async fn page(
    table: &impl Table,
    project: &str,
    id: &str,
    kind: Kind,
    after: Option<&str>,
) -> Result<(Vec<String>, Option<String>), Cause> {
    let page = table.query(&partition(project, id), kind.prefix(), after).await?;
    let next = page.items.last().filter(|_| !page.is_last).map(|(key, _)| key.sk.clone());
    Ok((page.items.iter().filter_map(|(key, attributes)| other(id, key, attributes)).collect(), next))
}

/// Two ids that a case links, as it is found under the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair<'a> {
    project: &'a str,
    user: &'a str,
    kind: Kind,
    other: &'a str,
}

impl Pair<'_> {
    /// The link that a deletion of the user follows. Where it is, the one below is, too.
    fn forward(&self) -> Item {
        item(self.project, self.user, self.kind, self.other)
    }

    /// The link the other way.
    fn back(&self) -> Item {
        let kind = if self.kind == Kind::Former { Kind::Later } else { Kind::User };
        item(self.project, self.other, kind, self.user)
    }
}

/// The pairs that events show, each with the positions of its cases. What was there before, was erased or is a duplicate
/// shows as much as what was stored.
fn pairs<'a>(cases: &[Case<'a>]) -> BTreeMap<Pair<'a>, Vec<usize>> {
    let mut pairs: BTreeMap<Pair<'_>, Vec<usize>> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let (event, project) = (case.event, case.message.project.as_str());
        let is_settled = matches!(
            case.outcome,
            Some(Outcome::Stored | Outcome::StoredBefore | Outcome::Duplicate | Outcome::Erased)
        );
        if !is_settled || event.kind == EventKind::Delete {
            continue;
        }
        let former = event.target.as_deref().filter(|_| event.kind == EventKind::Alias);
        let former = former.filter(|former| *former != event.subject).map(|former| (Kind::Former, former));
        for (kind, other) in event.other_homes().map(|home| (Kind::Device, home)).chain(former) {
            let pair = Pair { project, user: &event.subject, kind, other };
            pairs.entry(pair).or_default().push(position);
        }
    }
    pairs
}

/// Writes the links that these cases show and that are not there yet, and erases through them what an earlier deletion
/// must reach.
///
/// A deletion writes its tombstone before it looks for links, and a link is written before the tombstone is looked for. So
/// whichever of two at a time comes second sees the other. A delivery may have ended between the two; so one that comes
/// again looks for the tombstone even where the link is there.
pub async fn note_links<'a, T: Table>(
    table: &T,
    dead_letters: &T,
    cases: &mut [Case<'a>],
    now: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) {
    let pairs: Vec<(Pair<'a>, Vec<usize>)> = pairs(cases).into_iter().collect();
    if pairs.is_empty() {
        return;
    }
    let keys: Vec<Key> = pairs.iter().map(|(pair, _)| key(pair.project, pair.user, pair.kind, pair.other)).collect();
    let known = known(table, &keys).await;
    let mut failed: HashMap<usize, Cause> = HashMap::new();
    let is_known: Vec<bool> = keys.iter().map(|key| known.contains(key)).collect();
    let new: Vec<&(Pair<'_>, Vec<usize>)> =
        pairs.iter().zip(&is_known).filter(|(_, is_known)| !**is_known).map(|(pair, _)| pair).collect();
    for way in [Pair::back, Pair::forward] {
        // One that could not be written the one way is not written the other way.
        let left = new.iter().filter(|(_, positions)| positions.iter().all(|position| !failed.contains_key(position)));
        let (left, items): (Vec<&[usize]>, Vec<Item>) =
            left.map(|(pair, positions)| (positions.as_slice(), way(pair))).unzip();
        for (positions, result) in left.into_iter().zip(insert_all(table, &items).await) {
            let cause = match result {
                Insert::Done | Insert::Exists => continue,
                Insert::Failed(cause) => cause,
                // Its key is made of a checked project and hashes: only the table's own settings can refuse it.
                Insert::Refused(_) => Cause::Denied,
            };
            failed.extend(positions.iter().map(|position| (*position, cause)));
        }
    }
    let comes_again = |positions: &[usize]| positions.iter().any(|position| cases[*position].receive_count > 1);
    let is_open = |positions: &[usize], is_known: bool| {
        let has_failed = positions.iter().any(|position| failed.contains_key(position));
        !has_failed && (!is_known || comes_again(positions))
    };
    let pairs: Vec<(Pair<'a>, Vec<usize>)> = pairs
        .into_iter()
        .zip(is_known)
        .filter(|((_, positions), is_known)| is_open(positions, *is_known))
        .map(|(pair, _)| pair)
        .collect();
    let tombstone = |pair: &Pair<'_>| tombstone_key(pair.project, pair.user);
    // What has been reached is passed over, so that a delivery comes to what is left.
    // An id may be a device and a former id of one user, and only what is of the device is noted so.
    let reached =
        |pair: &Pair<'_>| (pair.kind == Kind::Device).then(|| reached_key(pair.project, pair.user, pair.other));
    let keys = pairs.iter().flat_map(|(pair, _)| [Some(tombstone(pair)), reached(pair)]).flatten().collect();
    let tombstones = get_all(table, keys, None).await;
    let reach = |(pair, positions): (Pair<'a>, Vec<usize>)| {
        let tombstones = &tombstones;
        async move {
            let moment = match tombstones {
                Err(cause) => return (positions, Err(*cause)),
                Ok(found) => found.get(&tombstone(&pair)).and_then(moment_of).filter(|moment| {
                    let done = reached(&pair).and_then(|key| done_of(found.get(&key)?));
                    done.is_none_or(|done| done < *moment)
                }),
            };
            let Some(moment) = moment else { return (positions, Ok(())) };
            if out_of_time() {
                return (positions, Err(Cause::Unstarted));
            }
            let mut erasure = Erasure::new(table, dead_letters, pair.project, now, out_of_time);
            let reached = match pair.kind {
                Kind::Former => erasure.erase(pair.other, moment).await,
                Kind::Device | Kind::Later | Kind::User => erasure.reach(pair.user, moment, pair.other).await,
            };
            (positions, reached)
        }
    };
    let mut reached = stream::iter(pairs).map(reach).buffer_unordered(REACHES_IN_FLIGHT);
    while let Some((positions, result)) = reached.next().await {
        if let Err(cause) = result {
            failed.extend(positions.into_iter().map(|position| (position, cause)));
        }
    }
    drop(reached);
    for (position, cause) in failed {
        cases[position].retry(cause);
    }
}

/// Those of the links that are there. Where that cannot be read, they are written, and tell then.
async fn known(table: &impl Table, keys: &[Key]) -> HashSet<Key> {
    let mut found = HashSet::new();
    for batch in keys.chunks(shared::limits::DYNAMODB_GET_KEYS_MAX) {
        found.extend(table.get_eventually(batch, Some(ID)).await.unwrap_or_default().into_keys());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_by_who_knows_the_id_and_says_nothing_to_others() {
        let item = item("dev", "ann@example.com", Kind::Device, "phone-1");
        let attributes = crate::table::as_read(&item.attributes);
        assert_eq!(other("ann@example.com", &item.key, &attributes).as_deref(), Some("phone-1"));
        assert_ne!(other("bob@example.com", &item.key, &attributes).as_deref(), Some("phone-1"));
        let bytes = format!("{item:?}");
        assert!(!bytes.contains("ann") && !bytes.contains("phone"), "{bytes}");
    }

    #[test]
    fn a_user_of_a_device_is_known_by_a_hash_alone() {
        let item = item("dev", "phone-1", Kind::User, "ann");
        assert!(item.attributes.is_empty());
        assert_eq!(item.key.sk, format!("USER#{}", hash_of("ann")));
    }
}
