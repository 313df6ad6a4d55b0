//! Streams prompts from text, JSON, CSV or TSV: one at a time, never the whole input at once.
//!
//! Each format reads its own rows (`lines`, `json`, `csv`); here a row becomes a [`Prompt`], with a `Template` if there
//! is one. A prompt is known by its line in the input. Lines without content are skipped but counted. What cannot be
//! read, or is perhaps not what it is taken for, ends the stream with an error that says where it is and what to do.
//! Files are opened elsewhere.

mod csv;
mod format;
mod gzip;
mod json;
mod lines;
mod template;

use std::io::BufRead;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use csv::Csv;
use json::JsonRows;
use lines::Lines;

use crate::text::shortened;

pub(crate) use format::Format;
pub(crate) use template::Template;

/// The longest line, or row of CSV, or value of JSON, in bytes: far above any model's context, and no burden for memory.
const LONGEST: usize = 16 << 20;

/// One prompt of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The line of the input at which it begins, from 1.
    pub(crate) line: u64,
    /// Its name in the results: its own, or else `line-17`.
    pub(crate) custom_id: String,
    /// The text that is sent.
    pub(crate) text: String,
    /// The body of a request, as JSON, to be sent as it is. `None`: it is made from the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

impl Prompt {
    /// A prompt of plain text, named `line-N` after its line in the input, from 1.
    #[must_use]
    pub fn new(line: u64, text: impl Into<String>) -> Self {
        Prompt {
            line,
            custom_id: format!("line-{line}"),
            text: text.into(),
            body: None,
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
/// * `bodies_only`: no
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
    /// Every prompt must bring its own body, as there is no model to make one for.
    pub(crate) bodies_only: bool,
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
        Self::within(format!("line {line}"), problem)
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
    Unread(Lines<R>),
    Text(Lines<R>),
    Json(JsonRows<R>),
    Csv(Csv<R>),
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
    /// All its fields, the prompt too, if there is a template.
    fields: Map<String, Value>,
    /// Whether anything but the prompt is filled.
    has_more: bool,
}

impl<R: BufRead> Prompts<R> {
    /// The prompts of an input, which may be compressed with gzip. Nothing is read yet.
    pub(crate) fn new(reader: R, reading: Reading) -> Self {
        let is_gzip = reading
            .path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
        Prompts {
            rows: Rows::Unread(Lines::new(gzip::Inflated::new(reader, is_gzip))),
            reading,
        }
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
            Rows::Csv(csv) => csv.next(&self.reading),
            Rows::Ended => Ok(None),
        }
    }

    /// Finds out the format by the first line.
    fn open(&mut self) -> Result<(), PromptError> {
        let Rows::Unread(mut lines) = std::mem::replace(&mut self.rows, Rows::Ended) else {
            return Ok(());
        };
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
            Format::Csv => Rows::Csv(Csv::new(lines, None)),
            Format::Tsv => Rows::Csv(Csv::new(lines, Some('\t'))),
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
        if !is_blank || !template.is_none_or(Template::takes_prompt) {
            return Ok(false);
        }
        if row.has_more {
            let problem =
                "its prompt is empty, but other fields are not: fill it, or remove the row";
            return Err(PromptError::at(row.line, problem));
        }
        Ok(true)
    }

    fn prompt(&self, row: InputRow) -> Result<Prompt, PromptError> {
        if self.bodies_only && row.body.is_none() {
            return Err(PromptError::no_model(row.line));
        }
        let custom_id = row.custom_id();
        let text = match &self.template {
            Some(template) => template.render(&row)?,
            None => row.prompt.unwrap_or_default(),
        };
        Ok(Prompt {
            line: row.line,
            custom_id,
            text,
            body: row.body,
        })
    }
}

impl InputRow {
    fn custom_id(&self) -> String {
        self.id
            .clone()
            .unwrap_or_else(|| format!("line-{}", self.line))
    }
}

/// The beginning of a text that was found, for a message: without control characters, which a terminal would obey.
fn short(found: &str) -> String {
    shortened(found, 60)
}

#[cfg(test)]
mod tests;
