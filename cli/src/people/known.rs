//! What is known of a user: the join of the profiles of an id, of all that became it, and of what was said on devices where
//! nobody else was seen.

use std::collections::{BTreeMap, BTreeSet};

use consume::profile::{self, Profile, Section};
use consume::table::{Key, Table, get_all};
use consume::tombstone::{moment_of, tombstone_key};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::keys::is_project;

use super::error::Error;
use super::homes::Homes;

/// What is known of a user.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The project.
    pub project: String,
    /// The id that was asked for.
    pub id: String,
    /// That id, and all that became it.
    pub ids: BTreeSet<String>,
    /// Ids that this one became in its turn: everything here holds for them too.
    pub later_ids: BTreeSet<String>,
    /// Devices that were seen with one of the ids, and e-mail addresses of them.
    pub devices: BTreeSet<String>,
    /// Whether these are all ids and all devices: no more than [`shared::limits::JOINED_MAX`] are read as one.
    pub is_whole: bool,
    /// Traits by name.
    pub traits: BTreeMap<String, Box<RawValue>>,
    /// Tags that are on.
    pub tags: BTreeSet<String>,
    /// Groups by id, each with what the last call said of it.
    pub groups: BTreeMap<String, Box<RawValue>>,
    /// Whether they want mail; `None` if nothing was said of it.
    pub subscribed: Option<bool>,
    /// The moment up to which everything of this very id is forgotten.
    pub deleted: Option<Timestamp>,
}

/// The ids of a user and the homes of their events.
///
/// # Errors
/// It is no project, or the table could not be read.
pub async fn homes(table: &impl Table, project: &str, id: &str) -> Result<Homes, Error> {
    if !is_project(project) {
        return Err(Error::NoProject { project: project.to_owned() });
    }
    let unread = |cause| Error::Unread { what: "the links", project: project.into(), id: id.into(), cause };
    Homes::of(table, project, id).await.map_err(unread)
}

/// Reads what is known of a user, whose homes are these; `None` if there is nothing: no profile, no link and no deletion.
///
/// # Errors
/// The table could not be read, or a profile is damaged.
pub async fn known(table: &impl Table, project: &str, id: &str, homes: &Homes) -> Result<Option<Known>, Error> {
    let ids = homes.ids.iter().flat_map(|id| [(id.as_str(), false), (id.as_str(), true)]);
    let profiles = ids.chain(homes.own_devices().map(|device| (device, true)));
    let profiles: Vec<(&str, Key)> =
        profiles.map(|(id, is_anonymous)| (id, profile::key(project, id, is_anonymous))).collect();
    let tombstone = tombstone_key(project, id);
    let keys = profiles.iter().map(|(_, key)| key.clone()).chain([tombstone.clone()]).collect();
    let unread = |cause| Error::Unread { what: "the profile", project: project.into(), id: id.into(), cause };
    let found = get_all(table, keys, None).await.map_err(unread)?;
    let (mut view, mut has_profile) = (Profile::default(), false);
    for (id, key) in profiles {
        let Some(attributes) = found.get(&key) else { continue };
        let damaged = || Error::Damaged { project: project.to_owned(), id: id.to_owned() };
        // Each has forgotten on its own what it must; a deletion of one id says nothing of the values of another.
        view.join(&Profile::read(attributes).ok_or_else(damaged)?.0);
        has_profile = true;
    }
    let deleted = found.get(&tombstone).and_then(moment_of);
    let has_links = homes.ids.len() > 1 || !homes.devices.is_empty() || !homes.later_ids.is_empty();
    if !has_profile && !has_links && deleted.is_none() {
        return Ok(None);
    }
    let is_on = |(name, value): (&str, &str)| (value == "true").then(|| name.to_owned());
    Ok(Some(Known {
        project: project.to_owned(),
        id: id.to_owned(),
        ids: homes.ids.clone(),
        later_ids: homes.later_ids.clone(),
        devices: homes.devices.clone(),
        is_whole: homes.is_whole,
        traits: values(&view, Section::Traits),
        tags: view.values(Section::Tags).filter_map(is_on).collect(),
        groups: values(&view, Section::Groups),
        subscribed: view.value(Section::Subscription, "subscribed").map(|value| value == "true"),
        deleted,
    }))
}

fn values(profile: &Profile, section: Section) -> BTreeMap<String, Box<RawValue>> {
    let raw = |(name, value): (&str, &str)| Some((name.to_owned(), RawValue::from_string(value.to_owned()).ok()?));
    profile.values(section).filter_map(raw).collect()
}
