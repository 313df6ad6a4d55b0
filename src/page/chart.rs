//! A chart: marks in an SVG that is stretched to the width there is, with words beside it that are not.
//!
//! So the words are as large on a phone as on a desk. A mark's kind is a class of the style sheet, which gives it colour
//! in both themes; kinds that share a chart differ in shape or order, too.

use std::fmt::{Display, Formatter, Result, Write};

use super::Escaped;
use super::axis::Axis;

/// The drawing is so many units wide, whatever the screen.
const WIDTH: f64 = 1000.0;

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
    /// What it shows, in a sentence; its height in pixels; and its axes.
    pub(crate) fn new(about: &str, height: u32, x: Axis, y: Axis) -> Self {
        let (about, height) = (about.to_owned(), f64::from(height));
        Chart {
            about,
            height,
            x,
            y,
            marks: String::new(),
            words: String::new(),
        }
    }

    /// A bar over a stretch of x, between two values of y.
    pub(crate) fn bar(&mut self, kind: &str, title: &str, x: (f64, f64), y: (f64, f64)) {
        let ((left, low), (right, high)) = (self.at(x.0, y.0), self.at(x.1, y.1));
        let (top, height) = (low.min(high), (low - high).abs());
        let (width, title) = ((right - left).max(0.0), title_of(title));
        self.marks += &format!(
            "<rect class=\"{kind}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{height:.1}\">\
             {title}</rect>\n"
        );
    }

    /// Threads along x, each from a value to a value at a height: one mark, however many they are.
    pub(crate) fn threads(
        &mut self,
        kind: &str,
        threads: impl IntoIterator<Item = (f64, f64, f64)>,
    ) {
        let mut path = String::new();
        for (from, to, y) in threads {
            let ((left, top), (right, _)) = (self.at(from, y), self.at(to, y));
            let _ = write!(path, "M{left:.1} {top:.1}h{:.1}", (right - left).max(0.3));
        }
        if !path.is_empty() {
            self.marks += &format!("<path class=\"thread {kind}\" d=\"{path}\"/>\n");
        }
    }

    /// A surface between two values of y at each x.
    pub(crate) fn band(&mut self, kind: &str, title: &str, points: &[(f64, f64, f64)]) {
        let upper = points.iter().map(|(x, _, high)| self.at(*x, *high));
        let lower = points.iter().rev().map(|(x, low, _)| self.at(*x, *low));
        let (path, title) = (path_of(upper.chain(lower)), title_of(title));
        if !path.is_empty() {
            self.marks += &format!("<path class=\"area {kind}\" d=\"{path}z\">{title}</path>\n");
        }
    }

    /// A surface below steps: from a value of x up to the next, one y.
    pub(crate) fn steps(&mut self, kind: &str, title: &str, steps: &[(f64, f64, f64)]) {
        let points: Vec<_> = steps
            .iter()
            .flat_map(|(from, to, y)| [(*from, 0.0, *y), (*to, 0.0, *y)])
            .collect();
        self.band(kind, title, &points);
    }

    /// A limit: a dashed line across, and its name.
    pub(crate) fn limit(&mut self, y: f64, label: &str) {
        let (_, top) = self.at(0.0, y);
        self.marks += &format!("<path class=\"limit\" d=\"M0 {top:.1}H{WIDTH}\"/>\n");
        let (top, label) = (top / self.height * 100.0, Escaped(label));
        self.words += &format!("<span class=\"at-limit\" style=\"top:{top:.2}%\">{label}</span>\n");
    }

    /// A value of x that is pointed out: a line down, and to its left its name in the given row above the chart, from 0.
    /// Rows that rise with x keep names off the lines.
    pub(crate) fn point_out(&mut self, x: f64, label: &str, row: u32) {
        let (left, _) = self.at(x, 0.0);
        let (place, label) = (left / WIDTH * 100.0, Escaped(label));
        self.words += &format!(
            "<span class=\"pointed\" style=\"left:{place:.2}%;--row:{row}\">{label}</span>\n"
        );
    }

    /// A word to the left of a height.
    pub(crate) fn beside(&mut self, y: f64, label: &str) {
        let (top, label) = (self.at(0.0, y).1 / self.height * 100.0, Escaped(label));
        self.words += &format!("<span class=\"y\" style=\"top:{top:.2}%\">{label}</span>\n");
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.x.place(x) * WIDTH,
            (1.0 - self.y.place(y)) * self.height,
        )
    }

    /// Faint lines at the values that are written beside the chart.
    fn grid(&self) -> String {
        let heights = self.y.ticks.iter().map(|(value, _)| self.at(0.0, *value).1);
        heights.fold(String::new(), |path, top| {
            path + &format!("M0 {top:.1}H{WIDTH}")
        })
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

/// What a pointer that rests there is told.
fn title_of(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("<title>{}</title>", Escaped(text))
    }
}

fn path_of(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(
            path,
            "{}{x:.1} {y:.1}",
            if path.is_empty() { 'M' } else { 'L' }
        );
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::new("calls \"a\" minute", 100, Axis::time(1000.0), Axis::rows(1))
    }

    #[test]
    fn marks_lie_where_their_values_say() {
        let mut chart = chart();
        chart.bar("flight", "one <call>", (250.0, 500.0), (0.0, 0.5));
        chart.threads("paced", [(0.0, 100.0, 0.5), (500.0, 500.0, 1.0)]);
        chart.steps("flight", "", &[(0.0, 500.0, 1.0), (500.0, 1000.0, 0.5)]);
        let text = chart.to_string();
        for expected in [
            "<rect class=\"flight\" x=\"250.0\" y=\"0.0\" width=\"250.00\" height=\"50.0\"><title>one &lt;call&gt;",
            "M0.0 50.0h100.0M500.0 100.0h0.3",
            "M0.0 100.0L500.0 100.0L500.0 50.0L1000.0 50.0L1000.0 0.0",
            "role=\"img\" aria-label=\"calls &quot;a&quot; minute\"",
        ] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }

    #[test]
    fn nothing_to_draw_is_no_mark() {
        let mut chart = chart();
        chart.threads("paced", []);
        chart.band("flight", "", &[]);
        assert!(chart.marks.is_empty());
    }
}
