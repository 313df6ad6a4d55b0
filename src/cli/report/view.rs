//! The report for people: one set of figures and words for the text and for the page, which are templates beside this
//! file. The verdict, the causes and the numbers of calls have the words that a run ends with.

use std::io;

use serde::Serialize;

use super::charts;
use super::numbers::{Moment, RankedPrompt, Report, TimeSpent};
use crate::batch::FailureCause;
use crate::cli::args::CostArgs;
use crate::cli::format::shortened;
use crate::cli::page::page;
use crate::cli::stop::advice;
use crate::cli::summary::call_counts;
use crate::cli::template::{self, TextLook};
use crate::outcome::CallOutcome;

/// What both templates show.
#[derive(Debug, Serialize)]
struct ReportView<'a> {
    report: &'a Report,
    /// Columns of the terminal.
    width: usize,
    /// What is odd about answers, in words.
    flags: String,
    causes: Vec<CauseView<'a>>,
    calls: String,
    cost: Option<String>,
    /// Calls that came too soon, all keys together.
    too_soon: u64,
    /// The departures of the first and the last call, in local time.
    first_call: String,
    last_call: String,
    /// Between these two.
    length_ms: u64,
    /// From the first call to the end of the last.
    took_ms: u64,
    rate_limited: u64,
    /// How long the key was paused that was paused longest.
    paused_ms: u64,
    /// A label, the times, and by how many calls they are divided.
    time_rows: Vec<(String, TimeSpent, u64)>,
    /// The slowest prompts, then the most retried of the others.
    prompt_rows: Vec<&'a RankedPrompt>,
}

/// Why prompts failed, and what to do about it.
#[derive(Debug, Serialize)]
struct CauseView<'a> {
    cause: &'a FailureCause,
    /// `rate limited`, `fault`, `rejected` or `fatal`.
    class: &'static str,
    label: String,
    /// The cause as it is displayed during a run.
    said: String,
    advice: String,
}

/// What the page shows besides.
#[derive(Debug, Serialize)]
struct PageView<'a> {
    view: ReportView<'a>,
    verdict: String,
    slice_ms: u64,
    /// Classes of the style sheet, and names.
    legend: Vec<(&'static str, &'static str)>,
    rates: String,
    lanes: String,
    latency: String,
    shares: [TimeShare; 4],
}

/// A part of the time that the workers spent.
#[derive(Debug, Serialize)]
struct TimeShare {
    /// A class of the style sheet.
    class: &'static str,
    label: &'static str,
    percent: String,
    /// For each call.
    each_ms: u64,
}

impl Report {
    fn is_empty(&self) -> bool {
        self.prompts.answered + self.prompts.failed == 0
    }

    /// The report as lines without a line feed at the end. A file without records has a line that says so.
    ///
    /// # Errors
    /// Those of [`template::text`].
    pub(super) fn to_text(&self, cost: &CostArgs, look: TextLook) -> io::Result<String> {
        if self.is_empty() {
            return Ok("no records yet".to_owned());
        }
        let template = concat!(include_str!("verdict.txt"), include_str!("text.txt"));
        template::text(template, &self.view(cost, look.width), look)
    }

    /// The report as one HTML file without a reference to anything outside. `of` is the name of the results. It is
    /// smaller than 1 MB, whatever the size of the run.
    ///
    /// # Errors
    /// Those of [`template::html`].
    pub(super) fn to_html(&self, of: &str, cost: &CostArgs) -> io::Result<String> {
        let title = format!("Paceline: {}", shortened(of, 120));
        if self.is_empty() {
            return Ok(page(&title, "<p class=\"lead\">No records yet.</p>"));
        }
        let view = self.view(cost, usize::MAX);
        let look = TextLook {
            width: usize::MAX,
            colour: false,
        };
        let timeline = &self.timeline;
        let slice = timeline.slices.first();
        let page_view = PageView {
            verdict: template::text(include_str!("verdict.txt"), &view, look)?,
            view,
            slice_ms: slice.map_or(0, |slice| slice.until - slice.from),
            legend: charts::legend(timeline),
            rates: charts::rates(self),
            lanes: charts::lanes(timeline),
            latency: charts::latency(self),
            shares: self.shares(),
        };
        Ok(page(
            &title,
            &template::html(include_str!("page.html"), &page_view)?,
        ))
    }

    fn view(&self, cost: &CostArgs, width: usize) -> ReportView<'_> {
        let (keys, calls) = (&self.keys, &self.calls);
        let excess = keys.iter().filter_map(|key| key.excess.as_ref());
        let at = |moment: Option<Moment>| moment.map(local_time).unwrap_or_default();
        let causes = self.prompts.causes.list.iter();
        let model = self.sent_with.model.as_deref();
        ReportView {
            report: self,
            width,
            flags: self.prompts.flags.to_string(),
            causes: causes.map(|cause| CauseView::new(cause, model)).collect(),
            calls: call_counts(
                calls.total,
                calls.retries,
                &calls.failed,
                calls.maybe_billed,
            ),
            cost: cost.of(self.tokens.usage),
            too_soon: excess.map(|excess| excess.too_soon).sum(),
            first_call: at(self.span.map(|span| span.first)),
            last_call: at(self.span.map(|span| span.last)),
            length_ms: self.span.map_or(0, |span| span.last.0 - span.first.0),
            took_ms: self.timeline.until - self.timeline.from,
            rate_limited: keys.iter().map(|key| key.rate_limited).sum(),
            paused_ms: keys.iter().map(|key| key.paused_ms).max().unwrap_or(0),
            time_rows: self.time_rows(),
            prompt_rows: self.prompt_rows(),
        }
    }

    fn time_rows(&self) -> Vec<(String, TimeSpent, u64)> {
        let keys = self.keys.iter().filter(|_| self.keys.len() > 1);
        let keys = keys.map(|key| (format!("key {}", key.key), key.times, 1));
        let all = [
            ("all calls".to_owned(), self.times, 1),
            ("a call".to_owned(), self.times, self.calls.total.max(1)),
        ];
        keys.chain(all).collect()
    }

    fn prompt_rows(&self) -> Vec<&RankedPrompt> {
        let is_slow = |line| self.slowest.iter().any(|slow| slow.line == line);
        let others = self.most_retried.iter().filter(|most| !is_slow(most.line));
        self.slowest.iter().chain(others).collect()
    }

    fn shares(&self) -> [TimeShare; 4] {
        let times = &self.times;
        let waiting_ms = times.paced_ms.saturating_sub(times.paused_ms);
        let parts = [
            ("answered", "waiting for the server", times.took_ms),
            ("waiting", "waiting for a permit", waiting_ms),
            ("paused", "paused", times.paused_ms),
            ("backoff", "backing off", times.backoff_ms),
        ];
        let whole: f64 = parts.iter().map(|(_, _, ms)| *ms as f64).sum();
        parts.map(|(class, label, ms)| TimeShare {
            class,
            label,
            percent: format!("{:.1}", ms as f64 * 100.0 / whole.max(1.0)),
            each_ms: ms / self.calls.total.max(1),
        })
    }
}

impl<'a> CauseView<'a> {
    fn new(cause: &'a FailureCause, model: Option<&str>) -> Self {
        let class = match cause.outcome {
            CallOutcome::RateLimited => "rate limited",
            CallOutcome::Rejected => "rejected",
            CallOutcome::Fatal => "fatal",
            _ => "fault",
        };
        let label = cause.label();
        let said = match cause.status {
            Some(_) => cause.to_string(),
            None => format!("{label}: {cause}"),
        };
        CauseView {
            cause,
            class,
            label,
            said,
            advice: advice(cause, model, ""),
        }
    }
}

/// The local time with its zone, to the second.
pub(super) fn local_time(moment: Moment) -> String {
    let zone = jiff::tz::TimeZone::system();
    let local = moment.timestamp().to_zoned_datetime(zone);
    local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}
