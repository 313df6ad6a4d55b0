//! Turns results into something to pass on: a table, a document, lines of text or of JSON.
//!
//! The results are read twice. The first time finds the last record of each prompt and where it is, 16 bytes a record,
//! and whatever is wrong with the file, before anything is written. The second time takes the records in the order that
//! was asked for, one at a time. So memory is bounded, and the output is complete.
//!
//! Tables hold what a record says, to the letter, unless [`ExportOptions::spreadsheet`] asks for an escape; JSON means it,
//! with control characters escaped.
//! Documents and plain text are cleaned of control characters.

mod columns;
mod command;
mod markdown;
mod row;
mod writer;

use std::io::{self, BufRead, Seek, Write};
use std::path::Path;

use clap::ValueEnum;
use thiserror::Error;

use super::output::{RereadError, keep_last};
use crate::batch::Price;
use crate::journal::{ResultLine, Results, ResultsError};
use crate::prompts::in_order;
use columns::Columns;
use row::ExportRow;
use writer::RowWriter;

pub(super) use command::run;

/// What to make of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A table: `custom_id`, `prompt`, `text`, `finish_reason`, `error`, `status`, `attempts`.
    Csv,
    /// One object a line: `custom_id`, `prompt`, `text`, `finish_reason`, `error`.
    Jsonl,
    /// A document: the first line of each prompt as a heading, then its answer.
    Md,
    /// The answers alone, a blank line between them; failed prompts are left out.
    Txt,
    /// The output lines of the OpenAI Batch API.
    Batch,
}

impl ExportFormat {
    /// The format that a file's name asks for by its ending, if there is one.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        ExportFormat::from_str(path.extension()?.to_str()?, true).ok()
    }
}

/// The order of what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportOrder {
    /// As in the input.
    #[default]
    Input,
    /// As the prompts were finished.
    Completion,
}

/// What to do with prompts that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailedPrompts {
    /// Write them like the others, where the format has a place for them.
    #[default]
    Include,
    /// Leave them out.
    Exclude,
    /// Leave all others out.
    Only,
}

/// How results are exported: plain data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExportOptions {
    pub(crate) format: ExportFormat,
    pub(crate) order: ExportOrder,
    pub(crate) failed: FailedPrompts,
    /// Make the table safe for a spreadsheet program: a byte order mark, so that it reads UTF-8; `\r\n`; and an
    /// apostrophe before each cell that it would take for a formula, because an answer must not be able to run one.
    pub(crate) spreadsheet: bool,
    /// Columns of the input to write as well; empty for all.
    pub(crate) columns: Option<Vec<String>>,
    /// Write what each prompt cost, too.
    pub(crate) price: Option<Price>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Prompts that are answered.
    pub(crate) answered: u64,
    /// Answers among them that are empty or did not end by themselves.
    pub(crate) flagged: u64,
    /// Prompts that failed.
    pub(crate) failed: u64,
    /// Prompts of either kind that were written.
    pub(crate) written: u64,
    /// Cells of the table that a spreadsheet program takes for formulas, or would have taken.
    pub(crate) formulas: u64,
    /// Bytes of an unfinished last line, which was left out.
    pub(crate) torn: u64,
}

/// Results cannot be exported.
#[derive(Debug, Error)]
pub(crate) enum ExportError {
    #[error(transparent)]
    Results(#[from] RereadError),
    /// The format has no place for what was asked for.
    #[error("txt has no place for failed prompts: choose another format")]
    NoPlace,
    /// A column that no row has.
    #[error("no row has a column {0}; there are {1}")]
    NoColumn(String, String),
    /// The output cannot be written.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// Exports results, from their beginning.
///
/// # Errors
/// [`ExportError`]. Nothing was written, unless it is [`ExportError::Write`] or the results were changed meanwhile.
pub(crate) fn export<R: BufRead + Seek>(
    results: &mut Results<R>,
    options: &ExportOptions,
    to: impl Write,
) -> Result<Exported, ExportError> {
    if options.format == ExportFormat::Txt && options.failed == FailedPrompts::Only {
        return Err(ExportError::NoPlace);
    }
    let mut columns = Columns::new(options.columns.as_deref());
    let offsets = offsets(results, options.order, &mut columns).map_err(RereadError::from)?;
    columns.check()?;
    let mut exported = Exported {
        torn: results.torn(),
        ..Exported::default()
    };
    results.seek(0).map_err(RereadError::Again)?;
    let mut writer = RowWriter::new(options, columns.names, to)?;
    for offset in offsets {
        results.seek(offset).map_err(RereadError::Again)?;
        let line = results.next_line().map_err(RereadError::second)?;
        let line = line.ok_or(RereadError::Changed)?;
        let row: ExportRow<'_> = line.parse().map_err(|_| RereadError::Changed)?;
        exported.count(&row);
        if options.wants(&row) {
            exported.formulas += writer.write(&row, exported.written == 0)?;
            exported.written += 1;
        }
    }
    writer.finish()?;
    Ok(exported)
}

/// Where the last record of each prompt is, in the order asked for. Every record is read in full, so that a broken one
/// is found before anything is written.
fn offsets<R: BufRead>(
    results: &mut Results<R>,
    order: ExportOrder,
    columns: &mut Columns<'_>,
) -> Result<Vec<u64>, ResultsError> {
    let mut records = Vec::new();
    while let Some(line) = results.next_line()? {
        records.push((prompt_of(&line, columns)?, line.offset));
    }
    keep_last(&mut records);
    let mut offsets: Vec<_> = records.into_iter().map(|(_, offset)| offset).collect();
    if order == ExportOrder::Completion {
        offsets.sort_unstable();
    }
    Ok(offsets)
}

/// The line of the prompt that a record is of.
fn prompt_of(line: &ResultLine<'_>, columns: &mut Columns<'_>) -> Result<u64, ResultsError> {
    let row: ExportRow<'_> = line.parse()?;
    columns.find(&row);
    Ok(in_order(line.id(&row.id)?.line))
}

impl ExportOptions {
    fn wants(&self, row: &ExportRow<'_>) -> bool {
        match self.failed {
            FailedPrompts::Include => row.text.is_some() || self.format != ExportFormat::Txt,
            FailedPrompts::Exclude => row.text.is_some(),
            FailedPrompts::Only => row.text.is_none(),
        }
    }
}

impl Exported {
    fn count(&mut self, row: &ExportRow<'_>) {
        self.answered += u64::from(row.text.is_some());
        self.failed += u64::from(row.text.is_none());
        self.flagged += u64::from(row.is_flagged());
    }
}

#[cfg(test)]
mod tests;
