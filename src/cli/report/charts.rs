//! What the charts of the report's page show, of bounded size, whatever the size of the run. Calls a minute and the lanes
//! of calls have the same time axis. The template draws them.

use serde::Serialize;

use super::call::{CallFate, CallSummary};
use super::lanes::lanes;
use super::numbers::Report;
use super::pauses::coarse;
use super::slices::{TimeSlice, bins, slices};
use crate::cli::page::Axis;

/// Pauses are told apart that are this part of the time apart: half a pixel on a wide screen.
const PAUSE_GAP: u64 = 2_000;

/// The pictures of a run. Instants are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Charts {
    /// When the first call left.
    from: u64,
    time: Axis,
    rates: Axis,
    slices: Vec<TimeSlice>,
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
        let slices = slices(calls);
        let limit = report.limit.map_or(0, |limit| limit.calls_a_minute.get());
        let in_all = f64::from(limit) * report.keys.len() as f64;
        let is_there =
            |kind: &CallFate| slices.iter().any(|slice| slice.counts[*kind as usize] > 0);
        let (bin_ms, bins) = bins(took);
        Some(Charts {
            from,
            time: Axis::time(until - from),
            rates: Axis::counts(
                slices
                    .iter()
                    .map(TimeSlice::a_minute)
                    .fold(in_all, f64::max),
            ),
            kinds: CallFate::ALL.into_iter().filter(is_there).collect(),
            slices,
            pauses: pauses.collect(),
            lanes: lanes(calls),
            latency: Axis::time(bin_ms * bins.len() as u64),
            counts: Axis::counts(bins.iter().max().map_or(0.0, |most| *most as f64)),
            bin_ms,
            bins,
        })
    }
}
