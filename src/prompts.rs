//! Streams prompts in: one a line, never the whole file at once.
//!
//! A text file is UTF-8, split at `\n` only (U+2028 and its like are text). A byte order mark and carriage returns at
//! the end of lines are tolerated; blank lines are skipped but counted, so that `line-17` is what an editor shows.

use std::io::{self, BufRead};

use thiserror::Error;

/// One prompt of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its place in the input: the number of its line, from 1.
    pub line: u64,
    /// Its name in the results: `line-17`.
    pub custom_id: String,
    /// What is asked.
    pub text: String,
    /// A request's body, as JSON, to be sent as it is. None: it is made from the text.
    pub body: Option<String>,
}

/// The input cannot be read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A line is not UTF-8.
    #[error("line {line}, byte {byte}: not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// Which line, from 1.
        line: u64,
        /// Which byte of the line, from 1.
        byte: usize,
    },
    /// A line is longer than [`Prompts::LONGEST`].
    #[error("line {line}: longer than {} MiB; one prompt is one line", Prompts::<&[u8]>::LONGEST >> 20)]
    TooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// The input failed.
    #[error("line {line}: {source}")]
    Read {
        /// Which line, from 1.
        line: u64,
        /// What went wrong.
        source: io::Error,
    },
}

/// The prompts of a text, one a line.
///
/// ```
/// use paceline::prompts::Prompts;
///
/// let prompts: Result<Vec<_>, _> = Prompts::new("Why is the sky blue?\r\n\nWhat is rain?".as_bytes()).collect();
/// let ids: Vec<_> = prompts.unwrap().into_iter().map(|prompt| prompt.custom_id).collect();
/// assert_eq!(ids, ["line-1", "line-3"]);
/// ```
#[derive(Debug)]
pub struct Prompts<R> {
    reader: R,
    /// Lines read so far.
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Prompts<R> {
    /// The longest line, in bytes.
    pub const LONGEST: usize = 16 << 20;

    /// Reads prompts from here.
    pub fn new(reader: R) -> Self {
        Prompts { reader, line: 0, buffer: Vec::new(), ended: false }
    }

    /// The next line that is not blank.
    fn next_prompt(&mut self) -> Result<Option<Prompt>, PromptError> {
        while self.read_line()? {
            let line = self.line;
            let text = std::str::from_utf8(self.content());
            let text = text.map_err(|error| PromptError::NotUtf8 { line, byte: error.valid_up_to() + 1 })?;
            if !text.trim().is_empty() {
                let (custom_id, text) = (format!("line-{line}"), text.to_owned());
                return Ok(Some(Prompt { line, custom_id, text, body: None }));
            }
        }
        Ok(None)
    }

    /// Reads one line into the buffer. False: there is none.
    fn read_line(&mut self) -> Result<bool, PromptError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut bounded = io::Read::take(&mut self.reader, Self::LONGEST as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|source| PromptError::Read { line, source })?;
        if read > Self::LONGEST { Err(PromptError::TooLong { line }) } else { Ok(read > 0) }
    }

    /// The line without what belongs to the file and not to the text.
    fn content(&self) -> &[u8] {
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line }
    }
}

impl<R: BufRead> Iterator for Prompts<R> {
    type Item = Result<Prompt, PromptError>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_prompt().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<(String, String)> {
        let pair = |prompt: Result<Prompt, _>| prompt.map(|prompt| (prompt.custom_id, prompt.text)).unwrap();
        Prompts::new(bytes).map(pair).collect()
    }

    fn error(bytes: &[u8]) -> String {
        let mut prompts = Prompts::new(bytes);
        let error = prompts.find_map(Result::err).unwrap().to_string();
        assert!(prompts.next().is_none(), "an error ends the stream");
        error
    }

    #[test]
    fn one_prompt_a_line_named_by_its_line() {
        let expected = [("line-1", "one"), ("line-2", " two "), ("line-5", "five")];
        let expected = expected.map(|(id, text)| (id.to_owned(), text.to_owned()));
        assert_eq!(read(b"one\n two \n\n \t\nfive"), expected);
        assert_eq!(read(b"\xef\xbb\xbfone\r\n two \r\n\r\n \t\r\nfive\r\n"), expected);
    }

    #[test]
    fn an_input_without_prompts_is_empty() {
        assert!(read(b"").is_empty());
        assert!(read(b"\n\r\n\n").is_empty());
        assert!(read(b"\xef\xbb\xbf").is_empty());
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        let text = "a\u{2028}b\u{85}c\u{0b}d\re";
        assert_eq!(read(text.as_bytes()), [("line-1".to_owned(), text.to_owned())]);
    }

    #[test]
    fn what_is_not_utf_8_names_its_line_and_byte() {
        assert_eq!(error(b"fine\nbad \xff\n"), "line 2, byte 5: not UTF-8; save the file as UTF-8");
    }

    #[test]
    fn a_line_may_be_sixteen_mebibytes_long_but_no_longer() {
        let longest = Prompts::<&[u8]>::LONGEST;
        assert_eq!(read(&vec![b'x'; longest]).len(), 1);
        assert_eq!(error(&vec![b'x'; longest + 1]), "line 1: longer than 16 MiB; one prompt is one line");
    }
}
