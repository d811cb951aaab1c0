//! Reading one letter, its body put together from its parts.

use consume::dead_letter::{Head, State, attribute, part_key};
use consume::table::{Attributes, Key, Table, Value, get_all};
use shared::limits::{DEAD_LETTER_PART_BYTES_MAX, SQS_MESSAGE_BYTES_MAX};

use super::error::Error;

/// The most parts that a body can have: the largest message, cut in parts that may be a character short.
const PARTS_MAX: usize = SQS_MESSAGE_BYTES_MAX / (DEAD_LETTER_PART_BYTES_MAX - 4) + 1;

/// A letter with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What is said of it.
    pub head: Head,
    /// The item as its producer wrote it, or the message: see [`Head::holds_item`]. Empty if it was erased.
    pub body: String,
}

/// Whether a letter's body was erased: its head still says how many parts and bytes it had.
pub(super) fn is_erased(head: &Head) -> bool {
    head.state == State::Erased.tag()
}

/// Reads a letter; `None` if it is not there.
///
/// # Errors
/// The table could not be read, or the letter is not whole.
pub async fn read(table: &impl Table, key: &Key) -> Result<Option<DeadLetter>, Error> {
    let Some((head, attributes)) = find(table, key).await? else { return Ok(None) };
    let body = whole_body(table, &head, &attributes).await?;
    Ok(Some(DeadLetter { head, body }))
}

/// Reads a letter's head, with everything that is in its item.
pub(super) async fn find(table: &impl Table, key: &Key) -> Result<Option<(Head, Attributes)>, Error> {
    let found = get_all(table, vec![key.clone()], None).await;
    let mut found = found.map_err(|cause| Error::Unread { key: key.clone(), cause })?;
    let Some(attributes) = found.remove(key) else { return Ok(None) };
    let head = Head::read(key, &attributes);
    let head = head.ok_or_else(|| Error::Damaged { key: key.clone(), detail: "it has no reason".to_owned() })?;
    Ok(Some((head, attributes)))
}

/// The body of the letter whose head has these attributes; empty if it was erased.
pub(super) async fn whole_body(table: &impl Table, head: &Head, attributes: &Attributes) -> Result<String, Error> {
    let key = &head.key;
    if is_erased(head) {
        return Ok(String::new());
    }
    let parts = usize::try_from(head.parts).ok().filter(|parts| (1..=PARTS_MAX).contains(parts));
    let parts = parts.ok_or_else(|| Error::Damaged {
        key: key.clone(),
        detail: format!("it says that it has {} parts", head.parts),
    })?;
    let missing = |part| Error::PartMissing { key: key.clone(), part, parts };
    let first = attributes.get(attribute::BODY).and_then(Value::text);
    let mut body = first.ok_or_else(|| missing(0))?.to_owned();
    if parts == 1 {
        return Ok(body);
    }
    let keys = (1..parts).map(|part| part_key(key, part)).collect();
    let found = get_all(table, keys, Some(attribute::BODY)).await;
    let found = found.map_err(|cause| Error::Unread { key: key.clone(), cause })?;
    for part in 1..parts {
        let attributes = found.get(&part_key(key, part));
        let text = attributes.and_then(|attributes| attributes.get(attribute::BODY)).and_then(Value::text);
        body.push_str(text.ok_or_else(|| missing(part))?);
    }
    Ok(body)
}
