//! The comparison as a page: the table, and for each strategy the calls as they reached the server.

use std::time::Duration;

use super::text::HEAD;
use super::{StrategyComparison, StrategyResult};
use crate::cli::format::{counted, duration};
use crate::cli::page::{Axis, Cell, Chart, Escaped, Page, legend, table};

/// The bars of a chart: about as many as can be told apart on a phone.
const BARS: usize = 120;

/// The first chart shows the time that the limit needs for this many calls: enough for several waves.
const INTERVALS: u32 = 20;

const HEIGHT: u32 = 110;

const NOTE: &str = "x pool: how many times as long as the paced pool. Wave: the most calls that reached the server \
                    within a tenth of a second, without the first call of each thread. Worst prompt: the most 429s \
                    that one prompt got.";

impl StrategyComparison {
    /// One page that needs nothing else, for a browser.
    pub(super) fn to_html(&self) -> String {
        let scenario = &self.scenario;
        let title = format!(
            "{} prompts at {} calls a minute, six ways",
            scenario.prompts, scenario.rpm
        );
        let mut page = Page::new(&title);
        for remark in self.remarks() {
            page.lead(Escaped(&remark));
        }
        page.section("The table", NOTE, self.html_table());
        let colours = legend(&[("answered", "accepted"), ("limited", "429")]);
        let longest = self.results.iter().map(|result| result.time).max();
        let longest = longest.unwrap_or_default();
        let first = (scenario.interval() * INTERVALS).min(longest);
        let near = ChartRange::new(self, first);
        let whole = ChartRange::new(self, longest);
        for result in &self.results {
            let caption = format!(
                "{}, {}, {} of them answered with 429. Above the first {}, below the whole time; all strategies have \
                 the same axes.",
                duration(result.time),
                counted(result.calls.len() as u64, "call"),
                result.rate_limited(),
                duration(first),
            );
            let charts = format!("{colours}{}{}", near.draw(result), whole.draw(result));
            page.section(&result.name, &caption, charts);
        }
        page.to_string()
    }

    fn html_table(&self) -> String {
        let row = |result| {
            let mut cells = self.cells(result).map(Cell::Figure);
            cells[0] = Cell::Text(result.name.clone());
            cells
        };
        let rows: Vec<_> = self.results.iter().map(row).collect();
        // A phone scrolls the table sideways, rather than break a name into pieces.
        format!(
            "<div style=\"white-space:nowrap\">{}</div>",
            table(HEAD, &rows)
        )
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
        let length = duration(self.length);
        let about = format!("calls within the first {length}: {}", result.name);
        let x = Axis::time(ms(self.length));
        let mut chart = Chart::new(&about, HEIGHT, x, Axis::counts(self.most as f64));
        let width = ms(self.length) / BARS as f64;
        for (n, bar) in bars(result, self.length).into_iter().enumerate() {
            // A small gap tells neighbours apart.
            let x = (n as f64 * width, (n as f64 + 0.86) * width);
            let (accepted, all) = (bar.accepted as f64, bar.all as f64);
            if accepted > 0.0 {
                chart.bar(
                    "answered",
                    &format!("{accepted} accepted"),
                    x,
                    (0.0, accepted),
                );
            }
            if all > accepted {
                let limited = format!("{} answered with 429", all - accepted);
                chart.bar("limited", &limited, x, (accepted, all));
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
