//! Axes: where a value lies, and the round values that are written beside it.

use crate::cli::format::{milliseconds, short_number};

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    /// The values that are written.
    pub(super) ticks: Vec<Tick>,
}

/// A value that is written, and how.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) word: String,
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
        Axis::linear(0.0, to, every(step, to), |count| short_number(count as u64))
    }

    /// Rows from above to below, each of height 1, without a word beside them.
    pub(crate) fn rows(count: usize) -> Self {
        Axis::linear(count.max(1) as f64, 0.0, Vec::new(), |_| String::new())
    }

    /// From zero to `ms` milliseconds.
    pub(crate) fn time(ms: f64) -> Self {
        let to = ms.max(1.0);
        let step = STEPS.into_iter().find(|step| to / step <= 8.0);
        Axis::linear(0.0, to, every(step.unwrap_or(to / 4.0), to), time_word)
    }

    fn linear(from: f64, to: f64, ticks: Vec<f64>, word: impl Fn(f64) -> String) -> Self {
        let ticks = ticks.into_iter().map(|value| Tick {
            value,
            word: word(value),
        });
        Axis {
            from,
            to,
            ticks: ticks.collect(),
        }
    }

    /// How far along a value lies, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

fn time_word(ms: f64) -> String {
    if ms == 0.0 {
        "0".to_owned()
    } else {
        milliseconds(ms.round() as u64)
    }
}

/// The next number above that is 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let magnitude = 10f64.powf(rough.log10().floor());
    let mut steps = [1.0, 2.0, 5.0].map(|factor| factor * magnitude).into_iter();
    steps
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * magnitude)
}

fn every(step: f64, to: f64) -> Vec<f64> {
    (0..=(to / step) as u32)
        .map(|number| f64::from(number) * step)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis) -> String {
        axis.ticks
            .iter()
            .map(|tick| tick.word.as_str())
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn the_words_beside_an_axis_are_round_and_few() {
        let table = [
            (Axis::time(4_321.0), "0 | 1 s | 2 s | 3 s | 4 s"),
            (
                Axis::time(300.0),
                "0 | 50 ms | 100 ms | 150 ms | 200 ms | 250 ms | 300 ms",
            ),
            (
                Axis::time(200e3),
                "0 | 30 s | 1 min | 1 min 30 s | 2 min | 2 min 30 s | 3 min",
            ),
            (
                Axis::time(6e6),
                "0 | 15 min | 30 min | 45 min | 1 h | 1 h 15 min | 1 h 30 min",
            ),
            (Axis::time(36e6), "0 | 2 h | 4 h | 6 h | 8 h | 10 h"),
            (Axis::counts(3000.0), "0 | 1,000 | 2,000 | 3,000"),
            (Axis::counts(1.0), "0 | 1"),
            (Axis::counts(450e3), "0 | 200k | 400k"),
        ];
        for (axis, expected) in table {
            assert_eq!(words(&axis), expected);
        }
    }

    #[test]
    fn for_any_values_the_words_are_few_and_places_lie_within() {
        for power in 0..15 {
            let most = 10f64.powi(power) * 1.7;
            for axis in [Axis::counts(most), Axis::time(most)] {
                assert!(
                    (1..=13).contains(&axis.ticks.len()),
                    "{most}: {}",
                    words(&axis)
                );
                for value in [0.0, most / 3.0, most * 2.0] {
                    assert!((0.0..=1.0).contains(&axis.place(value)));
                }
            }
        }
    }
}
