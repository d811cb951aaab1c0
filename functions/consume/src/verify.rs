//! Write keys that `ingest` could not check, because the table was away when the request came in.

use shared::event::Event;
use shared::keys::{USER_HOME, WRITE_KEY_SORT, is_project, write_key_attribute, write_key_partition};
use shared::message::Message;
use shared::outcome::Reason;

use crate::decode::Decoded;
use crate::table::{Attributes, Key, Table, Value, get_all};

/// Finds project and source of each message whose write key was not checked. A message with a key that is nobody's can
/// never be stored; without an answer from the table, it must come again.
pub async fn verify_keys(table: &impl Table, decoded: Vec<&mut Decoded>) {
    let keys: Vec<Key> = decoded.iter().filter_map(|one| unverified(one)).map(key).collect();
    if keys.is_empty() {
        return;
    }
    let found = get_all(table, keys, None).await;
    for one in decoded {
        let Some(hash) = unverified(one) else { continue };
        let owner = match &found {
            Ok(found) => found.get(&key(hash)).and_then(owner),
            Err(cause) => {
                *one = Decoded::Retry(*cause);
                continue;
            }
        };
        match (owner, &mut *one) {
            (Some(owner), Decoded::Message(message)) => {
                let Message { project, source, verified, events, .. } = &mut **message;
                if owner.lives_with_user {
                    events.iter_mut().for_each(Event::live_with_user);
                }
                (*project, *source, *verified) = (owner.project, owner.source, true);
            }
            _ => {
                let detail = "the write key was checked after the request had been accepted, and is nobody's";
                *one = Decoded::Poison(Reason::UnknownWriteKey, detail.to_owned());
            }
        }
    }
}

fn unverified(decoded: &Decoded) -> Option<&str> {
    match decoded {
        Decoded::Message(message) if !message.verified => message.write_key_hash.as_deref(),
        Decoded::Message(_) | Decoded::Poison(..) | Decoded::Retry(_) => None,
    }
}

fn key(hash: &str) -> Key {
    Key { pk: write_key_partition(hash), sk: WRITE_KEY_SORT.to_owned() }
}

/// Whose a write key is.
struct Owner {
    project: String,
    source: String,
    lives_with_user: bool,
}

/// The owner of a key's item. A key with a secret is for webhooks only, and `ingest` takes none of those
/// unchecked; so it counts as nobody's.
fn owner(item: &Attributes) -> Option<Owner> {
    let text = |name: &str| item.get(name).and_then(Value::text);
    let name = |name: &str| text(name).filter(|name| is_project(name)).map(str::to_owned);
    let disabled = item.get(write_key_attribute::DISABLED) == Some(&Value::Flag(true));
    let signed = text(write_key_attribute::SECRET).is_some_and(|secret| !secret.is_empty());
    let lives_with_user = text(write_key_attribute::HOME) == Some(USER_HOME);
    let (project, source) = (name(write_key_attribute::PROJECT)?, name(write_key_attribute::SOURCE)?);
    (!disabled && !signed).then_some(Owner { project, source, lives_with_user })
}
