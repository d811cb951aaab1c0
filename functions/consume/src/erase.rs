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

mod step;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::clock::Timestamp;
use shared::outcome::Cause;

use self::step::{STEPS, Step};
use crate::bundle::{self, Bundle};
use crate::deliver::CONFLICTS_MAX;
use crate::letters;
use crate::links;
use crate::profile::{self, Profile};
pub use crate::remains::Tally;
use crate::remains::{Doomed, erase_bundle, remains};
use crate::store::partition;
use crate::table::{Guard, Item, Key, Page, Replace, Table, delete_all, get_all, pause_before, put_all};
use crate::tombstone::{
    self, SORT, Tombstone, device_tombstone_key, latest_from, latest_key, moment_of, raise, tombstone_key,
};

/// What the sort keys begin with of notes how far a deletion has come on a device that its user was seen on only later.
pub const REACHED_SORT: &str = "REACHED#";
/// How long such a note is left: longer than a message that could come again is kept (see
/// [`shared::limits::RECEIPT_LIFE`]).
const REACHED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Where such a note is.
#[must_use]
pub fn reached_key(project: &str, user: &str, device: &str) -> Key {
    let sk = format!("{REACHED_SORT}{}", links::hash_of(device));
    Key { pk: tombstone::partition(project, user), sk }
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
    /// What a rehearsal has counted to which several ways lead.
    counted: BTreeSet<(&'static str, String)>,
    /// Is told the tally after each page.
    progress: &'a dyn Fn(&Tally),
    /// What has been done so far.
    pub tally: Tally,
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
            counted: BTreeSet::new(),
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
        let root = tombstone::partition(self.project, id);
        loop {
            let page = self.events.query(&root, waiting::SORT, None).await?;
            if page.items.is_empty() {
                return Ok(());
            }
            for (key, attributes) in page.items {
                // Another deletion of the same id may have put it there, with a moment of its own.
                if let (Some(former), Some(until)) = (waiting::id(id, &key, &attributes), moment_of(&attributes)) {
                    self.erase_one(id, &former, until).await?;
                }
                delete_all(self.events, &[key]).await?;
                if (self.out_of_time)() {
                    return Err(Cause::Unstarted);
                }
            }
        }
    }

    /// Whether something is still to be erased, or counted: a rehearsal leaves it there for the next way that leads to it.
    fn is_left(&mut self, what: &'static str, id: String) -> bool {
        !self.is_rehearsal || self.counted.insert((what, id))
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
            .map(|former| waiting::item(self.project, root, former, tombstone.until))
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
            let mut nobody = Some(until);
            if *step == Step::Events {
                nobody = nobody.filter(|_| self.is_left("nobody", links::hash_of(id)));
                let sorts = [Some(profile::SORT), nobody.map(|_| profile::DEVICE_SORT)];
                for sort in sorts.into_iter().flatten().filter(|_| after.is_none()) {
                    self.forget(id, sort, until).await?;
                }
            }
            loop {
                let page = self.page(id, *step, after.as_deref()).await?;
                match step {
                    Step::Events => {
                        let doomed = Doomed { user: (id, until), home: Some(until), nobody };
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
            if let Some(cause) = problem {
                return Err(cause);
            }
            let next = STEPS.iter().skip_while(|next| *next != step).nth(1);
            tombstone.cursor = next.map(|next| next.prefix().to_owned());
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
        let key = reached_key(self.project, user, device);
        let mut note = raise(self.events, &key, until, until).await?;
        if note.done.is_some_and(|done| done >= note.until) {
            return Ok(());
        }
        let reached = self.reach_from(user, note.until, device, &mut note).await;
        let done = reached.is_ok().then_some(note.until).or(note.done);
        let mut item = Tombstone { done, ..note.clone() }.item(&key);
        item.number("ttl", self.now.plus(REACHED_FOR).as_millis() / 1_000);
        self.events.replace(&item, note.guard()).await.map_err(Replace::cause)?;
        reached
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
        self.tally.shared_devices += usize::from(nobody.is_none());
        let nobody = nobody.filter(|_| self.is_left("nobody", links::hash_of(device)));
        if let Some(moment) = nobody {
            if !self.is_rehearsal {
                raise(self.events, &device_tombstone_key(self.project, device), moment, moment).await?;
            }
            self.forget(device, profile::DEVICE_SORT, moment).await?;
        }
        let doomed = Doomed { user: (user, until), home: None, nobody };
        let mut after = tombstone.on_device.take();
        for step in [Step::Events, Step::Letters] {
            if after.as_deref().is_some_and(|after| !after.starts_with(step.prefix())) {
                continue;
            }
            loop {
                let page = self.page(device, step, after.as_deref()).await?;
                let problem = if step == Step::Events {
                    self.erase_events(&page, doomed).await?
                } else {
                    self.erase_letters(&page, &|is_anonymous| nobody.filter(|_| is_anonymous)).await?;
                    None
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
            let key = |hash: &str| Key { pk: tombstone::partition_of_hash(self.project, hash), sk: SORT.to_owned() };
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
            let is_there = if self.is_rehearsal {
                let id = format!("{}#{}", link.letter.pk, link.letter.sk);
                self.is_left("letter", id) && letters::has_body(self.dead_letters, &link.letter).await?
            } else {
                letters::erase(self.dead_letters, &link.letter).await?
            };
            self.tally.letters += usize::from(is_there);
        }
        Ok(())
    }
}
