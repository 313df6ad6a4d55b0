//! What a report draws: of bounded size, whatever the size of the run. Instants are milliseconds since 1970.

use super::call::Call;
use super::flow::Slice;
use super::lanes::Piece;

/// What the charts show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pictures {
    /// What the workers did, on average over slices of time.
    pub(super) flow: Vec<Slice>,
    /// What each worker did; none if there are too many calls or workers.
    pub(super) lanes: Option<Vec<Vec<Piece>>>,
    /// How many calls left.
    pub(super) rates: Vec<Rate>,
    /// How many calls took so long: from, below, and the count. Those that were answered, or all if none was.
    pub(super) latency: Vec<(u64, u64, u64)>,
}

/// How many calls left in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) calls: u64,
    pub(super) refused: u64,
}

impl Rate {
    /// So many would be so many a minute.
    pub(super) fn a_minute(&self, calls: u64) -> f64 {
        calls as f64 * 60_000.0 / (self.until - self.from) as f64
    }
}

/// Round widths, in seconds.
const WIDTHS: [u64; 15] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 43_200, 86_400,
];

/// Cuts the run into stretches, few enough to draw and with enough calls in each to speak of a rate. The calls are sorted
/// by departure.
pub(super) fn rates(calls: &[Call]) -> Vec<Rate> {
    let Some((first, last)) = calls
        .first()
        .zip(calls.last())
        .map(|(first, last)| (first.at(), last.at()))
    else {
        return Vec::new();
    };
    let width = width(calls.len() as f64, last - first);
    let mut rates: Vec<Rate> = Vec::new();
    for call in calls {
        let from = first + (call.at() - first) / width * width;
        while rates.last().is_none_or(|rate| rate.from < from) {
            let from = rates.last().map_or(first, |rate| rate.until);
            rates.push(Rate {
                from,
                until: from + width,
                calls: 0,
                refused: 0,
            });
        }
        if let Some(rate) = rates.last_mut() {
            rate.calls += 1;
            rate.refused += u64::from(call.was_refused());
        }
    }
    round_off(
        rates,
        last,
        (last - first) / (calls.len() as u64 - 1).max(1),
    )
}

fn width(calls: f64, length: u64) -> u64 {
    let is_right = |width: &u64| {
        let count = (length / width) as f64 + 1.0;
        count <= 150.0 && (count <= 6.0 || calls / count >= 20.0)
    };
    let round = WIDTHS
        .into_iter()
        .map(|seconds| seconds * 1000)
        .find(is_right);
    round.unwrap_or(length / 150 + 1)
}

/// The run is over before the last stretch is, a gap after the last call: the stretch is cut there, or put to the one before
/// if it is short.
fn round_off(mut rates: Vec<Rate>, last: u64, gap: u64) -> Vec<Rate> {
    if rates.len() < 2 {
        return rates;
    }
    let end = last + gap.max(1);
    let short = rates.pop_if(|rate| end.saturating_sub(rate.from) < (rate.until - rate.from) / 2);
    if let Some(rate) = rates.last_mut() {
        rate.until = if short.is_some() {
            end.max(rate.until)
        } else {
            end.min(rate.until)
        };
        rate.calls += short.as_ref().map_or(0, |short| short.calls);
        rate.refused += short.as_ref().map_or(0, |short| short.refused);
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(instants: impl IntoIterator<Item = u64>) -> Vec<Rate> {
        let calls: Vec<_> = instants
            .into_iter()
            .map(|at| Call::new(0, at, 0, 1))
            .collect();
        rates(&calls)
    }

    #[test]
    fn an_even_pace_is_drawn_even_to_its_end() {
        for gap in [6, 20, 100, 1000] {
            let rates = at((0..3_000).map(|n| 1_000_000 + n * gap));
            assert!((2..=150).contains(&rates.len()), "{}", rates.len());
            assert_eq!(rates.iter().map(|rate| rate.calls).sum::<u64>(), 3_000);
            for rate in &rates {
                let (found, right) = (rate.a_minute(rate.calls), 60_000.0 / gap as f64);
                assert!((found / right - 1.0).abs() < 0.06, "{found} for {right}");
            }
        }
    }

    #[test]
    fn a_pause_is_drawn_and_years_take_no_more_room() {
        let rates = at((0..100)
            .map(|n| n * 100)
            .chain((0..100).map(|n| 60_000 + n * 100)));
        assert!(rates.iter().any(|rate| rate.calls == 0));
        assert!(at([0, 1 << 46]).len() <= 151);
        assert!(at([]).is_empty() && at([5]).len() == 1);
    }
}
