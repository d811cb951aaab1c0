//! What is known of a person: the join of the profiles of an id and of all that became it.

use std::collections::{BTreeMap, BTreeSet};

use consume::person::{self, Person};
use consume::profile::{Profile, SORT, Section};
use consume::store::partition;
use consume::table::{Key, Table, get_all};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::clock::Timestamp;
use shared::keys::is_project;
use shared::limits::ALIASES_MAX;

use super::error::Error;

/// What is known of a person.
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

/// Reads what is known of a person by one of their ids; `None` if there is no profile of it. Of a person with more ids
/// than may be ([`ALIASES_MAX`]), those beyond are left out.
///
/// # Errors
/// It is no project, the table could not be read, or a profile is damaged.
pub async fn known(table: &impl Table, project: &str, id: &str) -> Result<Option<Known>, Error> {
    if !is_project(project) {
        return Err(Error::NoProject { project: project.to_owned() });
    }
    let person = load(table, project, id).await?;
    let Some(own) = person.get(id) else { return Ok(None) };
    let view = person::view(&person, id);
    let is_on = |(name, value): (&str, &str)| (value == "true").then(|| name.to_owned());
    Ok(Some(Known {
        project: project.to_owned(),
        id: id.to_owned(),
        ids: person::ids(&person, id),
        later_ids: own.later_ids.clone(),
        traits: values(&view, Section::Traits),
        tags: view.values(Section::Tags).filter_map(is_on).collect(),
        groups: values(&view, Section::Groups),
        subscribed: view.value(Section::Subscription, "subscribed").map(|value| value == "true"),
        deleted: own.deleted,
    }))
}

/// The profiles of an id and of all that became it, as far as there are any.
async fn load(table: &impl Table, project: &str, id: &str) -> Result<Person, Error> {
    let mut person = Person::new();
    let mut looked_for = BTreeSet::new();
    let mut wanted = BTreeSet::from([id.to_owned()]);
    while !wanted.is_empty() {
        looked_for.extend(wanted.iter().cloned());
        let keys = wanted.iter().map(|id| key(project, id)).collect();
        let unread = |cause| Error::Unread { what: "the profile", project: project.into(), id: id.into(), cause };
        let found = get_all(table, keys, None).await.map_err(unread)?;
        let mut former = BTreeSet::new();
        for id in wanted {
            let Some(attributes) = found.get(&key(project, &id)) else { continue };
            let damaged = || Error::Damaged { project: project.to_owned(), id: id.clone() };
            let (profile, _) = Profile::read(attributes).ok_or_else(damaged)?;
            former.extend(profile.former_ids.iter().cloned());
            person.insert(id, profile);
        }
        let room = (ALIASES_MAX + 1).saturating_sub(looked_for.len());
        wanted = former.into_iter().filter(|id| !looked_for.contains(id)).take(room).collect();
    }
    Ok(person)
}

fn key(project: &str, id: &str) -> Key {
    Key { pk: partition(project, id), sk: SORT.to_owned() }
}

fn values(profile: &Profile, section: Section) -> BTreeMap<String, Box<RawValue>> {
    let raw = |(name, value): (&str, &str)| Some((name.to_owned(), RawValue::from_string(value.to_owned()).ok()?));
    profile.values(section).filter_map(raw).collect()
}
