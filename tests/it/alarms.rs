//! The alarms as CloudWatch would evaluate them: on when something is wrong, and off on a quiet day.

use std::collections::BTreeSet;

use tests::alarm_model::{Alarm, Metrics};
use tests::sim::incident::{Minute, PHASES, replay};

/// The minute at which trouble begins; before it all is quiet.
const START: usize = 240;
/// Minutes within which an alarm is on, unless its own periods take longer.
const SOON: usize = 5;

fn alarms() -> Vec<Alarm> {
    Alarm::read(local::TEMPLATE)
}

/// A number from 0 to 1 that looks like chance and is always the same.
fn chance(seed: &str, minute: usize) -> f64 {
    let hash = shared::keys::hash(&[seed, &minute.to_string()]);
    hash.bytes().take(4).fold(0.0, |sum, byte| sum + f64::from(byte % 64)) / 252.0
}

/// A day of a small business: some requests every minute, and now and then something that is nothing to worry about.
fn quiet(minutes: usize) -> Metrics {
    let mut metrics = Metrics::new();
    for alarm in alarms() {
        for metric in alarm.metrics() {
            let value = |minute: usize| {
                let often = |every: usize| (minute % every == every / 2).then_some(1.0);
                let noise = |least: f64, most: f64| Some(least + (most - least) * chance(metric, minute));
                let items = 200.0 + (100.0 * chance("items", minute)).round();
                match metric.split(' ').next().unwrap() {
                    "Count" | "Invocations" => Some(60.0 + (60.0 * chance("requests", minute)).round()),
                    "5xx" | "RequestsFailed" => often(97),
                    "4xx" => Some((3.0 * chance(metric, minute)).round()),
                    "Latency" => often(61).map(|_| 2500.0).or(noise(20.0, 300.0)),
                    "MemoryUsedPct" => noise(25.0, 40.0),
                    "ApproximateAgeOfOldestMessage" => Some((3.0 * chance(metric, minute)).round()),
                    "ApproximateNumberOfMessagesVisible" if metric.contains("Quarantine") => Some(0.0),
                    "ApproximateNumberOfMessagesNotVisible" if metric.contains("Quarantine") => {
                        Some(often(300).unwrap_or(0.0))
                    }
                    "ApproximateNumberOfMessagesNotVisible" => noise(0.0, 40.0),
                    "EventsReceived" | "EventsDue" => Some(items),
                    // Messages that are delivered again are settled once: in the minute in which they were due.
                    "EventsSettled" => Some(items),
                    "EventsDeadLettered" => often(7).filter(|_| metric.split(' ').count() == 2),
                    "MessagesRetried" => often(40),
                    "EventsSpilled" => often(500),
                    "Errors" | "WriteThrottleEvents" | "SystemErrors" => often(180),
                    _ => None,
                }
            };
            metrics.entry(metric.to_owned()).or_insert_with(|| (0..minutes).map(value).collect());
        }
    }
    metrics
}

/// Sets a metric from [`START`] on to a function of the minutes since.
fn set(metrics: &mut Metrics, metric: &str, value: impl Fn(usize) -> Option<f64>) {
    let series = metrics.get_mut(metric).unwrap_or_else(|| panic!("nothing watches {metric}"));
    series.iter_mut().enumerate().skip(START).for_each(|(minute, place)| *place = value(minute - START));
}

/// The minutes since [`START`] after which an alarm is first on.
fn first_on(metrics: &Metrics, id: &str, within: usize) -> Option<usize> {
    let alarms = alarms();
    let alarm = alarms.iter().find(|alarm| alarm.id == id).unwrap();
    assert!((60..START).all(|minute| !alarm.is_on(metrics, minute)), "{id} is on before anything is wrong");
    (0..within).find(|since| alarm.is_on(metrics, START + since))
}

#[test]
fn a_quiet_day_with_its_small_troubles_raises_no_alarm() {
    let metrics = quiet(1440);
    for alarm in alarms() {
        // Before that there is no whole hour.
        let on: Vec<usize> = (60..1440).filter(|minute| alarm.is_on(&metrics, *minute)).collect();
        assert!(on.is_empty(), "{} is on at {on:?}", alarm.id);
    }
}

#[test]
fn errors_that_rise_slowly_are_told_within_five_minutes_of_one_percent() {
    let mut metrics = quiet(START + 130);
    let share = |since: usize| 0.5 * since as f64 / 120.0;
    let requests = metrics["Count HttpApi"].clone();
    set(&mut metrics, "5xx HttpApi", |since| Some((requests[START + since].unwrap() * share(since)).round()));
    set(&mut metrics, "RequestsFailed ingest", |since| Some((requests[START + since].unwrap() * share(since)).round()));
    let crossed = (0..).find(|since| share(*since) > 0.01).unwrap();
    for id in ["ApiErrorsAlarm", "IngestErrorsAlarm"] {
        let on = first_on(&metrics, id, 130).unwrap();
        assert!(on <= crossed + SOON, "{id} is on after {on} minutes, and 1 % was crossed after {crossed}");
    }
}

#[test]
fn each_trouble_raises_its_alarm_in_time() {
    type Series = fn(usize) -> Option<f64>;
    let cases: [(&str, &str, Series); 21] = [
        ("ApiLatencyAlarm", "Latency HttpApi", |_| Some(2_600.0)),
        ("ApiRefusalsAlarm", "4xx HttpApi", |_| Some(40.0)),
        ("ConsumeErrorsAlarm", "Errors ConsumeFunction", |_| Some(4.0)),
        ("ReceiptsErrorsAlarm", "RequestsFailed receipts", |_| Some(4.0)),
        ("ThrottlesAlarm", "Throttles IngestFunction", |_| Some(4.0)),
        ("TimeoutsAlarm", "Timeouts", |since| (since == 0).then_some(1.0)),
        ("CrashesAlarm", "Crashes", |since| (since == 0).then_some(1.0)),
        ("MemoryAlarm", "MemoryUsedPct consume", |_| Some(81.0)),
        ("QueueAgeAlarm", "ApproximateAgeOfOldestMessage EventsQueue", |since| Some(301.0 + 60.0 * since as f64)),
        ("InFlightAlarm", "ApproximateNumberOfMessagesNotVisible EventsQueue", |_| Some(96_001.0)),
        ("RetriesAlarm", "MessagesRetried consume", |_| Some(4.0)),
        ("QuarantineAlarm", "ApproximateNumberOfMessagesVisible QuarantineQueue", |_| Some(1.0)),
        ("DeadLettersAlarm", "EventsDeadLettered consume", |_| Some(40.0)),
        ("OwnDeadLettersAlarm", "EventsDeadLettered consume crashed_consumer", |since| (since == 0).then_some(1.0)),
        ("SpillingAlarm", "EventsSpilled ingest", |_| Some(4.0)),
        ("SweptAlarm", "MessagesSwept consume", |since| (since == 0).then_some(1.0)),
        ("EventsTableAlarm", "WriteThrottleEvents EventsTable", |_| Some(4.0)),
        ("DeadLettersTableAlarm", "SystemErrors DeadLettersTable PutItem", |_| Some(4.0)),
        ("SpillTableAlarm", "WriteThrottleEvents SpillTable", |_| Some(4.0)),
        ("UnsettledAlarm", "EventsSettled consume", |_| Some(150.0)),
        ("ApiErrorsAlarm", "5xx HttpApi", |_| Some(4.0)),
    ];
    let mut tried = BTreeSet::from(["IngestErrorsAlarm", "SilenceAlarm"]);
    let quiet = quiet(START + 30);
    for (id, metric, series) in cases {
        tried.insert(id);
        let mut metrics = quiet.clone();
        set(&mut metrics, metric, series);
        let alarm = alarms().into_iter().find(|alarm| alarm.id == id).unwrap();
        let limit = SOON.max(alarm.period * alarm.datapoints.max(1)).min(15);
        let on = first_on(&metrics, id, 30).unwrap_or_else(|| panic!("{id} is never on"));
        assert!(on <= limit, "{id} is on after {on} minutes");
    }
    let all = alarms();
    assert_eq!(tried, all.iter().map(|alarm| alarm.id.as_str()).collect());
}

#[test]
fn events_that_vanish_are_told_and_late_ones_end_the_alarm() {
    let mut metrics = quiet(START + 200);
    // A message of 100 events is lost, once.
    let settled = metrics["EventsSettled consume"].clone();
    set(&mut metrics, "EventsSettled consume", |since| {
        settled[START + since].map(|items| items - if since == 3 { 100.0 } else { 0.0 })
    });
    let on = first_on(&metrics, "UnsettledAlarm", 30).unwrap();
    assert!(on <= 3 + SOON, "{on}");
    let all = alarms();
    let alarm = all.iter().find(|alarm| alarm.id == "UnsettledAlarm").unwrap();
    assert!(!alarm.is_on(&metrics, START + 100), "it is on long after");
    // It had only waited: its items are counted where they were due.
    set(&mut metrics, "EventsSettled consume", |since| settled[START + since]);
    assert!(!alarm.is_on(&metrics, START + 10));
}

#[test]
fn a_backlog_that_drains_is_silent() {
    let mut metrics = quiet(START + 60);
    let age = |since: usize| Some(if since < 20 { 60.0 * since as f64 } else { 1200.0 - 25.0 * (since - 20) as f64 });
    set(&mut metrics, "ApproximateAgeOfOldestMessage EventsQueue", age);
    assert!(first_on(&metrics, "QueueAgeAlarm", 20).is_some());
    let all = alarms();
    let alarm = all.iter().find(|alarm| alarm.id == "QueueAgeAlarm").unwrap();
    assert!((25..58).all(|since| !alarm.is_on(&metrics, START + since)));
}

#[test]
fn silence_is_no_data_and_no_data_is_silence() {
    let template = local::TEMPLATE.replace("    Default: 0\n    MinValue: 0", "    Default: 100\n    MinValue: 0");
    let all = Alarm::read(&template);
    let alarm = all.iter().find(|alarm| alarm.id == "SilenceAlarm").unwrap();
    let mut metrics = quiet(START + 120);
    assert!(!alarm.is_on(&metrics, START));
    set(&mut metrics, "Count HttpApi", |_| None);
    assert!(alarm.is_on(&metrics, START + 61));
}

/// The alarms that are on at the end of each minute of the incident, whose minutes are laid over a quiet day.
fn alarms_of_the_incident(minutes: &[Minute]) -> Vec<BTreeSet<String>> {
    let length = START + minutes.len();
    let mut metrics = quiet(length);
    let mut lay = |metric: &str, value: &dyn Fn(&Minute) -> f64| {
        let some = |since: usize| Some(value(&minutes[since])).filter(|value| *value > 0.0);
        set(&mut metrics, metric, some);
    };
    lay("Count HttpApi", &|minute| f64::from(minute.requests));
    lay("5xx HttpApi", &|minute| f64::from(minute.errors));
    lay("RequestsFailed ingest", &|minute| f64::from(minute.errors));
    lay("Errors ConsumeFunction", &|minute| minute.killed as f64);
    lay("Crashes", &|minute| minute.killed as f64);
    lay("ApproximateAgeOfOldestMessage EventsQueue", &|minute| minute.oldest as f64);
    lay("WriteThrottleEvents EventsTable", &|minute| minute.table_refusals as f64);
    lay("MessagesRetried consume", &|minute| minute.given_back as f64);
    lay("EventsSpilled ingest", &|minute| minute.spills as f64);
    let on_at = |minute: usize| {
        let on = alarms().into_iter().filter(|alarm| alarm.is_on(&metrics, minute));
        on.map(|alarm| alarm.id).collect::<BTreeSet<String>>()
    };
    (START..length).map(on_at).collect()
}

#[test]
fn the_outage_of_vero_is_told_within_five_minutes_of_each_of_its_causes() {
    let minutes = replay(1, 0.2).minutes;
    let on = alarms_of_the_incident(&minutes);
    let first = |happens: &dyn Fn(&Minute) -> bool| minutes.iter().position(happens).unwrap();
    let (killed, throttled, refused) = (
        first(&|minute| minute.killed > 0),
        first(&|minute| minute.table_refusals > 0),
        first(&|minute| minute.spills > 0),
    );
    assert!(on[..killed].iter().all(BTreeSet::is_empty), "an alarm is on before anything is wrong: {on:?}");
    for (id, cause) in [("CrashesAlarm", killed), ("EventsTableAlarm", throttled), ("SpillingAlarm", refused)] {
        let told = (cause..minutes.len()).find(|minute| on[*minute].contains(id));
        assert!(
            told.is_some_and(|told| told <= cause + SOON),
            "{id} is on from minute {told:?}, its cause from {cause}"
        );
    }
    // The composite alarm says so too while the consumers die, and events are late.
    let dying = usize::try_from(PHASES[0].0).unwrap()..usize::try_from(PHASES[1].1).unwrap();
    let delays = |minute: &usize| on[*minute].contains("QueueAgeAlarm") || on[*minute].contains("RetriesAlarm");
    assert!(dying.clone().any(|minute| delays(&minute)), "{on:?}");
    // No producer is answered with an error, so that its alarm would be a false one.
    assert!(on.iter().all(|on| !on.contains("ApiErrorsAlarm") && !on.contains("IngestErrorsAlarm")));
    assert!(on.last().unwrap().is_empty(), "alarms stay on after all is well: {:?}", on.last());
}
