//! What an event does to profiles.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use shared::event::{Event, Kind};
use shared::json::Members;

use crate::profile::{Register, Section};

/// What an event does to the profile of its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Values to be kept if they are later than those there.
    pub registers: Vec<(Section, String, Register)>,
}

impl Operation {
    /// What an event does; `None` if nothing. What `ingest` would not have let through changes nothing.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let mut operation = Self::default();
        let id = Arc::from(event.id.as_str());
        match event.kind {
            Kind::Identify => {
                let traits = Members::parse(event.data.as_ref()?.get()).ok()?;
                for (name, value) in traits.iter() {
                    operation.set(event, &id, Section::Traits, name, value.get());
                }
            }
            Kind::Group => {
                let traits = event.data.as_ref().map_or("{}", |traits| traits.get());
                operation.set(event, &id, Section::Groups, event.target.as_deref()?, traits);
            }
            Kind::Tags => {
                let changes = Members::parse(event.data.as_ref()?.get()).ok()?;
                let tags = |name| changes.get(name).and_then(strings).unwrap_or_default();
                let removed = tags("remove");
                let is_removed: HashSet<&String> = removed.iter().collect();
                // A tag that is both added and removed is removed.
                for tag in tags("add").iter().filter(|tag| !is_removed.contains(tag)) {
                    operation.set(event, &id, Section::Tags, tag, "true");
                }
                for tag in &removed {
                    operation.set(event, &id, Section::Tags, tag, "false");
                }
            }
            Kind::Unsubscribe => operation.set(event, &id, Section::Subscription, "subscribed", "false"),
            Kind::Resubscribe => operation.set(event, &id, Section::Subscription, "subscribed", "true"),
            Kind::Alias | Kind::Delete | Kind::Track | Kind::Page | Kind::Screen => {}
        }
        (operation != Self::default()).then_some(operation)
    }

    /// Whether events of a kind say anything of a profile.
    #[must_use]
    pub fn is_of(kind: Kind) -> bool {
        !matches!(kind, Kind::Alias | Kind::Delete | Kind::Track | Kind::Page | Kind::Screen)
    }

    fn set(&mut self, event: &Event, id: &Arc<str>, section: Section, name: &str, value: &str) {
        let register = Register { time: event.timestamp, event: Arc::clone(id), value: value.to_owned() };
        self.registers.push((section, name.to_owned(), register));
    }
}

fn strings(value: &RawValue) -> Option<Vec<String>> {
    serde_json::from_str(value.get()).ok()
}
