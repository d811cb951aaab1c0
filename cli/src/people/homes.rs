//! The homes of a user's events, and which of the events that live there are theirs.
//!
//! An event lives with its device, or with the user that it names if it has none. So a user's events are in the user's own
//! home, in those of the ids that became the user, and in those of every device that was seen with one of them.

use std::collections::{BTreeMap, BTreeSet};

use consume::links::{self, Kind};
use consume::store::{Named, named};
use consume::table::{Attributes, Table};
use shared::limits::JOINED_MAX;
use shared::outcome::Cause;

/// A home, and whose events live there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// It is an id of the user: what names nobody there is theirs.
    Own,
    /// It is a device on which nobody else was seen: what names nobody there is theirs.
    Device,
    /// It is a device on which others were seen, too: only what names the user is theirs.
    Shared,
}

/// The ids of a user and the homes of their events, as far as they are read as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Homes {
    /// The id that was asked for, and all that became it; [`JOINED_MAX`] at the most.
    pub ids: BTreeSet<String>,
    /// The ids that the one that was asked for became in its turn; [`JOINED_MAX`] at the most.
    pub later_ids: BTreeSet<String>,
    /// Devices, and other homes, that were seen with one of the ids. With the ids, there are [`JOINED_MAX`] at the most.
    pub devices: BTreeSet<String>,
    /// Whether these are all ids and all devices.
    pub is_whole: bool,
    homes: BTreeMap<String, Home>,
}

impl Homes {
    /// The home of an id alone, with everything that names it or nobody there.
    #[must_use]
    pub fn only(id: &str) -> Self {
        let own = || BTreeSet::from([id.to_owned()]);
        let homes = BTreeMap::from([(id.to_owned(), Home::Own)]);
        Self { ids: own(), later_ids: BTreeSet::new(), devices: BTreeSet::new(), is_whole: true, homes }
    }

    /// The homes, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.homes.keys().map(String::as_str)
    }

    /// The devices on which nobody else was seen.
    pub(super) fn own_devices(&self) -> impl Iterator<Item = &str> {
        self.homes.iter().filter(|(_, home)| **home == Home::Device).map(|(id, _)| id.as_str())
    }

    /// Whether an event of a home is the user's.
    pub(super) fn has(&self, home: &str, event: &Attributes) -> bool {
        match (named(event), self.homes.get(home)) {
            (_, None) | (Named::Home, Some(Home::Device | Home::Shared)) | (Named::Nobody, Some(Home::Shared)) => false,
            (Named::Home, Some(Home::Own)) | (Named::Nobody, Some(Home::Own | Home::Device)) => true,
            (Named::User(user), Some(_)) => self.ids.contains(user),
        }
    }

    /// Follows the links of an id.
    ///
    /// # Errors
    /// The table could not be read.
    pub(super) async fn of(table: &impl Table, project: &str, id: &str) -> Result<Self, Cause> {
        let mut found = Self::only(id);
        let mut waiting = vec![id.to_owned()];
        while let Some(next) = waiting.pop() {
            let room = (JOINED_MAX + 1).saturating_sub(found.ids.len());
            for former in found.linked(table, project, &next, Kind::Former, room).await? {
                if found.ids.len() == JOINED_MAX && !found.ids.contains(&former) {
                    found.is_whole = false;
                } else if found.ids.insert(former.clone()) {
                    waiting.push(former);
                }
            }
        }
        found.homes.extend(found.ids.iter().map(|id| (id.clone(), Home::Own)));
        for id in found.ids.clone() {
            let room = (JOINED_MAX + 1).saturating_sub(found.homes.len());
            for device in found.linked(table, project, &id, Kind::Device, room).await? {
                if found.homes.contains_key(&device) {
                    found.devices.insert(device);
                } else if found.homes.len() == JOINED_MAX {
                    found.is_whole = false;
                } else {
                    let home = found.kind_of(table, project, &device).await?;
                    found.homes.insert(device.clone(), home);
                    found.devices.insert(device);
                }
            }
        }
        found.later_ids =
            links::page(table, project, id, Kind::Later, None).await?.0.into_iter().take(JOINED_MAX).collect();
        Ok(found)
    }

    /// The ids of links of a kind, `room` or a page more; notes if there are others behind them.
    async fn linked(
        &mut self,
        table: &impl Table,
        project: &str,
        id: &str,
        kind: Kind,
        room: usize,
    ) -> Result<Vec<String>, Cause> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = links::page(table, project, id, kind, after.as_deref()).await?;
            ids.extend(page);
            after = next;
            if after.is_none() {
                return Ok(ids);
            }
            if ids.len() >= room {
                self.is_whole = false;
                return Ok(ids);
            }
        }
    }

    /// Whether somebody else was seen on a device.
    async fn kind_of(&self, table: &impl Table, project: &str, device: &str) -> Result<Home, Cause> {
        let own: BTreeSet<String> = self.ids.iter().map(|id| links::hash_of(id)).collect();
        let prefix = Kind::User.prefix();
        let users = table.query(&links::partition(project, device), prefix, None).await?;
        let is_own = |sk: &str| sk.strip_prefix(prefix).is_some_and(|hash| own.contains(hash));
        // A page has more users than one user has ids.
        let are_own = users.is_last && users.items.iter().all(|(key, _)| is_own(&key.sk));
        Ok(if are_own { Home::Device } else { Home::Shared })
    }
}
