//! Seen markers: which event came first, for events whose key alone cannot tell.
//!
//! An event that names its own time has a key that is its identity. One that does not gets the time of its arrival into
//! its key, so a repetition would get another key; the marker, keyed by the identity alone, tells them apart. Times are
//! those of arrival, never of processing, so that a redelivery is judged as the first delivery was.

use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
use shared::event::{Event, Identity};
use shared::limits::{IDENTITY_WINDOW, IDENTITY_WINDOW_MARKER_LIFE};
use shared::message::Message;

use crate::table::{Attributes, Item, Key};

/// The most windows that one marker remembers: the same call made all the time for more than five hours. An earlier
/// window's calls that are redelivered only then are no longer recognised.
const WINDOWS_MAX: usize = 64;

/// The number that changes with every write of a marker.
pub const VERSION: &str = "ver";
const WINDOWS: &str = "seen";

/// An event that needs a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where its marker is.
    pub key: Key,
    /// Which event it is: see [`crate::store::origin`].
    pub origin: String,
    /// When its request came in.
    pub received_at: Timestamp,
    /// Whether the identity ends with its window.
    pub windowed: bool,
}

/// A marker as it is stored: when each window began, and with which event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    windows: Vec<Window>,
    version: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window(i64, String);

/// What a marker says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the first of its identity.
    First,
    /// Another came before.
    Duplicate,
    /// It begins another window; it is the first once the marker has been replaced by this one.
    Begins(Marker),
}

impl Claim {
    /// What to claim for an event; `None` if its key is its identity.
    #[must_use]
    pub fn of(event: &Event, message: &Message) -> Option<Self> {
        let windowed = match event.identity {
            Identity::Window => true,
            Identity::Forever if event.client_time.is_none() => false,
            Identity::Forever | Identity::Fresh => return None,
        };
        let hash = shared::keys::hash(&["seen", &event.id]);
        Some(Self {
            key: Key { pk: format!("{}#SEEN#{hash}", message.project), sk: "SEEN".to_owned() },
            origin: crate::store::origin(message, event),
            received_at: message.received_at,
            windowed,
        })
    }

    /// The marker of this event alone.
    #[must_use]
    pub fn marker(&self) -> Marker {
        Marker { windows: vec![self.window()], version: 1 }
    }

    fn window(&self) -> Window {
        Window(self.received_at.as_millis(), self.origin.clone())
    }
}

impl Marker {
    /// Judges an event.
    #[must_use]
    pub fn judge(&self, claim: &Claim) -> Verdict {
        if self.windows.iter().any(|Window(_, origin)| *origin == claim.origin) {
            return Verdict::First;
        }
        let width = i64::try_from(IDENTITY_WINDOW.as_millis()).unwrap_or(i64::MAX);
        let at = claim.received_at.as_millis();
        if !claim.windowed || self.windows.iter().any(|Window(start, _)| (at - start).abs() < width) {
            return Verdict::Duplicate;
        }
        let mut windows = self.windows.clone();
        windows.push(claim.window());
        windows.sort_by_key(|Window(start, _)| *start);
        let surplus = windows.len().saturating_sub(WINDOWS_MAX);
        windows.drain(..surplus);
        Verdict::Begins(Marker { windows, version: self.version + 1 })
    }

    /// The version, for the guard of the next write.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The marker's item. One that is for ever has no time to live.
    #[must_use]
    pub fn item(&self, claim: &Claim) -> Item {
        let mut item = Item { key: claim.key.clone(), attributes: std::collections::BTreeMap::new() };
        item.text(WINDOWS, serde_json::to_string(&self.windows).expect("windows have only text and numbers"));
        item.number(VERSION, self.version);
        if claim.windowed {
            let newest = self.windows.iter().map(|Window(start, _)| *start).max().unwrap_or_default();
            let expires = Timestamp::from_millis_clamped(newest).plus(IDENTITY_WINDOW_MARKER_LIFE);
            item.number("ttl", expires.as_millis() / 1000);
        }
        item
    }

    /// Reads a marker's item; `None` if it is not one.
    #[must_use]
    pub fn read(attributes: &Attributes) -> Option<Self> {
        let windows = serde_json::from_str(attributes.get(WINDOWS)?.text()?).ok()?;
        Some(Self { windows, version: attributes.get(VERSION)?.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(minute: i64, origin: &str) -> Claim {
        Claim {
            key: Key { pk: "dev#SEEN#h".into(), sk: "SEEN".into() },
            origin: origin.to_owned(),
            received_at: Timestamp::from_millis(1_700_000_000_000 + minute * 60_000).unwrap(),
            windowed: true,
        }
    }

    #[test]
    fn the_same_call_within_five_minutes_is_a_duplicate_in_either_order() {
        let marker = claim(0, "a").marker();
        assert_eq!(marker.judge(&claim(0, "a")), Verdict::First, "its own redelivery");
        for minute in [-4, 0, 4] {
            assert_eq!(marker.judge(&claim(minute, "b")), Verdict::Duplicate, "{minute}");
        }
        for minute in [-5, 5, 600] {
            assert!(matches!(marker.judge(&claim(minute, "b")), Verdict::Begins(_)), "{minute}");
        }
    }

    #[test]
    fn an_earlier_window_is_remembered_when_a_later_one_begins() {
        let Verdict::Begins(marker) = claim(0, "a").marker().judge(&claim(7, "b")) else { panic!() };
        assert_eq!(marker.judge(&claim(0, "a")), Verdict::First);
        assert_eq!(marker.judge(&claim(1, "a2")), Verdict::Duplicate);
        assert_eq!(marker.judge(&claim(7, "b")), Verdict::First);
        assert_eq!(marker.judge(&claim(8, "b2")), Verdict::Duplicate);
        assert_eq!(marker.version(), 2);
    }

    #[test]
    fn an_identity_for_ever_knows_no_window_and_does_not_expire() {
        let forever = |minute, origin| Claim { windowed: false, ..claim(minute, origin) };
        let marker = forever(0, "a").marker();
        assert_eq!(marker.judge(&forever(1_000_000, "b")), Verdict::Duplicate);
        assert!(!marker.item(&forever(0, "a")).attributes.contains_key("ttl"));
        assert!(claim(0, "a").marker().item(&claim(0, "a")).attributes.contains_key("ttl"));
    }

    #[test]
    fn a_marker_stays_small_and_reads_back() {
        let mut marker = claim(0, "a0").marker();
        for number in 1..200 {
            let verdict = marker.judge(&claim(number * 6, &format!("a{number}")));
            let Verdict::Begins(next) = verdict else { panic!("{verdict:?}") };
            marker = next;
        }
        let item = marker.item(&claim(0, "x"));
        assert!(item.bytes() < 4_096, "{}", item.bytes());
        let attributes = crate::table::as_read(&item.attributes);
        assert_eq!(Marker::read(&attributes), Some(marker));
    }
}
