//! The comparison as a text, as a page and as a picture: one set of figures, laid out by the templates beside this file.

use std::io;

use serde_json::{Value, json};

use super::result::{USUAL_RETRIES, nanos};
use super::{StrategyComparison, StrategyResult};
use crate::cli::page::Axis;
use crate::cli::statistics::histogram;
use crate::cli::template::{self, TextLook};
use crate::text::millis;

/// The bars of a small chart: about as many as can be told apart on a phone.
const BARS: usize = 120;
/// The small charts show the time that the limit needs for this many calls: enough for several waves.
const INTERVALS: u32 = 20;

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

    fn figures(&self) -> Value {
        let scenario = &self.scenario;
        let numbers = [scenario.prompts, scenario.rpm, scenario.burst].map(|n| n.get());
        let rows: Vec<_> = self.results.iter().map(StrategyResult::figures).collect();
        json!({
            "prompts": scenario.prompts,
            "rpm": scenario.rpm,
            "workers": scenario.workers,
            // The options of the article that the story is from.
            "is_the_articles": numbers == [200, 10, 1],
            "best_ms": millis(scenario.last_call_at_best()),
            "allowed_in_a_wave": scenario.allowed_in_a_wave(),
            "usual_retries": USUAL_RETRIES,
            "rows": rows,
        })
    }

    /// The figures, and what the pictures show besides.
    fn pictures(&self) -> io::Result<Value> {
        let mut view = self.figures();
        let remarks = template::text(include_str!("remarks.txt"), &view, TextLook::ENDLESS)?;
        let longest = self.results.iter().map(|result| result.time).max();
        let longest = longest.unwrap_or_default();
        let near = longest.min(self.scenario.interval() * INTERVALS);
        // The calls that were accepted, and those that were not.
        let bars = |result: &StrategyResult| -> Vec<[u64; 2]> {
            let calls = result.calls.iter();
            let places = calls.map(|call| (nanos(call.at), usize::from(!call.is_accepted())));
            histogram(BARS, nanos(near), places)
        };
        let bars: Vec<_> = self.results.iter().map(bars).collect();
        let most = bars.iter().flatten().map(|bar| bar[0] + bar[1]).max();
        view["remarks"] = remarks.into();
        view["times"] = json!(Axis::time(millis(longest)));
        view["near_ms"] = millis(near).into();
        view["near"] = json!(Axis::time(millis(near)));
        view["counts"] = json!(Axis::counts(most.unwrap_or(0) as f64));
        view["arrivals"] = json!(bars);
        Ok(view)
    }
}
