//! `bench cost`: the bill of a profile, and docs/COST.md with those of many.

use std::fmt::Write;
use std::path::Path;

use clap::Args;

use crate::bill::{self, ACCESS_LOG_BYTES, CALL_MS, Line, Profile, SECONDS_A_MONTH, Storage, bill, total};
use crate::figure::Run;
use crate::plot::{self, Labels, number};
use crate::prices::Prices;
use crate::workload::{LEAST_BYTES, TYPICAL_BYTES};

/// The profile that is asked for.
#[derive(Args, Clone, Copy, Debug)]
pub struct Question {
    /// Events of a request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    events: u16,
    /// How large each event is, as its producer writes it, in bytes.
    #[arg(long, default_value_t = 1_300, value_parser = clap::value_parser!(u16).range(300..=32_000))]
    bytes: u16,
    /// Events a second.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// All events of a request are about one person, and are packed.
    #[arg(long)]
    packed: bool,
    /// Write docs/COST.md and its plot as well.
    #[arg(long)]
    write: bool,
}

/// Prints the bill of a profile.
///
/// # Errors
/// The rate is not positive, there are no figures for the profile, or the document cannot be written.
pub fn answer(question: &Question, run: &Run, root: &Path) -> anyhow::Result<()> {
    let Question { events, bytes, rate, packed, write } = *question;
    anyhow::ensure!(rate.is_finite() && rate > 0.0, "the rate must be more than nothing");
    let prices = Prices::load()?;
    let storage = if packed { Storage::Packed } else { Storage::Items };
    let profile = Profile { events: events.into(), bytes: bytes.into(), rate, storage };
    let lines = bill(profile, run, &prices)?;
    println!("{}", of_lines(&lines));
    println!("{}", of_month(rate, total(&lines), &prices));
    if write {
        std::fs::write(root.join("docs/COST.md"), document(run, &prices)?)?;
        std::fs::write(root.join("docs/cost.svg"), svg(run, &prices)?)?;
    }
    Ok(())
}

fn of_lines(lines: &[Line]) -> String {
    let mut text = String::from("| | quantity | | price | dollars |\n|---|---:|---|---:|---:|\n");
    for line in lines {
        let Line { what, quantity, unit, price } = line;
        put(&mut text, format_args!("| {what} | {quantity:.4} | {unit} | {price} | {:.4} |", line.dollars()));
    }
    put(&mut text, format_args!("| **together** | | | | **{:.3}** |", total(lines)));
    text
}

fn of_month(rate: f64, per_million: f64, prices: &Prices) -> String {
    let (idle, events) = (bill::idle(prices), rate * SECONDS_A_MONTH / 1e6);
    format!(
        "A month at {} events a second: {:.0} million events, {:.0} dollars, {idle:.0} of them whether events come or not.",
        number(rate),
        events,
        events * per_million + idle
    )
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

/// The sizes of events that are compared.
const SIZES: [usize; 4] = [LEAST_BYTES + 100, 900, TYPICAL_BYTES, 4_000];
/// The events of a request that are.
const EVENTS: [usize; 4] = [1, 10, 100, 500];
/// The rates of the plot.
const RATES: [f64; 11] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5];

fn document(run: &Run, prices: &Prices) -> anyhow::Result<String> {
    let mut text = String::new();
    let cpu = &run.machine.cpu;
    put(&mut text, format_args!("<!-- Written by `cargo run -p bench -- cost --write`. -->\n"));
    put(&mut text, format_args!("# Cost\n"));
    put(
        &mut text,
        format_args!(
            "What a million events cost on AWS, in US dollars: {}, prices of {}, no free tier.\n\
             Calls, bytes and units are those that the code makes; CPU time is that of [the run of {}](PERFORMANCE.md) \
             ({cpu}), stretched to the share of a processor that Lambda gives the function.\n\
             `cargo run -p bench -- cost --events 100 --bytes 1300 --rate 1000` computes any other profile.\n",
            prices.region, prices.day, run.day
        ),
    );
    put(&mut text, format_args!("## By profile\n"));
    let each =
        "Dollars a million events, at 1,000 events a second, where each event of a request is about another person";
    put(&mut text, format_args!("{each}:\n\n{}", by_profile(run, prices, Storage::Items)?));
    put(
        &mut text,
        format_args!(
            "DynamoDB is what is left when requests are full, and there the step is at 1,024 bytes of an item, compressed \
             where that saves a write unit.\n\n\
             The same in the [packed storage mode](ARCHITECTURE.md#storage-modes), where all events of a request are about \
             one person, as those of a browser or a phone are:\n\n{}\n\
             With one event a request there is nothing to pack, and the look into the bundles comes on top.\n",
            by_profile(run, prices, Storage::Packed)?
        ),
    );
    put(&mut text, format_args!("## Line by line\n"));
    let browser = ("A typical event of a browser", TYPICAL_BYTES, Storage::Items);
    let packed = ("A typical event of a browser, packed", TYPICAL_BYTES, Storage::Packed);
    for (title, bytes, storage) in [browser, packed, ("An event of a server", SIZES[0], Storage::Items)] {
        for events in [100, 1] {
            let plural = if events == 1 { "" } else { "s" };
            let lines = of_lines(&bill(Profile { events, bytes, rate: 1_000.0, storage }, run, prices)?);
            put(
                &mut text,
                format_args!("{title}, {bytes} bytes, {events} event{plural} a request, 1,000 a second:\n\n{lines}"),
            );
        }
    }
    text.push_str(&against_cluster(run, prices)?);
    text.push_str(&assumptions(prices));
    Ok(text)
}

fn by_profile(run: &Run, prices: &Prices, storage: Storage) -> anyhow::Result<String> {
    let mut text = String::new();
    let head: Vec<String> = SIZES.iter().map(|bytes| format!("{bytes} bytes an event")).collect();
    put(&mut text, format_args!("| events a request | {} |\n|---:|{}", head.join(" | "), "---:|".repeat(SIZES.len())));
    for events in EVENTS {
        let mut row = format!("| {events} |");
        for bytes in SIZES {
            write!(row, " {:.2} |", total(&bill(Profile { events, bytes, rate: 1_000.0, storage }, run, prices)?))?;
        }
        put(&mut text, format_args!("{row}"));
    }
    Ok(text)
}

fn against_cluster(run: &Run, prices: &Prices) -> anyhow::Result<String> {
    let mut text = String::new();
    let cluster = bill::cluster(prices);
    put(&mut text, format_args!("## Against a fixed cluster\n"));
    put(
        &mut text,
        format_args!(
            "A cluster costs the same whether events come or not. This is a small one that survives the loss of a zone; \
             a month of 730 hours, in which Holdfast costs {:.0} dollars without any event (alarms, dashboard, metrics, \
             and asking empty queues).\n",
            bill::idle(prices)
        ),
    );
    put(&mut text, format_args!("{}", of_lines(&cluster)));
    put(
        &mut text,
        format_args!(
            "People who keep it running, data between zones, and what the balancer charges by load are not in it; nor is \
             the storage of events in either. How many events it takes has not been measured here.\n\n\
             ![Dollars a month by events a second](cost.svg)\n"
        ),
    );
    put(
        &mut text,
        format_args!(
            "| events a request | bytes an event | | the cluster is cheaper from, events a second |\n|---:|---:|---|---:|"
        ),
    );
    for (events, bytes, storage) in LINES {
        let per_million = total(&bill(Profile { events, bytes, rate: 1_000.0, storage }, run, prices)?);
        let (mode, rate) = (mode(storage), bill::crossover(per_million, prices));
        put(&mut text, format_args!("| {events} | {bytes} | {mode} | {rate:.0} |"));
    }
    put(
        &mut text,
        format_args!(
            "\nIn between, provisioned capacity brings a write unit from {} to about 0.26 dollars a million at 70 % use, for \
             traffic that is as even as a cluster needs it.\n",
            prices.write_million
        ),
    );
    Ok(text)
}

/// What the plot has a line for: events a request, bytes an event, and how they are stored.
const LINES: [(usize, usize, Storage); 5] = [
    (1, TYPICAL_BYTES, Storage::Items),
    (10, TYPICAL_BYTES, Storage::Items),
    (100, TYPICAL_BYTES, Storage::Items),
    (10, TYPICAL_BYTES, Storage::Packed),
    (100, TYPICAL_BYTES, Storage::Packed),
];

fn mode(storage: Storage) -> &'static str {
    match storage {
        Storage::Items => "items",
        Storage::Packed => "packed",
    }
}

fn svg(run: &Run, prices: &Prices) -> anyhow::Result<String> {
    let mut lines: Vec<plot::Line> = Vec::new();
    for (events, bytes, storage) in LINES {
        let month = |rate: f64| {
            let per_million = total(&bill(Profile { events, bytes, rate, storage }, run, prices)?);
            anyhow::Ok((rate, rate * SECONDS_A_MONTH / 1e6 * per_million + bill::idle(prices)))
        };
        let points = RATES.into_iter().map(month).collect::<anyhow::Result<Vec<_>>>()?;
        lines.push((format!("{events} × {bytes} B, {}", mode(storage)), points));
    }
    let cluster = total(&bill::cluster(prices));
    lines.push(("fixed cluster".to_owned(), RATES.iter().map(|rate| (*rate, cluster)).collect()));
    let title = "A month by events a second; events a request × bytes an event";
    Ok(plot::lines(Labels { title, x: "events a second", y: "dollars a month" }, &lines))
}

fn assumptions(prices: &Prices) -> String {
    format!(
        "\n## What is assumed\n\n\
         - A call to SQS or DynamoDB takes {CALL_MS} ms, one after the other, and is paid for as Lambda's time.\n\
         - Batches of ten messages where ten come in a second, and of one otherwise.\n\
         - Events of other sizes take the CPU time of typical ones: with full requests, Lambda is less than a hundredth of it \
           all.\n\
         - A line of the access log has {ACCESS_LOG_BYTES} bytes. Those of the functions were counted.\n\
         - `MessageGroupId` makes SQS's standard queues fair; one source names {} dollars a million for that, which is \
           counted here.\n\
         - No event is older than its project's latest deletion; each that is costs one read more.\n\
         - Packed, a request is the first of its person in its hour. Each that follows reads what the hour has by then: a \
           write unit costs as much as reading 20 KiB.\n\
         - Storage is not counted: {} dollars a GB and month, and as much again, about, for point-in-time recovery.\n\n\
         ## Where prices come from\n\n\
         | price | dollars | source |\n|---|---:|---|\n\
         | HTTP API, million of 512 KiB | {} | AWS whitepaper on API Gateway's cost |\n\
         | Lambda, million invocations; GB-s on arm64 | {}; {} | AWS's price list, by third parties |\n\
         | SQS, million of 64 KiB; fair queues | {}; {} | third parties; the surcharge by one only, unconfirmed |\n\
         | DynamoDB on demand, million write and read units | {}; {} | third parties, after the cut of November 2024 |\n\
         | CloudWatch, GB of logs; metric, alarm, dashboard a month; KMS, key | {}; {}, {}, {}; {} | third parties; AWS's price page |\n\
         | `m7g.large`, `kafka.m7g.large`, load balancer an hour; disk, GB a month | {}, {}, {}; {} | list prices from memory: check them first |\n\n\
         They are in `bench/prices.json`; put your own there and write this page anew.\n",
        prices.sqs_fair_million,
        prices.storage_gb_month,
        prices.http_api_million,
        prices.lambda_million,
        prices.lambda_gb_second,
        prices.sqs_million,
        prices.sqs_fair_million,
        prices.write_million,
        prices.read_million,
        prices.logs_gb,
        prices.metric_month,
        prices.alarm_month,
        prices.dashboard_month,
        prices.key_month,
        prices.collector_hour,
        prices.broker_hour,
        prices.load_balancer_hour,
        prices.disk_gb_month,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_a_bill_of_each_profile_and_the_crossovers() {
        let (run, prices) = (crate::bill::tests::run(), Prices::load().unwrap());
        let text = document(&run, &prices).unwrap();
        assert_eq!(text.matches("**together**").count(), 7);
        assert!(text.contains("| 100 | 1300 | packed |") && text.contains("prices of 2026-"));
        assert_eq!(svg(&run, &prices).unwrap().matches("<polyline").count(), LINES.len() + 1);
    }
}
