//! The comparison as text for a terminal of 80 columns.

use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

use super::notice::notice;
use super::{Comparison, Course};

const WIDTH: usize = 80;

impl Display for Comparison {
    /// Ends without a line feed.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let [name, time, times, calls, refusals, wave, worst] = HEAD;
        writeln!(
            f,
            "{name:<23}{time:>11}{times:>8}{calls:>8}{refusals:>8}{wave:>7}{worst:>14}"
        )?;
        for course in &self.courses {
            let [name, time, times, calls, refusals, wave, worst] = self.cells(course);
            writeln!(
                f,
                "{name:<23}{time:>11}{times:>8}{calls:>8}{refusals:>8}{wave:>7}{worst:>14}"
            )?;
        }
        for paragraph in notice(self) {
            write!(f, "\n{}", wrapped(&paragraph))?;
        }
        Ok(())
    }
}

/// What stands above the columns.
pub(super) const HEAD: [&str; 7] = [
    "strategy",
    "time",
    "x pool",
    "calls",
    "429s",
    "wave",
    "worst prompt",
];

impl Comparison {
    /// A row of the table.
    pub(super) fn cells(&self, course: &Course) -> [String; 7] {
        [
            course.name.clone(),
            duration(course.time),
            format!("{:.1}", self.times_the_pool(course)),
            course.calls().to_string(),
            course.refusals().to_string(),
            course.largest_wave().to_string(),
            course.most_refusals_of_a_prompt().to_string(),
        ]
    }
}

/// To the second from a minute on, and to a hundredth below a minute.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{:.2} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Broken into lines at blanks.
fn wrapped(text: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        match width {
            0 => {}
            _ if width + 1 + length > WIDTH => {
                lines.push('\n');
                width = 0;
            }
            _ => {
                lines.push(' ');
                width += 1;
            }
        }
        lines.push_str(word);
        width += length;
    }
    lines
}
