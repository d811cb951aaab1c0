//! What should be, computed from what producers said and when it came: written from the promises, not from the code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::calls::{Identity, KEYS, Request, Said};

/// One sending of a request that reached an environment.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) request: Arc<Request>,
    /// The environment's time when it came in.
    pub(crate) received_millis: i64,
    /// The time of sending that it names.
    pub(crate) sent_millis: Option<i64>,
    /// What it was answered, if it was.
    pub(crate) status: Option<u16>,
}

/// One event of one sending.
#[derive(Clone, Copy)]
pub(crate) struct Occurrence<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) said: &'a Said,
}

impl Occurrence<'_> {
    /// The project; `None` if the key is nobody's.
    pub(crate) fn project(&self) -> Option<&'static str> {
        KEYS[self.attempt.request.key].1
    }

    /// When it happened by our clock: the producer's time, moved by how wrong its clock was, and never after it came.
    pub(crate) fn millis(&self) -> i64 {
        let received = self.attempt.received_millis;
        let moment = match (self.said.client_millis, self.attempt.sent_millis) {
            (Some(client), Some(sent)) => client + received - sent,
            (Some(client), None) => client,
            (None, _) => received,
        };
        moment.min(received)
    }

    /// The person that it is about.
    pub(crate) fn person(&self) -> Option<Person> {
        Some((self.project()?, self.said.subject.clone()))
    }

    /// What it says of whom.
    fn profile(&self) -> Option<Of> {
        Some(Of { person: self.person()?, is_anonymous: self.said.is_anonymous() })
    }

    /// What tells it from other events; the same for all that are the same event.
    pub(crate) fn identity(&self, origin: &str) -> String {
        let project = self.project();
        match &self.said.identity {
            Identity::Forever(key) => format!("{project:?} for ever {key}"),
            Identity::Window(key) => format!("{project:?} window {key}"),
            Identity::Fresh => format!("fresh {origin}"),
        }
    }
}

/// A project, and the id of somebody there.
pub(crate) type Person = (&'static str, String);

/// Of whom something is known: of a user, or of a device before any user is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Of {
    pub(crate) person: Person,
    pub(crate) is_anonymous: bool,
}

/// Whether something must have been erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Erased {
    /// Nothing has reached it.
    Never,
    /// It names nobody, on a device some of whose users were deleted: it depends on who had been seen there by then.
    Perhaps,
    Surely,
}

/// One value of a profile: where it is, and which values it may have. More than one where two events of one moment say
/// something else, and only their ids decide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latest {
    pub(crate) millis: i64,
    pub(crate) values: Vec<Value>,
}

/// What should be known of everybody.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// The ids that became an id, directly.
    pub(crate) former: BTreeMap<Person, BTreeSet<String>>,
    deletions: BTreeMap<Person, i64>,
    /// The users who were seen on a device, or who were given an address.
    pub(crate) users: BTreeMap<Person, BTreeSet<String>>,
    said: Vec<(Of, i64, &'static str, String, Value)>,
    /// The same with what lies in letters by chance, and may have had a part of its effect.
    pub(crate) with_doubts: Option<Box<People>>,
}

impl People {
    /// Takes in who an event shows to be whom.
    pub(crate) fn see(&mut self, occurrence: Occurrence<'_>) {
        let Some(project) = occurrence.project() else { return };
        let said = occurrence.said;
        if said.kind == "delete" || said.is_anonymous() {
            return;
        }
        for home in [&said.device, &said.address].into_iter().flatten().filter(|home| **home != said.subject) {
            self.users.entry((project, home.clone())).or_default().insert(said.subject.clone());
        }
    }

    /// Takes in what an event says of somebody.
    pub(crate) fn hear(&mut self, occurrence: Occurrence<'_>) {
        let (Some(person), Some(of)) = (occurrence.person(), occurrence.profile()) else { return };
        let (millis, said) = (occurrence.millis(), occurrence.said);
        let mut note = |part: &'static str, name: &str, value: Value| {
            self.said.push((of.clone(), millis, part, name.to_owned(), value));
        };
        let members = |name: Option<&str>| {
            let data = said.data.as_ref().and_then(|data| name.map_or(Some(data), |name| data.get(name)));
            data.cloned().unwrap_or_default()
        };
        match (said.kind, &said.target) {
            ("identify", _) => {
                let traits = members(None);
                traits.as_object().into_iter().flatten().for_each(|(name, value)| note("traits", name, value.clone()));
            }
            ("group", Some(group)) => note("groups", group, members(None)),
            ("tags", _) => {
                for (list, on) in [("add", true), ("remove", false)] {
                    let tags = members(Some(list));
                    let tags = tags.as_array().into_iter().flatten().filter_map(Value::as_str);
                    tags.for_each(|tag| note("tags", tag, Value::Bool(on)));
                }
            }
            ("unsubscribe", _) => note("subscription", "subscribed", Value::Bool(false)),
            ("resubscribe", _) => note("subscription", "subscribed", Value::Bool(true)),
            ("alias", Some(former)) if *former != said.subject => {
                self.former.entry(person).or_default().insert(former.clone());
            }
            ("delete", _) => {
                let moment = self.deletions.entry(person).or_insert(millis);
                *moment = millis.max(*moment);
            }
            _ => {}
        }
    }

    /// Up to when everything of an id is forgotten: by the latest deletion of the id, or of any that it became.
    pub(crate) fn forgotten(&self, person: &Person) -> Option<i64> {
        let of_project = self.deletions.iter().filter(|((project, _), _)| *project == person.0);
        let reaching = of_project.filter(|((project, id), _)| self.ids(project, id).contains(&person.1));
        reaching.map(|(_, moment)| *moment).max()
    }

    /// Whether something of a moment, of somebody, must have been erased.
    pub(crate) fn erased(&self, person: &Person, is_anonymous: bool, millis: i64) -> Erased {
        let is_reached = |moment: Option<i64>| moment.is_some_and(|moment| millis <= moment);
        if is_reached(self.forgotten(person)) {
            return Erased::Surely;
        }
        let users = self.users.get(person).filter(|_| is_anonymous);
        let reached: Vec<bool> =
            users.into_iter().flatten().map(|user| is_reached(self.forgotten(&(person.0, user.clone())))).collect();
        let doubted = self.with_doubts.as_ref().map(|known| known.erased(person, is_anonymous, millis));
        match (reached.contains(&true), reached.contains(&false)) {
            (false, _) if doubted.is_some_and(|erased| erased > Erased::Never) => Erased::Perhaps,
            (false, _) => Erased::Never,
            (true, true) => Erased::Perhaps,
            (true, false) => Erased::Surely,
        }
    }

    /// An id, and all that became it.
    fn ids(&self, project: &'static str, id: &str) -> BTreeSet<String> {
        let (mut found, mut waiting) = (BTreeSet::new(), vec![id.to_owned()]);
        while let Some(id) = waiting.pop() {
            if found.insert(id.clone()) {
                waiting.extend(self.former.get(&(project, id)).into_iter().flatten().cloned());
            }
        }
        found
    }

    /// The values that should be known of each id: of all that was said after the latest deletion, the latest.
    pub(crate) fn values(&self) -> BTreeMap<Of, BTreeMap<(&'static str, String), Latest>> {
        let mut people: BTreeMap<Of, BTreeMap<(&'static str, String), Latest>> = BTreeMap::new();
        for (of, millis, part, name, value) in &self.said {
            if self.erased(&of.person, of.is_anonymous, *millis) == Erased::Surely {
                continue;
            }
            let values = people.entry(of.clone()).or_default();
            let new = || Latest { millis: *millis, values: vec![] };
            let latest = values.entry((part, name.clone())).or_insert_with(new);
            if *millis > latest.millis {
                *latest = new();
            }
            if *millis == latest.millis {
                latest.values.push(value.clone());
            }
        }
        people
    }

    /// Everybody of whom something is known.
    pub(crate) fn everybody(&self) -> BTreeSet<Person> {
        let heard = self.said.iter().map(|(of, ..)| &of.person);
        heard.chain(self.former.keys()).chain(self.deletions.keys()).cloned().collect()
    }
}
