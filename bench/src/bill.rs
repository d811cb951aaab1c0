//! What a million events of a profile cost, line by line.

use anyhow::Context;
use consume::store::item;
use consume::table::Item;
use shared::limits::SQS_BATCH_ENTRIES_MAX;
use shared::message::Message;

use crate::figure::{Run, Warm};
use crate::load::Load;
use crate::prices::Prices;
use crate::stored::bundles_of;
use crate::subject::{Function, Kind};
use crate::workload::{packed_messages, personal_batch, segment_batch};

/// What traffic is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Events of a request.
    pub events: usize,
    /// About how large each is, as its producer wrote it, in bytes.
    pub bytes: usize,
    /// Events a second.
    pub rate: f64,
    /// Whom the events of a request are about, and how they are stored.
    pub storage: Storage,
}

/// Whom the events of a request are about, and how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Each about another person, as items of their own.
    Items,
    /// All about one person, and packed.
    Packed,
}

impl Storage {
    fn kind(self) -> Kind {
        match self {
            Storage::Items => Kind::Holdfast,
            Storage::Packed => Kind::Packed,
        }
    }
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What is paid for.
    pub what: &'static str,
    /// How much of it a million events take, in millions, GB-s or GB.
    pub quantity: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The price of one.
    pub price: f64,
}

impl Line {
    /// What it comes to.
    #[must_use]
    pub fn dollars(&self) -> f64 {
        self.quantity * self.price
    }
}

/// The memory in MiB at which Lambda gives a function one whole processor, and a share of it below.
const WHOLE_CPU_MIB: f64 = 1_769.0;
/// How long a call to SQS or DynamoDB takes on AWS, in milliseconds: an assumption, and a generous one.
pub const CALL_MS: f64 = 10.0;
/// A line of the gateway's access log in bytes: an assumption, after the template's format.
pub const ACCESS_LOG_BYTES: f64 = 600.0;
/// What one billed request of the gateway holds: 512 KiB.
const GATEWAY_BYTES: usize = 512 * 1024;
/// What one billed request of SQS holds: 64 KiB.
const QUEUE_BYTES: usize = 64 * 1024;
const MILLION: f64 = 1e6;

/// What is known of a profile without any price.
struct Demand<'a> {
    events: f64,
    /// The events of one batch of `consume`.
    batch_events: f64,
    gateway_units: f64,
    /// Of a request: what sending its messages, receiving and deleting them is billed as.
    queue_units: f64,
    write_units: f64,
    ingest: &'a Warm,
    consume: &'a Warm,
}

/// How many messages a batch has: a full one where ten come within the second that the mapping waits, else one.
#[must_use]
pub fn batch_messages(profile: Profile) -> usize {
    if profile.rate / real(profile.events) >= real(SQS_BATCH_ENTRIES_MAX) { SQS_BATCH_ENTRIES_MAX } else { 1 }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}

/// The write units that a message's events come to, by the code that writes their items.
fn write_units(message: &Message, storage: Storage) -> usize {
    match storage {
        Storage::Items => message.events.iter().map(|event| item(message, event).write_units()).sum(),
        Storage::Packed => bundles_of(message).iter().map(Item::write_units).sum(),
    }
}

impl<'a> Demand<'a> {
    fn of(profile: Profile, run: &'a Run) -> anyhow::Result<Self> {
        let is_packed = profile.storage == Storage::Packed;
        let make = if is_packed { personal_batch } else { segment_batch };
        let body = make(0, profile.events, profile.bytes);
        let messages = packed_messages("dev", &body)?;
        let batch = batch_messages(profile);
        let bytes: usize = messages.iter().map(String::len).sum();
        // Each call is billed by its bytes. A request's messages are sent in one, and received with others.
        let sent = bytes.div_ceil(QUEUE_BYTES);
        let received = real(bytes * batch / messages.len()) / real(QUEUE_BYTES);
        let received = received.ceil() * real(messages.len()) / real(batch);
        let deleted = real(messages.len()) / real(batch);
        let messages_read = messages.iter().map(|text| Message::decode(text)).collect::<Result<Vec<Message>, _>>()?;
        let list = |message: &Message| consume::receipts::item(message).map_or(0, |list| list.write_units());
        let units = |message: &Message| write_units(message, profile.storage) + list(message);
        let write_units: usize = messages_read.iter().map(units).sum();
        // What was measured with the most events that still are no more than the profile's.
        let measured = |function: Function, kind: Kind, messages: usize| {
            let suits = |warm: &&Warm| {
                let Load { function: of, messages: has, event_bytes, projects, events, personal } = warm.load;
                let typical = event_bytes == crate::workload::TYPICAL_BYTES && projects == 1;
                let same = typical && personal == (kind == Kind::Packed) && has == messages;
                warm.kind == kind && of == function && same && events <= profile.events
            };
            run.warm.iter().filter(suits).max_by_key(|warm| warm.load.events).context("no figures for the profile")
        };
        Ok(Self {
            events: real(profile.events),
            batch_events: real(profile.events * batch) / real(messages.len()),
            gateway_units: real(body.len().div_ceil(GATEWAY_BYTES)),
            queue_units: real(sent) + received + deleted,
            write_units: real(write_units) / real(profile.events),
            ingest: measured(Function::Ingest, Kind::Holdfast, 1)?,
            consume: measured(Function::Consume, profile.storage.kind(), batch)?,
        })
    }

    /// The GB-s that an event takes of a function, `per` events at a time: CPU time at the function's share of a
    /// processor, and the time in which it waits for AWS.
    fn gb_seconds(function: Function, warm: &Warm, per: f64) -> f64 {
        let memory = f64::from(function.memory_mib());
        let cpu_ms = warm.cpu_us.median * per / 1e3 * (WHOLE_CPU_MIB / memory).max(1.0);
        // One after the other. Looking a key up once a minute does not count.
        let calls = match function {
            Function::Ingest => 1.0,
            Function::Consume => warm.demand.calls * per,
        };
        (cpu_ms + calls * CALL_MS) / 1e3 * memory / 1_024.0 / per
    }
}

/// The lines of a million events.
///
/// # Errors
/// The figures of the run have nothing that the profile can be computed from.
pub fn bill(profile: Profile, run: &Run, prices: &Prices) -> anyhow::Result<Vec<Line>> {
    let demand = Demand::of(profile, run)?;
    let (events, batch) = (demand.events, demand.batch_events);
    let line = |what, per_event: f64, unit, price| Line { what, quantity: per_event, unit, price };
    let log_bytes = (demand.ingest.log_bytes + ACCESS_LOG_BYTES) / events + demand.consume.log_bytes / batch;
    let fair = prices.sqs_million + prices.sqs_fair_million;
    Ok(vec![
        line("API Gateway", demand.gateway_units / events, "M requests", prices.http_api_million),
        line("Lambda, invocations", 1.0 / events + 1.0 / batch, "M", prices.lambda_million),
        line(
            "Lambda, ingest",
            Demand::gb_seconds(Function::Ingest, demand.ingest, events) * MILLION,
            "GB-s",
            prices.lambda_gb_second,
        ),
        line(
            "Lambda, consume",
            Demand::gb_seconds(Function::Consume, demand.consume, batch) * MILLION,
            "GB-s",
            prices.lambda_gb_second,
        ),
        line("SQS", demand.queue_units / events, "M requests", fair),
        line("DynamoDB, writes", demand.write_units, "M units", prices.write_million),
        line("DynamoDB, reads", demand.consume.demand.read_units, "M units", prices.read_million),
        line("Logs", log_bytes * MILLION / 1e9, "GB", prices.logs_gb),
    ])
}

/// What lines come to together.
#[must_use]
pub fn total(lines: &[Line]) -> f64 {
    lines.iter().map(Line::dollars).sum()
}

/// What a deployment costs a month without an event: alarms and their key, dashboard, metrics, and the mappings' asking.
#[must_use]
pub fn idle(prices: &Prices) -> f64 {
    let alarms = f64::from(ALARM_METRICS) * prices.alarm_month + prices.composite_alarm_month + prices.key_month;
    use shared::telemetry::metric;
    let metrics = real(metric::OF_INGEST.len() + metric::OF_CONSUME.len() + metric::OF_RECEIPTS.len());
    // Five pollers a queue, each of which asks every 20 seconds (Lambda developer guide).
    let asked_millions = 2.0 * 5.0 * SECONDS_A_MONTH / 20.0 / MILLION;
    alarms + prices.dashboard_month + metrics * prices.metric_month + asked_millions * prices.sqs_million
}

/// The metrics of all alarms, by which CloudWatch bills them: docs/OPERATIONS.md counts.
const ALARM_METRICS: u8 = 49;
/// Seconds of a month of 730 hours.
pub const SECONDS_A_MONTH: f64 = 730.0 * 3_600.0;

/// A fixed cluster for the same: a load balancer, and in each of three zones a collector, a broker of Kafka and a node of
/// a store. Lines of a month.
#[must_use]
pub fn cluster(prices: &Prices) -> Vec<Line> {
    let hours = 730.0;
    let line = |what, quantity, unit, price| Line { what, quantity, unit, price };
    vec![
        line("load balancer, idle", hours, "hours", prices.load_balancer_hour),
        line("3 collectors, m7g.large", 3.0 * hours, "hours", prices.collector_hour),
        line("3 brokers, kafka.m7g.large", 3.0 * hours, "hours", prices.broker_hour),
        line("3 nodes of a store, m7g.large", 3.0 * hours, "hours", prices.collector_hour),
        line("3 disks of 500 GB, 3 of 1,000 GB", 4_500.0, "GB", prices.disk_gb_month),
    ]
}

/// The events a second from which a month costs more than the cluster's.
#[must_use]
pub fn crossover(per_million: f64, prices: &Prices) -> f64 {
    let left = (total(&cluster(prices)) - idle(prices)).max(0.0);
    left / per_million * MILLION / SECONDS_A_MONTH
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::{PACKED, PERSONAL, REQUESTS, SINGLES};

    /// Figures of round numbers.
    pub(crate) fn run() -> Run {
        let warm = |load: Load| Warm {
            kind: if load.personal { Kind::Packed } else { Kind::Holdfast },
            load,
            cpu_us: crate::stats::Spread { least: 10.0, median: 10.0, most: 10.0 },
            wall_us: crate::stats::Spread { least: 20.0, median: 20.0, most: 20.0 },
            latency_ms: crate::stats::Percentiles::default(),
            peak_mib: crate::stats::Spread::default(),
            demand: crate::figure::Demand { calls: 0.05, read_units: 1.0, write_units: 2.0, ..Default::default() },
            calls: std::collections::BTreeMap::new(),
            log_bytes: 1_000.0,
            sink: crate::figure::SinkShare::default(),
        };
        Run {
            day: "2026-11-26".to_owned(),
            machine: Machine::look(),
            rounds: 1,
            cold_rounds: 1,
            warm: REQUESTS.iter().chain(&SINGLES).chain(&PACKED).chain(&PERSONAL).copied().map(warm).collect(),
            cold: vec![],
            largest: vec![],
            stored: vec![],
            instructions: vec![],
        }
    }

    fn dollars(events: usize, bytes: usize, storage: Storage) -> f64 {
        let prices = Prices::load().unwrap();
        total(&bill(Profile { events, bytes, rate: 1_000.0, storage }, &run(), &prices).unwrap())
    }

    fn of(events: usize, bytes: usize) -> f64 {
        dollars(events, bytes, Storage::Items)
    }

    #[test]
    fn what_is_packed_costs_less_the_more_of_a_person_comes_together() {
        let packed = |events| dollars(events, 1_300, Storage::Packed);
        assert!(packed(100) + 0.4 < of(100, 1_300), "{} {}", packed(100), of(100, 1_300));
        assert!(packed(10) > packed(100) && packed(1) + 0.1 > of(1, 1_300));
    }

    #[test]
    fn packing_and_small_items_are_what_saves() {
        assert!(of(1, 1_300) > of(10, 1_300) && of(10, 1_300) > of(100, 1_300));
        assert!(of(100, 1_300) + 0.6 < of(100, 4_000), "{} {}", of(100, 1_300), of(100, 4_000));
        assert!(of(1, 400) > 2.0, "a request an event pays for the gateway alone 1.00");
    }

    #[test]
    fn batches_fill_only_where_messages_come_fast_enough() {
        let profile = |events, rate| Profile { events, bytes: 1_300, rate, storage: Storage::Items };
        assert_eq!(batch_messages(profile(1, 9.0)), 1);
        assert_eq!(batch_messages(profile(1, 10.0)), 10);
        assert_eq!(batch_messages(profile(100, 999.0)), 1);
        assert_eq!(batch_messages(profile(100, 1_000.0)), 10);
    }

    #[test]
    fn the_alarms_are_as_many_as_operators_are_told() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md")).unwrap();
        assert!(page.contains(&format!("billed by metric: {ALARM_METRICS} metrics")));
    }

    #[test]
    fn the_crossover_is_where_both_cost_the_same() {
        let prices = Prices::load().unwrap();
        let rate = crossover(1.0, &prices);
        let month = rate * SECONDS_A_MONTH / MILLION + idle(&prices);
        assert!((month - total(&cluster(&prices))).abs() < 1e-6);
    }
}
