//! Making a key.

use std::collections::BTreeMap;

use consume::table::{Attributes, Insert, Item, Key, Table, Value, get_all, insert_all};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::keys::{
    REGISTER_PARTITION, USER_HOME, WRITE_KEY_SORT, is_project, is_write_key, register_sort, write_key_attribute,
    write_key_hash, write_key_partition,
};

use super::error::Error;
use super::switch::ID_CHARS;

/// Where the events of a source live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// With their device: their `anonymousId`, if they have one.
    #[default]
    Device,
    /// With the user that they name: for sources whose `anonymousId` is a constant.
    User,
}

impl Home {
    /// What an item of the table says.
    #[must_use]
    pub fn read(item: &Attributes) -> Self {
        let is_user = item.get(write_key_attribute::HOME).and_then(Value::text) == Some(USER_HOME);
        if is_user { Self::User } else { Self::Device }
    }
}

/// A key to be made.
#[derive(Clone)]
pub struct NewKey {
    /// The key itself.
    pub key: String,
    /// Its project.
    pub project: String,
    /// Its source.
    pub source: String,
    /// The secret that requests of this source's webhooks are signed with.
    pub secret: Option<String>,
    /// Where the events of this source live.
    pub home: Home,
}

/// Whether a key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was not there, and is now.
    New,
    /// It was there with the same project and source.
    Before,
}

/// A key that nobody can guess: 122 random bits as 32 characters.
#[must_use]
pub fn random_key() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Where the item of the key with this hash is.
pub(super) fn key_of(hash: &str) -> Key {
    Key { pk: write_key_partition(hash), sk: WRITE_KEY_SORT.to_owned() }
}

/// The item of the register for a key.
pub(super) fn register_item(project: &str, source: &str, hash: &str) -> Item {
    let key = Key { pk: REGISTER_PARTITION.to_owned(), sk: register_sort(project, source, hash) };
    Item { key, attributes: BTreeMap::new() }
}

fn items(new: &NewKey, now: Timestamp) -> [Item; 2] {
    let hash = write_key_hash(&new.key);
    let mut item = Item { key: key_of(&hash), attributes: BTreeMap::new() };
    item.text(write_key_attribute::PROJECT, &new.project);
    item.text(write_key_attribute::SOURCE, &new.source);
    item.text(write_key_attribute::CREATED, now.to_string());
    if let Some(secret) = &new.secret {
        item.text(write_key_attribute::SECRET, secret);
    }
    if new.home == Home::User {
        item.text(write_key_attribute::HOME, USER_HOME);
    }
    [register_item(&new.project, &new.source, &hash), item]
}

/// Whether a key may be made as it is.
///
/// # Errors
/// [`Error::NoName`] or [`Error::NoKey`].
pub(super) fn check(new: &NewKey) -> Result<(), Error> {
    for (what, text) in [("project", &new.project), ("source", &new.source)] {
        if !is_project(text) {
            return Err(Error::NoName { what, text: text.clone() });
        }
    }
    if is_write_key(&new.key) { Ok(()) } else { Err(Error::NoKey) }
}

/// Makes a key. Making the same one again changes nothing.
///
/// # Errors
/// A name or the key is not possible, the key is somebody else's, or it was not written, or that is not known.
pub async fn create(table: &impl Table, new: &NewKey, now: Timestamp) -> Result<Made, Error> {
    check(new)?;
    let [register, item] = items(new, now);
    // The key last: one that works and is not in the register could not be found again.
    for item in [register, item] {
        let inserted = insert_all(table, std::slice::from_ref(&item)).await;
        let Some(inserted) = inserted.into_iter().next() else { continue };
        match inserted {
            Insert::Done => {}
            Insert::Exists if item.key.sk != WRITE_KEY_SORT => {}
            // An answer that was lost comes here, too.
            Insert::Exists => return existing(table, new, &item.key).await,
            Insert::Failed(cause) => return Err(Error::Unwritten { cause }),
            Insert::Refused(detail) => return Err(Error::Refused { detail }),
        }
    }
    Ok(Made::New)
}

/// What to say of a key that is there already.
async fn existing(table: &impl Table, new: &NewKey, key: &Key) -> Result<Made, Error> {
    let found = get_all(table, vec![key.clone()], None).await.map_err(|cause| Error::Unread { cause })?;
    let text = |name: &str| found.get(key).and_then(|item| item.get(name)).and_then(Value::text).unwrap_or_default();
    let (project, source) = (text(write_key_attribute::PROJECT), text(write_key_attribute::SOURCE));
    if (project, source) == (&new.project, &new.source) {
        return Ok(Made::Before);
    }
    let id = write_key_hash(&new.key)[..ID_CHARS].to_owned();
    Err(Error::Exists { id, project: project.to_owned(), source_name: source.to_owned() })
}
