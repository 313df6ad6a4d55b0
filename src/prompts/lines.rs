//! Reads lines of UTF-8, one at a time and bounded.
//!
//! Lines end at `\n` only: U+2028 and its like are text. A byte order mark at the beginning and carriage returns at the
//! end of lines are tolerated; blank lines are skipped but counted. Binary data is an error.

use std::io::{self, BufRead, BufReader};

use super::gzip::Inflated;
use super::{LONGEST, PromptError};

#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<Inflated<R>>,
    /// The number of the current line, from 1; 0 before the first.
    number: u64,
    /// The current line. It ends with `\n`, even if the input does not.
    line: String,
    /// Whether the current line is to be read once more.
    is_kept: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: Inflated<R>) -> Self {
        Lines {
            reader: BufReader::with_capacity(64 << 10, reader),
            number: 0,
            line: String::new(),
            is_kept: false,
        }
    }

    /// The number of the current line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The current line with its end.
    pub(super) fn current(&self) -> &str {
        &self.line
    }

    /// The current line without its end.
    pub(super) fn text(&self) -> &str {
        self.line.trim_end_matches(['\n', '\r'])
    }

    /// Lets the current line be the next one, too.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Reads the next line that is not blank, and returns its number.
    pub(super) fn next_filled(&mut self) -> Result<Option<u64>, PromptError> {
        while self.advance()? {
            // Files that were put together have marks inside.
            if self.line.starts_with('\u{feff}') {
                self.line.drain(..'\u{feff}'.len_utf8());
            }
            if !self.line.trim().is_empty() {
                return Ok(Some(self.number));
            }
        }
        Ok(None)
    }

    /// Reads the next line. False: there is none.
    pub(super) fn advance(&mut self) -> Result<bool, PromptError> {
        if std::mem::take(&mut self.is_kept) {
            return Ok(true);
        }
        self.number += 1;
        let line = self.number;
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.clear();
        let mut bounded = io::Read::take(&mut self.reader, LONGEST as u64 + 1);
        let read = bounded
            .read_until(b'\n', &mut bytes)
            .map_err(|source| PromptError::at(line, source.to_string()))?;
        if read > LONGEST {
            let problem = format!(
                "longer than {} MiB; one prompt is one line, and quotes must be closed",
                LONGEST >> 20
            );
            return Err(PromptError::at(line, problem));
        }
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        self.line = text(bytes).map_err(|(byte, problem)| {
            PromptError::within(format!("line {line}, byte {byte}"), problem)
        })?;
        Ok(read > 0)
    }
}

/// A line as text, or the byte at which it is none, from 1, and why.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, (usize, &'static str)> {
    if let Some(nul) = bytes.iter().position(|byte| *byte == 0) {
        let problem = "a NUL byte: this is no text (a spreadsheet, an archive, UTF-16?); save the file as UTF-8 text";
        return Err((nul + 1, problem));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (
            at + 1,
            "not UTF-8; save a text as UTF-8 (pictures and archives are no prompts)",
        )
    })
}
