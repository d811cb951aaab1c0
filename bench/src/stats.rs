//! Medians, spreads and percentiles.

use serde::{Deserialize, Serialize};

/// A figure that was measured several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least of all rounds.
    pub least: f64,
    /// The one in the middle.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// The spread of figures; all zero where there are none.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let Some((least, most)) = figures.first().zip(figures.last()) else { return Self::default() };
        let middle = figures.len() / 2;
        let median =
            if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) };
        Self { least: *least, median, most: *most }
    }
}

/// Percentiles of a latency, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many there were.
    pub samples: usize,
    /// Half took longer.
    pub p50: f64,
    /// One in a hundred took longer.
    pub p99: f64,
    /// One in a thousand took longer; `None` where there are fewer than a thousand.
    pub p999: Option<f64>,
}

impl Percentiles {
    /// The percentiles of times in milliseconds.
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 samples")]
            let place = (times.len() as f64 * share).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a length is within it"
            )]
            let place = (place as usize).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        let p999 = (times.len() >= 1_000).then(|| at(0.999));
        Self { samples: times.len(), p50: at(0.5), p99: at(0.99), p999 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_its_figures() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0]), Spread { least: 1.0, median: 2.5, most: 4.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }

    #[test]
    fn percentiles_are_times_that_occurred_and_none_is_told_from_too_few() {
        let times = |count: u32| (1..=count).rev().map(f64::from).collect();
        assert_eq!(
            Percentiles::of(times(1_000)),
            Percentiles { samples: 1_000, p50: 500.0, p99: 990.0, p999: Some(999.0) }
        );
        assert_eq!(Percentiles::of(times(100)), Percentiles { samples: 100, p50: 50.0, p99: 99.0, p999: None });
        assert_eq!(Percentiles::of(vec![]).samples, 0);
    }
}
