//! The comparison as one SVG file, for a README: for each strategy the calls of the first intervals, as they reached the
//! server, and its time and 429s. It has both colour schemes in it, needs no font and no script.

use std::fmt::Write;
use std::time::Duration;

use super::result::StrategyResult;
use super::{Scenario, StrategyComparison};
use crate::cli::format::{counted, duration};

/// The picture shows the time that the limit needs for this many calls: several waves of each strategy.
const INTERVALS: u32 = 20;

/// One bar has the width of a twentieth of an interval of 6 s, at most that number in all, so that a bar is 4 units wide.
const BARS: usize = 120;

const WIDTH: usize = 760;
const ROW: usize = 62;
const TOP: usize = 64;
/// Where the bars begin, and how tall the tallest is.
const LEFT: f64 = 240.0;
const TALLEST: f64 = 44.0;
const BAR: f64 = 4.0;

const STYLE: &str = "\
text{font:14px system-ui,sans-serif;fill:#1d2125}.quiet{fill:#5d656d;font-size:12px}.paper{fill:#fdfdfb}\
.line{stroke:#dcdfe1}.answered{fill:#2f6fab}.limited{fill:#c2410c}\
@media(prefers-color-scheme:dark){text{fill:#e4e7e9}.quiet{fill:#9aa3ab}.paper{fill:#14171a}\
.line{stroke:#2c3237}.answered{fill:#4f94d4}.limited{fill:#ff8f5a}}";

impl StrategyComparison {
    /// One SVG file that needs nothing else.
    pub(super) fn to_svg(&self) -> String {
        let shown = self.scenario.interval() * INTERVALS;
        let height = TOP + ROW * self.results.len() + 8;
        let heading = heading(&self.scenario);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"{heading}\">\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
             <text x=\"16\" y=\"26\">{heading}</text>\n{}",
            legend(shown)
        );
        let bars: Vec<_> = self.results.iter().map(|r| bars(r, shown)).collect();
        let most = bars.iter().flatten().map(|bar| bar.accepted + bar.limited);
        let unit = TALLEST / most.max().unwrap_or(1).max(1) as f64;
        for (number, (result, bars)) in self.results.iter().zip(&bars).enumerate() {
            svg += &row(result, bars, unit, (TOP + ROW * (number + 1)) as f64);
        }
        svg + "</svg>\n"
    }
}

fn heading(scenario: &Scenario) -> String {
    format!(
        "{} at {} a minute: calls as they reach the server",
        counted(scenario.prompts.get().into(), "prompt"),
        scenario.rpm
    )
}

fn legend(shown: Duration) -> String {
    let first = duration(shown);
    format!(
        "<rect class=\"answered\" x=\"16\" y=\"40\" width=\"10\" height=\"10\"/>\
         <text class=\"quiet\" x=\"32\" y=\"50\">accepted</text>\
         <rect class=\"limited\" x=\"104\" y=\"40\" width=\"10\" height=\"10\"/>\
         <text class=\"quiet\" x=\"120\" y=\"50\">429</text>\
         <text class=\"quiet\" x=\"{LEFT}\" y=\"50\">the first {first}</text>\n"
    )
}

/// A strategy: its name and figures, and its bars on a line.
fn row(result: &StrategyResult, bars: &[ArrivalCount], unit: f64, y: f64) -> String {
    let (name, figures) = (&result.name, figures(result));
    let (above, below, right) = (y - 22.0, y - 5.0, LEFT + BAR * BARS as f64);
    let mut row = format!(
        "<text x=\"16\" y=\"{above}\">{name}</text>\
         <text class=\"quiet\" x=\"16\" y=\"{below}\">{figures}</text>\
         <path class=\"line\" d=\"M{LEFT} {y}H{right}\"/>\n"
    );
    for (number, bar) in bars.iter().enumerate() {
        let x = LEFT + BAR * number as f64;
        let accepted = bar.accepted as f64 * unit;
        let limited = bar.limited as f64 * unit;
        row += &mark("answered", x, y - accepted, accepted);
        row += &mark("limited", x, y - accepted - limited, limited);
    }
    row + "\n"
}

fn figures(result: &StrategyResult) -> String {
    let refused = counted(result.rate_limited() as u64, "429");
    format!("{}, {refused}", duration(result.time))
}

fn mark(kind: &str, x: f64, y: f64, height: f64) -> String {
    let mut mark = String::new();
    if height > 0.0 {
        // Writing to a String cannot fail.
        let _ = write!(
            mark,
            "<rect class=\"{kind}\" x=\"{x}\" y=\"{y:.1}\" width=\"3\" height=\"{height:.1}\"/>"
        );
    }
    mark
}

/// The calls that arrived in one part of the time.
#[derive(Clone, Copy, Debug, Default)]
struct ArrivalCount {
    accepted: usize,
    limited: usize,
}

fn bars(result: &StrategyResult, shown: Duration) -> [ArrivalCount; BARS] {
    let mut bars = [ArrivalCount::default(); BARS];
    for call in &result.calls {
        let part = call.at.as_secs_f64() / shown.as_secs_f64() * BARS as f64;
        if let Some(bar) = bars.get_mut(part as usize) {
            match call.accepted {
                true => bar.accepted += 1,
                false => bar.limited += 1,
            }
        }
    }
    bars
}
