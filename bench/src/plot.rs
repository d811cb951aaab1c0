//! Plots as SVG: lines on logarithmic axes, and bars. Colours read on light and dark ground.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#808080"];

/// One line: its name, and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// What stands around a plot.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below the horizontal axis; empty for bars.
    pub x: &'a str,
    /// At the vertical axis.
    pub y: &'a str,
}

/// A logarithmic scale: whole powers of ten around the values, and where a value lies between them, from 0 to 1.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale for positive values; for none, from 1 to 10.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            from = from.min(value.log10().floor());
            to = to.max(value.log10().ceil());
        }
        if from > to {
            return Self { from: 0.0, to: 1.0 };
        }
        Self { from, to: to.max(from + 1.0) }
    }

    fn place(self, value: f64) -> f64 {
        (value.max(f64::MIN_POSITIVE).log10() - self.from) / (self.to - self.from)
    }

    fn ticks(self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut power = self.from;
        while power <= self.to {
            ticks.push(10_f64.powf(power));
            power += 1.0;
        }
        ticks
    }
}

fn x_at(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn y_at(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// Draws lines; both axes are logarithmic.
#[must_use]
pub fn lines(labels: Labels<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (x, y) = (Scale::of(points().map(|(x, _)| *x)), Scale::of(points().map(|(_, y)| *y)));
    let mut svg = frame(labels, y);
    for tick in x.ticks() {
        let at = x_at(x.place(tick));
        text(&mut svg, (at, HEIGHT - BOTTOM + 18.0), "middle", &number(tick));
    }
    for (position, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[position % COLOURS.len()];
        let places: Vec<(f64, f64)> = points.iter().map(|(px, py)| (x_at(x.place(*px)), y_at(y.place(*py)))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        add(
            &mut svg,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            ),
        );
        for (x, y) in &places {
            add(&mut svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
        let at = TOP + 10.0 + 20.0 * f64::from(u8::try_from(position).unwrap_or(u8::MAX));
        add(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>",
                WIDTH - RIGHT + 12.0,
                at - 6.0
            ),
        );
        text(&mut svg, (WIDTH - RIGHT + 30.0, at), "start", name);
    }
    svg + "</svg>\n"
}

/// Draws a bar for each value; the vertical axis is logarithmic.
#[must_use]
pub fn bars(labels: Labels<'_>, bars: &[(String, f64)]) -> String {
    let y = Scale::of(bars.iter().map(|(_, value)| *value));
    let mut svg = frame(labels, y);
    #[expect(clippy::cast_precision_loss, reason = "there are a handful of bars")]
    let (step, of) = ((WIDTH - LEFT - 20.0) / bars.len().max(1) as f64, |position: usize| position as f64);
    for (position, (name, value)) in bars.iter().enumerate() {
        let (left, top) = (LEFT + step * (of(position) + 0.15), y_at(y.place(*value)));
        let (width, height, colour) = (step * 0.7, HEIGHT - BOTTOM - top, COLOURS[position % COLOURS.len()]);
        add(
            &mut svg,
            format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
            ),
        );
        text(&mut svg, (left + width / 2.0, top - 5.0), "middle", &number(*value));
        text(&mut svg, (left + width / 2.0, HEIGHT - BOTTOM + 18.0), "middle", name);
    }
    svg + "</svg>\n"
}

fn frame(labels: Labels<'_>, y: Scale) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    add(&mut svg, format_args!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"));
    text(&mut svg, (LEFT, 20.0), "start", labels.title);
    for tick in y.ticks() {
        let at = y_at(y.place(tick));
        let right = WIDTH - if labels.x.is_empty() { 20.0 } else { RIGHT };
        add(
            &mut svg,
            format_args!("<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right:.1}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>"),
        );
        text(&mut svg, (LEFT - 8.0, at + 4.0), "end", &number(tick));
    }
    text(&mut svg, (x_at(0.5), HEIGHT - 12.0), "middle", labels.x);
    let middle = y_at(0.5);
    add(
        &mut svg,
        format_args!(
            "<text x=\"18\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle:.1})\">{}</text>",
            escaped(labels.y)
        ),
    );
    svg
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    if !words.is_empty() {
        add(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(words)));
    }
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("writing to a String cannot fail");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

/// A number in few digits: 1,000,000 as `1M`.
#[must_use]
pub fn number(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Labels<'static> = Labels { title: "a < b", x: "events", y: "time" };

    #[test]
    fn a_scale_begins_and_ends_at_powers_of_ten() {
        let scale = Scale::of([20.0, 300.0].into_iter());
        assert_eq!(scale.ticks(), [10.0, 100.0, 1_000.0]);
        assert!(scale.place(10.0).abs() < 1e-9 && (scale.place(1_000.0) - 1.0).abs() < 1e-9);
        assert_eq!(Scale::of([100.0].into_iter()).ticks(), [100.0, 1_000.0]);
        assert_eq!(Scale::of(std::iter::empty()).ticks(), [1.0, 10.0]);
    }

    #[test]
    fn a_plot_has_every_point_and_no_markup_of_its_labels() {
        let svg =
            lines(LABELS, &[("one".to_owned(), vec![(1.0, 1.0), (10.0, 2.0)]), ("two".to_owned(), vec![(1.0, 3.0)])]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (3, 2));
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        assert_eq!(bars(LABELS, &[("one".to_owned(), 1.0), ("two".to_owned(), 20.0)]).matches("<rect").count(), 3);
    }

    #[test]
    fn numbers_have_few_digits() {
        for (value, text) in
            [(0.0234, "0.0234"), (0.5, "0.5"), (12.34, "12.3"), (1_000.0, "1000"), (25_000.0, "25k"), (3e6, "3M")]
        {
            assert_eq!(number(value), text);
        }
    }
}
