//! The report as text for a terminal of 80 columns: every figure with its unit, and no control characters. The text
//! itself is the template `text.txt`.

use std::io;

use serde::Serialize;

use super::numbers::{Report, TimeSpent};
use crate::cli::template::{self, TextLook};

const TEMPLATE: &str = include_str!("text.txt");

/// What the template shows.
#[derive(Debug, Serialize)]
struct TextValues<'a> {
    report: &'a Report,
    /// What is odd about answers, in words.
    flags: String,
    /// From the first call to the last.
    length_ms: u64,
    /// A label, the times, and by how many calls they are divided.
    time_rows: Vec<(String, TimeSpent, u64)>,
}

impl Report {
    /// The report as lines without a line feed at the end. A file without records has a line that says so.
    ///
    /// # Errors
    /// None that tests have not found: the template does not fit what it is given.
    pub(super) fn to_text(&self, look: TextLook) -> io::Result<String> {
        if self.prompts.answered + self.prompts.failed == 0 {
            return Ok("no records yet".to_owned());
        }
        template::text(TEMPLATE, &self.text_values(), look)
    }

    fn text_values(&self) -> TextValues<'_> {
        let mut time_rows = Vec::new();
        if self.keys.len() > 1 {
            let keys = self.keys.iter();
            time_rows.extend(keys.map(|key| (format!("key {}", key.key), key.times, 1)));
        }
        time_rows.push(("all calls".to_owned(), self.times, 1));
        time_rows.push(("a call".to_owned(), self.times, self.calls.total.max(1)));
        TextValues {
            report: self,
            flags: self.prompts.flags.to_string(),
            length_ms: self.span.map_or(0, |span| span.last.0 - span.first.0),
            time_rows,
        }
    }
}
