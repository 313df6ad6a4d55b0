//! The charts of the report's page. Calls a minute and the lanes of calls have the same time axis.

use super::call::CallFate;
use super::lanes::LaneBar;
use super::numbers::{AuditedLimit, Report};
use super::timeline::{TimeSlice, Timeline};
use crate::cli::format::{counted, grouped, milliseconds};
use crate::cli::page::{Axis, Chart};

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

/// The kinds that the charts of a run show: classes of the style sheet, and names.
pub(super) fn legend(timeline: &Timeline) -> Vec<(&'static str, &'static str)> {
    let is_there = |end: &CallFate| timeline.slices.iter().any(|slice| slice.count(*end) > 0);
    let kinds = CallFate::ALL.into_iter().filter(is_there);
    let mut kinds: Vec<_> = kinds.map(CallFate::shown).collect();
    if timeline.pauses.iter().any(|pauses| !pauses.is_empty()) {
        kinds.push(("paused", "paused after a rate limited call"));
    }
    kinds
}

/// Calls a minute over time, by how they ended.
pub(super) fn rates(report: &Report) -> String {
    let timeline = &report.timeline;
    let keys = report.keys.len();
    let in_all = |limit: AuditedLimit| f64::from(limit.calls_a_minute.get()) * keys as f64;
    let limit = report.limit.map(in_all);
    let rates = timeline
        .slices
        .iter()
        .map(|slice| slice.a_minute(slice.calls()));
    let most = rates.fold(limit.unwrap_or(0.0), f64::max);
    let about = format!("Calls a minute over time; the most are {most:.0}");
    let mut chart = Chart::new(&about, 180, time_axis(timeline), Axis::counts(most));
    draw_pauses(&mut chart, timeline, most * 1.08);
    for slice in &timeline.slices {
        draw_slice(&mut chart, slice, timeline.from);
    }
    if let (Some(in_all), Some(limit)) = (limit, report.limit) {
        let each = grouped(limit.calls_a_minute.get().into());
        let label = match keys {
            1 => format!("limit {each}"),
            _ => format!("limit {keys} keys x {each}"),
        };
        chart.limit(in_all, &label);
    }
    chart.to_string()
}

/// Each call in the row of its worker; nothing if there are too many.
pub(super) fn lanes(timeline: &Timeline) -> String {
    let lanes = &timeline.lanes;
    if lanes.is_empty() {
        return String::new();
    }
    let height = lanes.len() as u32 * if lanes.len() > 24 { 8 } else { 15 };
    let about = format!("Each call of {} workers", lanes.len());
    let mut chart = Chart::new(&about, height, time_axis(timeline), Axis::rows(lanes.len()));
    draw_pauses(&mut chart, timeline, lanes.len() as f64);
    for (row, lane) in lanes.iter().enumerate() {
        for bar in lane {
            draw_call(&mut chart, bar, timeline.from, row as f64);
        }
    }
    for row in (0..lanes.len()).step_by(lanes.len().div_ceil(8)) {
        chart.word("y", row as f64 + 0.5, &(row + 1).to_string());
    }
    chart.to_string()
}

/// How many calls took how long.
pub(super) fn latency(report: &Report) -> String {
    let Some(took) = report.latency.answered.or(report.latency.all) else {
        return String::new();
    };
    let bins = &report.timeline.latency;
    let most = bins.counts.iter().max().copied().unwrap_or(0);
    let axis = Axis::time((bins.width_ms * bins.counts.len() as u64) as f64);
    let mut chart = Chart::new(
        "Calls by how long they took",
        160,
        axis,
        Axis::counts(most as f64),
    );
    for (bin, count) in (0u64..).zip(&bins.counts).filter(|(_, count)| **count > 0) {
        let (from, until) = (bin * bins.width_ms, (bin + 1) * bins.width_ms);
        let title = format!("from {}: {}", milliseconds(from), counted(*count, "call"));
        chart.bar(
            "answered",
            &title,
            (from as f64, until as f64),
            (0.0, *count as f64),
        );
    }
    let percentiles = [
        ("p50", took.p50_ms),
        ("p95", took.p95_ms),
        ("p99", took.p99_ms),
    ];
    for (row, (name, ms)) in (0..).zip(percentiles) {
        chart.point_out(ms as f64, &format!("{name} {}", milliseconds(ms)), row);
    }
    chart.to_string()
}

fn time_axis(timeline: &Timeline) -> Axis {
    Axis::time((timeline.until - timeline.from) as f64)
}

/// Bands over the time in which a key was paused. Several keys share the height.
fn draw_pauses(chart: &mut Chart, timeline: &Timeline, height: f64) {
    let part = height / timeline.pauses.len().max(1) as f64;
    let x = |(from, until): &(u64, u64)| {
        (
            (from - timeline.from) as f64,
            (until - timeline.from) as f64,
        )
    };
    for (key, pauses) in timeline.pauses.iter().enumerate() {
        let (low, high) = (key as f64 * part, (key + 1) as f64 * part);
        chart.bars(
            "paused pause-area",
            pauses.iter().map(|span| (x(span), (low, high))),
        );
        let edge = (high - part * 0.03, high);
        chart.bars("paused", pauses.iter().map(|span| (x(span), edge)));
    }
}

/// The bars of a slice one above the other.
fn draw_slice(chart: &mut Chart, slice: &TimeSlice, origin: u64) {
    let x = ((slice.from - origin) as f64, (slice.until - origin) as f64);
    let mut low = 0.0;
    for end in CallFate::ALL {
        let (class, name) = end.shown();
        let calls = slice.count(end);
        if calls > 0 {
            let high = low + slice.a_minute(calls);
            chart.bar(
                class,
                &format!("{} {name}", counted(calls, "call")),
                x,
                (low, high),
            );
            low = high;
        }
    }
}

/// A call in its row. A rate limited call is taller than others.
fn draw_call(chart: &mut Chart, bar: &LaneBar, origin: u64, row: f64) {
    let margin = if bar.end == CallFate::RateLimited {
        0.05
    } else {
        0.2
    };
    let (class, name) = bar.end.shown();
    let title = format!(
        "{}: {name}, {}",
        bar.record,
        milliseconds(bar.until - bar.from)
    );
    let x = ((bar.from - origin) as f64, (bar.until - origin) as f64);
    chart.bar(class, &title, x, (row + margin, row + 1.0 - margin));
}
