//! What the charts of the report's page show, of bounded size, whatever the size of the run. Calls a minute and the lanes
//! of calls have the same time axis. The template draws them.

use serde::Serialize;

use super::call::{CallFate, CallSummary};
use super::numbers::Report;
use super::pauses::coarse;
use crate::cli::page::Axis;
use crate::cli::statistics::histogram;

/// Pauses are told apart that are this part of the time apart: half a pixel on a wide screen.
const PAUSE_GAP: u64 = 2_000;
/// Slices of the chart of calls a minute: about 6 pixels each.
const MOST_SLICES: u64 = 150;
/// Calls in a slice of a long run, for its rate to mean something: to within 5 %.
const CALLS_IN_SLICE: u64 = 20;
/// Slices of a run of few calls, as far as they are a second long.
const FEW_SLICES: u64 = 6;
/// Bins of the latency chart up to the 99th percentile, and in all.
const BINS_TO_P99: u64 = 50;
const BINS: usize = 60;
/// More calls than this are not told apart on a screen.
const MOST_CALLS: usize = 4_000;
/// The same for lanes.
const MOST_LANES: usize = 64;
/// Instants are cut to whole milliseconds, so a prompt may seem to begin this long before the last one is over.
const CUT_MS: u64 = 2;

/// The pictures of a run. Instants are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Charts {
    /// When the first call left.
    from: u64,
    time: Axis,
    rates: Axis,
    slices: TimeSlices,
    /// The kinds of calls that there are, in the order in which they are drawn, from below.
    kinds: Vec<CallFate>,
    /// When each key was paused.
    pauses: Vec<Vec<(u64, u64)>>,
    /// Each call in the row of its worker; none if there are too many.
    lanes: Vec<Vec<CallSummary>>,
    latency: Axis,
    counts: Axis,
    /// How many calls took how long: each bin is this long.
    bin_ms: u64,
    bins: Vec<u64>,
}

impl Charts {
    /// Of calls in order of departure, and of latencies in order; `None` without a call.
    pub(super) fn draw(calls: &[CallSummary], report: &Report, took: &[u32]) -> Option<Self> {
        let from = calls.first()?.at;
        let until = calls.iter().map(CallSummary::ended_at).max()?;
        let gap = (until - from) / PAUSE_GAP + 1;
        let keys = report.keys.iter();
        let pauses = keys.map(|key| coarse(key.pauses.within(from, until), gap));
        let slices = TimeSlices::of(calls)?;
        let limit = report.limit.map_or(0, |limit| limit.calls_a_minute.get());
        let in_all = f64::from(limit) * report.keys.len() as f64;
        let is_there = |kind: &CallFate| calls.iter().any(|call| call.end == *kind);
        let (bin_ms, bins) = bins(took);
        let most = bins.iter().max().map_or(0.0, |most| *most as f64);
        Some(Charts {
            from,
            time: Axis::time(until - from),
            rates: Axis::counts(slices.most_a_minute().max(in_all)),
            kinds: CallFate::ALL.into_iter().filter(is_there).collect(),
            slices,
            pauses: pauses.collect(),
            lanes: lanes(calls),
            latency: Axis::time(bin_ms * bins.len() as u64),
            counts: Axis::counts(most),
            bin_ms,
            bins,
        })
    }
}

/// Calls by the time at which they left.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct TimeSlices {
    /// How long each is.
    ms: f64,
    /// Calls by [`CallFate`].
    counts: Vec<[u64; CallFate::ALL.len()]>,
}

impl TimeSlices {
    /// Cuts the time into slices, few enough to draw and with enough calls in each. The last call counts for as long as the
    /// gap between two calls.
    fn of(calls: &[CallSummary]) -> Option<Self> {
        let (first, last) = (calls.first()?.at, calls.last()?.at);
        let mean_gap = (last - first) / (calls.len() as u64 - 1).max(1);
        let length = last - first + mean_gap.max(1);
        let wanted = (calls.len() as u64 / CALLS_IN_SLICE).clamp(FEW_SLICES, MOST_SLICES);
        let count = wanted.min(length / 1_000 + 1);
        let places = calls
            .iter()
            .map(|call| (call.at - first, call.end as usize));
        Some(TimeSlices {
            ms: length as f64 / count as f64,
            counts: histogram(count as usize, length, places),
        })
    }

    fn most_a_minute(&self) -> f64 {
        let sums = self.counts.iter().map(|counts| counts.iter().sum::<u64>());
        sums.max().unwrap_or(0) as f64 * 60_000.0 / self.ms
    }
}

/// How many calls took how long: the width of a bin in milliseconds, and the calls in each, from zero on. The last bin also
/// counts those that took longer.
fn bins(took: &[u32]) -> (u64, Vec<u64>) {
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(0);
    let width = u64::from(p99) / BINS_TO_P99 + 1;
    let length = width * BINS as u64;
    let places = took.iter().map(|ms| (u64::from(*ms).min(length - 1), 0));
    (width, histogram::<1>(BINS, length, places).concat())
}

/// The calls of each worker; nothing if there are too many calls or workers. The records do not name workers: a prompt is
/// given to the first lane that is free when it begins, so there are as many lanes as there were workers at work at once.
fn lanes(calls: &[CallSummary]) -> Vec<Vec<CallSummary>> {
    if calls.len() > MOST_CALLS {
        return Vec::new();
    }
    let mut calls = calls.to_vec();
    calls.sort_unstable_by_key(|call| (call.record, call.at));
    let prompts = calls.chunk_by(|one, next| one.record == next.record);
    let mut prompts: Vec<_> = prompts.collect();
    prompts.sort_by_key(|calls| calls[0].asked());
    let mut lanes: Vec<Vec<CallSummary>> = Vec::new();
    for calls in prompts {
        let begin = calls[0].asked().saturating_add(CUT_MS);
        let is_free = |lane: &Vec<CallSummary>| match lane.last() {
            Some(last) => last.ended_at().max(last.at + 1) <= begin,
            None => true,
        };
        match lanes.iter_mut().find(|lane| is_free(lane)) {
            Some(lane) => lane.extend(calls),
            None => lanes.push(calls.to_vec()),
        }
    }
    if lanes.len() > MOST_LANES {
        lanes.clear();
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::call::call_at;

    fn at(instants: impl IntoIterator<Item = u64>) -> TimeSlices {
        TimeSlices::of(&instants.into_iter().map(call_at).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_even_pace_is_drawn_even_to_its_end() {
        for gap in [6, 20, 100, 1000] {
            let slices = at((0..3_000).map(|n| 1_000_000 + n * gap));
            let counts = &slices.counts;
            assert!((2..=150).contains(&counts.len()), "{}", counts.len());
            assert_eq!(counts.concat().iter().sum::<u64>(), 3_000);
            for [answered, ..] in counts {
                let (found, right) = (*answered as f64 / slices.ms, 1.0 / gap as f64);
                assert!((found / right - 1.0).abs() < 0.06, "{found} for {right}");
            }
        }
    }

    #[test]
    fn a_gap_is_drawn_and_years_take_no_more_room() {
        let later = (0..100).map(|n| 60_000 + n * 100);
        let slices = at((0..100).map(|n| n * 100).chain(later));
        assert!(slices.counts.contains(&[0; 3]));
        assert!(at([0, 1 << 46]).counts.len() <= 151);
        assert_eq!(at([5]).counts, [[1, 0, 0]]);
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

    fn call(record: u32, asked: u64, at: u64, end: u64) -> CallSummary {
        CallSummary {
            record,
            paced_ms: (at - asked) as u32,
            took_ms: (end - at) as u32,
            ..call_at(at)
        }
    }

    #[test]
    fn prompts_that_overlap_have_lanes_of_their_own_and_a_free_lane_is_taken_again() {
        let lanes = lanes(&[
            call(1, 0, 10, 50),
            call(2, 100, 110, 150),
            call(3, 5, 20, 99),
        ]);
        let records =
            |lane: &Vec<CallSummary>| lane.iter().map(|bar| bar.record).collect::<Vec<_>>();
        assert_eq!(
            lanes.iter().map(records).collect::<Vec<_>>(),
            [vec![1, 2], vec![3]]
        );
    }

    #[test]
    fn too_many_calls_or_lanes_are_not_drawn_one_by_one() {
        let many: Vec<_> = (0..4_001)
            .map(|n| call(n, 0, u64::from(n) * 10, u64::from(n) * 10 + 5))
            .collect();
        assert!(lanes(&many).is_empty());
        let wide = |count| (0..count).map(|n| call(n, 0, 100, 200)).collect::<Vec<_>>();
        assert!(lanes(&wide(65)).is_empty());
        assert_eq!(lanes(&wide(64)).len(), 64);
    }
}
