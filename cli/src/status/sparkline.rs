//! A figure as a line of small bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar for each value, the highest for the greatest of them. Nothing is a dot, so that it is told from little.
#[must_use]
pub fn sparkline(values: &[f64]) -> String {
    let greatest = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        if *value <= 0.0 || greatest <= 0.0 {
            return '·';
        }
        let share = value / greatest;
        let steps = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
        BARS[steps.iter().filter(|step| share > **step).count()]
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_value_has_the_highest_bar_and_nothing_has_none() {
        for (values, line) in [
            (&[][..], ""),
            (&[0.0, 0.0], "··"),
            (&[0.0, 1.0, 4.0, 8.0], "·▁▄█"),
            (&[5.0], "█"),
            (&[0.001, 1_000.0], "▁█"),
        ] {
            assert_eq!(sparkline(values), line);
        }
    }
}
