//! Looking for letters that name somebody by their texts, page by page.

use consume::dead_letter::{Head, UNKNOWN_PROJECT, attribute};
use consume::letters::{LINK_PREFIX, Link};
use consume::links;
use consume::table::{Attributes, Key, Table, Value, get_all};
use shared::keys::{WRITE_KEY_SORT, write_key_attribute, write_key_partition};

use super::error::Error;
use super::filter::{Days, Filter};
use super::list::{Cursor, heads};
use super::naming::{Bare, Doubt, Naming};
use super::read::{is_erased, whole_body};

/// The tables that are looked through.
pub struct Tables<'a, T> {
    /// The events table, which has the links of ids and the write keys.
    pub events: &'a T,
    /// The table of dead letters.
    pub letters: &'a T,
}

impl<T> Clone for Tables<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Tables<'_, T> {}

/// A letter that names somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What is said of it.
    pub head: Head,
    /// Why it is not theirs altogether; `None` if it is.
    pub doubt: Option<Doubt>,
}

/// A search under way: first through the letters of a project, then through those of which no project is known.
pub struct Search<'a, T> {
    tables: Tables<'a, T>,
    project: &'a str,
    naming: &'a Naming,
    /// What is left to look through, the last first, each from a place on.
    left: Vec<(Filter, Cursor)>,
    /// How many letters have been looked at.
    pub looked_at: usize,
}

impl<'a, T: Table> Search<'a, T> {
    /// A search for letters of these days.
    #[must_use]
    pub fn new(tables: Tables<'a, T>, project: &'a str, days: Days, naming: &'a Naming) -> Self {
        let left = [UNKNOWN_PROJECT, project].map(|project| {
            let (project, none) = (project.to_owned(), None);
            let filter = Filter { project, days, reason: none.clone(), source: none.clone(), state: None, like: none };
            let start = Cursor::start(&filter);
            (filter, start)
        });
        Self { tables, project, naming, left: left.into(), looked_at: 0 }
    }

    /// The letters of the next page that name them; `None` if everything has been looked through. It reads 1 MB of letters at
    /// the most, and holds one body beside them.
    ///
    /// # Errors
    /// A table could not be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Named>>, Error> {
        let Some((filter, from)) = self.left.pop() else { return Ok(None) };
        let (found, next) = heads(self.tables.letters, &filter, &from).await?;
        self.left.extend(next.map(|next| (filter, next)));
        let mut named = Vec::new();
        for (head, attributes) in found {
            self.looked_at += 1;
            if !is_erased(&head) {
                named.extend(self.look_at(head, &attributes).await?);
            }
        }
        Ok(Some(named))
    }

    async fn look_at(&self, head: Head, attributes: &Attributes) -> Result<Option<Named>, Error> {
        let body = match whole_body(self.tables.letters, &head, attributes).await {
            Ok(body) => body,
            // What is left of it may name them all the same.
            Err(Error::PartMissing { .. } | Error::Damaged { .. }) => {
                let first = attributes.get(attribute::BODY).and_then(Value::text).unwrap_or_default();
                let is_named = [&head.detail, first].iter().any(|text| self.naming.in_text(text).is_some());
                return Ok(is_named.then_some(Named { head, doubt: Some(Doubt::Damaged) }));
            }
            Err(error) => return Err(error),
        };
        if self.naming.in_text(&body).is_none() && self.naming.in_text(&head.detail).is_none() {
            return Ok(None);
        }
        if head.key.pk.starts_with(UNKNOWN_PROJECT) && self.is_of_another_project(&body).await? {
            return Ok(None);
        }
        let doubt = self.naming.owns(&head, &body).err();
        Ok(Some(Named { head, doubt }))
    }

    /// Whether a message says of itself that it is another project's, or its write key does.
    async fn is_of_another_project(&self, body: &str) -> Result<bool, Error> {
        let Some(message) = Bare::read(body) else { return Ok(false) };
        let Some(hash) = message.write_key_hash.filter(|_| message.project.is_empty()) else {
            return Ok(!message.project.is_empty() && message.project != self.project);
        };
        let key = Key { pk: write_key_partition(&hash), sk: WRITE_KEY_SORT.to_owned() };
        let found = get_all(self.tables.events, vec![key.clone()], None).await;
        let found = found.map_err(|cause| Error::Unlisted { partition: UNKNOWN_PROJECT.to_owned(), cause })?;
        let owner = found.get(&key).and_then(|key| key.get(write_key_attribute::PROJECT)).and_then(Value::text);
        Ok(owner.is_some_and(|owner| owner != self.project))
    }
}

/// Whether a link of one of these ids leads to a letter, or one of these devices to one that names nobody else.
pub(super) async fn is_linked<'i>(
    events: &impl Table,
    project: &str,
    ids: impl IntoIterator<Item = &'i String>,
    devices: impl IntoIterator<Item = &'i String>,
    letter: &Key,
) -> Result<bool, Error> {
    let key = |id: &String| Key { pk: links::partition(project, id), sk: format!("{LINK_PREFIX}{}", letter.sk) };
    let of_ids: Vec<Key> = ids.into_iter().map(key).collect();
    let of_devices: Vec<Key> = devices.into_iter().map(key).collect();
    let found = get_all(events, of_ids.iter().chain(&of_devices).cloned().collect(), None).await;
    let found = found.map_err(|cause| Error::Unlisted { partition: project.to_owned(), cause })?;
    let link = |key: &Key| Link::read(project, key, found.get(key)?).filter(|link| link.letter == *letter);
    let mut of_devices = of_devices.iter().filter_map(link);
    Ok(of_ids.iter().any(|key| link(key).is_some()) || of_devices.any(|link| link.is_anonymous))
}
