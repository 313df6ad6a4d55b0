//! The report as a page with pictures: one file that can be sent to a colleague.

use super::flow::{Doing, Slice};
use super::lanes::Piece;
use super::numbers::{Example, Failure, Latency, Named, Report};
use super::pictures::Rate;
use super::text::{counted, cut, duration, one_line};
use crate::page::{Axis, Cell, Chart, Page, Share, grouped, legend, shares, span, stacked};

/// With at most so many calls each can be pointed at.
const POINTED_AT: usize = 600;

/// What is a smaller part of a chart's height is hard to see, and is drawn by itself.
const SEEN: f64 = 0.1;

impl Doing {
    /// A class of the style sheet, and a name.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            Doing::InFlight => ("flight", "in flight, answered"),
            Doing::Faulty => ("faulty", "in flight, failed"),
            Doing::Refused => ("refused", "in flight, refused"),
            Doing::BackingOff => ("backoff", "backing off"),
            Doing::Held => ("held", "held by the server"),
            Doing::Paced => ("paced", "waiting for a turn"),
        }
    }
}

impl Report {
    /// The report as one HTML file without a reference to anything outside. `of` says what it reports on, such as the
    /// name of the results. It is smaller than 1 MB, whatever the size of the run.
    #[must_use]
    pub fn to_html(&self, of: &str) -> String {
        let mut page = Page::new(&format!("Paceline: {}", cut(&one_line(of), 120)));
        if self.prompts.answered + self.prompts.failed == 0 {
            page.lead("No records yet.");
            return page.to_string();
        }
        page.lead(self.in_words());
        if self.span.is_some() {
            self.draw_workers(&mut page);
            self.draw_rates(&mut page);
            self.draw_latency(&mut page);
            self.draw_times(&mut page);
        }
        self.draw_failures(&mut page);
        self.draw_extremes(&mut page);
        page.to_string()
    }

    /// Figures and words of ours alone.
    fn in_words(&self) -> String {
        let (prompts, calls) = (&self.prompts, &self.calls);
        let mut text = format!(
            "{} prompts answered, {} failed. ",
            grouped(prompts.answered),
            grouped(prompts.failed)
        );
        let Some(when) = &self.span else {
            return text + "The records tell of no call.";
        };
        let length = duration(when.last.0 - when.first.0);
        text += &format!("{} calls in {length}", grouped(calls.total));
        text += &when.calls_a_minute.map_or(String::new(), |rate| {
            format!(", {} a minute on average", grouped(rate.round() as u64))
        });
        let share = calls.status_429 as f64 * 100.0 / calls.total.max(1) as f64;
        text += &format!(
            "; retries: {}, status 429: {} ({share:.1}\u{a0}%). ",
            grouped(calls.retries),
            grouped(calls.status_429)
        );
        if self.tokens.stated_by > 0 {
            let (input, output) = (grouped(self.tokens.input), grouped(self.tokens.output));
            text += &format!("{input} tokens read, {output} written. ");
        }
        let first = when.first.to_string().replace('T', " ");
        let first = first.split('.').next().unwrap_or_default();
        text + &format!("First call <span class=\"date\">{first} UTC</span>.")
    }

    fn draw_workers(&self, page: &mut Page) {
        let Some((origin, end)) = self.bounds() else {
            return;
        };
        let kinds = |is_shown: &dyn Fn(Doing) -> bool| {
            let shown: Vec<_> = Doing::ALL
                .into_iter()
                .filter(|doing| is_shown(*doing))
                .map(Doing::shown)
                .collect();
            legend(&shown)
        };
        if let Some(lanes) = &self.pictures.lanes {
            let has = |doing| lanes.iter().flatten().any(|piece| piece.doing == doing);
            let note = "A row is a worker, and a thick bar a call. The records do not name workers: a prompt is drawn \
                        in the first row that was free.";
            let size = if lanes.len() > 24 {
                "lanes many"
            } else {
                "lanes"
            };
            let chart = lanes_chart(lanes, origin, end);
            page.section(
                "Every call",
                note,
                format!("{}<div class=\"{size}\">{chart}</div>", kinds(&has)),
            );
        } else {
            let slices = &self.pictures.flow;
            let has = |doing| slices.iter().any(|slice| slice.work[doing as usize] > 0);
            let width = slices.first().map_or(0, |slice| slice.until - slice.from);
            let note = format!(
                "How many were doing what, on average over {} at a time; from below in the order named.",
                span(width as f64)
            );
            page.section(
                "What the workers did",
                &note,
                kinds(&has) + &flow_chart(slices, origin, end).to_string(),
            );
        }
    }

    /// From the first wait to the last end.
    fn bounds(&self) -> Option<(u64, u64)> {
        let Some(lanes) = &self.pictures.lanes else {
            let slices = &self.pictures.flow;
            return Some((slices.first()?.from, slices.last()?.until));
        };
        let pieces = || lanes.iter().flatten();
        Some((
            pieces().map(|piece| piece.from).min()?,
            pieces().map(|piece| piece.until).max()?,
        ))
    }

    fn draw_rates(&self, page: &mut Page) {
        let rates = &self.pictures.rates;
        let Some(((origin, end), first)) = self.bounds().zip(rates.first()) else {
            return;
        };
        let limit = self
            .limit
            .map(|limit| (limit.calls_a_minute.get(), self.keys.len() as u64));
        let in_all = limit.map(|(each, keys)| f64::from(each) * keys as f64);
        let most = rates
            .iter()
            .map(|rate| rate.a_minute(rate.calls))
            .chain(in_all)
            .fold(0.0, f64::max);
        let about = format!("Calls a minute over time; the most are {most:.0}");
        let mut chart = Chart::new(
            &about,
            180,
            Axis::time((end - origin) as f64),
            Axis::counts(most),
        );
        let calls = |rate: &Rate| rate.calls;
        let refused = |rate: &Rate| rate.refused;
        chart.steps("flight", "", &steps(rates, origin, calls));
        let has_refusals = rates.iter().any(|rate| rate.refused > 0);
        if has_refusals {
            chart.steps("refused", "", &steps(rates, origin, refused));
        }
        if let Some(((each, keys), in_all)) = limit.zip(in_all) {
            let each = grouped(each.into());
            let label = if keys == 1 {
                format!("limit {each}")
            } else {
                format!("limit {keys} keys x {each}")
            };
            chart.limit(in_all, &label);
        }
        let width = span((first.until - first.from) as f64);
        let hint = if limit.is_none() {
            " With --rpm N the limit is drawn, too."
        } else {
            ""
        };
        let note = format!(
            "Calls that left, counted over {width} at a time and told as calls a minute.{hint}"
        );
        let kinds: &[_] = if has_refusals {
            &[("flight", "calls"), ("refused", "of these refused")]
        } else {
            &[("flight", "calls")]
        };
        page.section("Calls a minute", &note, legend(kinds) + &chart.to_string());
        let most_refused = rates
            .iter()
            .map(|rate| rate.a_minute(rate.refused))
            .fold(0.0, f64::max);
        if has_refusals && most_refused < most * SEEN {
            let about = format!("Refused calls a minute over time; the most are {most_refused:.0}");
            let x = Axis::time((end - origin) as f64);
            let mut chart = Chart::new(&about, 90, x, Axis::counts(most_refused));
            chart.steps("refused", "", &steps(rates, origin, refused));
            page.section(
                "Refused calls a minute",
                "The refused alone, on a scale of their own.",
                chart,
            );
        }
    }

    fn draw_latency(&self, page: &mut Page) {
        let (steps, is_answered) = (&self.pictures.latency, self.latency.answered.is_some());
        let Some(latency) = self.latency.answered.or(self.latency.all) else {
            return;
        };
        let Some(((from, ..), (_, below, _))) = steps.first().zip(steps.last()) else {
            return;
        };
        let Latency {
            p50_ms,
            p95_ms,
            p99_ms,
            longest_ms,
        } = latency;
        let whose = if is_answered {
            "calls that were answered"
        } else {
            "all calls, none of which was answered"
        };
        let about = format!(
            "Latency of {whose}: half within {p50_ms} ms, 99 % within {p99_ms} ms, the longest {longest_ms} ms"
        );
        let most = steps.iter().map(|(.., count)| *count).max().unwrap_or(0);
        let x = Axis::doublings(*from as f64 * 0.9, *below as f64 * 1.1);
        let mut chart = Chart::new(&about, 180, x, Axis::counts(most as f64));
        for (from, below, count) in steps.iter().filter(|(.., count)| *count > 0) {
            let title = format!(
                "{} to {}: {}",
                span(*from as f64),
                span(*below as f64),
                counted(*count, "call")
            );
            chart.bar(
                "flight",
                &title,
                (*from as f64, *below as f64),
                (0.0, *count as f64),
            );
        }
        for (row, name, ms) in [(0, "p50", p50_ms), (1, "p95", p95_ms), (2, "p99", p99_ms)] {
            chart.point_out(ms as f64, &format!("{name} {}", duration(ms)), row);
        }
        let note = format!(
            "How many of the {whose} took so long; each doubling is as wide. The longest took {}.",
            duration(longest_ms)
        );
        page.section(
            "Latency",
            &note,
            format!("<div class=\"pointers\">{chart}</div>"),
        );
    }

    fn draw_times(&self, page: &mut Page) {
        let (times, calls) = (&self.times, self.calls.total.max(1));
        let part = |kind, label: &str, ms: u64| Share {
            kind,
            label: label.to_owned(),
            amount: ms as f64,
            words: duration(ms),
            each: format!("{} a call", duration(ms / calls)),
        };
        let parts = [
            part("flight", "waiting for the server", times.took_ms),
            part(
                "paced",
                "waiting for a turn",
                times.paced_ms.saturating_sub(times.held_ms),
            ),
            part("held", "held by the server", times.held_ms),
            part("backoff", "backing off", times.backoff_ms),
        ];
        let note = "The time of all workers together: many times what the clock says, where they work side by side. Held \
                    is the waiting for turns for as long as a refusal said to wait.";
        page.section("Where the time went", note, shares(&parts));
    }

    fn draw_failures(&self, page: &mut Page) {
        const MOST: usize = 20;
        let failures = &self.prompts.failures;
        if failures.is_empty() {
            return page.section("Failures", "No prompt failed.", "");
        }
        let rows: Vec<_> = failures.iter().take(MOST).flat_map(rows_of).collect();
        let more = failures.len().saturating_sub(MOST);
        let note = if more > 0 {
            format!("The {MOST} most frequent reasons; there are {more} others.")
        } else {
            "Prompts by the reason they failed for, with the first few of each.".to_owned()
        };
        page.section(
            "Failures",
            &note,
            stacked(["prompts", "reason", "such as", "because"], &rows),
        );
    }

    fn draw_extremes(&self, page: &mut Page) {
        let row = |amount: String, prompt: &Named| {
            let line = Cell::Figure(grouped(prompt.record));
            [Cell::Figure(amount), name(prompt), asked(prompt), line]
        };
        let slowest: Vec<_> = self
            .slowest
            .iter()
            .map(|slow| row(duration(slow.took_ms), &slow.prompt))
            .collect();
        if !slowest.is_empty() {
            let note = "From the departure of the first call to the end of the last.";
            let headings = ["took", "prompt", "which asks", "line of the results"];
            page.section("Slowest prompts", note, stacked(headings, &slowest));
        }
        let retried: Vec<_> = self
            .most_retried
            .iter()
            .map(|most| row(grouped(most.retries), &most.prompt))
            .collect();
        if !retried.is_empty() {
            let note = "Calls after the first.";
            let headings = ["retries", "prompt", "which asks", "line of the results"];
            page.section("Most retried prompts", note, stacked(headings, &retried));
        }
    }
}

/// How many a minute there were of something, from one stretch of time to the next.
fn steps(rates: &[Rate], origin: u64, count: impl Fn(&Rate) -> u64) -> Vec<(f64, f64, f64)> {
    let from_origin = |at: u64| at.saturating_sub(origin) as f64;
    let step = |rate: &Rate| {
        (
            from_origin(rate.from),
            from_origin(rate.until),
            rate.a_minute(count(rate)),
        )
    };
    rates.iter().map(step).collect()
}

fn name(named: &Named) -> Cell {
    Cell::Text(cut(&one_line(&named.custom_id), 120))
}

fn asked(named: &Named) -> Cell {
    Cell::Text(cut(&named.asked, 120))
}

/// A reason with its first example, and below it the others.
fn rows_of(
    Failure {
        code,
        count,
        examples,
    }: &Failure,
) -> impl Iterator<Item = [Cell; 4]> {
    examples
        .iter()
        .enumerate()
        .map(move |(n, Example { prompt, message })| {
            let [count, code] = if n == 0 {
                [grouped(*count), cut(code, 60)]
            } else {
                [const { String::new() }; 2]
            };
            let such_as = cut(&one_line(&prompt.custom_id), 60);
            let such_as = if prompt.asked.is_empty() {
                such_as
            } else {
                format!("{such_as}: {}", cut(&prompt.asked, 80))
            };
            let because = Cell::Text(cut(&one_line(message), 300));
            [
                Cell::Figure(count),
                Cell::Text(code),
                Cell::Text(such_as),
                because,
            ]
        })
}

/// A row a worker. Waits are thin and calls are thick, so that they differ without their colours.
fn lanes_chart(lanes: &[Vec<Piece>], origin: u64, end: u64) -> Chart {
    let row = if lanes.len() > 24 { 8 } else { 15 };
    let calls = lanes
        .iter()
        .flatten()
        .filter(|piece| is_call(piece.doing))
        .count();
    let about = format!(
        "{calls} calls of {} workers over {}",
        lanes.len(),
        duration(end - origin)
    );
    let x = Axis::time((end - origin) as f64);
    let mut chart = Chart::new(
        &about,
        row * lanes.len().max(1) as u32,
        x,
        Axis::rows(lanes.len()),
    );
    let rows = || {
        lanes
            .iter()
            .enumerate()
            .flat_map(|(row, lane)| lane.iter().map(move |piece| (row as f64, piece)))
    };
    let from_origin = |piece: &Piece| ((piece.from - origin) as f64, (piece.until - origin) as f64);
    for doing in Doing::ALL.into_iter().rev() {
        let of_kind = rows().filter(|(_, piece)| piece.doing == doing);
        if calls <= POINTED_AT && is_call(doing) {
            for (row, piece) in of_kind {
                chart.bar(
                    doing.shown().0,
                    &title(piece),
                    from_origin(piece),
                    (row + 0.2, row + 0.8),
                );
            }
        } else {
            let threads =
                of_kind.map(|(row, piece)| (from_origin(piece).0, from_origin(piece).1, row + 0.5));
            chart.threads(doing.shown().0, threads);
        }
    }
    let step = lanes.len().div_ceil(8).max(1);
    (0..lanes.len())
        .step_by(step)
        .for_each(|row| chart.beside(row as f64 + 0.5, &(row + 1).to_string()));
    chart
}

fn is_call(doing: Doing) -> bool {
    matches!(doing, Doing::InFlight | Doing::Faulty | Doing::Refused)
}

fn title(piece: &Piece) -> String {
    let (took, (_, what)) = (duration(piece.until - piece.from), piece.doing.shown());
    format!(
        "line {} of the results, call {}: {what} in {took}",
        piece.record, piece.n
    )
}

fn flow_chart(slices: &[Slice], origin: u64, end: u64) -> Chart {
    let sum = |slice: &Slice| {
        Doing::ALL
            .into_iter()
            .map(|doing| slice.workers(doing))
            .sum::<f64>()
    };
    let most = slices.iter().map(sum).fold(0.0, f64::max);
    let about = format!(
        "What up to {most:.0} workers did over {}",
        duration(end - origin)
    );
    let mut chart = Chart::new(
        &about,
        260,
        Axis::time((end - origin) as f64),
        Axis::counts(most),
    );
    let mut below = vec![0.0; slices.len()];
    for doing in Doing::ALL {
        let mut points = Vec::new();
        for (slice, low) in slices.iter().zip(&mut below) {
            let high = *low + slice.workers(doing);
            let [from, until] = [slice.from, slice.until].map(|at| (at - origin) as f64);
            points.extend([(from, *low, high), (until, *low, high)]);
            *low = high;
        }
        if slices.iter().any(|slice| slice.work[doing as usize] > 0) {
            let (kind, label) = doing.shown();
            chart.band(kind, label, &points);
        }
    }
    chart
}
