//! What an erasure takes from a home, how much that was, and what is left of it for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::clock::Timestamp;
use shared::outcome::Cause;

use crate::bundle::{self, Bundle};
use crate::deliver::CONFLICTS_MAX;
use crate::store::{Named, named};
use crate::table::{Attributes, Guard, Item, Key, Replace, Table, Value, get_all, pause_before};

/// The attribute of what is left of an erased event: up to when everything of its subject was erased, in milliseconds.
pub const ERASED: &str = "erased";
/// How long that is left, and what is left of an erased profile: far longer than a call that nobody waits for any more can
/// be under way.
pub const REMAINS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Bundles that are read and written at the same time.
pub const BUNDLES_IN_FLIGHT: usize = 4;

/// What an erasure has come by, or would erase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ids: the one that is deleted, and those that became it.
    pub ids: usize,
    /// Devices and other homes that were seen with one of them.
    pub devices: usize,
    /// Of these, devices on which somebody was seen who has not been deleted: what names nobody stays there.
    pub shared_devices: usize,
    /// Events.
    pub events: usize,
    /// Profiles with something in them.
    pub profiles: usize,
    /// Dead letters.
    pub letters: usize,
}

/// What is put in place of an erased event: its key, so that it is taken.
pub(crate) fn remains(key: Key, until: Timestamp, now: Timestamp) -> Item {
    let mut item = Item { key, attributes: BTreeMap::new() };
    item.number(ERASED, until.as_millis());
    item.number("ttl", now.plus(REMAINS_FOR).as_millis() / 1_000);
    item
}

/// Whose events go from a home, each up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doomed<'a> {
    /// Those that name this user.
    pub(crate) user: (&'a str, Timestamp),
    /// Those that name the home itself, because it is that user's own.
    pub(crate) home: Option<Timestamp>,
    /// Those that name nobody.
    pub(crate) nobody: Option<Timestamp>,
}

impl Doomed<'_> {
    /// Whether a stored event is one of them.
    pub(crate) fn has(&self, event: &Attributes) -> bool {
        let until = match named(event) {
            Named::Home => self.home,
            Named::Nobody => self.nobody,
            Named::User(user) => (user == self.user.0).then_some(self.user.1),
        };
        until.is_some_and(|until| is_expired(event, until))
    }
}

fn is_expired(event: &Attributes, until: Timestamp) -> bool {
    event.get("time").and_then(Value::number).is_some_and(|millis| millis <= until.as_millis())
}

/// Takes events out of a bundle, beginning with the bundle as it was read, if it was. Its number stays taken. Returns how
/// many there were.
pub(crate) async fn erase_bundle(
    table: &impl Table,
    key: &Key,
    read: Option<&Attributes>,
    is_doomed: &dyn Fn(&Attributes) -> bool,
) -> Result<usize, Cause> {
    let mut read = read.cloned();
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let present = match read.take() {
            Some(present) => present,
            None => get_all(table, vec![key.clone()], None).await?.remove(key).ok_or(Cause::Contended)?,
        };
        let bundle = Bundle::read(key, &present).ok_or_else(|| {
            tracing::error!(bundle = key.sk, "a stored bundle cannot be read");
            Cause::Denied
        })?;
        let Some(left) = bundle.without(key, is_doomed) else { return Ok(0) };
        let guard = Guard::Equals(bundle::VERSION, bundle.version);
        if table.replace(&left, guard).await.map_err(Replace::cause)? {
            return Ok(bundle.events.iter().filter(|(_, event)| is_doomed(event)).count());
        }
    }
    Err(Cause::Contended)
}
