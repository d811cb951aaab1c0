//! What kind of history a seed stands for: how much trouble there is, and of what sort.

use std::time::Duration;

use consume::bundle::BUNDLES_MAX;
use consume::packed::Packing;
use consume::period::Period;

use super::chance::Chance;

/// A service of AWS that the functions rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// SQS.
    Queue,
    /// DynamoDB.
    Table,
}

/// A time during which a service takes no call.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    pub(crate) service: Service,
    /// From the beginning of the history on.
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// Whether calls hang until their time-out; otherwise they fail at once.
    pub(crate) hangs: bool,
    /// How likely a call is hit by it.
    pub(crate) share: f64,
}

/// A time during which something becomes more likely, or less.
#[derive(Clone, Debug)]
pub(crate) struct Ramp {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// How likely it is at the beginning.
    pub(crate) first: f64,
    /// How likely it is at the end.
    pub(crate) last: f64,
}

/// The character of a history.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// The queue's `maxReceiveCount`.
    pub(crate) receives_max: u32,
    /// Invocations of `consume` for the queue at a time.
    pub(crate) consumers: usize,
    /// Over what time producers send.
    pub(crate) span: Duration,
    /// Producers.
    pub(crate) producers: usize,
    /// The most calls of a producer.
    pub(crate) calls_max: u64,
    pub(crate) outages: Vec<Outage>,
    /// How likely a call of a service goes wrong by chance.
    pub(crate) trouble: f64,
    /// How likely an invocation is ended by chance.
    pub(crate) crash: f64,
    /// How much more likely one of `consume` is, from time to time.
    pub(crate) consumers_crash: Vec<Ramp>,
    /// The same for those of the quarantine.
    pub(crate) crash_in_quarantine: f64,
    /// How likely a message is delivered once more than it should be.
    pub(crate) duplicate: f64,
    /// How likely an event ends the environment that handles it, or is refused by the table.
    pub(crate) malice: f64,
    /// The most by which the clock of an environment is wrong, in milliseconds.
    pub(crate) skew_max: u64,
    /// How often an operator sends letters round again.
    pub(crate) redrives: u64,
    /// Whether somebody sends a request that takes several messages.
    pub(crate) large: bool,
    /// Whether producers name the user of an anonymous event when they send it again.
    pub(crate) fills_in: bool,
    /// Which events are kept in bundles.
    pub(crate) packing: Packing,
}

impl Scenario {
    /// The character that the first draws of a seed give.
    pub(crate) fn draw(chance: &Chance) -> Self {
        let receives_max = if chance.hits(0.5) { 60 } else { u32::try_from(chance.from(3, 6)).unwrap_or(3) };
        let span = Duration::from_secs(chance.pick(&[30, 120, 600, 1_800]));
        let crash = chance.pick(&[0.0, 0.0, 0.02, 0.1, 0.25]);
        let outages = (0..chance.pick(&[0, 0, 1, 1, 2, 3])).map(|_| outage(chance, span)).collect();
        Self {
            receives_max,
            consumers: usize::try_from(chance.from(2, 4)).unwrap_or(2),
            span,
            producers: usize::try_from(chance.from(2, 3)).unwrap_or(2),
            calls_max: chance.pick(&[2, 4, 8]),
            outages,
            trouble: chance.pick(&[0.0, 0.01, 0.05, 0.2]),
            crash,
            consumers_crash: vec![],
            crash_in_quarantine: if chance.hits(0.1) { crash } else { 0.0 },
            duplicate: chance.pick(&[0.0, 0.02, 0.2]),
            malice: chance.pick(&[0.0, 0.0, 0.0, 0.0, 0.02, 0.1]),
            skew_max: chance.pick(&[0, 50, 2_000]),
            redrives: chance.pick(&[0, 0, 1, 4]),
            large: chance.hits(0.01),
            fills_in: chance.hits(0.7),
            packing: packing(chance),
        }
    }

    /// A history without producers and pollers of its own, in which nothing goes wrong by chance.
    pub(crate) fn calm() -> Self {
        Self {
            receives_max: 60,
            consumers: 0,
            span: Duration::ZERO,
            producers: 0,
            calls_max: 0,
            outages: vec![],
            trouble: 0.0,
            crash: 0.0,
            consumers_crash: vec![],
            crash_in_quarantine: 0.0,
            duplicate: 0.0,
            malice: 0.0,
            skew_max: 0,
            redrives: 0,
            large: false,
            fills_in: false,
            packing: Period::NEVER.into(),
        }
    }

    /// How likely an invocation of `consume` is ended by chance at a time, of which so much is always so.
    pub(crate) fn consumers_crash(&self, always: f64, now: Duration) -> f64 {
        let ramps = self.consumers_crash.iter().filter(|ramp| (ramp.from..ramp.to).contains(&now));
        ramps.fold(always, |sum, ramp| {
            let part = (now - ramp.from).as_secs_f64() / (ramp.to - ramp.from).as_secs_f64();
            sum + ramp.first + (ramp.last - ramp.first) * part
        })
    }

    /// What holds for a service at a time.
    pub(crate) fn outage(&self, service: Service, now: Duration) -> Option<&Outage> {
        self.outages.iter().find(|outage| outage.service == service && (outage.from..outage.to).contains(&now))
    }
}

/// Either mode, or a change from one to the other in the middle of it; and logs that are full soon.
fn packing(chance: &Chance) -> Packing {
    let period = chance.pick(&["never", "never", "always", "always", "2023-11-14T23:00:00Z/"]);
    let period = period.parse::<Period>().expect("a period");
    Packing { period, bundles_max: chance.pick(&[1, 2, 4, BUNDLES_MAX]) }
}

fn outage(chance: &Chance, span: Duration) -> Outage {
    let from = chance.millis(0, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let length = Duration::from_secs(chance.pick(&[3, 20, 120, 900, 2_400]));
    let service = chance.pick(&[Service::Queue, Service::Table]);
    Outage { service, from, to: from + length, hangs: chance.hits(0.5), share: 1.0 }
}
