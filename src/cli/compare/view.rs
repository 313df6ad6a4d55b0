//! The comparison as a text and as a page: one set of figures for both, laid out by the templates beside this file.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::{StrategyComparison, StrategyResult};
use crate::cli::format::{duration, millis};
use crate::cli::page::{Axis, Chart, page};
use crate::cli::template::{self, TextLook};

/// The retries after which a usual retry loop gives up.
const USUAL_RETRIES: usize = 5;
/// The bars of a small chart: about as many as can be told apart on a phone.
const BARS: usize = 120;
/// The small charts show the time that the limit needs for this many calls: enough for several waves.
const INTERVALS: u32 = 20;
/// The heights of a strategy in the first chart and of a small chart, in pixels.
const ROW: u32 = 46;
const SMALL: u32 = 110;

/// What the templates show.
#[derive(Debug, Serialize)]
struct ComparisonFigures<'a> {
    prompts: u32,
    rpm: u32,
    workers: usize,
    /// Whether these are the options of the article that the story is from.
    is_the_articles: bool,
    /// When the limit accepts the last prompt at the earliest.
    best_ms: u64,
    /// Calls that the limit accepts together.
    allowed_in_a_wave: u64,
    usual_retries: usize,
    /// In the order of the story; the paced pool comes last.
    rows: Vec<StrategyFigures<'a>>,
}

/// A row of the table, and what the remarks need beside it.
#[derive(Debug, Serialize)]
struct StrategyFigures<'a> {
    name: &'a str,
    time_ms: u64,
    /// How many times as long as the paced pool it took.
    times_the_pool: f64,
    calls: usize,
    rate_limited: usize,
    largest_wave: usize,
    /// The most 429s that one prompt got.
    most_for_a_prompt: usize,
    /// Prompts that got more 429s than a usual retry loop bears.
    given_up: usize,
    last_call_ms: u64,
}

/// What the page shows besides.
#[derive(Debug, Serialize)]
struct ComparisonPage<'a> {
    figures: &'a ComparisonFigures<'a>,
    remarks: Vec<&'a str>,
    times: String,
    /// How much of the time the small charts show.
    near_ms: u64,
    small: Vec<String>,
}

impl StrategyComparison {
    /// A table with remarks below, without a line feed at the end.
    pub(super) fn to_text(&self, look: TextLook) -> io::Result<String> {
        template::text(
            concat!(include_str!("text.txt"), "\n", include_str!("remarks.txt")),
            &self.figures(),
            look,
        )
    }

    /// One page that needs nothing else, for a browser.
    pub(super) fn to_html(&self) -> io::Result<String> {
        let figures = self.figures();
        // Wide enough for any remark to be a line.
        let look = TextLook {
            width: usize::MAX,
            colour: false,
        };
        let remarks = template::text(include_str!("remarks.txt"), &figures, look)?;
        let near = (self.scenario.interval() * INTERVALS).min(self.longest());
        let range = ChartRange::new(self, near);
        let values = ComparisonPage {
            figures: &figures,
            remarks: remarks.lines().filter(|line| !line.is_empty()).collect(),
            times: self.times(&figures),
            near_ms: millis(near),
            small: self
                .results
                .iter()
                .map(|result| range.draw(result))
                .collect(),
        };
        let title = format!(
            "{} prompts at {} calls a minute, six ways",
            figures.prompts, figures.rpm
        );
        Ok(page(
            &title,
            &template::html(include_str!("page.html"), &values)?,
        ))
    }

    fn figures(&self) -> ComparisonFigures<'_> {
        let scenario = &self.scenario;
        let numbers = [scenario.prompts, scenario.rpm, scenario.burst].map(|n| n.get());
        ComparisonFigures {
            prompts: scenario.prompts.get(),
            rpm: scenario.rpm.get(),
            workers: scenario.workers.get(),
            is_the_articles: numbers == [200, 10, 1],
            best_ms: millis(scenario.last_call_at_best()),
            allowed_in_a_wave: scenario.allowed_in_a_wave(),
            usual_retries: USUAL_RETRIES,
            rows: self.results.iter().map(|result| self.row(result)).collect(),
        }
    }

    fn row<'a>(&self, result: &'a StrategyResult) -> StrategyFigures<'a> {
        StrategyFigures {
            name: &result.name,
            time_ms: millis(result.time),
            times_the_pool: self.times_the_pool(result),
            calls: result.calls.len(),
            rate_limited: result.rate_limited(),
            largest_wave: result.largest_wave(),
            most_for_a_prompt: result.most_for_a_prompt(),
            given_up: result.prompts_with_more_than(USUAL_RETRIES),
            last_call_ms: millis(result.calls.last().map_or(Duration::ZERO, |call| call.at)),
        }
    }

    fn longest(&self) -> Duration {
        let times = self.results.iter().map(|result| result.time);
        times.max().unwrap_or_default()
    }

    /// All strategies on one axis: the length of a bar is the time, a part of it is red like the share of refused calls.
    fn times(&self, figures: &ComparisonFigures<'_>) -> String {
        let rows = &figures.rows;
        let axis = Axis::time(millis(self.longest()) as f64);
        let about = "How long each strategy takes, and how many of its calls got a 429";
        let mut chart = Chart::new(about, ROW * rows.len() as u32, axis, Axis::rows(rows.len()));
        for (n, row) in rows.iter().enumerate() {
            let is_pool = n + 1 == rows.len();
            let (class, word) = match is_pool {
                true => ("answered", "within best"),
                false => ("waiting", "within"),
            };
            let share = row.rate_limited as f64 / row.calls.max(1) as f64;
            let label = format!(
                "{}: {}, {:.0} % got a 429",
                row.name,
                duration(Duration::from_millis(row.time_ms)),
                share * 100.0
            );
            let (top, time) = (n as f64, row.time_ms as f64);
            let y = (top + 0.48, top + 0.9);
            chart.bar(class, &label, (time * share, time), y);
            if share > 0.0 {
                chart.bar("limited", &label, (0.0, time * share), y);
            }
            chart.word(word, top + 0.25, &label);
        }
        chart.to_string()
    }
}

/// A time from the start, with the same axes for all strategies.
struct ChartRange {
    length: Duration,
    /// The most calls in any bar.
    most: usize,
    /// The calls in each bar that the limit allows.
    allowed: f64,
}

/// The calls that arrived in one part of the time.
#[derive(Clone, Copy, Default)]
struct ArrivalBar {
    all: usize,
    accepted: usize,
}

impl ChartRange {
    fn new(comparison: &StrategyComparison, length: Duration) -> Self {
        let results = comparison.results.iter();
        let bars = results.flat_map(|result| bars(result, length));
        let width = length / BARS as u32;
        let interval = comparison.scenario.interval();
        ChartRange {
            length,
            most: bars.map(|bar| bar.all).max().unwrap_or(0),
            allowed: (width.as_secs_f64() / interval.as_secs_f64()).max(1.0),
        }
    }

    fn draw(&self, result: &StrategyResult) -> String {
        let about = format!(
            "Calls within the first {}: {}",
            duration(self.length),
            result.name
        );
        let x = Axis::time(ms(self.length));
        let mut chart = Chart::new(&about, SMALL, x, Axis::counts(self.most as f64));
        let width = ms(self.length) / BARS as f64;
        for (n, bar) in bars(result, self.length).into_iter().enumerate() {
            // A small gap tells neighbours apart.
            let x = (n as f64 * width, (n as f64 + 0.86) * width);
            let (accepted, all) = (bar.accepted as f64, bar.all as f64);
            if accepted > 0.0 {
                let title = format!("{accepted} accepted");
                chart.bar("answered", &title, x, (0.0, accepted));
            }
            if all > accepted {
                let title = format!("{} answered with 429", all - accepted);
                chart.bar("limited", &title, x, (accepted, all));
            }
        }
        chart.limit(self.allowed, "limit");
        chart.to_string()
    }
}

fn bars(result: &StrategyResult, length: Duration) -> [ArrivalBar; BARS] {
    let mut bars = [ArrivalBar::default(); BARS];
    for call in &result.calls {
        let part = ms(call.at) / ms(length) * BARS as f64;
        // The last call may arrive at the very end, where the next bar would begin.
        if let Some(bar) = bars.get_mut(part as usize) {
            bar.all += 1;
            bar.accepted += usize::from(call.accepted);
        }
    }
    bars
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
