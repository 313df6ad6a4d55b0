//! Turns results into what people pass on: a table, a document, lines of text or of JSON.
//!
//! The results are read twice. The first time finds the last record of each prompt and where it is, 16 bytes a prompt,
//! and whatever is wrong with the file, before anything is written. The second time takes the records in the order that
//! was asked for, one at a time. So memory is bounded, and what comes out is complete.
//!
//! What an answer says is never altered, with one exception that must be asked for: see [`Options::spreadsheet`].

mod document;
mod row;
mod shape;
mod table;

use std::fmt;
use std::io::{self, BufRead, Seek, Write};
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

use crate::journal::{ByLine, Line, Results, ResultsError};
use row::Row;

/// What to make of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A table (RFC 4180, with `\n`) with the columns `custom_id`, `prompt`, `text`, `finish_reason`, `error`, `status`
    /// and `attempts`. A cell is what the record says, to the letter.
    Csv,
    /// One object a line, with `custom_id`, `prompt`, `text`, `finish_reason` and `error`.
    Jsonl,
    /// A Markdown document with a section a prompt: its first line is the heading, the answer follows as it is. What is
    /// said of a failed or odd answer is in italics or bold. A code block that an answer leaves open is closed.
    Md,
    /// The answers alone, a blank line between two of them, whether they have one line or several. There is no place
    /// for failed prompts.
    Txt,
    /// The output lines of the OpenAI Batch API: `id`, `custom_id`, `response` and `error`, the response as it came.
    Batch,
}

impl Format {
    const NAMES: [(&'static str, Self); 5] = [
        ("csv", Format::Csv),
        ("jsonl", Format::Jsonl),
        ("md", Format::Md),
        ("txt", Format::Txt),
        ("batch", Format::Batch),
    ];

    /// The format that a file's name asks for by its ending, if that is one of ours.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        path.extension()?
            .to_str()?
            .to_ascii_lowercase()
            .parse()
            .ok()
    }
}

/// The order of what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As in the input.
    #[default]
    Input,
    /// As the prompts were finished.
    Completion,
}

impl Order {
    const NAMES: [(&'static str, Self); 2] =
        [("input", Order::Input), ("completion", Order::Completion)];
}

/// What becomes of prompts that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failed {
    /// They are written like the others, where the format has a place for them.
    #[default]
    Include,
    /// They are left out.
    Exclude,
    /// All others are left out.
    Only,
}

impl Failed {
    const NAMES: [(&'static str, Self); 3] = [
        ("include", Failed::Include),
        ("exclude", Failed::Exclude),
        ("only", Failed::Only),
    ];
}

/// How results are exported: plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What to make.
    pub format: Format,
    /// In which order.
    pub order: Order,
    /// What becomes of failed prompts.
    pub failed: Failed,
    /// The table is for a spreadsheet program: a byte order mark, so that it takes the text for UTF-8; `\r\n`; and an
    /// apostrophe before each cell that it would take for a formula (those that begin with `=`, `+`, `-`, `@`, a tab or
    /// a carriage return), because an answer must not be able to run one.
    pub spreadsheet: bool,
}

impl Options {
    /// This format, in the order of the input, with failed prompts, to the letter.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Options {
            format,
            order: Order::default(),
            failed: Failed::default(),
            spreadsheet: false,
        }
    }
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Prompts that are answered.
    pub answered: u64,
    /// Answers among them that are empty or did not end by themselves.
    pub flagged: u64,
    /// Prompts that failed.
    pub failed: u64,
    /// Prompts of either kind that were written.
    pub written: u64,
    /// Cells of the table that a spreadsheet program takes for formulas, or would have taken.
    pub formulas: u64,
    /// Bytes of an unfinished last line, which was left out.
    pub torn: u64,
}

/// Results cannot be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The results cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The results cannot be read a second time.
    #[error("cannot read the results a second time ({0}): are they in a plain file?")]
    Again(io::Error),
    /// A record is not where it was.
    #[error("the results were changed while they were read: try again")]
    Changed,
    /// The format has no place for what was asked for.
    #[error("txt has answers only, and so no place for failed prompts: take another format")]
    NoPlace,
    /// What was made cannot be written.
    #[error("{0}")]
    Write(io::Error),
}

/// Exports results, from their beginning.
///
/// ```
/// use paceline::export::{Format, Options, export};
/// use paceline::journal::Results;
/// use std::io::Cursor;
///
/// let file = r#"{"id":"pl_2_ca978112ca1bbdca","custom_id":"line-2","text":"Rain."}
/// {"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1","text":"Sun."}
/// "#;
/// let mut text = Vec::new();
/// let exported = export(&mut Results::new(Cursor::new(file)), &Options::new(Format::Txt), &mut text).unwrap();
/// assert_eq!(String::from_utf8(text).unwrap(), "Sun.\n\nRain.\n");
/// assert_eq!(exported.written, 2);
/// ```
///
/// # Errors
/// [`ExportError`]. Unless it is about writing, or about results that change while they are read, nothing has been
/// written.
pub fn export<R: BufRead + Seek>(
    results: &mut Results<R>,
    options: &Options,
    to: impl Write,
) -> Result<Exported, ExportError> {
    if (options.format, options.failed) == (Format::Txt, Failed::Only) {
        return Err(ExportError::NoPlace);
    }
    let places = places(results, options.order)?;
    let torn = results.torn();
    results.seek(0).map_err(ExportError::Again)?;
    let mut exported = Exported {
        torn,
        ..Exported::default()
    };
    let mut shape = shape::of(options, to).map_err(ExportError::Write)?;
    for (_, place) in places {
        results.seek(place).map_err(ExportError::Again)?;
        let line = results
            .next_line()
            .map_err(again)?
            .ok_or(ExportError::Changed)?;
        let row: Row<'_> = line.parse().map_err(|_| ExportError::Changed)?;
        exported.count(&row);
        if options.wants(&row) {
            shape.row(&row).map_err(ExportError::Write)?;
            exported.written += 1;
        }
    }
    exported.formulas = shape.end().map_err(ExportError::Write)?;
    Ok(exported)
}

/// The line of each prompt and where its last record is, in the order asked for. Every record is read in full, so that none is found broken half-way.
fn places<R: BufRead>(
    results: &mut Results<R>,
    order: Order,
) -> Result<Vec<(u64, u64)>, ResultsError> {
    let place = |line: &Line<'_>| {
        let row: Row<'_> = line.parse()?;
        Ok((line.id(&row.id)?.line, line.offset))
    };
    let next = || {
        results
            .next_line()
            .and_then(|line| line.as_ref().map(place).transpose())
            .transpose()
    };
    let mut places = ByLine::try_collect(std::iter::from_fn(next))?.into_entries();
    if order == Order::Completion {
        places.sort_unstable_by_key(|(_, place)| *place);
    }
    Ok(places)
}

/// The second time a line has no number, and is known to be good.
fn again(error: ResultsError) -> ExportError {
    if let ResultsError::Read { source, .. } = error {
        ExportError::Again(source)
    } else {
        ExportError::Changed
    }
}

impl Options {
    fn wants(&self, row: &Row<'_>) -> bool {
        match self.failed {
            Failed::Include => row.text.is_some() || self.format != Format::Txt,
            Failed::Exclude => row.text.is_some(),
            Failed::Only => row.text.is_none(),
        }
    }
}

impl Exported {
    fn count(&mut self, row: &Row<'_>) {
        self.answered += u64::from(row.text.is_some());
        self.failed += u64::from(row.text.is_none());
        self.flagged += u64::from(row.is_flagged());
    }
}

/// A text that is not one of the names that are known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("give {0}")]
pub struct UnknownName(String);

/// Reads and writes a choice by its name.
macro_rules! by_name {
    ($($choice:ty),*) => {$(
        impl FromStr for $choice {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let named = Self::NAMES.iter().find(|(name, _)| *name == text);
                named.map(|(_, choice)| *choice).ok_or_else(|| UnknownName(Self::NAMES.map(|(name, _)| name).join(", ")))
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let named = Self::NAMES.iter().find(|(_, choice)| choice == self);
                f.write_str(named.map_or("", |(name, _)| name))
            }
        }
    )*};
}

by_name!(Format, Order, Failed);

#[cfg(test)]
mod tests;
