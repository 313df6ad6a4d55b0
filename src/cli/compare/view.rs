//! The comparison as a text, as a page and as a picture: one set of figures, laid out by the templates beside this file.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::result::{StrategyFigures, USUAL_RETRIES};
use super::{StrategyComparison, StrategyResult};
use crate::cli::format::{millis, milliseconds};
use crate::cli::page::{Axis, Chart};
use crate::cli::template::{self, TextLook};

/// The bars of a small chart: about as many as can be told apart on a phone.
const BARS: usize = 120;
/// The small charts show the time that the limit needs for this many calls: enough for several waves.
const INTERVALS: u32 = 20;
/// The heights of a strategy in the first chart and of a small chart, in pixels.
const ROW: u32 = 46;
const SMALL: u32 = 110;

/// What the templates show.
#[derive(Debug, Serialize)]
struct ComparisonFigures {
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
    rows: Vec<StrategyFigures>,
}

/// What the pictures show besides.
#[derive(Debug, Serialize)]
struct ComparisonPictures {
    figures: ComparisonFigures,
    remarks: String,
    times: Chart,
    /// How much of the time the small charts show.
    near_ms: u64,
    /// The calls of each strategy in that time, in parts of it.
    bars: Vec<Vec<ArrivalBar>>,
    small: Vec<Chart>,
}

/// The calls that arrived in one part of the time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct ArrivalBar {
    accepted: u32,
    limited: u32,
}

impl StrategyComparison {
    /// A table with remarks below, without a line feed at the end.
    pub(super) fn to_text(&self, look: TextLook) -> io::Result<String> {
        let template = concat!(include_str!("text.txt"), "\n", include_str!("remarks.txt"));
        template::text(template, &self.figures(), look)
    }

    /// One page that needs nothing else, for a browser.
    pub(super) fn to_html(&self) -> io::Result<String> {
        template::html(include_str!("page.html"), &self.pictures()?)
    }

    /// One SVG file, for a README: it has both colour schemes in it, and needs no font and no script.
    pub(super) fn to_svg(&self) -> io::Result<String> {
        template::html(include_str!("picture.svg"), &self.pictures()?)
    }

    fn figures(&self) -> ComparisonFigures {
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
            rows: self.results.iter().map(StrategyResult::figures).collect(),
        }
    }

    fn pictures(&self) -> io::Result<ComparisonPictures> {
        let figures = self.figures();
        let remarks = template::text(include_str!("remarks.txt"), &figures, TextLook::ENDLESS)?;
        let longest = self.results.iter().map(|result| result.time).max();
        let near = self.scenario.interval() * INTERVALS;
        let near = near.min(longest.unwrap_or_default());
        let bars: Vec<_> = self.results.iter().map(|r| bars(r, near)).collect();
        Ok(ComparisonPictures {
            remarks,
            times: times(&figures.rows),
            near_ms: millis(near),
            small: self.small(near, &bars),
            bars,
            figures,
        })
    }

    /// The calls of each strategy, with the same axes for all.
    fn small(&self, near: Duration, bars: &[Vec<ArrivalBar>]) -> Vec<Chart> {
        let most = bars.iter().flatten().map(|bar| bar.accepted + bar.limited);
        let most = f64::from(most.max().unwrap_or(0));
        let width = near.as_secs_f64() * 1000.0 / BARS as f64;
        let allowed = width / 1000.0 / self.scenario.interval().as_secs_f64();
        let strategies = self.results.iter().zip(bars);
        let charts = strategies.map(|(result, bars)| {
            let near = milliseconds(millis(near));
            let about = format!("Calls within the first {near}: {}", result.name);
            let x = Axis::time(width * BARS as f64);
            let mut chart = Chart::new(&about, SMALL, x, Axis::counts(most));
            for (n, bar) in bars.iter().enumerate() {
                draw_bar(&mut chart, *bar, n as f64, width);
            }
            chart.limit(allowed.max(1.0), "limit");
            chart
        });
        charts.collect()
    }
}

/// Accepted calls below those that were not. A small gap tells neighbours apart.
fn draw_bar(chart: &mut Chart, bar: ArrivalBar, n: f64, width: f64) {
    let x = n * width..(n + 0.86) * width;
    let [accepted, limited] = [bar.accepted, bar.limited].map(f64::from);
    if accepted > 0.0 {
        let title = format!("{accepted} accepted");
        chart.bar("answered", &title, x.clone(), 0.0..accepted);
    }
    if limited > 0.0 {
        let title = format!("{limited} answered with 429");
        chart.bar("limited", &title, x, accepted..accepted + limited);
    }
}

/// All strategies on one axis: the length of a bar is the time, a part of it is red like the share of refused calls.
fn times(rows: &[StrategyFigures]) -> Chart {
    let longest = rows.iter().map(|row| row.time_ms).max().unwrap_or(0);
    let about = "How long each strategy takes, and how many of its calls got a 429";
    let y = Axis::rows(rows.len());
    let mut chart = Chart::new(
        about,
        ROW * rows.len() as u32,
        Axis::time(longest as f64),
        y,
    );
    for (n, row) in rows.iter().enumerate() {
        let (class, word) = match n + 1 == rows.len() {
            true => ("answered", "within best"),
            false => ("waiting", "within"),
        };
        let share = row.rate_limited as f64 / row.call_count.max(1) as f64;
        let (name, time, percent) = (&row.name, milliseconds(row.time_ms), share * 100.0);
        let label = format!("{name}: {time}, {percent:.0} % got a 429");
        let (top, time) = (n as f64, row.time_ms as f64);
        let y = top + 0.48..top + 0.9;
        chart.bar(class, &label, time * share..time, y.clone());
        if share > 0.0 {
            chart.bar("limited", &label, 0.0..time * share, y);
        }
        chart.word(word, top + 0.25, &label);
    }
    chart
}

fn bars(result: &StrategyResult, length: Duration) -> Vec<ArrivalBar> {
    let mut bars = vec![ArrivalBar::default(); BARS];
    for call in &result.calls {
        let part = call.at.as_secs_f64() / length.as_secs_f64() * BARS as f64;
        // The last call may arrive at the very end, where the next bar would begin.
        if let Some(bar) = bars.get_mut(part as usize) {
            bar.accepted += u32::from(call.accepted);
            bar.limited += u32::from(!call.accepted);
        }
    }
    bars
}
