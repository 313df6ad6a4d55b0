//! A chart as plain data: marks in a drawing that is stretched to the width there is, and words beside it that are not.
//!
//! So the words are as large on a phone as on a desk. A mark's kind is a class of the style sheet, which gives it a
//! colour in both schemes, and a hatch where colours alone would not tell kinds apart.

use std::ops::Range;

use serde::Serialize;

use super::axis::Axis;

/// The width of the drawing in its own units, for any screen: that of `chart.html`.
const WIDTH: f64 = 1000.0;
/// The least width and height of a mark in these units, so that it is seen.
const LEAST: f64 = 1.5;

/// A chart in the making. What is drawn later lies above.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Chart {
    /// What it shows, for those who cannot see it.
    about: String,
    /// In pixels.
    height: u32,
    #[serde(skip)]
    x: Axis,
    #[serde(skip)]
    y: Axis,
    marks: Vec<Mark>,
    words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Mark {
    class: String,
    /// The path of an SVG.
    line: String,
    /// Shows when a pointer rests on the mark.
    title: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Word {
    class: String,
    /// A style.
    place: String,
    text: String,
}

impl Chart {
    /// A chart with a sentence that says what it shows, its height in pixels, and its axes.
    pub(crate) fn new(about: &str, height: u32, x: Axis, y: Axis) -> Self {
        let mut chart = Chart {
            about: about.to_owned(),
            height,
            x: x.clone(),
            y: y.clone(),
            marks: Vec::new(),
            words: Vec::new(),
        };
        // Faint lines at the values that are written beside the chart.
        let lines = y.ticks.iter().map(|tick| chart.across(tick.value));
        chart.mark("grid", lines.collect(), "");
        for tick in &y.ticks {
            chart.word("y", tick.value, &tick.word);
        }
        for (n, tick) in x.ticks.iter().enumerate() {
            // On a phone there is room for every other word.
            let between = if n % 2 == 0 { "" } else { " between" };
            // The last word would stand out at the right.
            let end = if x.place(tick.value) > 0.96 {
                " end"
            } else {
                ""
            };
            let class = format!("x{between}{end}");
            chart.add_word(&class, chart.left(tick.value), &tick.word);
        }
        chart
    }

    /// A bar over a stretch of x, between two values of y.
    pub(crate) fn bar(&mut self, class: &str, title: &str, x: Range<f64>, y: Range<f64>) {
        let bar = self.rectangle(&x, &y);
        self.mark(class, bar, title);
    }

    /// Bars of one class and height as one mark, however many there are.
    pub(crate) fn bars(&mut self, class: &str, xs: &[Range<f64>], y: Range<f64>) {
        let bars = xs.iter().map(|x| self.rectangle(x, &y));
        self.mark(class, bars.collect(), "");
    }

    /// A limit: a dashed line across, and its name.
    pub(crate) fn limit(&mut self, y: f64, label: &str) {
        self.mark("limit", self.across(y), "");
        self.word("at-limit", y, label);
    }

    /// Points out a value of x: a line down, and to its left its name in the given row above the chart, from 0. Rows that
    /// rise with x keep names off the lines.
    pub(crate) fn point_out(&mut self, x: f64, label: &str, row: usize) {
        let place = format!("{};--row:{row}", self.left(x));
        self.add_word("pointed", place, label);
    }

    /// A word at a height, with a class that says where: `y` is to the left of the chart, `within` at its left edge.
    pub(crate) fn word(&mut self, class: &str, y: f64, label: &str) {
        let top = (1.0 - self.y.place(y)) * 100.0;
        self.add_word(class, format!("top:{top:.2}%"), label);
    }

    fn mark(&mut self, class: &str, line: String, title: &str) {
        if !line.is_empty() {
            self.marks.push(Mark {
                class: class.to_owned(),
                line,
                title: title.to_owned(),
            });
        }
    }

    fn add_word(&mut self, class: &str, place: String, text: &str) {
        self.words.push(Word {
            class: class.to_owned(),
            place,
            text: text.to_owned(),
        });
    }

    fn left(&self, x: f64) -> String {
        format!("left:{:.2}%", self.x.place(x) * 100.0)
    }

    fn top(&self, y: f64) -> f64 {
        (1.0 - self.y.place(y)) * f64::from(self.height)
    }

    /// A line from the left edge to the right one.
    fn across(&self, y: f64) -> String {
        format!("M0 {:.1}H{WIDTH}", self.top(y))
    }

    /// What is too small to be seen is made larger.
    fn rectangle(&self, x: &Range<f64>, y: &Range<f64>) -> String {
        let [left, right] = [x.start, x.end].map(|x| self.x.place(x) * WIDTH);
        let [one, other] = [y.start, y.end].map(|y| self.top(y));
        let (width, height) = ((right - left).max(LEAST), (one - other).abs().max(LEAST));
        let top = one.max(other) - height;
        format!("M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::new("calls", 100, Axis::time(1000.0), Axis::rows(1))
    }

    #[test]
    fn marks_lie_where_their_values_say_and_are_never_too_small_to_see() {
        let mut chart = chart();
        chart.bar("answered", "one call", 250.0..500.0, 0.0..0.5);
        chart.bars("limited", &[0.0..100.0, 500.0..500.0], 0.5..1.0);
        chart.bar("failed", "", 0.0..1000.0, 1.0..1.0);
        let lines: Vec<_> = chart.marks.iter().map(|mark| &*mark.line).collect();
        let expected = [
            "M250.0 0.0h250.0v50.0h-250.0z",
            "M0.0 50.0h100.0v50.0h-100.0zM500.0 50.0h1.5v50.0h-1.5z",
            "M0.0 98.5h1000.0v1.5h-1000.0z",
        ];
        assert_eq!(lines, expected);
        assert_eq!(chart.marks[0].title, "one call");
    }

    #[test]
    fn nothing_to_draw_is_no_mark() {
        let mut chart = chart();
        chart.bars("limited", &[], 0.0..1.0);
        assert!(chart.marks.is_empty());
    }
}
