//! Writes the rows of an export in the format that was asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use csv::{Terminator, WriterBuilder};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::markdown;
use super::row::ExportRow;
use super::{ExportFormat, ExportOptions};
use crate::batch::Price;
use crate::journal::RecordError;
use crate::text::{cleaned, cleaned_json};

const COLUMNS: [&str; 7] = [
    "custom_id",
    "prompt",
    "text",
    "finish_reason",
    "error",
    "status",
    "attempts",
];

/// What a spreadsheet program takes for the beginning of a formula: OWASP's list, full-width forms included.
const FORMULA_STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// The columns that were asked for beside the usual ones.
pub(super) struct MoreColumns {
    /// What each prompt cost.
    price: Option<Price>,
    /// Those of the input.
    names: Vec<String>,
}

/// An output that takes rows, one for each format.
pub(super) enum RowWriter<W: Write> {
    Csv {
        to: Box<csv::Writer<BufWriter<W>>>,
        spreadsheet: bool,
        more: MoreColumns,
    },
    Jsonl(BufWriter<W>, MoreColumns),
    Md(BufWriter<W>),
    Txt(BufWriter<W>),
    Batch(BufWriter<W>),
}

impl<W: Write> RowWriter<W> {
    /// Begins an output, with these columns of the input where the format has a place for them.
    pub(super) fn new(options: &ExportOptions, columns: Vec<String>, to: W) -> io::Result<Self> {
        let to = BufWriter::with_capacity(64 << 10, to);
        let more = MoreColumns {
            price: options.price,
            names: columns,
        };
        Ok(match options.format {
            ExportFormat::Csv => begin_table(to, options.spreadsheet, more)?,
            ExportFormat::Jsonl => RowWriter::Jsonl(to, more),
            ExportFormat::Md => RowWriter::Md(to),
            ExportFormat::Txt => RowWriter::Txt(to),
            ExportFormat::Batch => RowWriter::Batch(to),
        })
    }

    /// Writes a row. Returns how many cells of it begin as a formula does.
    pub(super) fn write(&mut self, row: &ExportRow<'_>, is_first: bool) -> io::Result<u64> {
        match self {
            RowWriter::Csv {
                to,
                spreadsheet,
                more,
            } => return write_cells(to, row, more, *spreadsheet),
            RowWriter::Jsonl(to, more) => write_jsonl(to, row, more)?,
            RowWriter::Batch(to) => write_batch(to, row)?,
            RowWriter::Md(to) => markdown::write_section(to, row, is_first)?,
            RowWriter::Txt(to) => write_text(to, row, is_first)?,
        }
        Ok(0)
    }

    /// Writes what is still buffered.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            RowWriter::Csv { mut to, .. } => to.flush(),
            RowWriter::Jsonl(mut to, _)
            | RowWriter::Batch(mut to)
            | RowWriter::Md(mut to)
            | RowWriter::Txt(mut to) => to.flush(),
        }
    }
}

fn begin_table<W: Write>(
    mut to: BufWriter<W>,
    spreadsheet: bool,
    more: MoreColumns,
) -> io::Result<RowWriter<W>> {
    let mut terminator = Terminator::Any(b'\n');
    if spreadsheet {
        to.write_all("\u{feff}".as_bytes())?;
        terminator = Terminator::CRLF;
    }
    let mut to = WriterBuilder::new().terminator(terminator).from_writer(to);
    let names = COLUMNS
        .into_iter()
        .chain(more.price.map(|_| "cost"))
        .chain(more.names.iter().map(String::as_str));
    to.write_record(names).map_err(as_io)?;
    Ok(RowWriter::Csv {
        to: Box::new(to),
        spreadsheet,
        more,
    })
}

fn write_cells<W: Write>(
    to: &mut csv::Writer<W>,
    row: &ExportRow<'_>,
    more: &MoreColumns,
    spreadsheet: bool,
) -> io::Result<u64> {
    let error = row.error.as_ref();
    let cells: [Cow<'_, str>; 7] = [
        (&*row.custom_id).into(),
        (&*row.prompt).into(),
        row.text.as_deref().unwrap_or_default().into(),
        row.finish_reason.as_deref().unwrap_or_default().into(),
        error
            .map(|fault| format!("{}: {}", fault.code, fault.message))
            .unwrap_or_default()
            .into(),
        row.status()
            .map(|status| status.to_string())
            .unwrap_or_default()
            .into(),
        row.attempts.len().to_string().into(),
    ];
    let cost = more.price.map(|price| {
        let cost = row.cost(price).map(|cost| cost.to_string());
        Cow::from(cost.unwrap_or_default())
    });
    let others = more.names.iter().map(|name| Cow::from(row.cell(name)));
    let mut formulas = 0;
    for cell in cells.into_iter().chain(cost).chain(others) {
        formulas += u64::from(is_formula(&cell));
        let cell = if spreadsheet { escaped(cell) } else { cell };
        to.write_field(cell.as_bytes()).map_err(as_io)?;
    }
    to.write_record(None::<&[u8]>).map_err(as_io)?;
    Ok(formulas)
}

fn is_formula(cell: &str) -> bool {
    cell.starts_with(FORMULA_STARTS)
}

/// With an apostrophe before a formula, so that it is shown and not run.
fn escaped(cell: Cow<'_, str>) -> Cow<'_, str> {
    if is_formula(&cell) {
        format!("'{cell}").into()
    } else {
        cell
    }
}

/// The error of the file below, so that a closed pipe is known as one.
fn as_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn write_jsonl(to: &mut impl Write, row: &ExportRow<'_>, more: &MoreColumns) -> io::Result<()> {
    #[derive(Serialize)]
    struct PlainLine<'a> {
        custom_id: &'a str,
        prompt: &'a str,
        text: Option<&'a str>,
        finish_reason: Option<&'a str>,
        error: Option<&'a RecordError>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cost: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        columns: Option<BTreeMap<&'a str, &'a Value>>,
    }
    let columns = &more.names;
    let found = columns
        .iter()
        .filter_map(|name| Some((name.as_str(), row.columns.get(name)?)));
    let line = PlainLine {
        cost: more.price.and_then(|price| row.cost(price)),
        columns: (!columns.is_empty()).then(|| found.collect()),
        custom_id: &row.custom_id,
        prompt: &row.prompt,
        text: row.text.as_deref(),
        finish_reason: row.finish_reason.as_deref(),
        error: row.error.as_ref(),
    };
    write_json(to, &line)
}

fn write_batch(to: &mut impl Write, row: &ExportRow<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct BatchLine<'a> {
        id: &'a str,
        custom_id: &'a str,
        response: Option<&'a RawValue>,
        error: Option<&'a RecordError>,
    }
    let line = BatchLine {
        id: &row.id,
        custom_id: &row.custom_id,
        response: row.response,
        error: row.error.as_ref(),
    };
    write_json(to, &line)
}

fn write_json(to: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    writeln!(to, "{}", cleaned_json(&serde_json::to_string(line)?))
}

/// The answer alone.
fn write_text(to: &mut impl Write, row: &ExportRow<'_>, is_first: bool) -> io::Result<()> {
    let Some(text) = &row.text else { return Ok(()) };
    if !is_first {
        to.write_all(b"\n")?;
    }
    writeln!(to, "{}", cleaned(text.trim_end_matches(['\n', '\r'])))
}
