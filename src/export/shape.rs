//! The shapes that a row can take, and those among them that are but lines.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::document::Document;
use super::row::Row;
use super::table::Table;
use super::{Format, Options};
use crate::journal::Fault;

/// Something that is made of rows, one after the other.
pub(super) trait Shape {
    /// Writes a row.
    fn row(&mut self, row: &Row<'_>) -> io::Result<()>;

    /// Writes what is left. How many cells begin as a formula does.
    fn end(&mut self) -> io::Result<u64>;
}

/// The shape that was asked for.
pub(super) fn of<'a>(options: &Options, to: impl Write + 'a) -> io::Result<Box<dyn Shape + 'a>> {
    let to = BufWriter::with_capacity(64 << 10, to);
    Ok(match options.format {
        Format::Csv => Box::new(Table::begin(to, options.spreadsheet)?),
        Format::Jsonl => Box::new(Lines {
            to,
            line: plain_line,
        }),
        Format::Batch => Box::new(Lines {
            to,
            line: batch_line,
        }),
        Format::Md => Box::new(Document::begin(to)),
        Format::Txt => Box::new(Answers { to, first: true }),
    })
}

/// Lines of JSON.
struct Lines<W> {
    to: W,
    line: fn(&mut W, &Row<'_>) -> io::Result<()>,
}

impl<W: Write> Shape for Lines<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        (self.line)(&mut self.to, row)?;
        self.to.write_all(b"\n")
    }

    fn end(&mut self) -> io::Result<u64> {
        self.to.flush().map(|()| 0)
    }
}

fn plain_line(to: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        custom_id: &'a str,
        prompt: &'a str,
        text: Option<&'a str>,
        finish_reason: Option<&'a str>,
        error: Option<&'a Fault>,
    }
    let Row {
        custom_id,
        prompt,
        text,
        finish_reason,
        error,
        ..
    } = row;
    let (text, finish_reason, error) = (text.as_deref(), finish_reason.as_deref(), error.as_ref());
    Ok(serde_json::to_writer(
        to,
        &Line {
            custom_id,
            prompt,
            text,
            finish_reason,
            error,
        },
    )?)
}

fn batch_line(to: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        id: &'a str,
        custom_id: &'a str,
        response: Option<&'a RawValue>,
        error: Option<&'a Fault>,
    }
    let Row {
        id,
        custom_id,
        response,
        error,
        ..
    } = row;
    Ok(serde_json::to_writer(
        to,
        &Line {
            id,
            custom_id,
            response: *response,
            error: error.as_ref(),
        },
    )?)
}

/// The answers alone.
struct Answers<W> {
    to: W,
    first: bool,
}

impl<W: Write> Shape for Answers<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let Some(text) = &row.text else { return Ok(()) };
        if !std::mem::take(&mut self.first) {
            self.to.write_all(b"\n")?;
        }
        writeln!(self.to, "{}", text.trim_end_matches(['\n', '\r']))
    }

    fn end(&mut self) -> io::Result<u64> {
        self.to.flush().map(|()| 0)
    }
}
