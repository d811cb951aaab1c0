//! What is sent, within bounds; and what each event is.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use shared::clock::Timestamp;

use crate::producer::{Call, batch};

/// The most events of one run. What became of each is remembered in a byte.
pub const EVENTS_MAX: u64 = 1_000_000;
/// The longest run in seconds.
pub const SECONDS_MAX: u32 = 600;
/// The most requests at the same time.
pub const CLIENTS_MAX: u32 = 256;
/// The most events of one request.
pub const BATCH_MAX: u32 = 500;
/// The most users that events are spread over. Each is a partition, which is read as a whole afterwards.
pub const USERS_MAX: u32 = 10_000;

/// A run beyond its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, of at most {most}")]
pub struct Unbounded {
    /// What is too large.
    pub what: &'static str,
    /// How large it is.
    pub value: u64,
    /// How large it may be.
    pub most: u64,
}

/// A run of load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the run, unlike that of any other: it is in every id.
    pub run: String,
    /// The time that all its events have.
    pub time: Timestamp,
    /// The write key.
    pub write_key: String,
    /// Events a second.
    pub rate: NonZeroU32,
    /// How long.
    pub seconds: NonZeroU32,
    /// The most requests at the same time.
    pub clients: NonZeroU32,
    /// Events of a request; the last may have fewer.
    pub batch: NonZeroU32,
    /// Users that the events are spread over.
    pub users: NonZeroU32,
}

impl Plan {
    /// The plan, if it keeps within the bounds.
    ///
    /// # Errors
    /// The first bound that it breaks.
    pub fn checked(self) -> Result<Self, Unbounded> {
        let bounds = [
            ("the number of seconds", u64::from(self.seconds.get()), u64::from(SECONDS_MAX)),
            ("the number of clients", u64::from(self.clients.get()), u64::from(CLIENTS_MAX)),
            ("the size of a batch", u64::from(self.batch.get()), u64::from(BATCH_MAX)),
            ("the number of users", u64::from(self.users.get()), u64::from(USERS_MAX)),
            ("the number of events", self.events(), EVENTS_MAX),
        ];
        match bounds.into_iter().find(|(_, value, most)| value > most) {
            Some((what, value, most)) => Err(Unbounded { what, value, most }),
            None => Ok(self),
        }
    }

    /// How many events there are in all.
    #[must_use]
    pub fn events(&self) -> u64 {
        u64::from(self.rate.get()) * u64::from(self.seconds.get())
    }

    /// How many requests there are in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.events().div_ceil(u64::from(self.batch.get()))
    }

    /// From one request to the next.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_secs(1) * self.batch.get() / self.rate.get()
    }

    /// The numbers of the events of a request, both counted from 0.
    #[must_use]
    pub fn events_of(&self, request: u64) -> std::ops::Range<u64> {
        let first = request * u64::from(self.batch.get());
        first..(first + u64::from(self.batch.get())).min(self.events())
    }

    /// The id of an event.
    #[must_use]
    pub fn id(&self, event: u64) -> String {
        format!("{}-{event}", self.run)
    }

    /// The number of the event with this id; `None` if it is none of this run.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u64> {
        let number: u64 = id.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()?;
        (number < self.events()).then_some(number)
    }

    /// A user, by their number from 0.
    #[must_use]
    pub fn user(&self, number: u64) -> String {
        format!("{}-user-{number}", self.run)
    }

    /// How many users have events.
    #[must_use]
    pub fn users_used(&self) -> u64 {
        u64::from(self.users.get()).min(self.events())
    }

    /// A request.
    #[must_use]
    pub fn call(&self, request: u64) -> Call {
        let item = |event: u64| {
            json!({
                "type": "track",
                "messageId": self.id(event),
                "userId": self.user(event % u64::from(self.users.get())),
                "event": "Load",
                "timestamp": self.time.to_string(),
                "properties": {"n": event},
            })
            .to_string()
        };
        let items: Vec<String> = self.events_of(request).map(item).collect();
        batch(&self.write_key, &items)
    }
}

#[cfg(test)]
pub(super) fn plan(rate: u32, seconds: u32, batch: u32, users: u32) -> Plan {
    let number = |number| NonZeroU32::new(number).unwrap();
    Plan {
        run: "load-1".into(),
        time: Timestamp::from_millis(1_700_000_000_000).unwrap(),
        write_key: "dev".into(),
        rate: number(rate),
        seconds: number(seconds),
        clients: number(4),
        batch: number(batch),
        users: number(users),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_every_event_once() {
        let plan = plan(10, 3, 7, 4);
        let numbers: Vec<u64> = (0..plan.requests()).flat_map(|request| plan.events_of(request)).collect();
        assert_eq!(numbers, (0..30).collect::<Vec<u64>>());
        assert!(numbers.iter().all(|number| plan.number(&plan.id(*number)) == Some(*number)));
        assert_eq!((plan.number("load-1-30"), plan.number("load-10-1"), plan.call(4).events), (None, None, 2));
        assert_eq!(plan.pause(), Duration::from_millis(700));
    }

    #[test]
    fn what_is_beyond_a_bound_is_refused_by_name() {
        assert!(plan(1_000, 600, 500, 10_000).checked().is_ok());
        let refused = [plan(2_000, 600, 1, 1), plan(1, 601, 1, 1), plan(1, 1, 501, 1), plan(1, 1, 1, 10_001)];
        let what: Vec<&str> = refused.into_iter().map(|plan| plan.checked().unwrap_err().what).collect();
        assert_eq!(
            what,
            ["the number of events", "the number of seconds", "the size of a batch", "the number of users"]
        );
    }
}
