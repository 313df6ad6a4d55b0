//! Lines of UTF-8, one at a time and bounded.
//!
//! Lines end at `\n` only: U+2028 and its like are text. A byte order mark and carriage returns at the end of lines are
//! tolerated; blank lines are skipped but counted.

use std::io::{self, BufRead};

use super::{LONGEST, PromptError};

#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    /// Lines read so far.
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Lines {
            reader,
            line: 0,
            buffer: Vec::new(),
        }
    }

    /// The next line that is not blank, and its number.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>, PromptError> {
        while self.read()? {
            if !self.text()?.trim().is_empty() {
                return Ok(Some((self.line, self.text()?)));
            }
        }
        Ok(None)
    }

    /// Reads one line into the buffer. False: there is none.
    fn read(&mut self) -> Result<bool, PromptError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut bounded = io::Read::take(&mut self.reader, LONGEST as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|source| PromptError::Read { line, source })?;
        if read > LONGEST {
            Err(PromptError::TooLong { line })
        } else {
            Ok(read > 0)
        }
    }

    fn text(&self) -> Result<&str, PromptError> {
        let not_utf8 = |error: std::str::Utf8Error| PromptError::NotUtf8 {
            line: self.line,
            byte: error.valid_up_to() + 1,
        };
        std::str::from_utf8(self.content()).map_err(not_utf8)
    }

    /// The line without what belongs to the file and not to the text.
    fn content(&self) -> &[u8] {
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.line == 1 {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        }
    }
}
