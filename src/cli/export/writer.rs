//! Writes the rows of an export in the format that was asked for: each row is made as a text, and written at once.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use csv::{Terminator, WriterBuilder};
use serde::Serialize;
use serde_json::{Value, json};

use super::markdown::section;
use super::{Columns, ExportFormat, ExportRow};
use crate::batch::Price;
use crate::cli::args::ExportOptions;
use crate::journal::{RecordError, ResponseUsage};
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

/// An output that takes rows.
pub(super) struct RowWriter<'a, W: Write> {
    format: ExportFormat,
    options: &'a ExportOptions,
    /// Those that are written, too, where the format has a place for them.
    columns: Columns,
    to: BufWriter<W>,
    /// Cells of the table that begin as a formula does.
    pub(super) formulas: u64,
    pub(super) written: u64,
}

impl<'a, W: Write> RowWriter<'a, W> {
    /// Begins an output; a table with its heading.
    pub(super) fn new(
        format: ExportFormat,
        options: &'a ExportOptions,
        columns: Columns,
        to: W,
    ) -> io::Result<Self> {
        let mut writer = RowWriter {
            format,
            options,
            columns,
            to: BufWriter::with_capacity(64 << 10, to),
            formulas: 0,
            written: 0,
        };
        if format == ExportFormat::Csv {
            writer.write_heading()?;
        }
        Ok(writer)
    }

    fn write_heading(&mut self) -> io::Result<()> {
        if self.options.spreadsheet {
            self.to.write_all("\u{feff}".as_bytes())?;
        }
        let cost = self.options.price.map(|_| "cost");
        let columns = self.columns.input.iter().map(String::as_str);
        let usual = COLUMNS.into_iter().chain(cost).chain(columns);
        let mut names: Vec<_> = usual.map(Cow::from).collect();
        for field in &self.columns.answer {
            let is_taken = names.iter().any(|name| name == field);
            names.push(match is_taken {
                true => format!("answer.{field}").into(),
                false => field.into(),
            });
        }
        let heading = self.line_of(names.iter().map(|name| &**name))?;
        self.to.write_all(&heading)
    }

    /// Writes a row, after a blank line where the format has one between rows.
    pub(super) fn write(&mut self, row: &ExportRow<'_>) -> io::Result<()> {
        let line = match self.format {
            ExportFormat::Csv => self.table_row(row)?,
            ExportFormat::Jsonl => self.plain_line(row)?.into(),
            ExportFormat::Batch => batch_line(row)?.into(),
            ExportFormat::Md => section(row).into(),
            ExportFormat::Txt => answer(row).into(),
        };
        if self.written > 0 && matches!(self.format, ExportFormat::Md | ExportFormat::Txt) {
            self.to.write_all(b"\n")?;
        }
        self.written += 1;
        self.to.write_all(&line)
    }

    /// Writes what is still buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn table_row(&mut self, row: &ExportRow<'_>) -> io::Result<Vec<u8>> {
        let answer = row.answer();
        let mut cells = Vec::from(usual_cells(row));
        cells.extend(self.options.price.map(|price| {
            let cost = cost(row, price).map(|cost| cost.to_string());
            cost.unwrap_or_default().into()
        }));
        let (input, fields) = (&self.columns.input, &self.columns.answer);
        cells.extend(input.iter().map(|name| cell(row.columns.get(name))));
        cells.extend(fields.iter().map(|name| cell(answer.get(name))));
        for cell in &mut cells {
            let is_formula = cell.starts_with(FORMULA_STARTS);
            self.formulas += u64::from(is_formula);
            if is_formula && self.options.spreadsheet {
                cell.to_mut().insert(0, '\''); // with an apostrophe it is shown and not run
            }
        }
        self.line_of(cells.iter().map(|cell| &**cell))
    }

    /// A line of the table.
    fn line_of<'c>(&self, cells: impl Iterator<Item = &'c str>) -> io::Result<Vec<u8>> {
        let terminator = match self.options.spreadsheet {
            true => Terminator::CRLF,
            false => Terminator::Any(b'\n'),
        };
        let mut line = WriterBuilder::new()
            .terminator(terminator)
            .from_writer(Vec::new());
        line.write_record(cells).map_err(io::Error::other)?;
        line.into_inner().map_err(|error| error.into_error())
    }

    fn plain_line(&self, row: &ExportRow<'_>) -> io::Result<String> {
        let mut line = json!({
            "custom_id": row.custom_id,
            "prompt": row.prompt,
            "text": row.text,
            "finish_reason": row.finish_reason,
            "error": row.error,
        });
        if let Some(cost) = self.options.price.and_then(|price| cost(row, price)) {
            line["cost"] = cost.into();
        }
        let names = self.columns.input.iter();
        let found = names.filter_map(|name| Some((name.clone(), row.columns.get(name)?.clone())));
        if !self.columns.input.is_empty() {
            line["columns"] = Value::Object(found.collect());
        }
        let answer = row.answer();
        if !answer.is_empty() {
            line["answer"] = answer.into();
        }
        json_line(&line)
    }
}

fn usual_cells<'r>(row: &'r ExportRow<'_>) -> [Cow<'r, str>; COLUMNS.len()] {
    let error = row.error.as_ref();
    let error = error.map(|error| format!("{}: {}", error.code, error.message));
    let status = row.status().map(|status| status.to_string());
    [
        (&*row.custom_id).into(),
        (&*row.prompt).into(),
        row.text.as_deref().unwrap_or_default().into(),
        row.finish_reason.as_deref().unwrap_or_default().into(),
        error.unwrap_or_default().into(),
        status.unwrap_or_default().into(),
        row.attempts.len().to_string().into(),
    ]
}

/// A column of the input: a text as it is, anything else as JSON.
fn cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => "".into(),
        Some(Value::String(text)) => text.into(),
        Some(other) => other.to_string().into(),
    }
}

/// What the prompt cost; `None` if its record states no tokens.
fn cost(row: &ExportRow<'_>, price: Price) -> Option<f64> {
    let copy = row.same_as.as_ref().map(|_| 0.0);
    copy.or_else(|| Some(price.cost(row.tokens()?)))
}

fn batch_line(row: &ExportRow<'_>) -> io::Result<String> {
    #[derive(Serialize)]
    struct BatchLine<'a> {
        id: &'a str,
        custom_id: &'a str,
        response: Option<&'a ResponseUsage<'a>>,
        error: Option<&'a RecordError>,
    }
    json_line(&BatchLine {
        id: &row.id,
        custom_id: &row.custom_id,
        response: row.response.as_ref(),
        error: row.error.as_ref(),
    })
}

fn json_line(line: &impl Serialize) -> io::Result<String> {
    Ok(cleaned_json(&serde_json::to_string(line)?).into_owned() + "\n")
}

/// The answer alone.
fn answer(row: &ExportRow<'_>) -> String {
    let text = row.text.as_deref().unwrap_or_default();
    cleaned(text.trim_end_matches(['\n', '\r'])).into_owned() + "\n"
}
