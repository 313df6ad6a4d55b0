//! Streams prompts from text, JSON lines or CSV: one at a time, never the whole input at once.
//!
//! Each format reads its own rows (`lines`, `jsonl`, `csv`); here a row becomes a [`Prompt`], with a [`Template`] if there
//! is one. A prompt is known by its line in the input. Blank prompts are skipped but counted. Anything that cannot be read
//! ends the stream with an error that says where it is and what was expected. Files are opened elsewhere.

mod csv;
mod format;
mod gzip;
mod jsonl;
mod lines;
mod template;

use std::io::{self, BufRead};

use serde_json::{Map, Value};
use thiserror::Error;

use csv::Csv;
use lines::Lines;

pub use format::Format;
pub use gzip::gunzip;
pub use template::{Template, TemplateError};

/// The longest line, or row of CSV, in bytes.
pub const LONGEST: usize = 16 << 20;

/// One prompt of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The line of the input at which it begins, from 1.
    pub line: u64,
    /// Its name in the results: its own, or else `line-17`.
    pub custom_id: String,
    /// The text that is sent.
    pub text: String,
    /// The body of a request, as JSON, to be sent as it is. `None`: it is made from the text.
    pub body: Option<String>,
}

impl Prompt {
    /// A prompt of plain text, named after its line.
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
/// * `format`: text
/// * `template`: none; the prompt is the text
/// * `api_path`: empty; a Batch line may be for any API
/// * `bodies_only`: no
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The format of the input.
    pub format: Format,
    /// Makes a prompt's text from its fields.
    pub template: Option<Template>,
    /// The path of the API, such as `/chat/completions`: the `url` of a Batch line must end with it.
    pub api_path: String,
    /// Every prompt must bring its own body, as there is no model to make one for.
    pub bodies_only: bool,
}

/// The input cannot be read. Lines and columns count from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A line is not UTF-8.
    #[error("line {line}, byte {byte}: not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line.
        line: u64,
        /// The byte of the line, from 1.
        byte: usize,
    },
    /// A line is longer than [`LONGEST`].
    #[error("line {line}: longer than {} MiB; one prompt is one line", LONGEST >> 20)]
    TooLong {
        /// The line.
        line: u64,
    },
    /// The input cannot be read.
    #[error("line {line}: {source}")]
    Read {
        /// The line.
        line: u64,
        /// The cause.
        source: io::Error,
    },
    /// A line is not JSON, or not a prompt.
    #[error("line {line}, column {column}: {problem}")]
    Json {
        /// The line.
        line: u64,
        /// Where in the line, in characters.
        column: usize,
        /// What was expected, and what was found.
        problem: String,
    },
    /// A line of a Batch file is for another API than [`Reading::api_path`].
    #[error(
        "line {line}, column {column}: expected \"url\" to be an address that ends with {path}, found {found}"
    )]
    OtherApi {
        /// The line.
        line: u64,
        /// Where in the line, in characters.
        column: usize,
        /// The path of the API.
        path: String,
        /// The address, as JSON.
        found: String,
    },
    /// A row of CSV is not as its header says, its header is not as it must be, or the template does not fit the prompt.
    #[error("line {line}{}: {problem}", in_field(field.as_deref()))]
    Row {
        /// The line at which the row begins.
        line: u64,
        /// The field, if it is about one.
        field: Option<String>,
        /// What was expected, and what was found.
        problem: String,
    },
    /// A prompt has no body of its own, which [`Reading::bodies_only`] demands.
    #[error("line {line}: this prompt has no body of its own, so say which model to ask")]
    NoBody {
        /// The line of the prompt.
        line: u64,
    },
}

fn in_field(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(", field \"{}\"", short(name)))
}

/// The prompts of an input.
///
/// ```
/// use paceline::prompts::{Format, Prompts, Reading};
///
/// let prompts: Result<Vec<_>, _> = Prompts::new("Why is the sky blue?\r\n\nWhat is rain?".as_bytes()).collect();
/// let ids: Vec<_> = prompts.unwrap().into_iter().map(|prompt| prompt.custom_id).collect();
/// assert_eq!(ids, ["line-1", "line-3"]);
///
/// let reading = Reading { format: Format::Csv, ..Reading::default() };
/// let mut prompts = Prompts::with("id,prompt\nsky,Why is it blue?\n".as_bytes(), reading);
/// assert_eq!(prompts.next().unwrap().unwrap().custom_id, "sky");
/// ```
#[derive(Debug)]
pub struct Prompts<R> {
    rows: Rows<R>,
    reading: Reading,
    ended: bool,
}

#[derive(Debug)]
enum Rows<R> {
    Lines(Lines<R>),
    Csv(Csv<R>),
}

/// The content of one line or row, before it is a prompt.
#[derive(Debug)]
struct InputRow {
    line: u64,
    /// Its own id.
    id: Option<String>,
    prompt: Option<String>,
    body: Option<String>,
    /// All its fields, the prompt too, if there is a template.
    fields: Map<String, Value>,
}

impl<R: BufRead> Prompts<R> {
    /// Reads prompts from text, one per line.
    pub fn new(reader: R) -> Self {
        Self::with(reader, Reading::default())
    }

    /// Reads prompts of any format. Nothing is read yet.
    pub fn with(reader: R, reading: Reading) -> Self {
        let rows = match reading.format {
            Format::Text | Format::Jsonl => Rows::Lines(Lines::new(reader)),
            Format::Csv => Rows::Csv(Csv::new(reader)),
        };
        Prompts {
            rows,
            reading,
            ended: false,
        }
    }

    /// The next prompt that is not blank.
    fn next_prompt(&mut self) -> Result<Option<Prompt>, PromptError> {
        while let Some(row) = self.next_row()? {
            if !self.reading.skips(&row) {
                return self.reading.prompt(row).map(Some);
            }
        }
        Ok(None)
    }

    fn next_row(&mut self) -> Result<Option<InputRow>, PromptError> {
        let lines = match &mut self.rows {
            Rows::Csv(csv) => return csv.next(&self.reading),
            Rows::Lines(lines) => lines,
        };
        let Some((line, text)) = lines.next_filled()? else {
            return Ok(None);
        };
        match self.reading.format {
            Format::Jsonl => jsonl::row(line, text, &self.reading).map(Some),
            _ => Ok(Some(InputRow::new(line, Some(text.to_owned())))),
        }
    }
}

impl<R: BufRead> Iterator for Prompts<R> {
    type Item = Result<Prompt, PromptError>;

    /// `None` after the last prompt, and after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_prompt().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Reading {
    /// Blank prompts are skipped, unless a template makes the text from other fields.
    fn skips(&self, row: &InputRow) -> bool {
        let template = self.template.as_ref();
        let is_blank = |prompt: &String| prompt.trim().is_empty();
        template.is_none_or(Template::takes_prompt) && row.prompt.as_ref().is_some_and(is_blank)
    }

    fn prompt(&self, row: InputRow) -> Result<Prompt, PromptError> {
        if self.bodies_only && row.body.is_none() {
            return Err(PromptError::NoBody { line: row.line });
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
    fn new(line: u64, prompt: Option<String>) -> Self {
        InputRow {
            line,
            id: None,
            prompt,
            body: None,
            fields: Map::new(),
        }
    }

    fn custom_id(&self) -> String {
        self.id
            .clone()
            .unwrap_or_else(|| format!("line-{}", self.line))
    }
}

/// The beginning of a text that was found, without control characters, which a terminal would obey.
fn short(found: &str) -> String {
    const LENGTH: usize = 60;
    let mut shown = String::new();
    for character in found.chars().take(LENGTH) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.extend(found.chars().nth(LENGTH).map(|_| '…'));
    shown
}

#[cfg(test)]
mod tests;
