//! One row of comma-separated values becomes one prompt.
//!
//! The first row names the columns: `prompt`, unless a template makes the text, and `id` or `custom_id` if the prompts
//! have names; the others are for the template. A row has as many fields as the header, all of them UTF-8. How bytes
//! become rows is the business of [`records`].

mod records;

use std::collections::BTreeSet;
use std::io::BufRead;

use serde_json::{Map, Value};

use super::{PromptError, Reading, Row, short};
use records::Records;

#[derive(Debug)]
pub(super) struct Csv<R> {
    records: Records<R>,
    header: Option<Header>,
}

/// The names of the columns.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
    prompt: Option<usize>,
    /// The columns that may name a prompt; the first that is not blank does.
    ids: Vec<usize>,
}

impl<R: BufRead> Csv<R> {
    pub(super) fn new(reader: R) -> Self {
        Csv {
            records: Records::new(reader),
            header: None,
        }
    }

    /// What the next row says. Rows without a word in them are skipped, as blank lines are.
    pub(super) fn next(&mut self, reading: &Reading) -> Result<Option<Row>, PromptError> {
        if self.header.is_none() {
            self.header = self.header(reading)?;
        }
        let Some(header) = &self.header else {
            return Ok(None);
        };
        while self.records.advance(&header.names)? {
            let line = self.records.begins();
            let fields = header.decode(line, self.records.fields())?;
            if !fields.iter().all(|field| field.trim().is_empty()) {
                return header
                    .row(line, &fields, reading.template.is_some())
                    .map(Some);
            }
        }
        Ok(None)
    }

    fn header(&mut self, reading: &Reading) -> Result<Option<Header>, PromptError> {
        if !self.records.advance(&[])? {
            return Ok(None);
        }
        Header::new(
            self.records.begins(),
            self.records.fields(),
            reading.template.is_none(),
        )
        .map(Some)
    }
}

impl Header {
    fn new<'a>(
        line: u64,
        fields: impl Iterator<Item = &'a [u8]>,
        needs_prompt: bool,
    ) -> Result<Self, PromptError> {
        let error = |problem| PromptError::Csv {
            line,
            field: None,
            problem,
        };
        let names: Result<Vec<_>, _> = fields.map(std::str::from_utf8).collect();
        let names = names
            .map_err(|_| error("the header is not UTF-8; save the file as UTF-8".to_owned()))?;
        let names: Vec<_> = names
            .into_iter()
            .map(|name| name.trim().to_owned())
            .collect();
        if let Some(name) = twice(&names) {
            return Err(error(format!(
                "two columns are named \"{}\"; name each differently",
                short(name)
            )));
        }
        let column = |wanted: &str| names.iter().position(|name| name == wanted);
        let (prompt, ids) = (
            column("prompt"),
            ["custom_id", "id"].into_iter().filter_map(column).collect(),
        );
        if prompt.is_none() && needs_prompt {
            let found = short(&names.join(","));
            let problem = format!(
                "expected a column named prompt, found \"{found}\"; columns are separated by commas"
            );
            return Err(error(problem));
        }
        Ok(Header { names, prompt, ids })
    }

    /// The fields of a row as text.
    fn decode<'a>(
        &self,
        line: u64,
        fields: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<&'a str>, PromptError> {
        let decode = |(column, field): (usize, &'a [u8])| {
            std::str::from_utf8(field).map_err(|error| {
                let byte = error.valid_up_to() + 1;
                let problem = format!("byte {byte} is not UTF-8; save the file as UTF-8");
                PromptError::Csv {
                    line,
                    field: self.names.get(column).cloned(),
                    problem,
                }
            })
        };
        fields.enumerate().map(decode).collect()
    }

    fn row(&self, line: u64, fields: &[&str], wants_fields: bool) -> Result<Row, PromptError> {
        self.check_length(line, fields.len())?;
        let id = self
            .ids
            .iter()
            .map(|column| fields[*column])
            .find(|id| !id.trim().is_empty());
        let prompt = self.prompt.map(|column| fields[column].to_owned());
        let named = self
            .names
            .iter()
            .zip(fields)
            .filter(|(name, _)| wants_fields && !name.is_empty());
        let fields: Map<_, _> = named
            .map(|(name, field)| (name.clone(), Value::from(*field)))
            .collect();
        Ok(Row {
            id: id.map(str::to_owned),
            fields,
            ..Row::new(line, prompt)
        })
    }

    fn check_length(&self, line: u64, found: usize) -> Result<(), PromptError> {
        let expected = self.names.len();
        if found == expected {
            return Ok(());
        }
        let problem = format!(
            "expected {expected} fields ({}), found {found}; a field with a comma in it needs quotes",
            short(&self.names.join(","))
        );
        Err(PromptError::Csv {
            line,
            field: None,
            problem,
        })
    }
}

/// A name that comes twice. Columns without a name, which spreadsheets leave at the end, are none.
fn twice(names: &[String]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    names
        .iter()
        .map(String::as_str)
        .find(|name| !name.is_empty() && !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, LONGEST, Prompt, Prompts};
    use super::*;

    fn prompts(bytes: &[u8]) -> Prompts<&[u8]> {
        Prompts::with(
            bytes,
            Reading {
                format: Format::Csv,
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
            format: Format::Csv,
            ..Reading::default()
        };
        assert_eq!(
            Prompts::with(pieces, reading).next().unwrap().unwrap().text,
            "x"
        );
        let twice = "line 1: expected a column named prompt, found \"\u{feff}prompt\"; columns are separated by commas";
        assert_eq!(error("\u{feff}\u{feff}prompt\nx\n"), twice);
    }

    #[test]
    fn blank_prompts_are_skipped() {
        assert_eq!(
            read("prompt,id\n ,a\nx,b\n\"\n\",c\n"),
            expected(&[(3, "b", "x")])
        );
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
    fn the_header_must_name_the_prompt_once() {
        let found = "line 2: expected a column named prompt, found \"id;prompt\"; columns are separated by commas";
        assert_eq!(error("\nid;prompt\n1;2\n"), found);
        let twice = "line 1: two columns are named \"prompt\"; name each differently";
        assert_eq!(error("prompt,prompt\n"), twice);
        assert_eq!(read("prompt,,\nx,,\n").len(), 1);
    }

    #[test]
    fn a_row_of_another_length_is_an_error() {
        let table = [("a", 1), ("a,b,c", 3)];
        for (row, found) in table {
            let expected = format!(
                "line 3: expected 2 fields (id,prompt), found {found}; a field with a comma in it needs quotes"
            );
            assert_eq!(error(format!("id,prompt\n1,x\n{row}\n")), expected);
        }
    }

    #[test]
    fn what_is_not_utf_8_names_its_field() {
        let expected = "line 2, field \"prompt\": byte 3 is not UTF-8; save the file as UTF-8";
        assert_eq!(error(b"id,prompt\n1,ab\xff\n"), expected);
        assert_eq!(
            error(b"id,prom\xffpt\n"),
            "line 1: the header is not UTF-8; save the file as UTF-8"
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error_however_long_the_file() {
        let expected = "line 3, field \"prompt\": its quote is never closed";
        assert_eq!(error("id,prompt\n1,x\n2,\"y\n3,z\n"), expected);
        let mut long = b"prompt\n\"".to_vec();
        long.resize(LONGEST + 100, b'x');
        let expected =
            "line 2, field \"prompt\": the row is longer than 16 MiB; is a quote never closed?";
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
