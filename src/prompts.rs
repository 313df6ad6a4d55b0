//! Streams prompts from text, JSON, CSV or TSV: one at a time, never the whole input at once.
//!
//! Each format reads its own rows (`lines`, `json`, `csv`); here a row becomes a [`Prompt`], with a `Template` if there
//! is one. A prompt is known by its line in the input. Lines without content are skipped but counted. What cannot be
//! read, or is perhaps not what it is taken for, ends the stream with an error that says where it is and what to do.
//! Files are opened elsewhere.

#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))] // only the command line reads files

mod asked;
mod csv;
mod files;
mod format;
mod gzip;
mod json;
mod lines;
mod template;

use std::io::BufRead;
use std::path::PathBuf;
use std::{iter, vec};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use csv::Csv;
use gzip::Inflated;
use json::JsonRows;
use lines::Lines;

use crate::api::Row;
use crate::text::shortened;

pub(crate) use files::listed;
pub(crate) use format::Format;
pub(crate) use template::Template;

/// The longest line, or row of CSV, or value of JSON, in bytes: far above any model's context, and no burden for memory.
const LONGEST: usize = 16 << 20;

/// In the number of a prompt that is repeated, the bits from this one on say which repetition it is: files have fewer lines.
const REPEAT_SHIFT: u32 = 40;

/// The line of the input in the number of a prompt.
pub(crate) fn input_line(number: u64) -> u64 {
    number & ((1 << REPEAT_SHIFT) - 1)
}

/// Sorts numbers of prompts by their lines, and those of a line by repetition.
pub(crate) fn in_order(number: u64) -> u64 {
    number.rotate_left(u64::BITS - REPEAT_SHIFT)
}

/// One prompt of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its number: the line of the input at which it begins, from 1, and above that which repetition it is.
    pub(crate) line: u64,
    /// Its name in the results: its own, or else `line-17`.
    pub(crate) custom_id: String,
    /// The text that is sent.
    pub(crate) text: String,
    /// The body of a request, as JSON, to be sent as it is. `None`: it is made from the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// What is asked beyond the text.
    #[serde(default, skip_serializing_if = "Row::is_plain")]
    pub(crate) row: Box<Row>,
    /// The other fields of its row, for the record.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) columns: Map<String, Value>,
}

impl Prompt {
    /// The same prompt, to be asked as the N-th of its line, from 2.
    pub(crate) fn again(&self, n: u32) -> Self {
        Prompt {
            line: self.line | u64::from(n - 1) << REPEAT_SHIFT,
            custom_id: format!("{}#{n}", self.custom_id),
            ..self.clone()
        }
    }

    /// A prompt of plain text, named `line-N` after its line in the input, from 1.
    #[must_use]
    pub fn new(line: u64, text: impl Into<String>) -> Self {
        Prompt {
            line,
            custom_id: format!("line-{line}"),
            text: text.into(),
            body: None,
            row: Box::default(),
            columns: Map::new(),
        }
    }
}

/// How an input is read: plain data.
///
/// # Default
/// * `format`: by the name and the content
/// * `path`: empty, a name that says nothing
/// * `template`: none; the prompt is the text
/// * `api_path`: empty; a Batch line may be for any API
/// * `bodies_only`, `one_model`: no
/// * `attached`: none but the usual names
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The format that was asked for.
    pub(crate) format: Option<Format>,
    /// The name of the input, whose ending may tell the format.
    pub(crate) path: PathBuf,
    /// Makes a prompt's text from its fields.
    pub(crate) template: Option<Template>,
    /// The path of the API, such as `/chat/completions`: the `url` of a Batch line must end with it.
    pub(crate) api_path: String,
    /// Every prompt must bring its own body or model, as there is none to make a body for.
    pub(crate) bodies_only: bool,
    /// Models that rows ask for are left out: the practice server has one.
    pub(crate) one_model: bool,
    /// Columns that name files to send along.
    pub(crate) attached: Vec<String>,
}

/// The input cannot be read, or may not be what it would be taken for. It displays as the place, and what is wrong there.
#[derive(Debug, Error)]
#[error("{place}: {problem}")]
pub struct PromptError {
    place: String,
    problem: String,
}

impl PromptError {
    /// Something is wrong with this line.
    pub(crate) fn at(line: u64, problem: impl Into<String>) -> Self {
        Self::within(format!("line {}", input_line(line)), problem)
    }

    fn within(place: impl Into<String>, problem: impl Into<String>) -> Self {
        PromptError {
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// The prompt at this line needs a model to be sent to.
    pub(crate) fn no_model(line: u64) -> Self {
        let problem = "this prompt has no body of its own, so say which model to ask, with -m NAME";
        Self::at(line, problem)
    }
}

/// The prompts of an input. It ends after an error.
#[derive(Debug)]
pub(crate) struct Prompts<R> {
    rows: Rows<R>,
    reading: Reading,
}

#[derive(Debug)]
enum Rows<R> {
    Unread(R),
    Text(Lines<R>),
    Json(JsonRows<R>),
    Csv(Csv<R>),
    Files(iter::Enumerate<vec::IntoIter<PathBuf>>),
    Ended,
}

/// The content of one line or row, before it is a prompt.
#[derive(Debug, Default)]
struct InputRow {
    line: u64,
    /// Its own id.
    id: Option<String>,
    prompt: Option<String>,
    body: Option<String>,
    /// All its fields, the prompt too.
    fields: Map<String, Value>,
}

impl<R: BufRead> Prompts<R> {
    /// The prompts of an input, which may be compressed with gzip. Nothing is read yet.
    pub(crate) fn new(reader: R, reading: Reading) -> Self {
        let rows = Rows::Unread(reader);
        Prompts { rows, reading }
    }

    /// The prompts in these files, each of which is one.
    pub(crate) fn in_files(files: Vec<PathBuf>, reading: Reading) -> Self {
        let rows = Rows::Files(files.into_iter().enumerate());
        Prompts { rows, reading }
    }

    /// The next prompt that is not blank.
    fn next_prompt(&mut self) -> Result<Option<Prompt>, PromptError> {
        while let Some(row) = self.next_row()? {
            if !self.reading.skips(&row)? {
                return self.reading.prompt(row).map(Some);
            }
        }
        Ok(None)
    }

    fn next_row(&mut self) -> Result<Option<InputRow>, PromptError> {
        match &mut self.rows {
            Rows::Unread(_) => {
                self.open()?;
                self.next_row()
            }
            Rows::Text(lines) => Ok(lines.next_filled()?.map(|line| InputRow {
                line,
                prompt: Some(lines.text().to_owned()),
                ..InputRow::default()
            })),
            Rows::Json(json) => json.next(&self.reading),
            Rows::Csv(csv) => csv.next(),
            Rows::Files(files) => files.next().map(files::row).transpose(),
            Rows::Ended => Ok(None),
        }
    }

    /// Finds out the format by the first line.
    fn open(&mut self) -> Result<(), PromptError> {
        let Rows::Unread(reader) = std::mem::replace(&mut self.rows, Rows::Ended) else {
            return Ok(());
        };
        let ending = self.reading.path.extension();
        let is_gzip = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        let mut lines = Lines::new(Inflated::new(reader, is_gzip));
        let Some(line) = lines.next_filled()? else {
            return Ok(());
        };
        let format = match self.reading.format {
            Some(format) => format,
            None => format::of(&self.reading.path, line, lines.text())?,
        };
        lines.keep();
        self.rows = match format {
            Format::Text => Rows::Text(lines),
            Format::Json => Rows::Json(JsonRows::new(lines)),
            Format::Csv => Rows::Csv(Csv::new(lines, None, self.reading.template.is_none())),
            Format::Tsv => Rows::Csv(Csv::new(lines, Some('\t'), self.reading.template.is_none())),
        };
        Ok(())
    }
}

impl<R: BufRead> Iterator for Prompts<R> {
    type Item = Result<Prompt, PromptError>;

    /// `None` after the last prompt, and after an error.
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_prompt().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.rows = Rows::Ended;
        }
        next
    }
}

impl Reading {
    /// Rows without content are skipped. A row whose prompt alone is empty is an error, unless a template makes the text
    /// from other fields.
    fn skips(&self, row: &InputRow) -> Result<bool, PromptError> {
        let template = self.template.as_ref();
        let is_blank = row
            .prompt
            .as_ref()
            .is_some_and(|prompt| prompt.trim().is_empty());
        if !is_blank || !template.is_none_or(|template| template.takes("prompt")) {
            return Ok(false);
        }
        if row.has_more() {
            let problem =
                "its prompt is empty, but other fields are not: fill it, or remove the row";
            return Err(PromptError::at(row.line, problem));
        }
        Ok(true)
    }

    fn prompt(&self, mut row: InputRow) -> Result<Prompt, PromptError> {
        let asked = match row.body {
            Some(_) => Row::default(),
            None => asked::row(&row, self).map_err(|problem| PromptError::at(row.line, problem))?,
        };
        if self.bodies_only && row.body.is_none() && !asked.settings.contains_key("model") {
            return Err(PromptError::no_model(row.line));
        }
        let custom_id = row.custom_id();
        let text = match &self.template {
            Some(template) => template.render(&row)?,
            None => row
                .prompt
                .or_else(|| asked::question(&asked.messages))
                .unwrap_or_default(),
        };
        row.fields.retain(|name, _| !asked::is_told_elsewhere(name));
        Ok(Prompt {
            line: row.line,
            custom_id,
            text,
            body: row.body,
            row: Box::new(asked),
            columns: row.fields,
        })
    }
}

impl InputRow {
    fn custom_id(&self) -> String {
        self.id
            .clone()
            .unwrap_or_else(|| format!("line-{}", self.line))
    }

    /// Whether anything but the prompt is filled.
    fn has_more(&self) -> bool {
        let is_filled = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        };
        let mut fields = self.fields.iter();
        fields.any(|(name, value)| !name.eq_ignore_ascii_case("prompt") && is_filled(value))
    }
}

/// The beginning of a text that was found, for a message: without control characters, which a terminal would obey.
fn short(found: &str) -> String {
    shortened(found, 60)
}

#[cfg(test)]
mod tests;
