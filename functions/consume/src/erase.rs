//! Erasure: a tombstone in time, and the removal of what is older.
//!
//! The tombstone is written before the events are looked for, and an event is inserted before the tombstone is looked
//! for. So whichever of two at a time comes second sees the other, and no event older than a deletion stays.
//!
//! Few events are older than any deletion in their project. So the latest of these is noted for each project, before the
//! tombstone, and one read a batch tells which events need to have theirs looked for at all.
//!
//! What is removed leaves its key behind for a while. An insert that was not answered may have its effect late, when
//! another delivery of the same message has settled it already and nobody looks any more; it finds the key taken. That
//! costs what deleting the item would.
//!
//! # What a deletion reaches
//!
//! A deletion of an id up to a moment erases, up to that moment:
//!
//! - in the home of the id, what names the id, and what names nobody; and what is known of the id, its profile;
//! - on each device that was seen with the id, what names the id; and what names nobody, if every user who was seen on the
//!   device has been deleted, up to the earliest of their deletions;
//! - the bodies of dead letters that name the id;
//! - the same of every id that became this one.
//!
//! It goes from page to page of events and links, however many there are. Its tombstone notes how far it has come, so that
//! it pauses when the time of a delivery runs out, and goes on with the next. Ids that became this one wait beside the
//! tombstone until they are done: so neither a long chain of ids nor a circle of them keeps it from its end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::clock::Timestamp;
use shared::event::{Event, Kind};
use shared::keys::{seal, unseal};
use shared::outcome::{Cause, Outcome};

use crate::bundle::{self, Bundle};
use crate::dead_letter;
use crate::deliver::CONFLICTS_MAX;
use crate::letters;
use crate::links;
use crate::profile::{self, Profile};
use crate::store::{Case, EVENT_SORT, Named, ORIGIN, named, origin, partition};
use crate::table::{
    Attributes, Guard, Item, Key, Page, Replace, Table, Value, delete_all, get_all, pause_before, put_all,
};

/// The attribute of what is left of an erased event: up to when everything of its subject was erased, in milliseconds.
pub const ERASED: &str = "erased";
/// How long that is left, and what is left of an erased profile: far longer than a call that nobody waits for any more can
/// be under way.
pub const REMAINS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Bundles that are read and written at the same time.
pub const BUNDLES_IN_FLIGHT: usize = 4;
/// The sort key of the tombstone of an id.
pub const SORT: &str = "DELETED";
/// The sort key of the tombstone of what names nobody on a device.
pub const DEVICE_SORT: &str = "DELETED#DEVICE";
/// What the sort keys begin with of ids that a deletion has yet to reach.
pub const WAITING_SORT: &str = "WAITING#";
/// Up to when everything is to be erased, in milliseconds.
const MOMENT: &str = "until";
/// The sort key of the event or link up to which that has been done.
const CURSOR: &str = "cursor";
/// The same on the device that is behind that link.
const CURSOR_ON_DEVICE: &str = "inner";
/// Up to when everything has been looked through, in milliseconds. What is inserted later looks for the tombstone itself.
const DONE: &str = "done";
/// The attribute with an id that a deletion has yet to reach, sealed with the deleted id.
const ID: &str = "id";

/// The sort key of the note of a project's latest deletion.
pub const LATEST_SORT: &str = "LATEST";
/// What that note is rounded up to, so that a project's deletions write it once a minute and not each.
const LATEST_STEP: i64 = 60_000;

/// Where a project's latest deletion is noted.
#[must_use]
pub fn latest_key(project: &str) -> Key {
    Key { pk: format!("{project}#DELETED"), sk: LATEST_SORT.to_owned() }
}

fn tombstones(project: &str, id: &str) -> String {
    format!("{project}#DELETED#{}", links::hash_of(id))
}

/// Where the tombstone of an id is. It outlasts everything else of the id, and so has only a hash of it.
#[must_use]
pub fn tombstone_key(project: &str, id: &str) -> Key {
    Key { pk: tombstones(project, id), sk: SORT.to_owned() }
}

/// Where the tombstone is of what names nobody on a device.
#[must_use]
pub fn device_tombstone_key(project: &str, device: &str) -> Key {
    Key { pk: tombstones(project, device), sk: DEVICE_SORT.to_owned() }
}

/// The tombstones that an event must not be older than.
#[must_use]
pub fn tombstone_keys(project: &str, event: &Event) -> Vec<Key> {
    let mut keys = vec![tombstone_key(project, &event.subject)];
    if event.is_anonymous() {
        keys.push(device_tombstone_key(project, &event.subject));
    }
    keys
}

/// Up to when everything is erased of whom an event is about, by its tombstones among `found`; `None` if nothing is.
#[must_use]
pub fn erased_until(project: &str, event: &Event, found: &HashMap<Key, Attributes>) -> Option<Timestamp> {
    tombstone_keys(project, event).iter().filter_map(|key| moment_of(found.get(key)?)).max()
}

/// Up to when a tombstone keeps nothing; `None` if it is none.
#[must_use]
pub fn moment_of(attributes: &Attributes) -> Option<Timestamp> {
    attributes.get(MOMENT).and_then(Value::number).map(Timestamp::from_millis_clamped)
}

/// What is put in place of an erased event: its key, so that it is taken.
fn remains(key: Key, until: Timestamp, now: Timestamp) -> Item {
    let mut item = Item { key, attributes: BTreeMap::new() };
    item.number(ERASED, until.as_millis());
    item.number("ttl", now.plus(REMAINS_FOR).as_millis() / 1_000);
    item
}

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

/// An erasure under way.
pub struct Erasure<'a, T> {
    events: &'a T,
    dead_letters: &'a T,
    project: &'a str,
    now: Timestamp,
    out_of_time: &'a dyn Fn() -> bool,
    /// Whether nothing is written: the tally tells what would be.
    is_rehearsal: bool,
    /// The hashes of ids that a rehearsal takes for deleted.
    rehearsed: BTreeSet<String>,
    /// Is told the tally after each page.
    progress: &'a dyn Fn(&Tally),
    /// What has been done so far.
    pub tally: Tally,
}

/// The steps of an erasure of one id, by what the sort keys begin with that they go through. A cursor tells its step.
const STEPS: [Step; 4] = [Step::Events, Step::Devices, Step::Former, Step::Letters];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Events,
    Devices,
    Former,
    Letters,
}

impl Step {
    fn prefix(self) -> &'static str {
        match self {
            Step::Events => EVENT_SORT,
            Step::Devices => links::Kind::Device.prefix(),
            Step::Former => links::Kind::Former.prefix(),
            Step::Letters => letters::LINK_PREFIX,
        }
    }
}

/// Whose events go from a home, each up to a moment.
#[derive(Clone, Copy, Debug)]
struct Doomed<'a> {
    /// Those that name this user.
    user: (&'a str, Timestamp),
    /// Those that name the home itself, because it is that user's own.
    home: Option<Timestamp>,
    /// Those that name nobody.
    nobody: Option<Timestamp>,
}

impl Doomed<'_> {
    fn has(&self, event: &Attributes) -> bool {
        let until = match named(event) {
            Named::Home => self.home,
            Named::Nobody => self.nobody,
            Named::User(user) => (user == self.user.0).then_some(self.user.1),
        };
        until.is_some_and(|until| is_expired(event, until))
    }
}

impl<'a, T: Table> Erasure<'a, T> {
    /// An erasure in a project. `out_of_time` tells when to pause.
    pub fn new(
        events: &'a T,
        dead_letters: &'a T,
        project: &'a str,
        now: Timestamp,
        out_of_time: &'a dyn Fn() -> bool,
    ) -> Self {
        Self {
            events,
            dead_letters,
            project,
            now,
            out_of_time,
            is_rehearsal: false,
            rehearsed: BTreeSet::new(),
            progress: &|_| {},
            tally: Tally::default(),
        }
    }

    /// Writes nothing, and only counts what would be erased.
    #[must_use]
    pub fn rehearsed(self) -> Self {
        Self { is_rehearsal: true, ..self }
    }

    /// Tells `progress` the tally after each page.
    #[must_use]
    pub fn telling(self, progress: &'a dyn Fn(&Tally)) -> Self {
        Self { progress, ..self }
    }

    /// Erases everything of an id up to a moment, and of every id that became it, and makes sure that nothing is kept of
    /// them that comes later.
    ///
    /// # Errors
    /// It is not finished: a call failed, or the time ran out. Doing it again goes on where it was.
    pub async fn erase(&mut self, id: &str, moment: Timestamp) -> Result<(), Cause> {
        if self.is_rehearsal {
            return self.rehearse(id, moment).await;
        }
        raise(self.events, &latest_key(self.project), moment, latest_from(moment)).await?;
        self.erase_one(id, id, moment).await?;
        let root = tombstones(self.project, id);
        loop {
            let page = self.events.query(&root, WAITING_SORT, None).await?;
            if page.items.is_empty() {
                return Ok(());
            }
            for (key, attributes) in page.items {
                // Another deletion of the same id may have put it there, with a moment of its own.
                if let (Some(former), Some(until)) = (waiting_id(id, &key, &attributes), moment_of(&attributes)) {
                    self.erase_one(id, &former, until).await?;
                }
                delete_all(self.events, &[key]).await?;
                if (self.out_of_time)() {
                    return Err(Cause::Unstarted);
                }
            }
        }
    }

    async fn rehearse(&mut self, id: &str, moment: Timestamp) -> Result<(), Cause> {
        let mut waiting = vec![id.to_owned()];
        while let Some(id) = waiting.pop() {
            if !self.rehearsed.insert(links::hash_of(&id)) {
                continue;
            }
            self.tally.ids += 1;
            let mut tombstone = Tombstone::until(moment);
            self.go_through(&id, &mut tombstone, &mut |former| waiting.push(former)).await?;
        }
        Ok(())
    }

    /// Erases what is of one id itself. The ids that became it are put beside the tombstone of `root`.
    async fn erase_one(&mut self, root: &str, id: &str, moment: Timestamp) -> Result<(), Cause> {
        let key = tombstone_key(self.project, id);
        let mut tombstone = raise(self.events, &key, moment, moment).await?;
        // So a deletion that is delivered again, as with others that took too long, does not begin anew.
        if tombstone.done.is_some_and(|done| done >= tombstone.until) {
            return Ok(());
        }
        self.tally.ids += 1;
        let mut formers = Vec::new();
        let mut through = self.go_through(id, &mut tombstone, &mut |former| formers.push(former)).await;
        // Nothing goes on behind a link unless what it leads to is kept.
        let waiting: BTreeMap<Key, Item> = formers
            .iter()
            .map(|former| self.waiting(root, former, tombstone.until))
            .map(|item| (item.key.clone(), item))
            .collect();
        let waiting: Vec<Item> = waiting.into_values().collect();
        put_all(self.events, &waiting).await?;
        let next = match through {
            Ok(()) => Tombstone { done: Some(tombstone.until), cursor: None, on_device: None, ..tombstone.clone() },
            Err(_) => tombstone.clone(),
        };
        // If somebody has moved it on in the meantime, that deletion looks through everything itself.
        let noted = self.events.replace(&next.item(&key), tombstone.guard()).await.map_err(Replace::cause)?;
        if !noted {
            through = through.and(Err(Cause::Contended));
        }
        through
    }

    fn waiting(&self, root: &str, former: &str, until: Timestamp) -> Item {
        let sk = format!("{WAITING_SORT}{}#{}", links::hash_of(former), until.as_millis());
        let mut item = Item { key: Key { pk: tombstones(self.project, root), sk }, attributes: BTreeMap::new() };
        let sealed = seal(root, &item.key.sk, former.as_bytes());
        item.bytes_of(ID, sealed);
        item.number(MOMENT, until.as_millis());
        item
    }

    /// Goes through everything of an id from the cursor of its tombstone on, and moves that. Hands over the ids that became
    /// it.
    async fn go_through(
        &mut self,
        id: &str,
        tombstone: &mut Tombstone,
        former: &mut dyn FnMut(String),
    ) -> Result<(), Cause> {
        let until = tombstone.until;
        let begun = tombstone.cursor.clone();
        let is_begun = |step: Step| begun.as_deref().is_none_or(|cursor| cursor.starts_with(step.prefix()));
        let first = STEPS.iter().position(|step| is_begun(*step)).unwrap_or(0);
        let mut problem = None;
        for step in &STEPS[first..] {
            let mut after = begun.clone().filter(|cursor| cursor.starts_with(step.prefix()));
            if *step == Step::Events && after.is_none() {
                for sort in [profile::SORT, profile::DEVICE_SORT] {
                    self.forget(id, sort, until).await?;
                }
            }
            loop {
                let page = self.page(id, *step, after.as_deref()).await?;
                match step {
                    Step::Events => {
                        let doomed = Doomed { user: (id, until), home: Some(until), nobody: Some(until) };
                        problem = problem.or(self.erase_events(&page, doomed).await?);
                    }
                    Step::Devices => {
                        for (key, attributes) in &page.items {
                            if let Some(device) = links::other(id, key, attributes) {
                                self.tally.devices += 1;
                                self.reach_from(id, until, &device, tombstone).await?;
                            }
                            tombstone.cursor = Some(key.sk.clone());
                            if (self.out_of_time)() {
                                return Err(Cause::Unstarted);
                            }
                        }
                    }
                    Step::Former => {
                        let ids = page.items.iter().filter_map(|(key, item)| links::other(id, key, item));
                        ids.for_each(&mut *former);
                    }
                    Step::Letters => {
                        self.erase_letters(&page, &|_| Some(until)).await?;
                    }
                }
                (self.progress)(&self.tally);
                let last = page.items.last().map(|(key, _)| key.sk.clone());
                let Some(last) = last.filter(|_| !page.is_last) else { break };
                // What a cursor has passed must be done: a bundle that could not be written keeps it where it is.
                if problem.is_none() {
                    tombstone.cursor = Some(last.clone());
                }
                after = Some(last);
                if (self.out_of_time)() {
                    return Err(problem.unwrap_or(Cause::Unstarted));
                }
            }
            if problem.is_none() {
                let next = STEPS.iter().skip_while(|next| *next != step).nth(1);
                tombstone.cursor = next.map(|next| next.prefix().to_owned());
            }
            if let Some(cause) = problem {
                return Err(cause);
            }
        }
        Ok(())
    }

    async fn page(&self, id: &str, step: Step, after: Option<&str>) -> Result<Page, Cause> {
        let partition = match step {
            Step::Events => partition(self.project, id),
            Step::Devices | Step::Former | Step::Letters => links::partition(self.project, id),
        };
        self.events.query(&partition, step.prefix(), after).await
    }

    /// Erases on a device that was seen with a user what names the user, up to a moment, and what names nobody, if all users
    /// of the device are deleted.
    ///
    /// # Errors
    /// It is not finished: a call failed, or the time ran out.
    pub async fn reach(&mut self, user: &str, until: Timestamp, device: &str) -> Result<(), Cause> {
        self.reach_from(user, until, device, &mut Tombstone::until(until)).await
    }

    /// The same, from the place on that a tombstone notes.
    async fn reach_from(
        &mut self,
        user: &str,
        until: Timestamp,
        device: &str,
        tombstone: &mut Tombstone,
    ) -> Result<(), Cause> {
        let nobody = self.all_deleted(device).await?;
        match nobody {
            None => self.tally.shared_devices += 1,
            Some(moment) => {
                if !self.is_rehearsal {
                    raise(self.events, &device_tombstone_key(self.project, device), moment, moment).await?;
                }
                self.forget(device, profile::DEVICE_SORT, moment).await?;
            }
        }
        let doomed = Doomed { user: (user, until), home: None, nobody };
        let mut after = tombstone.on_device.take();
        for step in [Step::Events, Step::Letters] {
            if after.as_deref().is_some_and(|after| !after.starts_with(step.prefix())) {
                continue;
            }
            loop {
                let page = self.page(device, step, after.as_deref()).await?;
                let problem = match step {
                    Step::Letters => {
                        self.erase_letters(&page, &|is_anonymous| nobody.filter(|_| is_anonymous)).await?;
                        None
                    }
                    _ => self.erase_events(&page, doomed).await?,
                };
                if let Some(cause) = problem {
                    return Err(cause);
                }
                after = page.items.last().filter(|_| !page.is_last).map(|(key, _)| key.sk.clone());
                if after.is_none() {
                    break;
                }
                if (self.out_of_time)() {
                    tombstone.on_device = after;
                    return Err(Cause::Unstarted);
                }
            }
        }
        Ok(())
    }

    /// Up to when all users are deleted who were seen on a device; `None` if one of them is not, or if nobody was seen.
    async fn all_deleted(&self, device: &str) -> Result<Option<Timestamp>, Cause> {
        let partition = links::partition(self.project, device);
        let prefix = links::Kind::User.prefix();
        let (mut after, mut earliest) = (None, None);
        loop {
            let page = self.events.query(&partition, prefix, after.as_deref()).await?;
            let hashes = page.items.iter().filter_map(|(key, _)| key.sk.strip_prefix(prefix));
            let key = |hash: &str| Key { pk: format!("{}#DELETED#{hash}", self.project), sk: SORT.to_owned() };
            let users: Vec<(&str, Key)> = hashes.map(|hash| (hash, key(hash))).collect();
            let found = get_all(self.events, users.iter().map(|(_, key)| key.clone()).collect(), None).await?;
            for (hash, key) in users {
                let moment = match found.get(&key).and_then(moment_of) {
                    Some(moment) => moment,
                    None if self.rehearsed.contains(hash) => self.now,
                    None => return Ok(None),
                };
                earliest = Some(earliest.map_or(moment, |earliest: Timestamp| earliest.min(moment)));
            }
            match page.items.last() {
                Some((last, _)) if !page.is_last => after = Some(last.sk.clone()),
                _ => return Ok(earliest),
            }
        }
    }

    /// Erases the doomed of a page of events. Returns why a bundle could not be written, if one could not; it holds up none of
    /// the others.
    async fn erase_events(&mut self, page: &Page, doomed: Doomed<'_>) -> Result<Option<Cause>, Cause> {
        let (bundles, items): (Vec<_>, Vec<_>) =
            page.items.iter().partition(|(key, _)| bundle::number_of(&key.sk).is_some());
        let expired: Vec<_> = items.into_iter().filter(|(_, attributes)| doomed.has(attributes)).collect();
        self.tally.events += expired.len();
        if !self.is_rehearsal {
            let until = doomed.user.1;
            let remains = expired.into_iter().map(|(key, _)| remains(key.clone(), until, self.now));
            put_all(self.events, &remains.collect::<Vec<Item>>()).await?;
        }
        let mut problem = None;
        for (key, attributes) in bundles {
            if self.is_rehearsal {
                let bundle = Bundle::read(key, attributes);
                let doomed = bundle.iter().flat_map(|bundle| &bundle.events).filter(|(_, event)| doomed.has(event));
                self.tally.events += doomed.count();
                continue;
            }
            match erase_bundle(self.events, key, Some(attributes), &|event| doomed.has(event)).await {
                Ok(events) => self.tally.events += events,
                Err(cause) => problem = problem.or(Some(cause)),
            }
        }
        Ok(problem)
    }

    /// Forgets what a profile says up to a moment.
    async fn forget(&mut self, id: &str, sort: &str, until: Timestamp) -> Result<(), Cause> {
        let key = Key { pk: partition(self.project, id), sk: sort.to_owned() };
        for attempt in 0..CONFLICTS_MAX {
            pause_before(attempt).await;
            let found = get_all(self.events, vec![key.clone()], None).await?;
            let (before, version) = match found.get(&key) {
                None => (Profile::default(), None),
                Some(attributes) => {
                    let (profile, version) =
                        Profile::read(attributes).ok_or_else(|| profile::unreadable(self.project))?;
                    (profile, Some(version))
                }
            };
            let mut profile = before.clone();
            profile.forget(until);
            self.tally.profiles += usize::from(attempt == 0 && profile.len() < before.len());
            if profile == before || self.is_rehearsal {
                return Ok(());
            }
            let item = profile.item(key.clone(), version.unwrap_or(0) + 1, self.now);
            let guard = version.map_or(Guard::Absent, |version| Guard::Equals(profile::VERSION, version));
            if self.events.replace(&item, guard).await.map_err(Replace::cause)? {
                return Ok(());
            }
        }
        Err(Cause::Contended)
    }

    /// Erases the letters that a page of links leads to. `until` says up to when, of those that name nobody and of others.
    async fn erase_letters(&mut self, page: &Page, until: &dyn Fn(bool) -> Option<Timestamp>) -> Result<(), Cause> {
        for (key, attributes) in &page.items {
            let Some(link) = letters::Link::read(self.project, key, attributes) else { continue };
            if until(link.is_anonymous).is_none_or(|until| link.first_seen > until) {
                continue;
            }
            if self.is_rehearsal {
                self.tally.letters += 1;
            } else {
                self.tally.letters += usize::from(dead_letter::erase(self.dead_letters, &link.letter).await?);
            }
        }
        Ok(())
    }
}

/// The id of an item that waits beside the tombstone of `root`.
fn waiting_id(root: &str, key: &Key, attributes: &Attributes) -> Option<String> {
    let Value::Bytes(sealed) = attributes.get(ID)? else { return None };
    String::from_utf8(unseal(root, &key.sk, sealed)).ok()
}

/// Deletes users: the deletions among cases that were accepted, each user's to the latest.
pub async fn erase_deleted<T: Table>(
    events: &T,
    dead_letters: &T,
    cases: &mut [Case<'_>],
    now: Timestamp,
    out_of_time: &dyn Fn() -> bool,
) {
    let mut deletions: BTreeMap<(&str, &str), (Timestamp, Vec<usize>)> = BTreeMap::new();
    for (position, case) in cases.iter().enumerate() {
        let is_stored = matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore));
        if case.event.kind == Kind::Delete && is_stored {
            let whom = (case.message.project.as_str(), case.event.subject.as_str());
            let deletion = deletions.entry(whom).or_insert((case.event.timestamp, vec![]));
            deletion.0 = deletion.0.max(case.event.timestamp);
            deletion.1.push(position);
        }
    }
    for ((project, id), (moment, positions)) in deletions {
        let erased = if out_of_time() {
            Err(Cause::Unstarted)
        } else {
            Erasure::new(events, dead_letters, project, now, out_of_time).erase(id, moment).await
        };
        if let Err(cause) = erased {
            positions.into_iter().for_each(|position| cases[position].retry(cause));
        }
    }
}

fn is_expired(event: &Attributes, until: Timestamp) -> bool {
    event.get("time").and_then(Value::number).is_some_and(|millis| millis <= until.as_millis())
}

/// Takes events out of a bundle, beginning with the bundle as it was read, if it was. Its number stays taken. Returns how
/// many there were.
async fn erase_bundle(
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

/// A moment, rounded up as the note of a project's latest deletion has it.
fn latest_from(moment: Timestamp) -> Timestamp {
    let steps = moment.as_millis().div_euclid(LATEST_STEP).saturating_add(1);
    Timestamp::from_millis_clamped(steps.saturating_mul(LATEST_STEP))
}

/// What a tombstone says. The note of a project's latest deletion is one without a cursor.
#[derive(Clone)]
struct Tombstone {
    until: Timestamp,
    done: Option<Timestamp>,
    cursor: Option<String>,
    on_device: Option<String>,
}

impl Tombstone {
    fn read(attributes: &Attributes) -> Option<Self> {
        let done = attributes.get(DONE).and_then(Value::number).map(Timestamp::from_millis_clamped);
        let text = |name: &str| attributes.get(name).and_then(Value::text).map(str::to_owned);
        Some(Self { until: moment_of(attributes)?, done, cursor: text(CURSOR), on_device: text(CURSOR_ON_DEVICE) })
    }

    fn until(until: Timestamp) -> Self {
        Self { until, done: None, cursor: None, on_device: None }
    }

    fn item(&self, key: &Key) -> Item {
        let mut item = Item { key: key.clone(), attributes: BTreeMap::new() };
        item.number(MOMENT, self.until.as_millis());
        if let Some(done) = self.done {
            item.number(DONE, done.as_millis());
        }
        if let Some(cursor) = &self.cursor {
            item.text(CURSOR, cursor);
        }
        if let Some(cursor) = &self.on_device {
            item.text(CURSOR_ON_DEVICE, cursor);
        }
        item
    }

    fn guard(&self) -> Guard {
        Guard::Equals(MOMENT, self.until.as_millis())
    }
}

/// Makes sure that a tombstone says at least `moment`; one that says less, or is not there, says `until` from now on.
/// Returns what it says.
async fn raise(table: &impl Table, key: &Key, moment: Timestamp, until: Timestamp) -> Result<Tombstone, Cause> {
    for attempt in 0..CONFLICTS_MAX {
        pause_before(attempt).await;
        let found = get_all(table, vec![key.clone()], None).await?;
        let present = found.get(key).and_then(Tombstone::read);
        let guard = present.as_ref().map_or(Guard::Absent, Tombstone::guard);
        let done = match present {
            Some(present) if present.until >= moment => return Ok(present),
            Some(present) => present.done,
            None => None,
        };
        let next = Tombstone { done, ..Tombstone::until(until) };
        if table.replace(&next.item(key), guard).await.map_err(Replace::cause)? {
            return Ok(next);
        }
    }
    Err(Cause::Contended)
}

/// Erases those of the events just stored whose subject has been deleted later than they happened.
pub async fn erase_late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) {
    let late = late(table, cases, now).await;
    let mut items: BTreeMap<Key, Item> = BTreeMap::new();
    let mut bundles: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for (position, moment) in &late {
        let case = &cases[*position];
        match &case.bundle {
            Some(bundle) => drop(bundles.entry(bundle.clone()).or_default().insert(origin(case.message, case.event))),
            None => drop(items.insert(case.key(), remains(case.key(), *moment, now))),
        }
    }
    let put = put_all(table, &items.into_values().collect::<Vec<Item>>()).await;
    let erase = |(bundle, origins): (Key, BTreeSet<String>)| async move {
        let is_one =
            |event: &Attributes| event.get(ORIGIN).and_then(Value::text).is_some_and(|one| origins.contains(one));
        let erased = erase_bundle(table, &bundle, None, &is_one).await;
        (bundle, erased.map(drop))
    };
    let erased = stream::iter(bundles).map(erase).buffer_unordered(BUNDLES_IN_FLIGHT);
    let erased: HashMap<Key, Result<(), Cause>> = erased.collect().await;
    for (position, _) in late {
        let case = &mut cases[position];
        match case.bundle.as_ref().map_or(put, |bundle| erased.get(bundle).copied().unwrap_or(Ok(()))) {
            Ok(()) => case.outcome = Some(Outcome::Erased),
            Err(cause) => case.retry(cause),
        }
    }
}

/// The positions of those events whose subject has been deleted later than they happened, each with up to when.
async fn late(table: &impl Table, cases: &mut [Case<'_>], now: Timestamp) -> Vec<(usize, Timestamp)> {
    let concerns = |case: &Case<'_>| {
        case.event.kind != Kind::Delete && matches!(case.outcome, Some(Outcome::Stored | Outcome::StoredBefore))
    };
    let latest = latest(table, cases.iter().filter(|case| concerns(case)), now).await;
    let concerns = |case: &Case<'_>| {
        let latest = latest.get(&case.message.project);
        concerns(case) && latest.is_none_or(|latest| case.event.timestamp <= *latest)
    };
    let keys_of = |case: &Case<'_>| tombstone_keys(&case.message.project, case.event);
    let keys: Vec<Key> = cases.iter().filter(|case| concerns(case)).flat_map(keys_of).collect();
    let tombstones: Result<HashMap<Key, Attributes>, Cause> = get_all(table, keys, None).await;
    let mut late = Vec::new();
    for (position, case) in cases.iter_mut().enumerate().filter(|(_, case)| concerns(case)) {
        match tombstones.as_ref().map(|found| erased_until(&case.message.project, case.event, found)) {
            Ok(Some(moment)) if case.event.timestamp <= moment => late.push((position, moment)),
            Ok(_) => {}
            // Not knowing, we must look again; the item that is there by now is recognised as its own.
            Err(cause) => case.retry(*cause),
        }
    }
    late
}

/// The latest deletion of each of these events' projects, rounded up. Of one for which that is not known, each tombstone
/// must be looked for; it is noted then that no deletion until now has been, so that the next batch knows.
async fn latest<'a>(
    table: &impl Table,
    cases: impl Iterator<Item = &'a Case<'a>>,
    now: Timestamp,
) -> HashMap<String, Timestamp> {
    let projects: BTreeSet<&str> = cases.map(|case| case.message.project.as_str()).collect();
    let keys = projects.iter().map(|project| latest_key(project)).collect();
    let Ok(found) = get_all(table, keys, None).await else { return HashMap::new() };
    let mut latest = HashMap::new();
    for project in projects {
        let key = latest_key(project);
        match found.get(&key).and_then(moment_of) {
            Some(moment) => drop(latest.insert(project.to_owned(), moment)),
            // If it cannot be written, the next batch will try.
            None => drop(table.replace(&Tombstone::until(latest_from(now)).item(&key), Guard::Absent).await),
        }
    }
    latest
}
