//! Reads prompts from rows of values that are separated by commas, semicolons or tabs.
//!
//! The first row names the columns: `prompt`, unless a template makes the text, and `id` or `custom_id` if the prompts
//! have names; the others are for the template. The separator is the one between these names, or the one that a line
//! `sep=;` before them says. A row has as many fields as the header. It is known by the line at which it begins, so no
//! two may begin on the same line.
//!
//! The machine inside the `csv` crate splits a row, line by line. The crate's own reader tells neither the line of a row
//! that follows blank lines nor a quote that is never closed, and does not bound a row.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::Value;

use super::format::{SEPARATORS, columns};
use super::lines::Lines;
use super::{InputRow, LONGEST, PromptError, short};

/// The most fields of a row: as many as the largest spreadsheets have columns.
const MOST_FIELDS: usize = 16_384;

#[derive(Debug)]
pub(super) struct Csv<R> {
    lines: Lines<R>,
    /// `None`: to be found in the header.
    separator: Option<char>,
    /// Whether one of the columns is the prompt.
    needs_prompt: bool,
    machine: Box<Reader>,
    /// The fields of the row, end to end; there may be room after them.
    text: Vec<u8>,
    /// Where the first `count` fields end.
    ends: Vec<usize>,
    count: usize,
    /// The line at which the row begins, from 1.
    begins: u64,
    header: Header,
}

/// The names of the columns; empty before the first row.
#[derive(Debug, Default)]
struct Header {
    names: Vec<String>,
    prompt: Option<usize>,
    /// The columns that may name a prompt: the first that is not blank does.
    ids: Vec<usize>,
}

impl<R: BufRead> Csv<R> {
    pub(super) fn new(lines: Lines<R>, separator: Option<char>, needs_prompt: bool) -> Self {
        Csv {
            lines,
            separator,
            needs_prompt,
            machine: Box::default(),
            text: Vec::new(),
            ends: vec![0; MOST_FIELDS],
            count: 0,
            begins: 0,
            header: Header::default(),
        }
    }

    /// The next row that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<InputRow>, PromptError> {
        if self.header.names.is_empty() {
            self.find_separator()?;
            if !self.advance()? {
                return Ok(None);
            }
            let needs_prompt = self.needs_prompt;
            let separator = self.separator.unwrap_or(',');
            self.header = Header::new(self.begins, separator, &self.fields(), needs_prompt)?;
        }
        while self.advance()? {
            let fields = self.fields();
            if fields.iter().any(|field| !field.trim().is_empty()) {
                let row = self.header.row(self.begins, &fields)?;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Finds the separator in the header, and leaves the header to be read.
    fn find_separator(&mut self) -> Result<(), PromptError> {
        if self.lines.next_filled()?.is_some() {
            let said = self.lines.text().strip_prefix("sep=");
            if let Some(said) = said.and_then(|said| said.parse().ok()) {
                self.separator = SEPARATORS.contains(&said).then_some(said);
            } else {
                self.lines.keep();
            }
        }
        let separator = *self
            .separator
            .get_or_insert_with(|| separator_of(self.lines.text()));
        *self.machine = ReaderBuilder::new().delimiter(separator as u8).build();
        // Without room it reads nothing, but it will not skip a byte order mark any more: `lines` does that.
        self.machine.read_record(b"\n", &mut [], &mut []);
        Ok(())
    }

    fn fields(&self) -> Vec<Cow<'_, str>> {
        let mut begin = 0;
        let field = |end: &usize| {
            let field = &self.text[begin..*end];
            begin = *end;
            // Nothing is lost: a line is UTF-8, and a field ends at a comma.
            String::from_utf8_lossy(field)
        };
        self.ends[..self.count].iter().map(field).collect()
    }

    /// Reads the next row. False: there is none.
    fn advance(&mut self) -> Result<bool, PromptError> {
        self.count = 0;
        let Some(begins) = self.lines.next_filled()? else {
            return Ok(false);
        };
        self.begins = begins;
        let mut length = 0;
        let mut filled = 0;
        while !self.split_line(&mut filled)? {
            length += self.lines.current().len();
            if length > LONGEST {
                let most = LONGEST >> 20;
                let problem =
                    format!("the row is longer than {most} MiB; is a quote never closed?");
                return Err(self.in_field(problem));
            }
            if !self.lines.advance()? {
                return Err(self.in_field("its quote is never closed"));
            }
        }
        Ok(true)
    }

    /// Splits the current line into fields. False: the row goes on in the next line, because a quote is open.
    fn split_line(&mut self, filled: &mut usize) -> Result<bool, PromptError> {
        let line = self.lines.current();
        let room = *filled + line.len() + 1;
        if self.text.len() < room {
            self.text.resize(room, 0);
        }
        let text = &mut self.text[*filled..];
        let ends = &mut self.ends[self.count..];
        let (result, read, written, ended) = self.machine.read_record(line.as_bytes(), text, ends);
        let is_read = line[read..].chars().all(|c| matches!(c, '\r' | '\n'));
        *filled += written;
        self.count += ended;
        match result {
            ReadRecordResult::Record if is_read => Ok(true),
            ReadRecordResult::Record => Err(PromptError::at(
                self.begins,
                "a carriage return stands alone; end rows with a line feed, and put others in quotes",
            )),
            ReadRecordResult::OutputEndsFull => {
                let problem = format!("more than {MOST_FIELDS} fields");
                Err(PromptError::at(self.begins, problem))
            }
            _ => Ok(false),
        }
    }

    /// Something is wrong with the field that is being read.
    fn in_field(&self, problem: impl Into<String>) -> PromptError {
        let line = self.begins;
        match self.header.names.get(self.count) {
            Some(name) => {
                let place = format!("line {line}, field \"{}\"", short(name));
                PromptError::within(place, problem)
            }
            None => PromptError::at(line, problem),
        }
    }
}

/// The separator in a header: the one beside the name of the prompt, or else the most frequent; a comma, if there is none.
fn separator_of(header: &str) -> char {
    let mut all = SEPARATORS.into_iter();
    let beside_prompt = all.find(|separator| {
        let mut names = columns(header, *separator);
        header.contains(*separator) && names.any(|name| name == "prompt")
    });
    let frequency = |separator: &char| header.matches(*separator).count();
    let others = SEPARATORS.into_iter().rev(); // of equals, the last is taken
    beside_prompt
        .or(others.max_by_key(frequency))
        .unwrap_or(',')
}

impl Header {
    fn new(
        line: u64,
        separator: char,
        fields: &[Cow<'_, str>],
        needs_prompt: bool,
    ) -> Result<Self, PromptError> {
        let names: Vec<_> = fields.iter().map(|name| name.trim().to_owned()).collect();
        if let Some(name) = twice(&names) {
            let name = short(name);
            let problem = format!("two columns are named \"{name}\"; name each differently");
            return Err(PromptError::at(line, problem));
        }
        let column = |wanted: &str| {
            let exact = names.iter().position(|name| name == wanted);
            exact.or_else(|| {
                names
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(wanted))
            })
        };
        let prompt = column("prompt");
        let ids = ["custom_id", "id"].into_iter().filter_map(column).collect();
        if prompt.is_none() && needs_prompt {
            let found = short(&names.join(&separator.to_string()));
            let problem = format!(
                "expected a column named prompt, found \"{found}\", separated by {separator:?}; rename a column, or use a template"
            );
            return Err(PromptError::at(line, problem));
        }
        Ok(Header { names, prompt, ids })
    }

    fn row(&self, line: u64, fields: &[Cow<'_, str>]) -> Result<InputRow, PromptError> {
        let (expected, found) = (self.names.len(), fields.len());
        if expected != found {
            let names = short(&self.names.join(","));
            let problem = format!(
                "expected {expected} fields ({names}), found {found}; a field with a separator in it needs quotes"
            );
            return Err(PromptError::at(line, problem));
        }
        let mut ids = self.ids.iter().map(|column| fields[*column].to_string());
        let named = self.names.iter().zip(fields);
        Ok(InputRow {
            line,
            id: ids.find(|id| !id.trim().is_empty()),
            prompt: self.prompt.map(|column| fields[column].to_string()),
            body: None,
            fields: named
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, field)| (name.clone(), Value::from(field.as_ref())))
                .collect(),
        })
    }
}

/// A name that occurs twice. Columns without a name, which spreadsheets leave at the end, do not count.
fn twice(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names
        .iter()
        .find(|name| !name.is_empty() && !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, LONGEST, Prompt, Prompts, Reading};
    use super::*;

    fn prompts(bytes: &[u8]) -> Prompts<&[u8]> {
        Prompts::new(
            bytes,
            Reading {
                format: Some(Format::Csv),
                ..Reading::default()
            },
        )
    }

    fn read(text: &str) -> Vec<(u64, String, String)> {
        let parts =
            |prompt: Result<Prompt, _>| prompt.map(|p| (p.line, p.custom_id, p.text)).unwrap();
        prompts(text.as_bytes()).map(parts).collect()
    }

    fn error(bytes: impl AsRef<[u8]>) -> String {
        prompts(bytes.as_ref())
            .find_map(Result::err)
            .unwrap()
            .to_string()
    }

    fn expected(rows: &[(u64, &str, &str)]) -> Vec<(u64, String, String)> {
        rows.iter()
            .map(|(line, id, text)| (*line, (*id).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_row_is_named_by_its_id_or_the_line_at_which_it_begins() {
        let text = "id,note, prompt \na,,one\n\n ,x,\"two,\n \"\"2\"\"\"\n,,\n  \nb,,three";
        let rows = expected(&[
            (2, "a", "one"),
            (4, "line-4", "two,\n \"2\""),
            (8, "b", "three"),
        ]);
        assert_eq!(read(text), rows);
        let rows = expected(&[
            (2, "a", "one"),
            (4, "line-4", "two,\r\n \"2\""),
            (8, "b", "three"),
        ]);
        assert_eq!(
            read(&format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"))),
            rows
        );
    }

    #[test]
    fn a_byte_order_mark_may_stand_before_quotes_and_come_in_pieces() {
        let bytes = "\u{feff}\"prompt\"\nx\n".as_bytes();
        let pieces = std::io::BufReader::with_capacity(1, bytes);
        let reading = Reading {
            format: Some(Format::Csv),
            ..Reading::default()
        };
        assert_eq!(
            Prompts::new(pieces, reading).next().unwrap().unwrap().text,
            "x"
        );
        assert_eq!(
            read("\u{feff}\u{feff}prompt\nx\n"),
            expected(&[(2, "line-2", "x")])
        );
    }

    #[test]
    fn rows_without_content_are_skipped_and_an_empty_prompt_with_an_id_is_an_error() {
        assert_eq!(read("prompt,id\n , \nx,b\n"), expected(&[(3, "b", "x")]));
        let empty =
            "line 3: its prompt is empty, but other fields are not: fill it, or remove the row";
        assert_eq!(error("prompt,id\nx,a\n\"\n\",c\n"), empty);
        assert!(
            read("").is_empty() && read("prompt").is_empty() && read("prompt\n\"\"\n").is_empty()
        );
    }

    #[test]
    fn custom_id_comes_before_id() {
        assert_eq!(
            read("id,prompt,custom_id\ni,p,c\ni,q,\n"),
            expected(&[(2, "c", "p"), (3, "i", "q")])
        );
    }

    #[test]
    fn the_header_shows_the_separator_and_its_names_may_have_capitals() {
        let rows = expected(&[(2, "1", "Hello, world"), (3, "2", "two")]);
        for separator in [";", "\t", "|"] {
            let text = "ID;Prompt\n1;Hello, world\n2;two\n".replace(';', separator);
            assert_eq!(read(&text), rows);
        }
        let rows = expected(&[(3, "1", "a;b")]);
        assert_eq!(read("sep=,\nid,prompt\n1,a;b\n"), rows);
        assert_eq!(read("sep=;\nid;prompt\n1;\"a;b\"\n"), rows);
        assert_eq!(separator_of("name;notes;size, in m"), ';');
        assert_eq!(separator_of("name"), ',');
    }

    #[test]
    fn the_header_must_name_the_prompt_once() {
        let found = "line 2: expected a column named prompt, found \"id;text\", separated by ';'; rename a column, or use a template";
        assert_eq!(error("\nid;text\n1;2\n"), found);
        let twice = "line 1: two columns are named \"prompt\"; name each differently";
        assert_eq!(error("prompt,prompt\n"), twice);
        assert_eq!(read("prompt,,\nx,,\n").len(), 1);
    }

    #[test]
    fn a_row_of_another_length_is_an_error() {
        let table = [("a", 1), ("a,b,c", 3)];
        for (row, found) in table {
            let expected = format!(
                "line 3: expected 2 fields (id,prompt), found {found}; a field with a separator in it needs quotes"
            );
            assert_eq!(error(format!("id,prompt\n1,x\n{row}\n")), expected);
        }
    }

    #[test]
    fn what_is_not_utf_8_names_its_line_and_byte() {
        let expected = "line 2, byte 5: not UTF-8; save a text as UTF-8 (pictures and archives are no prompts)";
        assert_eq!(error(b"id,prompt\n1,ab\xff\n"), expected);
        let expected = "line 1, byte 8: not UTF-8; save a text as UTF-8 (pictures and archives are no prompts)";
        assert_eq!(error(b"id,prom\xffpt\n"), expected);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error_however_long_the_file() {
        let expected = "line 3, field \"prompt\": its quote is never closed";
        assert_eq!(error("id,prompt\n1,x\n2,\"y\n3,z\n"), expected);
        let mut long = b"prompt\n\"".to_vec();
        long.resize(LONGEST + 100, b'x');
        let expected =
            "line 2: longer than 16 MiB; one prompt is one line, and quotes must be closed";
        assert_eq!(error(long), expected);
    }

    #[test]
    fn a_row_may_be_sixteen_mebibytes_long_but_no_longer() {
        let mut bytes = b"prompt\n".to_vec();
        bytes.resize(LONGEST + 6, b'x');
        bytes.push(b'\n');
        assert_eq!(
            read(std::str::from_utf8(&bytes).unwrap())[0].2.len(),
            LONGEST - 1
        );
        bytes.insert(8, b'x');
        assert!(error(bytes).contains("longer than 16 MiB"));
    }

    #[test]
    fn rows_that_end_with_carriage_returns_alone_are_an_error() {
        let expected = "line 1: a carriage return stands alone; end rows with a line feed, and put others in quotes";
        assert_eq!(error("prompt\rone\rtwo\r"), expected);
    }

    #[test]
    fn a_row_has_a_bounded_number_of_fields() {
        assert_eq!(error(",".repeat(20_000)), "line 1: more than 16384 fields");
    }
}
