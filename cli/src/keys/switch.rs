//! Finding a key by the beginning of its hash, and taking it out of use or back.

use consume::table::{Insert, Table, Value, get_all, insert_all};
use shared::keys::{is_write_key_hash, write_key_attribute};
use shared::outcome::Cause;

use super::error::Error;
use super::list::list;
use super::make::{key_of, register_item};

/// The characters of a hash that are shown as a key's id.
pub const ID_CHARS: usize = 12;
/// The fewest characters of a hash that a key is found by.
pub const ID_CHARS_MIN: usize = 8;

/// What takes keys out of use. Reading and making them takes no more than a [`Table`].
pub trait KeySwitch {
    /// Takes the key with this hash out of use, or back. Returns whether there is such a key.
    fn switch(&self, hash: &str, disabled: bool) -> impl Future<Output = Result<bool, Cause>> + Send;
}

/// The hash of the key that is meant by its beginning, or by the whole of it.
///
/// # Errors
/// It is no beginning of a hash, none or several keys of the register begin with it, or they could not be read.
pub async fn find(table: &impl Table, id: &str) -> Result<String, Error> {
    if is_write_key_hash(id) {
        return Ok(id.to_owned());
    }
    let is_hex = id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !is_hex || !(ID_CHARS_MIN..64).contains(&id.len()) {
        return Err(Error::NoId { text: id.to_owned() });
    }
    let keys = list(table, None).await?;
    let mut found: Vec<String> = keys.into_iter().map(|key| key.hash).filter(|hash| hash.starts_with(id)).collect();
    match (found.pop(), found.len()) {
        (Some(hash), 0) => Ok(hash),
        (Some(_), others) => Err(Error::Ambiguous { id: id.to_owned(), found: others + 1 }),
        (None, _) => Err(Error::Missing { id: id.to_owned() }),
    }
}

/// Takes a key out of use, or back. `ingest` remembers keys for a minute; `consume`, which judges those that `ingest`
/// could not check, does not.
///
/// # Errors
/// There is no such key, or it was not written, or that is not known. Doing it again does no harm.
pub async fn set_disabled(keys: &impl KeySwitch, hash: &str, disabled: bool) -> Result<(), Error> {
    match keys.switch(hash, disabled).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Missing { id: hash.to_owned() }),
        Err(cause) => Err(Error::Unwritten { cause }),
    }
}

/// Puts a key that was made by other means into the register, so that it is listed. Returns whether it was missing there.
///
/// # Errors
/// There is no such key, or a call failed.
pub async fn register(table: &impl Table, hash: &str) -> Result<bool, Error> {
    let key = key_of(hash);
    let found = get_all(table, vec![key.clone()], None).await.map_err(|cause| Error::Unread { cause })?;
    let text = |name: &str| found.get(&key).and_then(|item| item.get(name)).and_then(Value::text);
    let owner = text(write_key_attribute::PROJECT).zip(text(write_key_attribute::SOURCE));
    let (project, source) = owner.ok_or_else(|| Error::Missing { id: hash.to_owned() })?;
    let inserted = insert_all(table, &[register_item(project, source, hash)]).await;
    match inserted.into_iter().next() {
        Some(Insert::Done) => Ok(true),
        Some(Insert::Exists) => Ok(false),
        Some(Insert::Failed(cause)) => Err(Error::Unwritten { cause }),
        Some(Insert::Refused(detail)) => Err(Error::Refused { detail }),
        None => Err(Error::Unwritten { cause: Cause::Unavailable }),
    }
}
