//! Reads lines of UTF-8, one at a time and bounded.
//!
//! Lines end at `\n` only: U+2028 and its like are text. A byte order mark and carriage returns at the end of lines are
//! tolerated; blank lines are skipped but counted.

use std::io::{self, BufRead};

use super::{LONGEST, PromptError};

#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    /// The number of the current line, from 1; 0 before the first.
    number: u64,
    /// The current line. It ends with `\n`, even if the input does not.
    line: String,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Lines {
            reader,
            number: 0,
            line: String::new(),
        }
    }

    /// The current line with its end.
    pub(super) fn current(&self) -> &str {
        &self.line
    }

    /// The next line that is not blank: its number, and the line without its end.
    pub(super) fn next_filled(&mut self) -> Result<Option<(u64, &str)>, PromptError> {
        while self.advance()? {
            if !self.line.trim().is_empty() {
                let line = self.line.strip_suffix('\n').unwrap_or(&self.line);
                let line = line.strip_suffix('\r').unwrap_or(line);
                return Ok(Some((self.number, line)));
            }
        }
        Ok(None)
    }

    /// Reads the next line. False: there is none.
    pub(super) fn advance(&mut self) -> Result<bool, PromptError> {
        self.number += 1;
        let line = self.number;
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.clear();
        let mut bounded = io::Read::take(&mut self.reader, LONGEST as u64 + 1);
        let read = bounded
            .read_until(b'\n', &mut bytes)
            .map_err(|source| PromptError::Read { line, source })?;
        if read > LONGEST {
            return Err(PromptError::TooLong { line });
        }
        if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        self.line = String::from_utf8(bytes).map_err(|error| PromptError::NotUtf8 {
            line,
            byte: error.utf8_error().valid_up_to() + 1,
        })?;
        Ok(read > 0)
    }
}
