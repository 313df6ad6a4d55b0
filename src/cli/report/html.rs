//! The report as a page: one file that can be sent to a colleague.
//!
//! From the top: the verdict, what was run, six figures, what went wrong and what to do; then calls a minute and every
//! call on one time axis, latency and where the time went, each key, and the prompts that took longest.

use super::call::CallEnd;
use super::lanes::LaneBar;
use super::numbers::{FailedExample, FailureReason, KeyReport, Moment, RecordRef, Report, RunSpan};
use super::timeline::{TimeSlice, Timeline};
use crate::cli::format::{counted, grouped, milliseconds, number, short_number, shortened};
use crate::cli::page::{
    Axis, Cell, Chart, Escaped, Page, Tile, TimeShare, facts, legend, portions, shares, stacked,
    table, tiles,
};

const NOTE_ON_LANES: &str = "A row is a worker, a bar is a call; its title begins with the line of the results. Waiting \
                             is left unpainted. The records do not name workers: a prompt is drawn in the first row \
                             that was free.";
/// Reasons to fail that are listed.
const REASONS: usize = 20;
impl CallEnd {
    /// A class of the style sheet, and a name.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            CallEnd::Answered => ("answered", "answered"),
            CallEnd::Failed => ("failed", "failed"),
            CallEnd::RateLimited => ("limited", "rate limited"),
        }
    }
}

impl Report {
    /// The report as one HTML file without a reference to anything outside. `of` is the name of the results. It is
    /// smaller than 1 MB, whatever the size of the run.
    pub(super) fn to_html(&self, of: &str) -> String {
        let mut page = Page::new(&format!("Paceline: {}", shortened(of, 120)));
        if self.prompts.answered + self.prompts.failed == 0 {
            page.lead("No records yet.");
            return page.to_string();
        }
        page.add(self.verdict());
        page.add(self.facts());
        if let Some(span) = &self.span {
            page.add(tiles(&self.tiles(span)));
        }
        self.add_failures(&mut page);
        if self.span.is_some() {
            self.add_rates(&mut page);
            self.add_lanes(&mut page);
            self.add_times(&mut page);
            self.add_keys(&mut page);
        }
        self.add_prompts(&mut page);
        page.to_string()
    }

    // ---- The top ----------------------------------------------------------------------------------------------------

    fn verdict(&self) -> String {
        let prompts = &self.prompts;
        let all = prompts.answered + prompts.failed;
        let bar = portions(&[("answered", prompts.answered), ("failed", prompts.failed)]);
        let mut text = format!(
            "{} of {} answered",
            grouped(prompts.answered),
            counted(all, "prompt")
        );
        if prompts.failed > 0 {
            text += &format!(", {} failed", grouped(prompts.failed));
        }
        format!(
            "{bar}<p class=\"verdict\">{text}; {}.</p>",
            Escaped(&self.pace_verdict())
        )
    }

    fn pace_verdict(&self) -> String {
        if self.span.is_none() {
            return "no calls are on record".to_owned();
        }
        if self.limit.is_none() {
            return "pace not checked (add --rpm N to check it)".to_owned();
        }
        let excess = self.keys.iter().filter_map(|key| key.excess.as_ref());
        match excess.map(|excess| excess.too_soon).sum() {
            0 => "pace kept: no call too soon".to_owned(),
            too_soon => format!("pace not kept: {} too soon", counted(too_soon, "call")),
        }
    }

    fn facts(&self) -> String {
        let mut list = Vec::new();
        if let Some(limit) = &self.limit {
            let rate = counted(limit.calls_a_minute.get().into(), "call");
            let each = if self.keys.len() > 1 {
                ", each key"
            } else {
                ""
            };
            list.push((
                "limit",
                format!("{rate} a minute, burst {}{each}", limit.burst),
            ));
        }
        if self.keys.len() > 1 {
            list.push(("keys", self.keys.len().to_string()));
        }
        if let Some(span) = &self.span {
            list.push(("first call", local_time(span.first)));
            list.push(("last call", local_time(span.last)));
        }
        if self.tokens.stated_by > 0 {
            let (input, output) = (grouped(self.tokens.input), grouped(self.tokens.output));
            let by = counted(self.tokens.stated_by, "response");
            list.push(("tokens", format!("{input} in, {output} out, as {by} said")));
        }
        if self.prompts.superseded > 0 {
            let records = counted(self.prompts.superseded, "record");
            list.push((
                "superseded",
                format!("{records} of prompts that were run again"),
            ));
        }
        facts(&list)
    }

    fn tiles(&self, span: &RunSpan) -> [Tile; 6] {
        let (prompts, calls) = (&self.prompts, &self.calls);
        let tile = |label, figure, detail| Tile {
            label,
            figure,
            detail,
        };
        let latency = self.latency.answered.or(self.latency.all);
        let [p50, p95] = [
            latency.map(|took| took.p50_ms),
            latency.map(|took| took.p95_ms),
        ]
        .map(|ms| milliseconds(ms.unwrap_or(0)));
        let rate_limited: u64 = self.keys.iter().map(|key| key.rate_limited).sum();
        let paused = self.keys.iter().map(|key| key.paused_ms).max().unwrap_or(0);
        let paused = format!(
            "{}paused for {}",
            if self.keys.len() > 1 { "a key " } else { "" },
            milliseconds(paused)
        );
        let rate = span.calls_a_minute.map_or_else(|| "-".to_owned(), number);
        let tokens = short_number(self.tokens.input + self.tokens.output);
        [
            tile(
                "answered",
                grouped(prompts.answered),
                format!("{} failed", grouped(prompts.failed)),
            ),
            tile(
                "took",
                milliseconds(self.timeline.until - self.timeline.from),
                format!(
                    "{}, {} retries",
                    counted(calls.total, "call"),
                    grouped(calls.retries)
                ),
            ),
            tile("rate", rate, "calls a minute".to_owned()),
            tile("latency", p50, format!("95 % within {p95}")),
            tile("rate limited", counted(rate_limited, "call"), paused),
            tile("tokens", tokens, "in and out".to_owned()),
        ]
    }

    fn add_failures(&self, page: &mut Page) {
        let failures = &self.prompts.failures;
        if failures.is_empty() {
            return page.section("What went wrong", "No prompt failed.", "");
        }
        let rows: Vec<_> = failures
            .iter()
            .take(REASONS)
            .flat_map(failure_rows)
            .collect();
        let mut note = "Prompts by the reason they failed for, with the first of each. To try them again, run the \
                        same command with --retry-failed."
            .to_owned();
        if failures.len() > REASONS {
            note += &format!(" {} other reasons are left out.", failures.len() - REASONS);
        }
        let headings = ["prompts", "reason", "such as", "message"];
        page.section("What went wrong", &note, stacked(headings, &rows));
    }

    // ---- The time axis ----------------------------------------------------------------------------------------------

    fn add_rates(&self, page: &mut Page) {
        let slices = &self.timeline.slices;
        let keys = self.keys.len() as f64;
        let limit = self
            .limit
            .map(|limit| f64::from(limit.calls_a_minute.get()) * keys);
        let rates = slices.iter().map(|slice| slice.a_minute(slice.calls()));
        let most = rates.fold(limit.unwrap_or(0.0), f64::max);
        let axis = Axis::counts(most);
        let about = format!("Calls a minute over time; the most are {most:.0}");
        let mut chart = Chart::new(&about, 180, self.timeline.axis(), axis);
        self.timeline.draw_pauses(&mut chart, most * 1.08);
        for slice in slices {
            draw_slice(&mut chart, slice, self.timeline.from);
        }
        if let (Some(limit), Some(each)) = (limit, self.limit) {
            let each = grouped(each.calls_a_minute.get().into());
            let label = match self.keys.len() {
                1 => format!("limit {each}"),
                keys => format!("limit {keys} keys x {each}"),
            };
            chart.limit(limit, &label);
        }
        let width = slices.first().map_or(0, |slice| slice.until - slice.from);
        let note = format!(
            "Calls by how they ended, at the time when they left, over {} each.",
            milliseconds(width)
        );
        page.section("Calls a minute", &note, self.legend() + &chart.to_string());
    }

    fn add_lanes(&self, page: &mut Page) {
        let lanes = &self.timeline.lanes;
        if lanes.is_empty() {
            return;
        }
        let height = if lanes.len() > 24 { 8 } else { 15 };
        let about = format!("Each call of {} workers", lanes.len());
        let rows = Axis::rows(lanes.len());
        let mut chart = Chart::new(
            &about,
            height * lanes.len() as u32,
            self.timeline.axis(),
            rows,
        );
        self.timeline.draw_pauses(&mut chart, lanes.len() as f64);
        for (row, lane) in lanes.iter().enumerate() {
            for bar in lane {
                self.timeline.draw_call(&mut chart, bar, row as f64);
            }
        }
        for row in (0..lanes.len()).step_by(lanes.len().div_ceil(8)) {
            chart.beside(row as f64 + 0.5, &(row + 1).to_string());
        }
        page.section(
            "Every call",
            NOTE_ON_LANES,
            self.legend() + &chart.to_string(),
        );
    }

    /// The kinds that there are.
    fn legend(&self) -> String {
        let slices = &self.timeline.slices;
        let is_there = |end: &CallEnd| slices.iter().any(|slice| slice.count(*end) > 0);
        let kinds = CallEnd::ALL.into_iter().filter(is_there);
        let mut kinds: Vec<_> = kinds.map(CallEnd::shown).collect();
        if self.timeline.pauses.iter().any(|pauses| !pauses.is_empty()) {
            kinds.push(("paused", "paused after a rate limited call"));
        }
        legend(&kinds)
    }

    // ---- Sums -------------------------------------------------------------------------------------------------------

    fn add_times(&self, page: &mut Page) {
        let chart = self.latency_chart();
        let calls = self.calls.total.max(1);
        let part = |kind, label, ms: u64| TimeShare {
            kind,
            label,
            amount: ms as f64,
            words: format!("{} a call", milliseconds(ms / calls)),
        };
        let times = &self.times;
        let parts = [
            part("answered", "waiting for the server", times.took_ms),
            part(
                "waiting",
                "waiting for a permit",
                times.paced_ms.saturating_sub(times.paused_ms),
            ),
            part("paused", "paused", times.paused_ms),
            part("backoff", "backing off", times.backoff_ms),
        ];
        let content = format!(
            "<div class=\"pair\"><div><h3>Latency</h3>{chart}</div>\
             <div><h3>Where the time went</h3>{}</div></div>",
            shares(&parts)
        );
        let note = "Left: how many calls took how long; the last bar has all that took longer. Right: the time of all \
                    workers together, who work side by side.";
        page.section("Latency and time", note, content);
    }

    fn latency_chart(&self) -> String {
        let Some(took) = self.latency.answered.or(self.latency.all) else {
            return String::new();
        };
        let whose = match self.latency.answered {
            Some(_) => "calls that were answered",
            None => "all calls, none of which was answered",
        };
        let longest = milliseconds(took.longest_ms);
        let about = format!("How long {whose} took; the longest took {longest}");
        let (width, counts) = (
            self.timeline.latency.width_ms,
            &self.timeline.latency.counts,
        );
        let most = counts.iter().max().copied().unwrap_or(0);
        let axis = Axis::time((width * counts.len() as u64) as f64);
        let mut chart = Chart::new(&about, 160, axis, Axis::counts(most as f64));
        for (from, count) in (0u64..).step_by(width as usize).zip(counts) {
            let x = (from as f64, (from + width) as f64);
            if *count > 0 {
                let title = format!("from {}: {}", milliseconds(from), counted(*count, "call"));
                chart.bar("answered", &title, x, (0.0, *count as f64));
            }
        }
        let percentiles = [
            ("p50", took.p50_ms),
            ("p95", took.p95_ms),
            ("p99", took.p99_ms),
        ];
        for (row, (name, ms)) in (0..).zip(percentiles) {
            chart.point_out(ms as f64, &format!("{name} {}", milliseconds(ms)), row);
        }
        format!("<div class=\"pointers\">{chart}</div><p class=\"note\">{about}.</p>")
    }

    fn add_keys(&self, page: &mut Page) {
        let rows: Vec<_> = self.keys.iter().map(key_row).collect();
        let headings = [
            "key",
            "calls",
            "rate limited",
            "paused",
            "smallest gap",
            "most in any 60 s",
            "pace",
        ];
        let note = match self.limit {
            Some(_) => "A call is too soon if it left 2 ms or more before the limit allowed it.",
            None => "Add --rpm N to check the pace against a limit.",
        };
        page.section("Keys", note, table(headings, &rows));
    }

    fn add_prompts(&self, page: &mut Page) {
        let mut rows: Vec<(&RecordRef, String, String)> = Vec::new();
        for slow in &self.slowest {
            rows.push((&slow.prompt, milliseconds(slow.took_ms), String::new()));
        }
        for most in &self.most_retried {
            let retries = grouped(most.retries);
            match rows
                .iter_mut()
                .find(|(prompt, ..)| prompt.record == most.prompt.record)
            {
                Some(row) => row.2 = retries,
                None => rows.push((&most.prompt, String::new(), retries)),
            }
        }
        if rows.is_empty() {
            return;
        }
        let rows = rows.into_iter().map(|(prompt, took, retries)| {
            let line = Cell::Figure(grouped(prompt.record));
            let name = Cell::Text(shortened(&prompt.custom_id, 120));
            let asked = Cell::Text(shortened(&prompt.asked, 120));
            [Cell::Figure(took), Cell::Figure(retries), name, asked, line]
        });
        let rows: Vec<_> = rows.collect();
        let headings = [
            "took",
            "retries",
            "prompt",
            "which asks",
            "line of the results",
        ];
        let note = "The ten that took longest, from the departure of the first call to the end of the last; and the \
                    ten with the most calls after the first.";
        page.section(
            "Slowest and most retried prompts",
            note,
            stacked(headings, &rows),
        );
    }
}

// ---- Pieces ---------------------------------------------------------------------------------------------------------

impl Timeline {
    /// The time axis of all charts.
    fn axis(&self) -> Axis {
        Axis::time((self.until - self.from) as f64)
    }

    /// A rate limited call is taller than others.
    fn draw_call(&self, chart: &mut Chart, bar: &LaneBar, row: f64) {
        let margin = if bar.end == CallEnd::RateLimited {
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
        let x = (
            (bar.from - self.from) as f64,
            (bar.until - self.from) as f64,
        );
        chart.bar(class, &title, x, (row + margin, row + 1.0 - margin));
    }

    /// Bands over the time in which a key was paused. Several keys share the height.
    fn draw_pauses(&self, chart: &mut Chart, height: f64) {
        let part = height / self.pauses.len().max(1) as f64;
        for (key, pauses) in self.pauses.iter().enumerate() {
            let y = (key as f64 * part, (key + 1) as f64 * part);
            let spans = pauses
                .iter()
                .map(|(from, until)| ((*from - self.from) as f64, (*until - self.from) as f64));
            chart.bars("paused pause-area", spans.clone().map(|x| (x, y)));
            chart.bars("paused", spans.map(|x| (x, (y.1 - part * 0.03, y.1))));
        }
    }
}

/// The bars of a slice one above the other.
fn draw_slice(chart: &mut Chart, slice: &TimeSlice, origin: u64) {
    let x = ((slice.from - origin) as f64, (slice.until - origin) as f64);
    let mut low = 0.0;
    for end in CallEnd::ALL {
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

/// A reason with its first example, and below it the others.
fn failure_rows(reason: &FailureReason) -> impl Iterator<Item = [Cell; 4]> {
    let examples = reason.examples.iter().enumerate();
    examples.map(move |(n, FailedExample { prompt, message })| {
        let is_first = n == 0;
        let only_first = |text: String| if is_first { text } else { String::new() };
        let mut such_as = shortened(&prompt.custom_id, 60);
        if !prompt.asked.is_empty() {
            such_as += &format!(": {}", shortened(&prompt.asked, 80));
        }
        [
            Cell::Figure(only_first(grouped(reason.count))),
            Cell::Text(only_first(shortened(&reason.code, 60))),
            Cell::Text(such_as),
            Cell::Text(shortened(message, 300)),
        ]
    })
}

fn key_row(key: &KeyReport) -> [Cell; 7] {
    let gap = key.smallest_gap.as_ref().map(|gap| milliseconds(gap.ms));
    let verdict = key.excess.as_ref().map(|excess| match &excess.worst {
        None => "\u{2713} kept".to_owned(),
        Some(worst) => {
            let (too_soon, early) = (counted(excess.too_soon, "call"), milliseconds(worst.by_ms));
            format!("\u{2717} {too_soon} too soon, up to {early}")
        }
    });
    [
        Cell::Figure(key.key.to_string()),
        Cell::Figure(grouped(key.calls)),
        Cell::Figure(grouped(key.rate_limited)),
        Cell::Figure(milliseconds(key.paused_ms)),
        Cell::Figure(gap.unwrap_or_default()),
        Cell::Figure(grouped(key.busiest_minute.calls)),
        Cell::Text(verdict.unwrap_or_else(|| "not checked".to_owned())),
    ]
}

/// The local time with its zone, to the second.
fn local_time(moment: Moment) -> String {
    let local = moment
        .timestamp()
        .to_zoned_datetime(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}
