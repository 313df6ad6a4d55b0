//! The comparison as a page: for each strategy the calls as they arrived, and the table.

use std::time::Duration;

use super::notice::notice;
use super::table::{HEAD, duration};
use super::{Arrival, Comparison, Course};
use crate::page::{Axis, Cell, Chart, Escaped, Page, legend, table};

/// How many bars a chart has.
const BARS: u32 = 120;

/// The first picture shows as long as it takes the limit to let so many calls in.
const INTERVALS: u32 = 20;

const HEIGHT: u32 = 110;

impl Comparison {
    /// One page that stands alone, for a browser.
    #[must_use]
    pub fn to_html(&self) -> String {
        let options = &self.options;
        let mut page = Page::new(&format!(
            "{} prompts at {} calls a minute, six ways",
            options.prompts, options.rpm
        ));
        notice(self)
            .iter()
            .for_each(|paragraph| page.lead(Escaped(paragraph)));
        page.section("The table", NOTE, self.table());
        let colours = legend(&[("answered", "let in"), ("refused", "refused: 429")]);
        let longest = self
            .courses
            .iter()
            .map(|course| course.time)
            .max()
            .unwrap_or_default();
        let views = [
            View::of(self, (options.interval() * INTERVALS).min(longest)),
            View::of(self, longest),
        ];
        for course in &self.courses {
            let [near, whole] = views.each_ref().map(|view| view.draw(self, course));
            let drawn = format!("{colours}{near}{whole}");
            page.section(&course.name, &self.caption(course, views[0].length), drawn);
        }
        page.to_string()
    }

    fn table(&self) -> String {
        let rows: Vec<_> = self
            .courses
            .iter()
            .map(|course| {
                let mut cells = self.cells(course).map(Cell::Figure);
                cells[0] = Cell::Text(course.name.clone());
                cells
            })
            .collect();
        // On a phone the table is moved sideways; a name broken into pieces would be no name.
        format!(
            "<div style=\"white-space:nowrap\">{}</div>",
            table(HEAD, &rows)
        )
    }

    fn caption(&self, course: &Course, near: Duration) -> String {
        format!(
            "{}, {} calls, {} of them refused. Above the first {}, below the whole time; the axes are those of all \
             strategies.",
            duration(course.time),
            course.calls(),
            course.refusals(),
            duration(near),
        )
    }
}

const NOTE: &str = "x pool: how many times as long as the paced pool. Wave: the most calls that reached the server within \
                    a tenth of a second, the first call of each thread aside. Worst prompt: how often the prompt was \
                    refused that was refused most.";

/// A stretch of time from the start, the same for all strategies.
struct View {
    length: Duration,
    /// The most calls that any bar stands for.
    most: usize,
}

impl View {
    fn of(comparison: &Comparison, length: Duration) -> Self {
        let highest = |course| bars(course, length).into_iter().map(|(all, _)| all).max();
        let most = comparison
            .courses
            .iter()
            .filter_map(highest)
            .max()
            .unwrap_or(0);
        View { length, most }
    }

    fn draw(&self, comparison: &Comparison, course: &Course) -> String {
        let about = format!(
            "calls that arrived within the first {}: {}",
            duration(self.length),
            course.name
        );
        let (x, y) = (Axis::time(ms(self.length)), Axis::counts(self.most as f64));
        let mut chart = Chart::new(&about, HEIGHT, x, y);
        let width = ms(self.length) / f64::from(BARS);
        for (n, (all, accepted)) in bars(course, self.length).into_iter().enumerate() {
            let (from, to) = (n as f64 * width, (n as f64 + 0.86) * width);
            let (all, accepted) = (all as f64, accepted as f64);
            if accepted > 0.0 {
                chart.bar(
                    "answered",
                    &format!("{accepted} let in"),
                    (from, to),
                    (0.0, accepted),
                );
            }
            if all > accepted {
                chart.bar(
                    "refused",
                    &format!("{} refused", all - accepted),
                    (from, to),
                    (accepted, all),
                );
            }
        }
        let interval = ms(comparison.options.interval());
        chart.limit((width / interval).max(1.0), "limit");
        chart.to_string()
    }
}

/// The calls that arrived in each part of the time, and how many of them were let in.
fn bars(course: &Course, length: Duration) -> Vec<(usize, usize)> {
    let mut bars = vec![(0, 0); BARS as usize];
    let part = |arrival: &Arrival| (ms(arrival.at) / ms(length) * f64::from(BARS)) as usize;
    for arrival in &course.arrivals {
        // The last call may arrive at the very end, where the next bar would begin.
        let Some((all, accepted)) = bars.get_mut(part(arrival)) else {
            continue;
        };
        *all += 1;
        *accepted += usize::from(arrival.accepted);
    }
    bars
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
