//! The table: comma-separated values.

use std::borrow::Cow;
use std::io::{self, Write};

use csv::{Terminator, Writer, WriterBuilder};

use super::row::Row;
use super::shape::Shape;

/// The error of the file below: by its kind a pipe that nobody reads is known.
fn as_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

const COLUMNS: [&str; 7] = [
    "custom_id",
    "prompt",
    "text",
    "finish_reason",
    "error",
    "status",
    "attempts",
];

pub(super) struct Table<W: Write> {
    to: Writer<W>,
    /// For a spreadsheet program.
    guarded: bool,
    formulas: u64,
}

impl<W: Write> Table<W> {
    /// Writes the head.
    pub(super) fn begin(mut to: W, spreadsheet: bool) -> io::Result<Self> {
        if spreadsheet {
            to.write_all(b"\xef\xbb\xbf")?;
        }
        let terminator = if spreadsheet {
            Terminator::CRLF
        } else {
            Terminator::Any(b'\n')
        };
        let mut to = WriterBuilder::new().terminator(terminator).from_writer(to);
        to.write_record(COLUMNS).map_err(as_io)?;
        Ok(Table {
            to,
            guarded: spreadsheet,
            formulas: 0,
        })
    }

    /// A cell, and before it an apostrophe if it needs one.
    fn cell<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        self.formulas += u64::from(formula);
        if formula && self.guarded {
            format!("'{text}").into()
        } else {
            text.into()
        }
    }
}

impl<W: Write> Shape for Table<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let error = row
            .error
            .as_ref()
            .map(|fault| format!("{}: {}", fault.code, fault.message));
        let status = row
            .status()
            .map_or_else(String::new, |status| status.to_string());
        let (text, ending) = (row.text.as_deref(), row.finish_reason.as_deref());
        let texts = [
            Some(&*row.custom_id),
            Some(&row.prompt),
            text,
            ending,
            error.as_deref(),
        ];
        let cells = texts.map(|text| self.cell(text.unwrap_or_default()));
        let numbers = [status.into(), row.attempts.len().to_string().into()];
        self.to
            .write_record(cells.iter().chain(&numbers).map(|cell| cell.as_bytes()))
            .map_err(as_io)
    }

    fn end(&mut self) -> io::Result<u64> {
        self.to.flush().map(|()| self.formulas)
    }
}
