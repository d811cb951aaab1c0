//! The trials of docs/SCALE.md, each at AWS's size divided by a number.

use std::time::Duration;

use super::traffic::{Flow, Says};
use super::trial::Trial;
use crate::sim::throughput::Limits;

/// How long traffic lasts, unless it is said otherwise.
pub const LASTS: Duration = Duration::from_secs(60);
/// How much more than a limit takes, is asked of it.
pub const EXCESS: f64 = 1.5;
/// The least that `TableWriteUnitsMax` may be.
const TABLE_LEAST: f64 = 100.0;
/// For how long a table is closed.
pub const CLOSED_FOR: Duration = Duration::from_secs(1_500);
/// Messages a second while a table is closed.
const CLOSED_RATE: f64 = 100.0;

/// What AWS takes, and what the template asks of it by default.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Write units of a partition in a second.
    pub partition: f64,
    /// Write units of a table in a second: `TableWriteUnitsMax`, and what a new table takes.
    pub table: f64,
    /// Invocations of `consume` at a time: `ConsumeConcurrencyMax`.
    pub concurrency: f64,
    /// Messages of a queue in flight.
    pub in_flight: f64,
    /// The number that all of this, and all traffic, is divided by.
    divisor: f64,
}

/// The full size.
pub const AWS: Size =
    Size { partition: 1_000.0, table: 4_000.0, concurrency: 50.0, in_flight: 120_000.0, divisor: 1.0 };

impl Size {
    /// Everything divided by this.
    #[must_use]
    pub fn divided_by(self, by: f64) -> Self {
        let Self { partition, table, concurrency, in_flight, divisor } = self;
        Self {
            partition: partition / by,
            table: table / by,
            concurrency: concurrency / by,
            in_flight: in_flight / by,
            divisor: divisor * by,
        }
    }

    /// With so many invocations at a time, at full size.
    #[must_use]
    pub fn with_concurrency(self, concurrency: f64) -> Self {
        Self { concurrency: concurrency / self.divisor, ..self }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "AWS's limits are small numbers")]
    fn trial(self, flows: Vec<Flow>) -> Trial {
        let limits = Limits { partition: Some(self.partition), table: None };
        Trial {
            flows,
            concurrency: (self.concurrency as usize).max(1),
            in_flight_max: self.in_flight as usize,
            events: limits,
            letters: limits,
            opens_after: None,
        }
    }

    /// A thousand people with an event a second each, in requests of their own.
    fn others(self) -> Flow {
        let rate = 1_000.0 / self.divisor;
        Flow { who: "others", project: 0, people: 1_000, says: Says::Events, rate, packed: 1, lasts: LASTS }
    }

    /// The others alone.
    #[must_use]
    pub fn quiet(self) -> Trial {
        self.trial(vec![self.others()])
    }

    /// One person with more events than a partition takes, so many of them a request, beside the others.
    #[must_use]
    pub fn hot_person(self, packed: u64) -> Trial {
        let flood = Flow { who: "flood", people: 1, rate: self.partition * EXCESS, packed, ..self.others() };
        self.trial(vec![self.others(), flood])
    }

    /// Another project that breaks rules more often than a partition takes letters, beside the others.
    #[must_use]
    pub fn hot_letters(self, packed: u64) -> Trial {
        let rate = self.partition * EXCESS;
        let flood = Flow { who: "flood", project: 1, says: Says::Refused, rate, packed, ..self.others() };
        self.trial(vec![self.others(), flood])
    }

    /// One call that is made more often than a partition takes units, and always says the same, beside the others.
    #[must_use]
    pub fn same_call(self) -> Trial {
        let flood = Flow { who: "flood", says: Says::TheSame, rate: self.partition * EXCESS, ..self.others() };
        self.trial(vec![self.others(), flood])
    }

    /// More events than a table takes, of a thousand people.
    #[must_use]
    pub fn narrow_table(self, packed: u64) -> Trial {
        let flood = Flow { who: "flood", rate: self.table * EXCESS, packed, ..self.others() };
        let trial = self.trial(vec![flood]);
        Trial { events: Limits { table: Some(self.table), ..trial.events }, ..trial }
    }

    /// One message of so many events, and a table that takes as little as the template lets it.
    #[must_use]
    pub fn one_message(self, events: u64) -> Trial {
        let lasts = Duration::from_secs(1);
        let flood = Flow { who: "flood", rate: events as f64, packed: events, lasts, ..self.others() };
        let trial = self.trial(vec![flood]);
        Trial { events: Limits { table: Some(TABLE_LEAST), ..trial.events }, ..trial }
    }

    /// A table that takes nothing for a while, and events a second in requests of their own.
    #[must_use]
    pub fn closed_table(self) -> Trial {
        let flood = Flow { who: "flood", rate: CLOSED_RATE / self.divisor, lasts: CLOSED_FOR, ..self.others() };
        let events = Limits { partition: None, table: Some(0.0) };
        Trial { events, opens_after: Some(CLOSED_FOR), ..self.trial(vec![flood]) }
    }
}
