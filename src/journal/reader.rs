//! Reads a results file, line by line, in bounded memory.
//!
//! Lines end at `\n` only: U+2028 and its like are text. A last line without its `\n` was never acknowledged, so it does
//! not count; its length is known afterwards. Any other line that is not a record is an error that names the line:
//! nothing is skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use super::id::RecordId;
use super::record::Record;

/// Results cannot be read. Lines count from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// A line is not a record of ours.
    #[error("line {line} {problem}")]
    Invalid {
        /// The line of the results.
        line: u64,
        /// The problem, and what to do about it.
        problem: String,
    },
    /// The file cannot be read.
    #[error("line {line}: {source}")]
    Read {
        /// The line of the results.
        line: u64,
        /// The cause.
        source: io::Error,
    },
}

impl ResultsError {
    const NOT_A_RECORD: &'static str = "does not begin like a record: is this the right file?";

    fn invalid(line: u64, problem: impl Into<String>) -> Self {
        ResultsError::Invalid {
            line,
            problem: problem.into(),
        }
    }
}

/// The lines of a results file; as an iterator, its records. The last record of a prompt counts.
#[derive(Debug)]
pub(crate) struct Results<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The number of lines read so far.
    lines: u64,
    /// The length of the whole lines read so far, in bytes: where the next line begins.
    pub(crate) whole: u64,
    /// The length of the last line in bytes, if it has no end; known once all lines are read.
    pub(crate) torn: u64,
    ended: bool,
}

/// One whole line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultLine<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// The line without its end.
    pub bytes: &'a [u8],
}

impl Results<BufReader<File>> {
    /// Opens a results file to read it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Small, because records that are read out of order waste what they do not use of it.
        Ok(Results::new(BufReader::with_capacity(16 << 10, file)))
    }
}

impl<R: BufRead> Results<R> {
    /// The longest line, in bytes. The largest record has a prompt of 16 MiB and, of a body of 32 MiB, the text and the
    /// body itself; JSON may write a character of the former in six bytes: 320 MiB.
    pub(crate) const LONGEST: usize = 512 << 20;

    /// Every record begins with this.
    const BEGINNING: &'static [u8] = br#"{"id":"pl_"#;

    /// Reads results from here.
    pub(crate) fn new(reader: R) -> Self {
        Results {
            reader,
            buffer: Vec::new(),
            lines: 0,
            whole: 0,
            torn: 0,
            ended: false,
        }
    }

    /// The next whole line. `None` after the last one, and after an error.
    ///
    /// # Errors
    /// [`ResultsError`]: the file cannot be read, or cannot be a results file.
    pub(crate) fn next_line(&mut self) -> Result<Option<ResultLine<'_>>, ResultsError> {
        if self.ended || !self.read_line(Self::LONGEST)? {
            return Ok(None);
        }
        let offset = self.whole;
        self.whole += self.buffer.len() as u64;
        Ok(Some(ResultLine {
            number: self.lines,
            offset,
            bytes: &self.buffer[..self.buffer.len() - 1],
        }))
    }

    /// Reads a line into the buffer. False: there is no whole line any more.
    fn read_line(&mut self, longest: usize) -> Result<bool, ResultsError> {
        /// Most records are shorter; the memory of a longer one is given back.
        const USUAL: usize = 1 << 20;
        self.lines += 1;
        self.ended = true;
        let line = self.lines;
        self.buffer.clear();
        self.buffer.shrink_to(USUAL);
        let read = io::Read::take(&mut self.reader, longest as u64)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| ResultsError::Read { line, source })?;
        if self.buffer.ends_with(b"\n") {
            self.ended = false;
            return Ok(true);
        }
        self.torn = read as u64;
        if !self.begins_like_a_record() {
            Err(ResultsError::invalid(line, ResultsError::NOT_A_RECORD))
        } else if read == longest {
            let problem = format!(
                "is longer than {} MiB, so it is not a record",
                longest >> 20
            );
            Err(ResultsError::invalid(line, problem))
        } else {
            Ok(false)
        }
    }

    /// Whether the buffer may be half a record. A power cut leaves zeros behind.
    fn begins_like_a_record(&self) -> bool {
        let mut pairs = self.buffer.iter().zip(Self::BEGINNING);
        pairs
            .find(|(byte, expected)| byte != expected)
            .is_none_or(|(byte, _)| *byte == 0)
    }
}

#[cfg(feature = "cli")]
impl<R: BufRead + io::Seek> Results<R> {
    /// Goes to a line that was read before, by its offset. Line numbers are wrong from there on.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()> {
        let place = self.whole + self.torn;
        self.reader
            .seek_relative(offset.wrapping_sub(place) as i64)?;
        self.whole = offset;
        self.torn = 0;
        self.ended = false;
        Ok(())
    }
}

impl<'a> ResultLine<'a> {
    /// Reads the line as a record, or as some fields of a record.
    ///
    /// # Errors
    /// [`ResultsError::Invalid`]
    pub(crate) fn parse<T: Deserialize<'a>>(&self) -> Result<T, ResultsError> {
        serde_json::from_slice(self.bytes).map_err(|error| self.broken(&error))
    }

    /// Reads the id of a record.
    ///
    /// # Errors
    /// [`ResultsError::Invalid`]: this program did not write it.
    pub(crate) fn id(&self, id: &str) -> Result<RecordId, ResultsError> {
        id.parse().map_err(|_| {
            let problem = format!(
                "was not written by paceline ({id:?} is not one of its ids): is this the right file?"
            );
            ResultsError::invalid(self.number, problem)
        })
    }

    /// Names the column. The line in the message of serde_json is always 1.
    fn broken(&self, error: &serde_json::Error) -> ResultsError {
        if self.number == 1 && !self.bytes.starts_with(b"{") {
            return ResultsError::invalid(1, ResultsError::NOT_A_RECORD);
        }
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        let column = error.column();
        let problem = format!(
            "is not a whole record ({reason}, column {column}): repair the line, or remove it"
        );
        ResultsError::invalid(self.number, problem)
    }
}

impl<R: BufRead> Iterator for Results<R> {
    type Item = Result<Record, ResultsError>;

    /// `None` after the last record, and after an error.
    fn next(&mut self) -> Option<Self::Item> {
        let record = self
            .next_line()
            .and_then(|line| line.map(|line| line.parse()).transpose());
        self.ended |= record.is_err();
        record.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORD: &str = r#"{"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1"}"#;

    fn lines(bytes: &[u8]) -> (Vec<String>, u64) {
        let (mut results, mut lines) = (Results::new(bytes), Vec::new());
        while let Some(line) = results.next_line().unwrap() {
            assert!(bytes[line.offset as usize..].starts_with(line.bytes));
            lines.push(String::from_utf8(line.bytes.to_vec()).unwrap());
            assert_eq!(line.number, lines.len() as u64);
        }
        (lines, results.torn)
    }

    fn error(bytes: &[u8]) -> String {
        let mut results = Results::new(bytes);
        let error = results
            .find_map(Result::err)
            .expect("there is an error")
            .to_string();
        assert!(results.next().is_none(), "an error ends the stream");
        error
    }

    #[test]
    fn an_unfinished_last_line_is_counted_and_not_read() {
        let whole = r#"{"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1","text":"Hello."}"#;
        let file = format!("{whole}\n{}", r#"{"id":"pl_2_"#);
        let mut results = Results::new(file.as_bytes());
        let records: Vec<_> = results.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(records[0].text.as_deref(), Some("Hello."));
        assert_eq!(results.torn, 12, "the second record is unfinished");
    }

    #[test]
    fn lines_end_at_line_feeds_only() {
        let text = "a\u{2028}b\u{85}c\u{0b}d\re";
        assert_eq!(
            lines(format!("{text}\n\n{{\"id\"").as_bytes()),
            (vec![text.to_owned(), String::new()], 5)
        );
        assert_eq!(lines(b""), (vec![], 0));
    }

    #[test]
    fn a_broken_line_in_the_middle_names_itself_and_is_never_skipped() {
        let broken = |middle: &str| error(format!("{RECORD}\n{middle}\n{RECORD}\n").as_bytes());
        assert_eq!(
            broken("{\"id\":\"pl_1"),
            "line 2 is not a whole record (EOF while parsing a string, column 11): repair the line, or remove it"
        );
        assert!(
            broken("").starts_with("line 2 is not a whole record"),
            "nor is a blank line"
        );
        assert!(broken("{}").contains("missing field `id`"));
        assert!(broken("\0\0").starts_with("line 2 is not a whole record"));
    }

    #[test]
    fn an_unfinished_last_line_does_not_count_even_if_only_its_end_is_missing() {
        for torn in [RECORD, "{", "{\"id\":\"pl_1", "\0\0\0", "{\"id\0\0"] {
            let (lines, bytes) = lines(format!("{RECORD}\n{torn}").as_bytes());
            assert_eq!((lines.len(), bytes), (1, torn.len() as u64), "{torn}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_not_taken_for_an_unfinished_record() {
        for text in [
            "Dear diary",
            "Dear diary\n",
            "\n",
            "[1, 2]",
            "{\"custom_id\"",
            " {\"id\":\"pl_1",
        ] {
            assert_eq!(
                error(text.as_bytes()),
                "line 1 does not begin like a record: is this the right file?"
            );
        }
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let mut results = Results::new(&b"{\"id\":\"p\nnext\n"[..]);
        assert!(matches!(
            results.read_line(8),
            Err(ResultsError::Invalid { line: 1, .. })
        ));
        assert!(results.next().is_none());
        assert!(Results::new(&b"{\"id\":\"p\n"[..]).read_line(9).unwrap());
    }

    #[test]
    fn a_long_line_does_not_keep_its_memory() {
        let file = [&vec![b'x'; 4 << 20][..], b"\nshort\n"].concat();
        let mut results = Results::new(&file[..]);
        results.next_line().unwrap();
        results.next_line().unwrap();
        assert!(results.buffer.capacity() <= 1 << 20);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let (mut results, mut read) = (Results::new(&bytes[..]), 0);
            while let Ok(Some(line)) = results.next_line() {
                read += line.bytes.len() as u64 + 1;
                let _ = line.parse::<Record>();
            }
            prop_assert_eq!(results.whole, read);
            prop_assert!(read + results.torn <= bytes.len() as u64);
            prop_assert!(results.next_line().unwrap().is_none());
        }

        #[test]
        fn cutting_a_file_anywhere_loses_at_most_the_line_that_is_cut(count in 0usize..5, at: prop::sample::Index) {
            let whole = format!("{RECORD}\n").repeat(count);
            let cut = at.index(whole.len() + 1);
            let mut results = Results::new(&whole.as_bytes()[..cut]);
            let kept = results.by_ref().filter(Result::is_ok).count();
            prop_assert_eq!(kept, cut / (RECORD.len() + 1));
            prop_assert_eq!(results.whole + results.torn, cut as u64);
        }
    }
}
