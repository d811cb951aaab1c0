//! Listing keys and projects by the register.

use std::collections::{BTreeMap, BTreeSet};

use consume::table::{Table, Value, get_all};
use serde::Serialize;
use shared::keys::{REGISTER_PARTITION, REGISTER_PREFIX, is_project, is_write_key_hash, write_key_attribute};

use super::error::Error;
use super::make::{Home, key_of};

/// The most keys that are listed. They are held at once: about 400 bytes each.
const KEYS_MAX: usize = 100_000;

/// A key, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyEntry {
    /// Its project.
    pub project: String,
    /// Its source.
    pub source: String,
    /// The SHA-256 of it.
    pub hash: String,
    /// When it was made; `None` if that is not known.
    pub created: Option<String>,
    /// Whether it is out of use.
    pub disabled: bool,
    /// Whether requests of its webhooks must be signed.
    pub signed: bool,
    /// Where the events of its source live.
    pub home: Home,
    /// Whether its item is gone although the register has it: nobody can use such a key.
    pub gone: bool,
}

impl KeyEntry {
    /// Whether requests with this key are taken.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        !self.disabled && !self.gone
    }
}

/// Lists the keys of the register in the order of project and source, those of one project where it is given.
///
/// # Errors
/// The name is no project's, or the table could not be read.
pub async fn list(table: &impl Table, project: Option<&str>) -> Result<Vec<KeyEntry>, Error> {
    let prefix = match project {
        Some(project) if is_project(project) => format!("{REGISTER_PREFIX}{project}#"),
        Some(project) => return Err(Error::NoName { what: "project", text: project.to_owned() }),
        None => REGISTER_PREFIX.to_owned(),
    };
    let mut entries = Vec::new();
    let mut after: Option<String> = None;
    while entries.len() < KEYS_MAX {
        let page = table.query(REGISTER_PARTITION, &prefix, after.as_deref()).await;
        let page = page.map_err(|cause| Error::Unread { cause })?;
        entries.extend(page.items.iter().filter_map(|(key, _)| entry(&key.sk)));
        let Some((last, _)) = page.items.last().filter(|_| !page.is_last) else { break };
        after = Some(last.sk.clone());
    }
    describe(table, &mut entries).await?;
    Ok(entries)
}

fn entry(sort: &str) -> Option<KeyEntry> {
    let mut parts = sort.strip_prefix(REGISTER_PREFIX)?.split('#');
    let (project, source, hash) = (parts.next()?, parts.next()?, parts.next().filter(|hash| is_write_key_hash(hash))?);
    let (project, source, hash) = (project.to_owned(), source.to_owned(), hash.to_owned());
    let home = Home::default();
    Some(KeyEntry { project, source, hash, created: None, disabled: false, signed: false, home, gone: true })
}

/// Reads what the keys' own items say.
async fn describe(table: &impl Table, entries: &mut [KeyEntry]) -> Result<(), Error> {
    let keys = entries.iter().map(|entry| key_of(&entry.hash)).collect();
    let found = get_all(table, keys, None).await.map_err(|cause| Error::Unread { cause })?;
    for entry in entries {
        let Some(item) = found.get(&key_of(&entry.hash)) else { continue };
        let text = |name: &str| item.get(name).and_then(Value::text);
        entry.gone = text(write_key_attribute::PROJECT) != Some(&entry.project);
        entry.disabled = item.get(write_key_attribute::DISABLED) == Some(&Value::Flag(true));
        entry.signed = text(write_key_attribute::SECRET).is_some_and(|secret| !secret.is_empty());
        entry.home = Home::read(item);
        entry.created = text(write_key_attribute::CREATED).map(str::to_owned);
    }
    Ok(())
}

/// A project, as the register knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Its name.
    pub project: String,
    /// Its sources.
    pub sources: BTreeSet<String>,
    /// Keys that are in use.
    pub keys_in_use: usize,
    /// All its keys.
    pub keys: usize,
}

/// The projects that these keys belong to, in the order of their names.
#[must_use]
pub fn projects(keys: &[KeyEntry]) -> Vec<Project> {
    let mut projects: BTreeMap<&str, Project> = BTreeMap::new();
    for key in keys {
        let project = projects.entry(&key.project).or_insert_with(|| Project {
            project: key.project.clone(),
            sources: BTreeSet::new(),
            keys_in_use: 0,
            keys: 0,
        });
        project.sources.insert(key.source.clone());
        project.keys += 1;
        project.keys_in_use += usize::from(key.is_in_use());
    }
    projects.into_values().collect()
}
