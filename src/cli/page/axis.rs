//! Axes: from where to where, and the round values that are written beside them.

use serde::Serialize;

use crate::text::{milliseconds, short_number};

/// One axis of a chart, which `chart.html` draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Axis {
    /// The value at the left or at the bottom.
    from: f64,
    to: f64,
    /// The values that are written, and how.
    ticks: Vec<(f64, String)>,
}

/// Round steps of time, in milliseconds: 1, 2 or 5 of a decimal unit below 10 s, then what divides a minute, an hour, a
/// day and a year.
const STEPS: [f64; 32] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3,
    120e3, 300e3, 600e3, 900e3, 1.8e6, 3.6e6, 7.2e6, 10.8e6, 21.6e6, 43.2e6, 86.4e6, 172.8e6,
    604.8e6, 1209.6e6, 2419.2e6, 7257.6e6,
];

impl Axis {
    /// From zero to at least `most`, with a little room above.
    pub(crate) fn counts(most: f64) -> Self {
        let to = most.max(1.0) * 1.08;
        let step = round_step(to / 4.0).max(1.0);
        Axis::from_zero(to, step, |count| short_number(count as u64))
    }

    /// From zero to `ms` milliseconds.
    pub(crate) fn time(ms: u64) -> Self {
        let to = ms.max(1) as f64;
        let step = STEPS.into_iter().find(|step| to / step <= 8.0);
        Axis::from_zero(to, step.unwrap_or(to / 4.0), |ms| match ms.round() as u64 {
            0 => "0".to_owned(),
            ms => milliseconds(ms),
        })
    }

    fn from_zero(to: f64, step: f64, word: impl Fn(f64) -> String) -> Self {
        let values = (0..=(to / step) as u32).map(|number| f64::from(number) * step);
        Axis {
            from: 0.0,
            to,
            ticks: values.map(|value| (value, word(value))).collect(),
        }
    }
}

/// The next number above that is 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let magnitude = 10f64.powf(rough.log10().floor());
    let mut steps = [1.0, 2.0, 5.0].map(|factor| factor * magnitude).into_iter();
    let next = steps.find(|step| *step >= rough * 0.999);
    next.unwrap_or(10.0 * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis) -> String {
        let words: Vec<_> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        words.join(" | ")
    }

    #[test]
    fn the_words_beside_an_axis_are_round_and_few() {
        let table = [
            (Axis::time(4_321), "0 | 1 s | 2 s | 3 s | 4 s"),
            (
                Axis::time(300),
                "0 | 50 ms | 100 ms | 150 ms | 200 ms | 250 ms | 300 ms",
            ),
            (
                Axis::time(200_000),
                "0 | 30 s | 1 min | 1 min 30 s | 2 min | 2 min 30 s | 3 min",
            ),
            (
                Axis::time(6_000_000),
                "0 | 15 min | 30 min | 45 min | 1 h | 1 h 15 min | 1 h 30 min",
            ),
            (Axis::time(36_000_000), "0 | 2 h | 4 h | 6 h | 8 h | 10 h"),
            (Axis::counts(3000.0), "0 | 1,000 | 2,000 | 3,000"),
            (Axis::counts(1.0), "0 | 1"),
            (Axis::counts(450e3), "0 | 200k | 400k"),
        ];
        for (axis, expected) in table {
            assert_eq!(words(&axis), expected);
        }
    }

    #[test]
    fn for_any_values_the_words_are_few_and_lie_within() {
        for power in 0..15 {
            let most = 10f64.powi(power) * 1.7;
            for axis in [Axis::counts(most), Axis::time(most as u64)] {
                assert!(
                    (1..=13).contains(&axis.ticks.len()),
                    "{most}: {}",
                    words(&axis)
                );
                let within = 0.0..=axis.to;
                assert!(axis.ticks.iter().all(|(value, _)| within.contains(value)));
            }
        }
    }
}
