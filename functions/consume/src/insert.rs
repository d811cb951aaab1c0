//! Giving events their places: who comes first has it, and what became of each is noted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use shared::event::Kind;
use shared::outcome::{Cause, Outcome, Reason};

use crate::packed::{Packing, insert_packed};
use crate::store::{Case, ORIGIN, item, origin};
use crate::table::{Attributes, Insert, Item, Key, Table, Value, get_all, insert_all};

/// Inserts every event whose outcome is open, and notes what each came to.
///
/// An item that is already there is told apart by its origin: written by an earlier delivery of the same message,
/// another event with the same identity, or what is left of one that was erased. DynamoDB takes no two items of one key
/// in a call, so of several in the batch the first goes ahead; the others follow it, unless it turned out that it can
/// never be stored.
pub async fn insert_events(table: &impl Table, cases: &mut [Case<'_>], packing: Packing) {
    for case in cases.iter_mut().filter(|case| case.outcome.is_none() && case.event.kind == Kind::Delete) {
        // What is kept of a deletion is its tombstone.
        case.outcome = Some(case.stored_by_its_message());
    }
    insert_packed(table, cases, packing).await;
    insert_items(table, cases).await;
}

/// Inserts every event whose outcome is open as an item of its own.
async fn insert_items(table: &impl Table, cases: &mut [Case<'_>]) {
    loop {
        let mut items: BTreeMap<Key, (usize, Item)> = BTreeMap::new();
        let mut followers: Vec<(usize, usize)> = Vec::new();
        for (position, case) in cases.iter().enumerate().filter(|(_, case)| case.outcome.is_none()) {
            let item = item(case.message, case.event);
            match items.entry(item.key.clone()) {
                Entry::Occupied(leader) => followers.push((position, leader.get().0)),
                Entry::Vacant(place) => drop(place.insert((position, item))),
            }
        }
        if items.is_empty() {
            return;
        }
        let (positions, items): (Vec<usize>, Vec<Item>) = items.into_values().unzip();
        let owners = insert_distinct(table, cases, positions, items).await;
        for (position, leader) in followers {
            let (leads, follows) = (&cases[leader], &cases[position]);
            let same = origin(leads.message, leads.event) == origin(follows.message, follows.event);
            cases[position].outcome = match leads.outcome {
                // It has the place to itself now, in the next round.
                Some(Outcome::DeadLettered(_)) => None,
                Some(Outcome::Retry(cause)) => Some(Outcome::Retry(cause)),
                // What is in the way of the one may be the other's own, which a delivery at the same time has stored.
                Some(Outcome::Duplicate) if owners.get(&leader) == Some(&origin(follows.message, follows.event)) => {
                    Some(follows.stored_by_its_message())
                }
                Some(outcome @ (Outcome::Duplicate | Outcome::Erased)) => Some(outcome),
                _ => Some(if same { Outcome::StoredBefore } else { Outcome::Duplicate }),
            };
        }
    }
}

/// Inserts items with different keys, those of the cases at `positions`. Returns the origins of the items that were in the
/// way, by position.
///
/// Of a message that comes again much may be stored, and an insert takes its write units even where the item is there. So
/// what is there is read first, for a twentieth of that; otherwise a message of more units than the table takes at a time
/// would spend all of them on its beginning, each time that it comes.
async fn insert_distinct(
    table: &impl Table,
    cases: &mut [Case<'_>],
    positions: Vec<usize>,
    items: Vec<Item>,
) -> BTreeMap<usize, String> {
    let again = positions.iter().zip(&items).filter(|(position, _)| cases[**position].receive_count > 1);
    let again = again.map(|(_, item)| item.key.clone()).collect();
    // What cannot be read is inserted, and tells then.
    let known = get_all(table, again, Some(ORIGIN)).await.unwrap_or_default();
    let pairs = positions.into_iter().zip(items);
    let (there, absent): (Vec<_>, Vec<_>) = pairs.partition(|(_, item)| known.contains_key(&item.key));
    let mut owners = BTreeMap::new();
    for (position, item) in there {
        owners.extend(judge(&mut cases[position], known.get(&item.key)).map(|origin| (position, origin)));
    }
    let (positions, items): (Vec<usize>, Vec<Item>) = absent.into_iter().unzip();
    let results = insert_all(table, &items).await;
    let existing = items.iter().zip(&results).filter(|(_, result)| **result == Insert::Exists);
    let present = get_all(table, existing.map(|(item, _)| item.key.clone()).collect(), Some(ORIGIN)).await;
    for ((position, item), result) in positions.into_iter().zip(items).zip(results) {
        let case = &mut cases[position];
        match result {
            Insert::Done => case.outcome = Some(Outcome::Stored),
            Insert::Refused(detail) => case.dead(Reason::Unstorable, detail),
            Insert::Failed(cause) => case.retry(cause),
            Insert::Exists => match &present {
                Ok(found) => owners.extend(judge(case, found.get(&item.key)).map(|origin| (position, origin))),
                Err(cause) => case.retry(*cause),
            },
        }
    }
    owners
}

/// Notes what became of an event by the item that is in its place. Returns the origin of that if it is another event.
fn judge(case: &mut Case<'_>, present: Option<&Attributes>) -> Option<String> {
    let Some(attributes) = present else {
        // It was there a moment ago and is not now; the next delivery will see what is.
        case.retry(Cause::Contended);
        return None;
    };
    let owner = attributes.get(ORIGIN).and_then(Value::text);
    case.outcome = Some(match owner {
        Some(origin) if origin == self::origin(case.message, case.event) => case.stored_by_its_message(),
        Some(_) => Outcome::Duplicate,
        None => Outcome::Erased,
    });
    owner.filter(|_| case.outcome == Some(Outcome::Duplicate)).map(str::to_owned)
}
