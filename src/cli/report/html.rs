//! The report as a page: one file that can be sent to a colleague. The page itself is the template `page.html`; this file
//! gives it the report, the charts, and what the report's numbers come to.

use std::io;

use serde::Serialize;

use super::charts;
use super::numbers::{Moment, RecordRef, Report};
use crate::cli::format::shortened;
use crate::cli::page::page;
use crate::cli::template;

const TEMPLATE: &str = include_str!("page.html");

/// What the template shows.
#[derive(Debug, Serialize)]
struct PageValues<'a> {
    report: &'a Report,
    /// Calls that came too soon, all keys together.
    too_soon: u64,
    first_call: String,
    last_call: String,
    took_ms: u64,
    rate_limited: u64,
    /// How long the key was paused that was paused longest.
    paused_ms: u64,
    slice_ms: u64,
    /// Classes of the style sheet, and names.
    legend: Vec<(&'static str, &'static str)>,
    rates: String,
    lanes: String,
    latency: String,
    shares: [TimeShare; 4],
    prompt_rows: Vec<RankedPrompt<'a>>,
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

/// A prompt that took long, or was retried often, or both.
#[derive(Debug, Serialize)]
struct RankedPrompt<'a> {
    prompt: &'a RecordRef,
    took_ms: Option<u64>,
    retries: Option<u64>,
}

impl Report {
    /// The report as one HTML file without a reference to anything outside. `of` is the name of the results. It is
    /// smaller than 1 MB, whatever the size of the run.
    ///
    /// # Errors
    /// None that tests have not found: the template does not fit what it is given.
    pub(super) fn to_html(&self, of: &str) -> io::Result<String> {
        let title = format!("Paceline: {}", shortened(of, 120));
        if self.prompts.answered + self.prompts.failed == 0 {
            return Ok(page(&title, "<p class=\"lead\">No records yet.</p>"));
        }
        Ok(page(
            &title,
            &template::html(TEMPLATE, &self.page_values())?,
        ))
    }

    fn page_values(&self) -> PageValues<'_> {
        let (keys, timeline) = (&self.keys, &self.timeline);
        let excess = keys.iter().filter_map(|key| key.excess.as_ref());
        let at = |moment: Option<Moment>| moment.map(local_time).unwrap_or_default();
        let slice = timeline.slices.first();
        PageValues {
            report: self,
            too_soon: excess.map(|excess| excess.too_soon).sum(),
            first_call: at(self.span.map(|span| span.first)),
            last_call: at(self.span.map(|span| span.last)),
            took_ms: timeline.until - timeline.from,
            rate_limited: keys.iter().map(|key| key.rate_limited).sum(),
            paused_ms: keys.iter().map(|key| key.paused_ms).max().unwrap_or(0),
            slice_ms: slice.map_or(0, |slice| slice.until - slice.from),
            legend: charts::legend(timeline),
            rates: charts::rates(self),
            lanes: charts::lanes(timeline),
            latency: charts::latency(self),
            shares: self.shares(),
            prompt_rows: self.prompt_rows(),
        }
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

    fn prompt_rows(&self) -> Vec<RankedPrompt<'_>> {
        let mut rows: Vec<_> = self.slowest.iter().map(RankedPrompt::from_slow).collect();
        for most in &self.most_retried {
            let same = |row: &&mut RankedPrompt<'_>| row.prompt.record == most.prompt.record;
            let retries = Some(most.retries);
            match rows.iter_mut().find(same) {
                Some(row) => row.retries = retries,
                None => rows.push(RankedPrompt {
                    prompt: &most.prompt,
                    took_ms: None,
                    retries,
                }),
            }
        }
        rows
    }
}

impl<'a> RankedPrompt<'a> {
    fn from_slow(slow: &'a super::numbers::SlowPrompt) -> Self {
        RankedPrompt {
            prompt: &slow.prompt,
            took_ms: Some(slow.took_ms),
            retries: None,
        }
    }
}

/// The local time with its zone, to the second.
fn local_time(moment: Moment) -> String {
    let zone = jiff::tz::TimeZone::system();
    let local = moment.timestamp().to_zoned_datetime(zone);
    local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}
