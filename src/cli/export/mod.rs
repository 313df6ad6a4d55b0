//! Turns results into something to pass on: a table, a document, lines of text or of JSON.
//!
//! The results are read twice. The first time finds the last record of each prompt and where it is, 16 bytes a record,
//! and whatever is wrong with the file, before anything is written. The second time takes the records in the order that
//! was asked for, one at a time. So memory is bounded, and the output is complete.
//!
//! Tables hold what a record says, to the letter, unless [`ExportOptions::spreadsheet`] asks for an escape; JSON means it,
//! with control characters escaped.
//! Documents and plain text are cleaned of control characters.

mod command;
mod markdown;
mod writer;

use std::io::{self, BufRead, Seek, Write};
use std::path::Path;

use clap::ValueEnum;
use thiserror::Error;

use super::args::ExportOptions;
use super::fields::RecordFields;
use super::output::{RereadError, keep_last, read_again};
use crate::batch::{Flag, Flags};
use crate::journal::{AttemptUsage, Results, ResultsError};
use crate::prompts::in_order;
use writer::RowWriter;

pub(super) use command::run;

/// A record, with as much of its attempts as tells its cost.
type ExportRow<'a> = RecordFields<'a, AttemptUsage>;

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

/// The columns beside the usual ones, in the order in which they were found.
#[derive(Debug, Default)]
struct Columns {
    /// Those of the input.
    input: Vec<String>,
    /// The fields of answers that had to fit a schema.
    answer: Vec<String>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Prompts that are answered.
    pub(crate) answered: u64,
    /// Answers among them that are empty, cut or withheld.
    pub(crate) flags: Flags,
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
    format: ExportFormat,
    options: &ExportOptions,
    to: impl Write,
) -> Result<Exported, ExportError> {
    if format == ExportFormat::Txt && options.failed == FailedPrompts::Only {
        return Err(ExportError::NoPlace);
    }
    let mut columns = Columns::default();
    let offsets = offsets(results, options.order, &mut columns).map_err(RereadError::from)?;
    columns.choose(options.columns.as_deref())?;
    let mut exported = Exported {
        torn: results.torn,
        ..Exported::default()
    };
    let mut writer = RowWriter::new(format, options, columns, to)?;
    for offset in offsets {
        let line = read_again(results, offset)?;
        let row: ExportRow<'_> = line.parse().map_err(|_| RereadError::Changed)?;
        exported.count(&row);
        if wants(format, options.failed, &row) {
            writer.write(&row)?;
        }
    }
    writer.flush()?;
    (exported.written, exported.formulas) = (writer.written, writer.formulas);
    Ok(exported)
}

/// Where the last record of each prompt is, in the order asked for, and the columns that the records have. Every record
/// is read in full, so that a broken one is found before anything is written.
fn offsets<R: BufRead>(
    results: &mut Results<R>,
    order: ExportOrder,
    columns: &mut Columns,
) -> Result<Vec<u64>, ResultsError> {
    let mut records = Vec::new();
    while let Some(line) = results.next_line()? {
        let row: ExportRow<'_> = line.parse()?;
        add(&mut columns.input, row.columns.keys());
        add(&mut columns.answer, row.answer().keys());
        records.push((in_order(line.id(&row.id)?.line), line.offset));
    }
    keep_last(&mut records);
    let mut offsets: Vec<_> = records.into_iter().map(|(_, offset)| offset).collect();
    if order == ExportOrder::Completion {
        offsets.sort_unstable();
    }
    Ok(offsets)
}

/// Adds the names that are new. Nearly always each record has the same as the one before.
fn add<'n>(columns: &mut Vec<String>, names: impl Iterator<Item = &'n String>) {
    for (place, name) in names.enumerate() {
        if columns.get(place) != Some(name) && !columns.contains(name) {
            columns.push(name.clone());
        }
    }
}

impl Columns {
    /// Keeps those of the input that were asked for: none, or all for an empty list.
    fn choose(&mut self, wanted: Option<&[String]>) -> Result<(), ExportError> {
        let found = &mut self.input;
        match wanted {
            None => found.clear(),
            Some([]) => {}
            Some(wanted) => {
                if let Some(missing) = wanted.iter().find(|name| !found.contains(name)) {
                    found.sort_unstable();
                    return Err(ExportError::NoColumn(missing.clone(), found.join(", ")));
                }
                *found = wanted.to_vec();
            }
        }
        Ok(())
    }
}

fn wants(format: ExportFormat, failed: FailedPrompts, row: &ExportRow<'_>) -> bool {
    match failed {
        FailedPrompts::Include => row.text.is_some() || format != ExportFormat::Txt,
        FailedPrompts::Exclude => row.text.is_some(),
        FailedPrompts::Only => row.text.is_none(),
    }
}

impl Exported {
    fn count(&mut self, row: &ExportRow<'_>) {
        let Some(text) = &row.text else {
            self.failed += 1;
            return;
        };
        self.answered += 1;
        if let Some(flag) = Flag::of(text, row.finish_reason.as_deref()) {
            self.flags.count(flag);
        }
    }
}

#[cfg(test)]
mod tests;
