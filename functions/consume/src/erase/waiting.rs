//! Ids that a deletion has yet to reach: they wait beside the tombstone of the one that is deleted.

use std::collections::BTreeMap;

use shared::clock::Timestamp;
use shared::keys::{seal, unseal};

use crate::links;
use crate::table::{Attributes, Item, Key, Value};
use crate::tombstone::{self, MOMENT};

/// What the sort keys of such items begin with.
pub(super) const SORT: &str = "WAITING#";
/// The attribute with the id, sealed with the deleted one.
const ID: &str = "id";

/// The item of an id that became another, for the deletion of `root` up to a moment. Another deletion of the same id has
/// items of its own.
pub(super) fn item(project: &str, root: &str, former: &str, until: Timestamp) -> Item {
    let sk = format!("{SORT}{}#{}", links::hash_of(former), until.as_millis());
    let mut item = Item { key: Key { pk: tombstone::partition(project, root), sk }, attributes: BTreeMap::new() };
    let sealed = seal(root, &item.key.sk, former.as_bytes());
    item.bytes_of(ID, sealed);
    item.number(MOMENT, until.as_millis());
    item
}

/// The id of such an item; `None` if it cannot be read.
pub(super) fn id(root: &str, key: &Key, attributes: &Attributes) -> Option<String> {
    let Value::Bytes(sealed) = attributes.get(ID)? else { return None };
    String::from_utf8(unseal(root, &key.sk, sealed)).ok()
}
