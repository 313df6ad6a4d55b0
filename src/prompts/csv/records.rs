//! Bytes become records: fields separated by commas, quoted where they hold a comma, a quote or a line break.
//!
//! `csv-core`, the machine inside the `csv` crate, reads; here it gets its memory, which is bounded, and the lines are
//! counted. A record is known by the line at which it begins, so no two may begin on the same.

use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use csv_core::{ReadRecordResult, Reader};

use super::super::{LONGEST, PromptError};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most fields of a record: as many as the columns of the largest spreadsheets.
const MOST_FIELDS: usize = 16_384;

#[derive(Debug)]
pub(super) struct Records<R> {
    /// What was read to find a byte order mark, and the rest.
    input: Chain<Cursor<Vec<u8>>, R>,
    machine: Box<Reader>,
    /// The line that is being read, and the one at which the record begins. Both are 0 before the first.
    line: u64,
    begins: u64,
    /// The fields' text, end to end; there may be room behind it.
    text: Vec<u8>,
    /// Where the first `count` fields end.
    ends: Vec<usize>,
    count: usize,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(reader: R) -> Self {
        let mut machine = Box::new(Reader::new());
        // Without room it reads nothing, but a byte order mark will no longer be at its beginning: that is ours to skip.
        machine.read_record(b"\n", &mut [], &mut []);
        Records {
            input: Cursor::new(Vec::new()).chain(reader),
            machine,
            line: 0,
            begins: 0,
            text: Vec::new(),
            ends: Vec::new(),
            count: 0,
        }
    }

    /// The line at which the record begins, from 1.
    pub(super) fn begins(&self) -> u64 {
        self.begins
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins
            .zip(&self.ends[..self.count])
            .map(|(begin, end)| &self.text[begin..*end])
    }

    /// Reads the next record. False: there is none. The names are for errors.
    pub(super) fn advance(&mut self, names: &[String]) -> Result<bool, PromptError> {
        if self.line == 0 {
            self.line = 1;
            self.skip_byte_order_mark()
                .map_err(|source| PromptError::Read { line: 1, source })?;
        }
        let more = self
            .skip_blank_lines()
            .map_err(|source| PromptError::Read {
                line: self.line,
                source,
            })?;
        if more {
            self.read(names).map(|()| true)
        } else {
            Ok(false)
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        let (first, rest) = self.input.get_mut();
        let first = first.get_mut();
        rest.take(BYTE_ORDER_MARK.len() as u64).read_to_end(first)?;
        if first == BYTE_ORDER_MARK {
            first.clear();
        }
        Ok(())
    }

    /// Goes to where the next record begins. False: there is none.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let input = peek(&mut self.input)?;
            let is_break = |byte: &&u8| matches!(byte, b'\n' | b'\r');
            let (skipped, all) = (input.iter().take_while(is_break).count(), input.len());
            self.line += line_feeds(&input[..skipped]);
            self.input.consume(skipped);
            if skipped < all || all == 0 {
                return Ok(all > 0);
            }
        }
    }

    /// Reads one record, which begins here.
    fn read(&mut self, names: &[String]) -> Result<(), PromptError> {
        if self.begins == self.line {
            return Err(self.error(
                "a carriage return stands alone; end rows with a line feed, and put others in quotes",
            ));
        }
        self.begins = self.line;
        self.count = 0;
        let (mut length, mut filled) = (0, 0);
        loop {
            let step = self.step(LONGEST - length, filled);
            let step = step.map_err(|source| PromptError::Read {
                line: self.line,
                source,
            })?;
            length += step.read;
            filled += step.written;
            if step.result == ReadRecordResult::Record {
                return Ok(());
            }
            self.check(&step, length, names)?;
            self.make_room(step.result, filled);
        }
    }

    /// Whether a record that has no end yet may have one.
    fn check(&self, step: &Step, length: usize, names: &[String]) -> Result<(), PromptError> {
        match step.result {
            ReadRecordResult::InputEmpty if step.at_end => {
                Err(self.error_in_field(names, "its quote is never closed"))
            }
            _ if length == LONGEST => Err(self.error_in_field(names, &too_long())),
            ReadRecordResult::OutputEndsFull if self.count == MOST_FIELDS => {
                Err(self.error(&format!("more than {MOST_FIELDS} fields")))
            }
            _ => Ok(()),
        }
    }

    fn make_room(&mut self, result: ReadRecordResult, filled: usize) {
        match result {
            ReadRecordResult::OutputFull => self.text.resize((2 * filled).max(1 << 10), 0),
            ReadRecordResult::OutputEndsFull => {
                self.ends.resize((2 * self.count).clamp(16, MOST_FIELDS), 0)
            }
            _ => {}
        }
    }

    /// Lets the machine go on with what there is of the input, but at most so many bytes.
    ///
    /// At the end of the input it is given a line feed, which ends the record, unless it stands in quotes.
    fn step(&mut self, most: usize, filled: usize) -> io::Result<Step> {
        let input = peek(&mut self.input)?;
        let at_end = input.is_empty();
        let input = if at_end {
            b"\n"
        } else {
            &input[..input.len().min(most)]
        };
        let (text, ends) = (&mut self.text[filled..], &mut self.ends[self.count..]);
        let (result, read, written, ended) = self.machine.read_record(input, text, ends);
        self.count += ended;
        self.line += line_feeds(&input[..read]);
        let read = if at_end { 0 } else { read };
        self.input.consume(read);
        Ok(Step {
            result,
            read,
            written,
            at_end,
        })
    }

    fn error(&self, problem: &str) -> PromptError {
        PromptError::Csv {
            line: self.begins,
            field: None,
            problem: problem.to_owned(),
        }
    }

    /// An error in the field that is being read.
    fn error_in_field(&self, names: &[String], problem: &str) -> PromptError {
        let field = names.get(self.count).cloned();
        PromptError::Csv {
            line: self.begins,
            field,
            problem: problem.to_owned(),
        }
    }
}

/// What the machine has done.
struct Step {
    result: ReadRecordResult,
    read: usize,
    written: usize,
    at_end: bool,
}

fn too_long() -> String {
    format!(
        "the row is longer than {} MiB; is a quote never closed?",
        LONGEST >> 20
    )
}

fn line_feeds(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What there is to read; empty at the end.
fn peek(input: &mut impl BufRead) -> io::Result<&[u8]> {
    while let Err(error) = input.fill_buf() {
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
    input.fill_buf()
}
