//! docs/PERFORMANCE.md: the tables of a run, between the document's marks, and the plots.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use crate::figure::{Run, Warm};
use crate::load::Load;
use crate::plot::{Labels, bars, lines, number};
use crate::run::{GROWING, PACKED, PERSONAL, REQUESTS, SINGLES};
use crate::stats::Spread;
use crate::subject::{Function, Kind};
use crate::target::{targets, warm};

const BEGIN: &str = "<!-- figures: written by `cargo run --release -p bench` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Writes a run's figures into the document, and its plots beside it.
///
/// # Errors
/// The document is missing or has no marks, or something cannot be written.
pub fn write(run: &Run, root: &Path) -> anyhow::Result<()> {
    let docs = root.join("docs");
    let path = docs.join("PERFORMANCE.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, between_marks(&text, &markdown(run)).context("PERFORMANCE.md has lost its marks")?)?;
    for function in Function::ALL {
        std::fs::write(docs.join(format!("performance-{}.svg", function.name())), cpu_plot(run, function))?;
        std::fs::write(docs.join(format!("performance-start-{}.svg", function.name())), start_plot(run, function))?;
    }
    Ok(())
}

fn between_marks(document: &str, figures: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

/// All tables of a run.
#[must_use]
pub fn markdown(run: &Run) -> String {
    let machine = &run.machine;
    let mut text = format!(
        "Run of {}: {} × {}, {} GiB, {}; {}. {} rounds of each warm measurement, {} cold starts of each subject; medians, \
         with the least and the most of all rounds.\n",
        run.day,
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.system,
        machine.languages.join(", "),
        run.rounds,
        run.cold_rounds
    );
    let sections = [
        ("What is aimed at", of_targets(run)),
        ("Ingest", of_warm(run, &REQUESTS)),
        ("Consume, one event a message", of_warm(run, &SINGLES)),
        ("Consume, packed messages", of_warm(run, &PACKED)),
        ("Consume, messages of one person, in either storage mode", of_warm(run, &PERSONAL)),
        ("Cold start", of_cold(run)),
        ("The largest payloads", of_largest(run)),
        ("What AWS is asked for", of_demand(run)),
        ("What an event takes in the table", of_stored(run)),
        ("What grows", of_growth(run)),
        ("Instructions", of_instructions(run)),
        ("The stand-in for AWS", of_sink(run)),
    ];
    for (title, table) in sections {
        put(&mut text, format_args!("\n### {title}\n\n{}", table.trim_end()));
    }
    text
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

fn spread(spread: Spread) -> String {
    format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most))
}

fn of_targets(run: &Run) -> String {
    let mut text = String::from("| | aim | measured | |\n|---|---:|---:|---|\n");
    for target in targets(run) {
        let sign = if target.at_least { '≥' } else { '≤' };
        let measured = target.measured.map_or_else(|| "–".to_owned(), number);
        let met = if target.met() { "met" } else { "**not met**" };
        put(&mut text, format_args!("| {} | {sign} {} | {measured} | {met} |", target.what, number(target.goal)));
    }
    text
}

/// A load in words.
fn of_load(load: Load) -> String {
    match load.function {
        Function::Ingest => format!("{}", load.events),
        Function::Consume => {
            format!("{} × {}{}", load.messages, load.events, if load.personal { ", one person each" } else { "" })
        }
    }
}

fn of_warm(run: &Run, loads: &[Load]) -> String {
    let unit = match loads.first().map(|load| load.function) {
        Some(Function::Consume) => "messages × events",
        Some(Function::Ingest) | None => "events a request",
    };
    let mut text = format!(
        "| {unit} | | CPU, µs an event | of Holdfast's | time, µs an event | p50, ms | p99, ms | p99.9, ms | peak, MiB |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for load in loads {
        let ours = warm(run, Kind::Holdfast, *load).map_or(f64::NAN, |ours| ours.cpu_us.median);
        for row in Kind::ALL.iter().filter_map(|kind| warm(run, *kind, *load)) {
            let latency = row.latency_ms;
            put(
                &mut text,
                format_args!(
                    "| {} | {} | {} | {:.2} | {} | {:.2} | {:.2} | {} | {} |",
                    of_load(*load),
                    row.kind,
                    spread(row.cpu_us),
                    row.cpu_us.median / ours,
                    spread(row.wall_us),
                    latency.p50,
                    latency.p99,
                    latency.p999.map_or_else(|| "–".to_owned(), |p999| format!("{p999:.2}")),
                    number(row.peak_mib.median)
                ),
            );
        }
    }
    text
}

fn of_cold(run: &Run) -> String {
    let mut text = String::from(
        "| | | CPU, ms | of Holdfast's | until it asks for work, ms | until it has answered, ms | peak, MiB |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
    );
    for function in Function::ALL {
        let rows = || run.cold.iter().filter(|cold| cold.function == function);
        let ours = rows().find(|cold| cold.kind.is_ours()).map_or(f64::NAN, |ours| ours.cpu_ms.median);
        for row in rows() {
            let (cpu, init, wall) = (spread(row.cpu_ms), spread(row.init_ms), spread(row.wall_ms));
            let (ratio, peak) = (row.cpu_ms.median / ours, number(row.peak_mib.median));
            put(
                &mut text,
                format_args!("| {} | {} | {cpu} | {ratio:.2} | {init} | {wall} | {peak} |", function.name(), row.kind),
            );
        }
    }
    text
}

fn of_largest(run: &Run) -> String {
    let mut text = String::from("| | | | payload, MiB | peak, MiB |\n|---|---|---|---:|---:|\n");
    for row in &run.largest {
        #[expect(clippy::cast_precision_loss, reason = "a payload is far below 2^52 bytes")]
        let mib = row.payload_bytes as f64 / 1_048_576.0;
        let (function, peak) = (row.function.name(), number(row.peak_mib));
        put(&mut text, format_args!("| {function} | {} | {} | {mib:.2} | {peak} |", row.kind, row.shape));
    }
    text
}

fn of_demand(run: &Run) -> String {
    let mut text = String::from(
        "| | work | | calls an event | SQS requests as billed | write units | read units | bytes written | calls an invocation |\n\
         |---|---:|---|---:|---:|---:|---:|---:|---|\n",
    );
    let loads = REQUESTS.iter().chain(&SINGLES).chain(&PACKED).chain(&PERSONAL);
    for row in loads.flat_map(|load| Kind::ALL.iter().filter_map(|kind| warm(run, *kind, *load))) {
        let Warm { kind, load, demand, .. } = row;
        let calls: Vec<String> =
            row.calls.iter().map(|(action, count)| format!("{} {action}", number(*count))).collect();
        put(
            &mut text,
            format_args!(
                "| {} | {} | {kind} | {:.3} | {:.3} | {:.2} | {:.2} | {:.0} | {} |",
                load.function.name(),
                of_load(*load),
                demand.calls,
                demand.queue_units,
                demand.write_units,
                demand.read_units,
                demand.item_bytes,
                calls.join(", ")
            ),
        );
    }
    text
}

fn of_stored(run: &Run) -> String {
    let mut text = String::from("| | as sent, bytes | its item, bytes | write units |\n|---|---:|---:|---:|\n");
    for row in &run.stored {
        put(&mut text, format_args!("| {} | {} | {} | {} |", row.what, row.raw_bytes, row.item_bytes, row.write_units));
    }
    text
}

fn of_growth(run: &Run) -> String {
    let mut text = String::from(
        "| | work | bytes an event | projects | CPU, µs an event | CPU, µs a KiB | time, µs an event | peak, MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let loads = [Load::request(100), Load::batch(10, 10)].into_iter().chain(GROWING);
    let mut loads: Vec<Load> = loads.collect();
    loads.sort();
    for row in loads.into_iter().filter_map(|load| warm(run, Kind::Holdfast, load)) {
        let Load { event_bytes, projects, function, .. } = row.load;
        let (cpu, wall, peak) = (spread(row.cpu_us), spread(row.wall_us), number(row.peak_mib.median));
        #[expect(clippy::cast_precision_loss, reason = "an event is far below 2^52 bytes")]
        let per_kib = row.cpu_us.median * 1_024.0 / event_bytes as f64;
        let (name, work) = (function.name(), of_load(row.load));
        put(
            &mut text,
            format_args!("| {name} | {work} | {event_bytes} | {projects} | {cpu} | {per_kib:.2} | {wall} | {peak} |"),
        );
    }
    text
}

fn of_instructions(run: &Run) -> String {
    let mut text = String::from("| | work | | start, millions | an event, thousands |\n|---|---:|---|---:|---:|\n");
    for row in &run.instructions {
        let (function, work) = (row.load.function.name(), of_load(row.load));
        let (start, event) = (row.start_millions, row.event_thousands);
        put(&mut text, format_args!("| {function} | {work} | {} | {start:.1} | {event:.1} |", row.kind));
    }
    text
}

fn of_sink(run: &Run) -> String {
    let mut text = String::from(
        "| | work | | a call in it, p50, µs | p99, µs | its share of the time | CPU of the measuring process, µs an event |\n\
         |---|---:|---|---:|---:|---:|---:|\n",
    );
    let loads = [Load::request(1), Load::request(100), Load::batch(100, 1), Load::batch(10, 100)];
    for row in loads.iter().flat_map(|load| Kind::ALL.iter().filter_map(|kind| warm(run, *kind, *load))) {
        let Warm { kind, load, sink, .. } = row;
        let (name, work, share) = (load.function.name(), of_load(*load), sink.share_of_wall * 100.0);
        put(
            &mut text,
            format_args!(
                "| {name} | {work} | {kind} | {:.0} | {:.0} | {share:.1} % | {} |",
                sink.p50_us,
                sink.p99_us,
                number(sink.cpu_us)
            ),
        );
    }
    text
}

/// CPU time an event by how many events come together.
fn cpu_plot(run: &Run, function: Function) -> String {
    let (loads, x): (&[Load], _) = match function {
        Function::Ingest => (&REQUESTS, "events a request"),
        Function::Consume => (&SINGLES, "messages of one event a batch"),
    };
    let line = |kind: &Kind| {
        let rows = loads.iter().filter_map(|load| warm(run, *kind, *load));
        #[expect(clippy::cast_precision_loss, reason = "there are hundreds of events at the most")]
        let points: Vec<(f64, f64)> = rows.map(|row| (row.load.total() as f64, row.cpu_us.median)).collect();
        (kind.to_string(), points)
    };
    let all: Vec<_> = Kind::ALL.iter().map(line).filter(|(_, points)| !points.is_empty()).collect();
    let title = format!("{}: CPU time of the function's process", function.name());
    lines(Labels { title: &title, x, y: "µs an event" }, &all)
}

/// CPU time of a start.
fn start_plot(run: &Run, function: Function) -> String {
    let rows = run.cold.iter().filter(|cold| cold.function == function);
    let all: Vec<_> = rows.map(|cold| (cold.kind.to_string(), cold.cpu_ms.median)).collect();
    let title = format!("{}: CPU time from the start of the process to its first answer", function.name());
    bars(Labels { title: &title, x: "", y: "ms" }, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_between_the_marks_and_nothing_else_is_touched() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(between_marks(&document, "new").unwrap(), format!("before\n{BEGIN}\nnew\n{END}after\n"));
        assert_eq!(between_marks("no marks", "new"), None);
    }

    #[test]
    fn a_run_is_told_section_by_section() {
        let text = markdown(&crate::bill::tests::run());
        assert_eq!(text.matches("\n### ").count(), 12);
        assert!(text.contains("| 10 × 100 | Holdfast | 10 (10–10) | 1.00 |"), "{text}");
    }
}
