//! The charts of the report's page, of bounded size, whatever the size of the run. Calls a minute and the lanes of calls
//! have the same time axis.

use std::ops::Range;

use serde::Serialize;

use super::call::{CallFate, CallSummary};
use super::lanes::lanes;
use super::numbers::{AuditedLimit, Percentiles};
use super::pauses::{Pauses, coarse};
use super::slices::{TimeSlice, bins, slices};
use crate::cli::format::{counted, grouped, milliseconds};
use crate::cli::page::{Axis, Chart};

/// Pauses are told apart that are this part of the time apart: half a pixel on a wide screen.
const PAUSE_GAP: u64 = 2_000;

impl CallFate {
    /// A class of the style sheet, and a name.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            CallFate::Answered => ("answered", "answered"),
            CallFate::Failed => ("failed", "failed"),
            CallFate::RateLimited => ("limited", "rate limited"),
        }
    }
}

/// The pictures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Charts {
    /// The kinds that they show: classes of the style sheet, and names.
    legend: Vec<(&'static str, &'static str)>,
    /// The time that a bar of `rates` stands for.
    slice_ms: u64,
    /// Calls a minute over time, by how they ended; none without a call.
    rates: Option<Chart>,
    /// Each call in the row of its worker; none if there are too many.
    lanes: Option<Chart>,
    /// How many calls took how long.
    latency: Option<Chart>,
}

impl Charts {
    /// Of calls in order of departure, of the pauses of each key, and of latencies in order.
    pub(super) fn draw(
        calls: &[CallSummary],
        pauses: &[Pauses],
        took: &[u32],
        limit: Option<AuditedLimit>,
    ) -> Self {
        let Some(first) = calls.first() else {
            return Charts::default();
        };
        let until = calls.iter().map(CallSummary::ended_at).max();
        let course = Course::new(first.at, until.unwrap_or(first.at), pauses);
        let slices = slices(calls);
        Charts {
            legend: course.legend(&slices),
            slice_ms: slices[0].until - slices[0].from,
            rates: Some(course.rates(&slices, limit)),
            lanes: course.lanes(calls),
            latency: latency(took, calls),
        }
    }
}

/// The time of a run, and when each key was paused in it. Drawn instants count from its beginning.
struct Course {
    from: u64,
    until: u64,
    pauses: Vec<Vec<Range<f64>>>,
}

impl Course {
    fn new(from: u64, until: u64, pauses: &[Pauses]) -> Self {
        let gap = (until - from) / PAUSE_GAP + 1;
        let mut course = Course {
            from,
            until,
            pauses: Vec::new(),
        };
        let of_key = |key: &Pauses| coarse(key.within(from, until), gap);
        let pauses = pauses.iter().map(of_key);
        let drawn = pauses.map(|key| key.iter().map(|pause| course.x(pause.0, pause.1)).collect());
        course.pauses = drawn.collect();
        course
    }

    fn x(&self, from: u64, until: u64) -> Range<f64> {
        (from - self.from) as f64..(until - self.from) as f64
    }

    fn chart(&self, about: &str, height: u32, y: Axis) -> Chart {
        let x = Axis::time((self.until - self.from) as f64);
        Chart::new(about, height, x, y)
    }

    fn legend(&self, slices: &[TimeSlice]) -> Vec<(&'static str, &'static str)> {
        let is_there = |end: &CallFate| slices.iter().any(|slice| slice.count(*end) > 0);
        let kinds = CallFate::ALL.into_iter().filter(is_there);
        let mut kinds: Vec<_> = kinds.map(CallFate::shown).collect();
        if self.pauses.iter().any(|pauses| !pauses.is_empty()) {
            kinds.push(("paused", "paused after a rate limited call"));
        }
        kinds
    }

    fn rates(&self, slices: &[TimeSlice], limit: Option<AuditedLimit>) -> Chart {
        let keys = self.pauses.len();
        let limit = limit.map(|limit| u64::from(limit.calls_a_minute.get()));
        let in_all = limit.map(|each| each as f64 * keys as f64);
        let rates = slices.iter().map(|slice| slice.a_minute(slice.calls()));
        let most = rates.fold(in_all.unwrap_or(0.0), f64::max);
        let about = format!("Calls a minute over time; the most are {most:.0}");
        let mut chart = self.chart(&about, 180, Axis::counts(most));
        self.draw_pauses(&mut chart, most * 1.08..0.0);
        for slice in slices {
            self.draw_slice(&mut chart, slice);
        }
        if let (Some(in_all), Some(each)) = (in_all, limit.map(grouped)) {
            let label = match keys {
                1 => format!("limit {each}"),
                _ => format!("limit {keys} keys x {each}"),
            };
            chart.limit(in_all, &label);
        }
        chart
    }

    fn lanes(&self, calls: &[CallSummary]) -> Option<Chart> {
        let lanes = lanes(calls);
        let count = lanes.len();
        let height = count as u32 * if count > 24 { 8 } else { 15 };
        let about = format!("Each call of {count} workers");
        let mut chart = self.chart(&about, height, Axis::rows(count));
        self.draw_pauses(&mut chart, 0.0..count as f64);
        for (row, lane) in lanes.iter().enumerate() {
            for call in lane {
                self.draw_call(&mut chart, call, row as f64);
            }
        }
        for row in (0..count).step_by(count.div_ceil(8).max(1)) {
            chart.word("y", row as f64 + 0.5, &(row + 1).to_string());
        }
        (count > 0).then_some(chart)
    }

    /// Bands over the time in which a key was paused, from above to below. Several keys share the height.
    fn draw_pauses(&self, chart: &mut Chart, height: Range<f64>) {
        let part = (height.end - height.start) / self.pauses.len() as f64;
        for (key, pauses) in self.pauses.iter().enumerate() {
            let top = height.start + key as f64 * part;
            chart.bars("paused pause-area", pauses, top..top + part);
            chart.bars("paused", pauses, top..top + part * 0.03);
        }
    }

    /// The bars of a slice one above the other.
    fn draw_slice(&self, chart: &mut Chart, slice: &TimeSlice) {
        let mut low = 0.0;
        for end in CallFate::ALL {
            let (class, name) = end.shown();
            let calls = slice.count(end);
            if calls > 0 {
                let title = format!("{} {name}", counted(calls, "call"));
                let high = low + slice.a_minute(calls);
                chart.bar(class, &title, self.x(slice.from, slice.until), low..high);
                low = high;
            }
        }
    }

    /// A call in its row, also one that took no time. A rate limited call is taller than others.
    fn draw_call(&self, chart: &mut Chart, call: &CallSummary, row: f64) {
        let margin = match call.end {
            CallFate::RateLimited => 0.05,
            _ => 0.2,
        };
        let (class, name) = call.end.shown();
        let took = milliseconds(call.took_ms.into());
        let title = format!("{}: {name}, {took}", call.record);
        let x = self.x(call.at, call.ended_at());
        chart.bar(class, &title, x, row + margin..row + 1.0 - margin);
    }
}

fn latency(took: &[u32], calls: &[CallSummary]) -> Option<Chart> {
    let percentiles = Percentiles::of(took)?;
    let (width, counts) = bins(took);
    let most = counts.iter().max().copied().unwrap_or(0);
    let answers = calls.iter().any(|call| call.end == CallFate::Answered);
    let class = if answers { "answered" } else { "failed" };
    let x = Axis::time((width * counts.len() as u64) as f64);
    let y = Axis::counts(most as f64);
    let mut chart = Chart::new("Calls by how long they took", 160, x, y);
    for (bin, count) in (0u64..).zip(counts).filter(|(_, count)| *count > 0) {
        let (from, until) = (bin * width, (bin + 1) * width);
        let title = format!("from {}: {}", milliseconds(from), counted(count, "call"));
        let x = from as f64..until as f64;
        chart.bar(class, &title, x, 0.0..count as f64);
    }
    let Percentiles {
        p50_ms,
        p95_ms,
        p99_ms,
        ..
    } = percentiles;
    let named = [("p50", p50_ms), ("p95", p95_ms), ("p99", p99_ms)];
    for (row, (name, ms)) in named.into_iter().enumerate() {
        chart.point_out(ms as f64, &format!("{name} {}", milliseconds(ms)), row);
    }
    Some(chart)
}
