//! The incident as a picture: errors, backlog and age, and what was accepted and stored, one above the other.

use std::fmt::Write;

use super::incident::{Incident, Minute, PHASES, vero};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
const TOP: f64 = 70.0;

/// A line of a panel.
struct Line<'a> {
    name: &'a str,
    class: &'a str,
    value: &'a dyn Fn(&Minute) -> f64,
}

/// Draws it as an SVG that reads in light and dark.
#[must_use]
pub fn draw(incident: &Incident) -> String {
    let longest = incident.minutes.last().map_or(1, |minute| minute.minute);
    let share = |minute: &Minute| 100.0 * f64::from(minute.errors) / f64::from(minute.requests.max(1));
    let veros = |minute: &Minute| 100.0 * vero(minute.minute);
    #[expect(clippy::cast_precision_loss, reason = "counts of a picture")]
    let panels: [(&str, Vec<Line<'_>>); 3] = [
        (
            "requests answered with an error, %",
            vec![
                Line { name: "Vero, 1 May 2019", class: "vero", value: &veros },
                Line { name: "Holdfast", class: "ours", value: &share },
            ],
        ),
        (
            "what waits: messages, and the age of the oldest in seconds",
            vec![
                Line { name: "messages", class: "ours", value: &|minute| minute.backlog as f64 },
                Line { name: "age of the oldest", class: "second", value: &|minute| minute.oldest as f64 },
            ],
        ),
        (
            "requests accepted and events stored so far",
            vec![
                Line { name: "accepted", class: "second", value: &|minute| minute.accepted as f64 },
                Line { name: "stored", class: "ours", value: &|minute| minute.stored as f64 },
            ],
        ),
    ];
    let height = TOP + 3.0 * (PANEL + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"Vero's outage of 1 May 2019, replayed on Holdfast\">\n<style>\n\
         svg{{background:#fff;color:#222}}text{{fill:currentColor}}path{{fill:none;stroke-width:1.8}}\
         .vero{{stroke:#c0392b;stroke-dasharray:6 4}}.ours{{stroke:#1f6fb2}}.second{{stroke:#d98a00}}\
         .phase{{fill:#888;opacity:.13}}.axis{{stroke:#999;stroke-width:1}}\n\
         @media (prefers-color-scheme:dark){{svg{{background:#161a1d;color:#ddd}}.ours{{stroke:#5aa9e6}}\
         .second{{stroke:#f0b429}}.vero{{stroke:#ff7b6b}}}}\n</style>\n"
    );
    let x = |minute: u32| LEFT + (WIDTH - LEFT - 20.0) * f64::from(minute) / f64::from(longest.max(1));
    for (number, (from, to, what)) in PHASES.into_iter().enumerate() {
        let (left, width) = (x(from), x(to) - x(from));
        let y = if number % 2 == 0 { 20.0 } else { 36.0 };
        let _ = writeln!(
            svg,
            "<rect class=\"phase\" x=\"{left:.1}\" y=\"44\" width=\"{width:.1}\" height=\"{:.1}\"/>\
             <text x=\"{left:.1}\" y=\"{y}\" font-size=\"11\">{what}</text>",
            height - 44.0 - GAP / 2.0
        );
    }
    for (number, (title, lines)) in (0_u8..).zip(&panels) {
        let top = TOP + f64::from(number) * (PANEL + GAP);
        panel(&mut svg, incident, title, lines, top, &x);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, incident: &Incident, title: &str, lines: &[Line<'_>], top: f64, x: &dyn Fn(u32) -> f64) {
    let values = incident.minutes.iter().flat_map(|minute| lines.iter().map(move |line| (line.value)(minute)));
    let most = values.fold(1.0, f64::max);
    let bottom = top + PANEL;
    let y = |value: f64| bottom - PANEL * 0.92 * value / most;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{:.1}\" y2=\"{bottom}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{most:.0}</text>\
         <text x=\"{:.1}\" y=\"{bottom:.1}\" text-anchor=\"end\">0</text>",
        top - 4.0,
        WIDTH - 20.0,
        LEFT - 6.0,
        y(most) + 4.0,
        LEFT - 6.0,
    );
    let longest = incident.minutes.last().map_or(1, |minute| minute.minute);
    for minute in (0..=longest).step_by(30) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{minute} min</text>",
            x(minute),
            bottom + 14.0
        );
    }
    for (number, line) in (0_u8..).zip(lines) {
        let mut path = String::new();
        for minute in &incident.minutes {
            let word = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{word}{:.1} {:.1}", x(minute.minute), y((line.value)(minute)));
        }
        let legend = WIDTH - 330.0 + 170.0 * f64::from(number);
        let _ = writeln!(
            svg,
            "\n<path class=\"{}\" d=\"{path}\"/><path class=\"{}\" d=\"M{legend:.0} {:.1}h24\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\">{}</text>",
            line.class,
            line.class,
            top - 8.0,
            legend + 30.0,
            top - 4.0,
            line.name
        );
    }
}
