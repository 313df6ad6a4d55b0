//! A chart: marks in an SVG that is stretched to the width there is, with words beside it that are not.
//!
//! So the words are as large on a phone as on a desk. A mark's kind is a class of the style sheet, which gives it a
//! colour in both schemes, and a hatch where colours alone would not tell kinds apart.

use std::fmt::{Display, Formatter, Result, Write};

use super::Escaped;
use super::axis::Axis;

/// The width of the drawing in its own units, for any screen.
const WIDTH: f64 = 1000.0;
/// The least width and height of a mark in these units, so that it is seen.
const LEAST: f64 = 1.5;

/// A chart in the making. What is drawn later lies above.
#[derive(Debug)]
pub(crate) struct Chart {
    about: String,
    height: f64,
    x: Axis,
    y: Axis,
    marks: String,
    words: String,
}

impl Chart {
    /// A chart with a sentence that says what it shows, its height in pixels, and its axes.
    pub(crate) fn new(about: &str, height: u32, x: Axis, y: Axis) -> Self {
        Chart {
            about: about.to_owned(),
            height: height.into(),
            x,
            y,
            marks: String::new(),
            words: String::new(),
        }
    }

    /// A bar over a stretch of x, between two values of y. The title shows when a pointer rests on it.
    pub(crate) fn bar(&mut self, kind: &str, title: &str, x: (f64, f64), y: (f64, f64)) {
        let [left, top, width, height] = self.rectangle(x, y);
        let title = Escaped(title);
        self.marks += &format!(
            "<rect class=\"{kind}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.2}\" \
             height=\"{height:.1}\"><title>{title}</title></rect>\n"
        );
    }

    /// Bars of one kind as one mark, however many there are.
    pub(crate) fn bars(
        &mut self,
        kind: &str,
        bars: impl IntoIterator<Item = ((f64, f64), (f64, f64))>,
    ) {
        let mut path = String::new();
        for (x, y) in bars {
            let [left, top, width, height] = self.rectangle(x, y);
            let _ = write!(
                path,
                "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z"
            );
        }
        if !path.is_empty() {
            self.marks += &format!("<path class=\"{kind}\" d=\"{path}\"/>\n");
        }
    }

    /// A limit: a dashed line across, and its name.
    pub(crate) fn limit(&mut self, y: f64, label: &str) {
        let (_, top) = self.at(0.0, y);
        self.marks += &format!("<path class=\"limit\" d=\"M0 {top:.1}H{WIDTH}\"/>\n");
        let (top, label) = (top / self.height * 100.0, Escaped(label));
        self.words += &format!("<span class=\"at-limit\" style=\"top:{top:.2}%\">{label}</span>\n");
    }

    /// Points out a value of x: a line down, and to its left its name in the given row above the chart, from 0. Rows that
    /// rise with x keep names off the lines.
    pub(crate) fn point_out(&mut self, x: f64, label: &str, row: u32) {
        let (left, _) = self.at(x, 0.0);
        let (place, label) = (left / WIDTH * 100.0, Escaped(label));
        self.words += &format!(
            "<span class=\"pointed\" style=\"left:{place:.2}%;--row:{row}\">{label}</span>\n"
        );
    }

    /// A word at a height, with a class that says where: `y` is to the left of the chart, `within` at its left edge.
    pub(crate) fn word(&mut self, class: &str, y: f64, label: &str) {
        let (top, label) = (self.at(0.0, y).1 / self.height * 100.0, Escaped(label));
        self.words += &format!("<span class=\"{class}\" style=\"top:{top:.2}%\">{label}</span>\n");
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.x.place(x) * WIDTH,
            (1.0 - self.y.place(y)) * self.height,
        )
    }

    /// Left, top, width and height. What is too small to be seen is made larger.
    fn rectangle(&self, x: (f64, f64), y: (f64, f64)) -> [f64; 4] {
        let (left, one) = self.at(x.0, y.0);
        let (right, other) = self.at(x.1, y.1);
        let (width, height) = ((right - left).max(LEAST), (one - other).abs().max(LEAST));
        [left, one.max(other) - height, width, height]
    }

    /// Faint lines at the values that are written beside the chart.
    fn grid(&self) -> String {
        let ticks = self.y.ticks.iter();
        ticks
            .map(|(value, _)| format!("M0 {:.1}H{WIDTH}", self.at(0.0, *value).1))
            .collect()
    }
}

impl Display for Chart {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (about, height, grid) = (Escaped(&self.about), self.height, self.grid());
        write!(
            f,
            "<div class=\"chart\"><div class=\"plot\" style=\"height:{height}px\">\n\
             <svg role=\"img\" aria-label=\"{about}\" viewBox=\"0 0 {WIDTH} {height}\" \
             preserveAspectRatio=\"none\">\n<path class=\"grid\" d=\"{grid}\"/>\n{}</svg>\n{}",
            self.marks, self.words
        )?;
        for (value, word) in &self.y.ticks {
            let top = (1.0 - self.y.place(*value)) * 100.0;
            writeln!(f, "<span class=\"y\" style=\"top:{top:.2}%\">{word}</span>")?;
        }
        for (n, (value, word)) in self.x.ticks.iter().enumerate() {
            let left = self.x.place(*value) * 100.0;
            // On a phone there is room for every other word.
            let class = if n % 2 == 0 { "x" } else { "x between" };
            writeln!(
                f,
                "<span class=\"{class}\" style=\"left:{left:.2}%\">{word}</span>"
            )?;
        }
        f.write_str("</div></div>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::new("calls \"a\" minute", 100, Axis::time(1000.0), Axis::rows(1))
    }

    #[test]
    fn marks_lie_where_their_values_say_and_are_never_too_small_to_see() {
        let mut chart = chart();
        chart.bar("answered", "one <call>", (250.0, 500.0), (0.0, 0.5));
        chart.bars(
            "limited",
            [((0.0, 100.0), (0.5, 1.0)), ((500.0, 500.0), (1.0, 1.0))],
        );
        let text = chart.to_string();
        for expected in [
            "<rect class=\"answered\" x=\"250.0\" y=\"0.0\" width=\"250.00\" height=\"50.0\"><title>one &lt;call&gt;",
            "d=\"M0.0 50.0h100.0v50.0h-100.0zM500.0 98.5h1.5v1.5h-1.5z\"",
            "role=\"img\" aria-label=\"calls &quot;a&quot; minute\"",
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }

    #[test]
    fn nothing_to_draw_is_no_mark() {
        let mut chart = chart();
        chart.bars("limited", []);
        assert!(chart.marks.is_empty());
    }
}
