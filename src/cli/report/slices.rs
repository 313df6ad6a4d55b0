//! Many calls as a few bars: of equal time, and of equal latency. Instants are milliseconds since 1970.

use serde::Serialize;

use super::call::{CallFate, CallSummary};

/// The calls that left in a part of the time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct TimeSlice {
    from: u64,
    until: u64,
    /// Calls by [`CallFate`].
    pub(super) counts: [u64; CallFate::ALL.len()],
}

impl TimeSlice {
    /// How many calls a minute its calls are.
    pub(super) fn a_minute(&self) -> f64 {
        let calls: u64 = self.counts.iter().sum();
        calls as f64 * 60_000.0 / (self.until - self.from) as f64
    }
}

/// Slices of the chart of calls a minute: about 6 pixels each.
const MOST_SLICES: u64 = 150;
/// Calls in a slice of a long run, for its rate to mean something: to within 5 %.
const CALLS_IN_SLICE: u64 = 20;
/// Slices of a run of few calls, as far as they are a second long.
const FEW_SLICES: u64 = 6;
/// Bins of the latency chart up to the 99th percentile, and in all.
const BINS_TO_P99: u64 = 50;
const BINS: usize = 60;

/// Cuts the time into slices, few enough to draw and with enough calls in each. The last call counts for as long as the
/// gap between two calls.
pub(super) fn slices(calls: &[CallSummary]) -> Vec<TimeSlice> {
    let Some((first, last)) = calls.first().zip(calls.last()) else {
        return Vec::new();
    };
    let mean_gap = (last.at - first.at) / (calls.len() as u64 - 1).max(1);
    let length = last.at - first.at + mean_gap.max(1);
    let wanted = (calls.len() as u64 / CALLS_IN_SLICE).clamp(FEW_SLICES, MOST_SLICES);
    let count = wanted.min(length / 1_000 + 1);
    let begin = |n: u64| first.at + (n * length).div_ceil(count);
    let slice = |n| TimeSlice {
        from: begin(n),
        until: begin(n + 1),
        ..TimeSlice::default()
    };
    let mut slices: Vec<_> = (0..count).map(slice).collect();
    for call in calls {
        let slice = &mut slices[((call.at - first.at) * count / length) as usize];
        slice.counts[call.end as usize] += 1;
    }
    slices
}

/// How many calls took how long: the width of a bin in milliseconds, and the calls in each, from zero on. The last bin also
/// counts those that took longer.
pub(super) fn bins(took: &[u32]) -> (u64, Vec<u64>) {
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(0);
    let width = u64::from(p99) / BINS_TO_P99 + 1;
    let mut counts = vec![0; BINS];
    for ms in took {
        let bin = (u64::from(*ms) / width) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    (width, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::call::call_at;

    fn at(instants: impl IntoIterator<Item = u64>) -> Vec<TimeSlice> {
        slices(&instants.into_iter().map(call_at).collect::<Vec<_>>())
    }

    #[test]
    fn an_even_pace_is_drawn_even_to_its_end() {
        for gap in [6, 20, 100, 1000] {
            let slices = at((0..3_000).map(|n| 1_000_000 + n * gap));
            assert!((2..=150).contains(&slices.len()), "{}", slices.len());
            assert_eq!(
                slices.iter().flat_map(|slice| slice.counts).sum::<u64>(),
                3_000
            );
            for slice in &slices {
                let (found, right) = (slice.a_minute(), 60_000.0 / gap as f64);
                assert!((found / right - 1.0).abs() < 0.06, "{found} for {right}");
            }
        }
    }

    #[test]
    fn a_gap_is_drawn_and_years_take_no_more_room() {
        let later = (0..100).map(|n| 60_000 + n * 100);
        let slices = at((0..100).map(|n| n * 100).chain(later));
        assert!(slices.iter().any(|slice| slice.counts == [0; 3]));
        assert!(at([0, 1 << 46]).len() <= 151);
        assert!(at([]).is_empty() && at([5]).len() == 1);
    }

    #[test]
    fn every_latency_is_counted_and_the_usual_ones_are_told_apart() {
        for took in [
            vec![7; 5],
            (0..5_000).collect(),
            vec![0, u32::MAX],
            vec![0],
            vec![],
        ] {
            let (_, counts) = bins(&took);
            assert_eq!(counts.iter().sum::<u64>(), took.len() as u64);
            let used = counts.iter().filter(|count| **count > 0).count();
            assert!(took.len() < 5_000 || used > 40, "{used}");
        }
    }
}
