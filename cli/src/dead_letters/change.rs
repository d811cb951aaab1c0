//! Changing a letter's state by a guarded write.

use consume::dead_letter::attribute;
use consume::table::{Attributes, Guard, Item, Key, Replace, Table, get_all};
use shared::outcome::Cause;

use super::error::Error;

/// Writes a head in place of the one with `version`.
///
/// An answer may be lost, and the retry of the call then says that somebody else was there. So what is there decides: if
/// it is what was to be written, it was written. Should two people have written the very same, both have, which is as
/// harmless as doing it twice.
///
/// # Errors
/// [`Error::Changed`]: there is another version now. [`Error::Unchanged`]: it was not written, or nobody knows.
pub(super) async fn change(table: &impl Table, item: &Item, version: i64) -> Result<(), Error> {
    let key = || item.key.clone();
    let doubt = match table.replace(item, Guard::Equals(attribute::VERSION, version)).await {
        Ok(true) => return Ok(()),
        Ok(false) => Error::Changed { key: key() },
        Err(Replace::Failed(cause)) => Error::Unchanged { key: key(), cause },
        Err(Replace::Refused(detail)) => return Err(Error::Damaged { key: key(), detail }),
    };
    if is_there(table, item, &item.key).await.unwrap_or(false) { Ok(()) } else { Err(doubt) }
}

async fn is_there(table: &impl Table, item: &Item, key: &Key) -> Result<bool, Cause> {
    let found = get_all(table, vec![key.clone()], None).await?;
    let is_same = |found: &Attributes| item.attributes.iter().all(|(name, value)| found.get(*name) == Some(value));
    Ok(found.get(key).is_some_and(is_same))
}
