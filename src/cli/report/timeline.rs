//! What the report's charts show: of bounded size, whatever the size of the run. Instants are milliseconds since 1970.

use super::call::{CallEnd, CallSummary};
use super::lanes::{CallBar, lanes};
use super::pauses::{Pauses, coarse};

/// The course of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timeline {
    /// From the first call's departure to the last call's end.
    pub(super) from: u64,
    pub(super) until: u64,
    /// How many calls left.
    pub(super) slices: Vec<TimeSlice>,
    /// When each key was paused; pauses that are near each other are one.
    pub(super) pauses: Vec<Vec<(u64, u64)>>,
    /// The calls of each worker; none if there are too many calls or workers to tell apart.
    pub(super) lanes: Vec<Vec<CallBar>>,
    /// How many calls took how long.
    pub(super) latency: Vec<LatencyBin>,
}

/// The calls that left in a part of the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TimeSlice {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) rate_limited: u64,
}

impl TimeSlice {
    pub(super) fn calls(&self) -> u64 {
        self.answered + self.failed + self.rate_limited
    }

    /// How many calls a minute this number of calls is.
    pub(super) fn a_minute(&self, calls: u64) -> f64 {
        calls as f64 * 60_000.0 / (self.until - self.from) as f64
    }

    fn count(&mut self, end: CallEnd) {
        match end {
            CallEnd::Answered => self.answered += 1,
            CallEnd::Failed => self.failed += 1,
            CallEnd::RateLimited => self.rate_limited += 1,
        }
    }
}

/// How many calls took at least `from` and less than `below` milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LatencyBin {
    pub(super) from: f64,
    pub(super) below: f64,
    pub(super) count: usize,
}

/// Bins of the latency chart.
const BINS: u32 = 60;
/// Pauses are told apart that are this part of the time apart: half a pixel on a wide screen.
const PAUSE_GAP: u64 = 2_000;
/// Slices of the chart of calls a minute: about 6 pixels each.
const MOST_SLICES: f64 = 150.0;
/// Calls in a slice, for its rate to mean something: to within 5 %.
const LEAST_CALLS: f64 = 20.0;
/// Round widths of a slice, in seconds.
const WIDTHS: [u64; 15] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 43_200, 86_400,
];

impl Timeline {
    /// Of calls that are sorted by departure, and latencies that are sorted.
    pub(super) fn new<'a>(
        calls: &[CallSummary],
        pauses: impl Iterator<Item = &'a Pauses>,
        took: &[u32],
    ) -> Self {
        let from = calls.first().map_or(0, |call| call.at);
        let until = calls.iter().map(CallSummary::ended_at).max().unwrap_or(0);
        let gap = (until - from) / PAUSE_GAP + 1;
        Timeline {
            from,
            until,
            slices: slices(calls),
            pauses: pauses
                .map(|key| coarse(key.within(from, until), gap))
                .collect(),
            lanes: lanes(calls),
            latency: bins(took),
        }
    }
}

/// Cuts the time into slices, few enough to draw and with enough calls in each.
fn slices(calls: &[CallSummary]) -> Vec<TimeSlice> {
    let Some((first, last)) = calls.first().zip(calls.last()) else {
        return Vec::new();
    };
    let width = slice_width(calls.len() as f64, last.at - first.at);
    let count = (last.at - first.at) / width + 1;
    let slice = |n| TimeSlice {
        from: first.at + n * width,
        until: first.at + (n + 1) * width,
        ..TimeSlice::default()
    };
    let mut slices: Vec<_> = (0..count).map(slice).collect();
    for call in calls {
        slices[((call.at - first.at) / width) as usize].count(call.end);
    }
    let mean_gap = (last.at - first.at) / (calls.len() as u64 - 1).max(1);
    cut_last(&mut slices, last.at + mean_gap.max(1));
    slices
}

fn slice_width(calls: f64, length: u64) -> u64 {
    let is_right = |width: &u64| {
        let count = (length / width) as f64 + 1.0;
        count <= MOST_SLICES && (count <= 6.0 || calls / count >= LEAST_CALLS)
    };
    let mut widths = WIDTHS.into_iter().map(|seconds| seconds * 1000);
    widths
        .find(is_right)
        .unwrap_or(length / MOST_SLICES as u64 + 1)
}

/// Cuts the last slice at the end of the run, or adds it to the one before if less than half of it is left.
fn cut_last(slices: &mut Vec<TimeSlice>, end: u64) {
    let is_short =
        |slice: &TimeSlice| end.saturating_sub(slice.from) * 2 < slice.until - slice.from;
    let short = if slices.len() > 1 {
        slices.pop_if(|slice| is_short(slice))
    } else {
        None
    };
    let (is_first, last) = (slices.len() == 1, slices.last_mut());
    match (last, short) {
        (Some(last), Some(short)) => {
            last.until = end.max(last.until);
            last.answered += short.answered;
            last.failed += short.failed;
            last.rate_limited += short.rate_limited;
        }
        (Some(last), None) if !is_first => last.until = end.min(last.until),
        _ => {}
    }
}

/// Bins of equal width on a logarithmic scale, from the shortest to the longest.
fn bins(took: &[u32]) -> Vec<LatencyBin> {
    let Some((shortest, longest)) = took.first().zip(took.last()) else {
        return Vec::new();
    };
    let (from, to) = (
        f64::from((*shortest).max(1)),
        f64::from((*longest).max(1)) + 1.0,
    );
    let factor = (to / from).powf(1.0 / f64::from(BINS)).max(1.05);
    let mut bins = Vec::new();
    let mut seen = 0;
    while seen < took.len() {
        let bin_from = from * factor.powi(bins.len() as i32);
        let below = bin_from * factor;
        let is_below = |ms: &u32| f64::from(*ms) < below;
        let count = took[seen..].partition_point(is_below);
        bins.push(LatencyBin {
            from: bin_from,
            below,
            count,
        });
        seen += count;
    }
    bins
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
            assert_eq!(slices.iter().map(TimeSlice::calls).sum::<u64>(), 3_000);
            for slice in &slices {
                let (found, right) = (slice.a_minute(slice.calls()), 60_000.0 / gap as f64);
                assert!((found / right - 1.0).abs() < 0.06, "{found} for {right}");
            }
        }
    }

    #[test]
    fn a_gap_is_drawn_and_years_take_no_more_room() {
        let later = (0..100).map(|n| 60_000 + n * 100);
        let slices = at((0..100).map(|n| n * 100).chain(later));
        assert!(slices.iter().any(|slice| slice.calls() == 0));
        assert!(at([0, 1 << 46]).len() <= 151);
        assert!(at([]).is_empty() && at([5]).len() == 1);
    }

    #[test]
    fn every_latency_is_in_one_of_few_bins() {
        for took in [vec![7; 5], (0..5_000).collect(), vec![0, u32::MAX], vec![0]] {
            let bins = bins(&took);
            assert!(bins.len() <= 62, "{}", bins.len());
            assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), took.len());
        }
        assert_eq!(bins(&[]), []);
    }
}
