//! Axes: where a value lies, and the round values that are written beside it.

/// One axis of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    /// The values that are written, and how.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Round steps of time, in milliseconds.
const STEPS: [f64; 32] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3,
    120e3, 300e3, 600e3, 900e3, 1.8e6, 3.6e6, 7.2e6, 10.8e6, 21.6e6, 43.2e6, 86.4e6, 172.8e6,
    604.8e6, 1209.6e6, 2419.2e6, 7257.6e6,
];

impl Axis {
    /// From nothing to at least so many, with a little room above.
    pub(crate) fn counts(most: f64) -> Self {
        let to = most.max(1.0) * 1.08;
        let step = round_step(to / 4.0).max(1.0);
        let ticks = every(step, to).map(|value| (value, short(value))).collect();
        Axis {
            from: 0.0,
            to,
            is_log: false,
            ticks,
        }
    }

    /// Rows from above to below, each of height 1, without a word beside them.
    pub(crate) fn rows(count: usize) -> Self {
        Axis {
            from: count.max(1) as f64,
            to: 0.0,
            is_log: false,
            ticks: Vec::new(),
        }
    }

    /// From nothing to so many milliseconds.
    pub(crate) fn time(ms: f64) -> Self {
        let to = ms.max(1.0);
        let step = STEPS
            .into_iter()
            .find(|step| to / step <= 8.0)
            .unwrap_or(to / 4.0);
        let ticks = every(step, to)
            .map(|value| (value, elapsed(value, step, to)))
            .collect();
        Axis {
            from: 0.0,
            to,
            is_log: false,
            ticks,
        }
    }

    /// Milliseconds such that each doubling is as wide.
    pub(crate) fn doublings(from: f64, to: f64) -> Self {
        let from = from.max(0.5);
        let to = to.max(from * 1.2);
        let values = if to / from < 6.0 {
            round_values(from, to)
        } else {
            round_doublings(from, to)
        };
        let ticks = values
            .into_iter()
            .map(|value| (value, span(value)))
            .collect();
        Axis {
            from,
            to,
            is_log: true,
            ticks,
        }
    }

    /// How far along a value lies, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| {
            if self.is_log {
                value.max(self.from / 2.0).ln()
            } else {
                value
            }
        };
        let (from, to) = (scaled(self.from), scaled(self.to));
        ((scaled(value) - from) / (to - from)).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 with noughts: the next above.
fn round_step(rough: f64) -> f64 {
    let magnitude = 10f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0].map(|factor| factor * magnitude);
    round
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * magnitude)
}

fn round_values(from: f64, to: f64) -> Vec<f64> {
    let step = round_step((to - from) / 4.0);
    let (first, last) = ((from / step).ceil() as u64, (to / step).floor() as u64);
    (first..=last).map(|number| number as f64 * step).collect()
}

fn round_doublings(from: f64, to: f64) -> Vec<f64> {
    let factors: &[f64] = if to / from < 200.0 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let decades = (-1..21).map(|power| 10f64.powi(power));
    let values = decades.flat_map(|decade| factors.iter().map(move |factor| factor * decade));
    values.filter(|value| (from..=to).contains(value)).collect()
}

fn every(step: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..=(to / step) as u32).map(move |number| f64::from(number) * step)
}

/// Time since the beginning, as precise as the steps.
fn elapsed(ms: f64, step: f64, to: f64) -> String {
    const MINUTE: f64 = 60e3;
    let (minutes, seconds) = ((ms / MINUTE).floor(), ms % MINUTE / 1000.0);
    match () {
        () if ms == 0.0 => "0".to_owned(),
        () if to < 1000.0 => format!("{ms} ms"),
        () if to <= 2.0 * MINUTE => format!("{} s", ms / 1000.0),
        () if step < MINUTE => format!("{minutes}:{seconds:02} min"),
        () if step < 60.0 * MINUTE && to <= 120.0 * MINUTE => format!("{minutes} min"),
        () if step < 60.0 * MINUTE => {
            format!("{}:{:02} h", (minutes / 60.0).floor(), minutes % 60.0)
        }
        () if to <= 4320.0 * MINUTE => format!("{} h", minutes / 60.0),
        () => format!("{} d", minutes / 1440.0),
    }
}

/// A duration in milliseconds, in its unit and to three figures.
pub(crate) fn span(ms: f64) -> String {
    let in_units = |amount: f64, unit| match amount {
        ..10.0 => format!("{} {unit}", (amount * 100.0).round() / 100.0),
        ..100.0 => format!("{} {unit}", (amount * 10.0).round() / 10.0),
        _ => format!("{amount:.0} {unit}"),
    };
    match ms {
        ..1e3 => in_units(ms, "ms"),
        ..120e3 => in_units(ms / 1e3, "s"),
        ..7.2e6 => in_units(ms / 60e3, "min"),
        ..172.8e6 => in_units(ms / 3.6e6, "h"),
        _ => in_units(ms / 86.4e6, "d"),
    }
}

/// A count beside an axis.
fn short(count: f64) -> String {
    match count {
        ..10e3 => grouped(count as u64),
        ..1e6 => format!("{} k", count / 1e3),
        _ => format!("{} M", count / 1e6),
    }
}

/// A count with a comma at each thousand.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(axis: &Axis) -> String {
        axis.ticks
            .iter()
            .map(|(_, word)| word.as_str())
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
                "0 | 0:30 min | 1:00 min | 1:30 min | 2:00 min | 2:30 min | 3:00 min",
            ),
            (
                Axis::time(6e6),
                "0 | 15 min | 30 min | 45 min | 60 min | 75 min | 90 min",
            ),
            (Axis::time(36e6), "0 | 2 h | 4 h | 6 h | 8 h | 10 h"),
            (Axis::counts(3000.0), "0 | 1,000 | 2,000 | 3,000"),
            (Axis::counts(1.0), "0 | 1"),
            (Axis::counts(450e3), "0 | 200 k | 400 k"),
            (
                Axis::doublings(90.0, 1_100.0),
                "100 ms | 200 ms | 500 ms | 1 s",
            ),
            (Axis::doublings(310.0, 350.0), "320 ms | 340 ms | 360 ms"),
        ];
        for (axis, expected) in table {
            assert_eq!(words(&axis), expected);
        }
    }

    #[test]
    fn whatever_the_values_the_words_are_few_and_places_lie_within() {
        for power in 0..15 {
            let most = 10f64.powi(power) * 1.7;
            for axis in [
                Axis::counts(most),
                Axis::time(most),
                Axis::doublings(most / 30.0, most),
            ] {
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

    #[test]
    fn a_figure_has_its_unit() {
        let table = [
            (0.0, "0 ms"),
            (7.25, "7.25 ms"),
            (431.7, "432 ms"),
            (2_345.0, "2.35 s"),
            (90e3, "90 s"),
        ];
        for (ms, expected) in table {
            assert_eq!(span(ms), expected);
        }
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
