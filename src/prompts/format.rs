//! The formats of prompts, and which of them an input has, by its name and its first line.
//!
//! A name or a line that is certain decides. What might be meant as something else than it would be taken for is refused,
//! because each line that is sent costs money. No file is opened here.

use std::path::Path;

use serde::de::IgnoredAny;

use super::PromptError;
use crate::names::named;

named! {
    /// How prompts are written in a file.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Format {
        /// One prompt a line.
        Text = "text" | "txt",
        /// JSON values, one a line or in an array: objects with a `prompt`, strings, or lines of an OpenAI Batch file.
        Json = "jsonl" | "ndjson" | "json",
        /// Values separated by commas, or by semicolons, with a header.
        Csv = "csv",
        /// Values separated by tabs, with a header.
        Tsv = "tsv" | "tab",
    }
}

/// Endings of documents that are text, but not lines of prompts.
const DOCUMENTS: [&str; 12] = [
    "yaml", "yml", "toml", "xml", "html", "htm", "xhtml", "svg", "rtf", "ipynb", "eml", "tex",
];

/// Beginnings of documents, in lower case.
const MARKUP: [&str; 6] = ["<?xml", "<!doctype", "<html", "<svg", "{\\rtf", "%pdf-"];

/// Names one of which the header of a table of prompts is likely to have.
const COLUMNS: [&str; 9] = [
    "prompt",
    "custom_id",
    "id",
    "messages",
    "question",
    "text",
    "input",
    "instruction",
    "content",
];

/// Between the columns of tables.
pub(super) const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// The format of an input with this name and this first line that is not blank.
pub(super) fn of(path: &Path, line: u64, first: &str) -> Result<Format, PromptError> {
    let ending = ending(path);
    match ending.parse() {
        Ok(Format::Text) | Err(_) => {}
        Ok(format) => return Ok(format),
    }
    let problem = if is_document(&ending, first) {
        "this looks like a document, not like prompts, one a line"
    } else if first.trim_end().contains('\r') {
        "its lines end with carriage returns; save the file with line feeds at their ends"
    } else if is_json(first) {
        if ending.is_empty() && first.trim_start().starts_with(['{', '[']) {
            return Ok(Format::Json);
        }
        "this looks like JSON, but the name does not say so: give --format jsonl"
    } else if first.contains('\t') && is_header(first) {
        "this looks like the header of a table: give --format tsv"
    } else if is_header(first) {
        "this looks like the header of a table: give --format csv"
    } else {
        return Ok(Format::Text);
    };
    let problem = format!("{problem}, or --format text to send each line as it is");
    Err(PromptError::at(line, problem))
}

/// What follows the last dot of a name, in lower case; that of gzip does not count.
fn ending(path: &Path) -> String {
    let ending = |path: &Path| {
        let ending = path.extension().unwrap_or_default();
        ending.to_string_lossy().to_lowercase()
    };
    match &*ending(path) {
        "gz" => ending(&path.with_extension("")),
        other => other.to_owned(),
    }
}

fn is_document(ending: &str, first: &str) -> bool {
    let start: String = first.trim_start().chars().take(10).collect();
    let start = start.to_lowercase();
    DOCUMENTS.contains(&ending) || MARKUP.iter().any(|mark| start.starts_with(mark))
}

/// Whether a line is JSON, a string too, or the beginning of an object or an array.
fn is_json(first: &str) -> bool {
    let is_longer = first.trim_start().starts_with(['{', '[']);
    let is_quoted = first.trim_start().starts_with('"');
    match serde_json::from_str::<IgnoredAny>(first) {
        Ok(_) => is_longer || is_quoted,
        Err(error) => is_longer && error.is_eof(),
    }
}

/// Whether a line names columns.
fn is_header(first: &str) -> bool {
    SEPARATORS.iter().any(|separator| {
        let names: Vec<_> = columns(first, *separator).collect();
        let is_name = |name: &String| {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
            name.chars().count() <= 40 && name.chars().all(is_part)
        };
        let is_known = |name: &String| COLUMNS.contains(&&**name);
        names.iter().any(|name| name == "prompt")
            || names.len() > 1 && names.iter().all(is_name) && names.iter().any(is_known)
    })
}

/// The names in a header, in lower case.
pub(super) fn columns(header: &str, separator: char) -> impl Iterator<Item = String> {
    let names = header.split(separator);
    names.map(|name| name.trim().trim_matches('"').trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, first: &str) -> Result<Format, String> {
        of(Path::new(name), 1, first).map_err(|error| error.to_string())
    }

    #[test]
    fn the_ending_says_the_format() {
        let table = [
            ("a.txt", Format::Text),
            ("a.jsonl", Format::Json),
            ("a.ndjson", Format::Json),
            ("a.json", Format::Json),
            ("dir.csv/a.csv", Format::Csv),
            ("a.b.CSV.Gz", Format::Csv),
            ("a.tsv", Format::Tsv),
            ("a.txt.gz", Format::Text),
            ("a.gz", Format::Text),
            ("a.md", Format::Text),
            ("dir.csv/a", Format::Text),
            (".csv", Format::Text),
            ("-", Format::Text),
            ("", Format::Text),
        ];
        for (path, format) in table {
            assert_eq!(found(path, "Why is the sky blue?"), Ok(format), "{path}");
        }
    }

    #[test]
    fn json_without_a_name_is_read_as_json_and_under_another_name_it_is_refused() {
        for first in [
            r#"{"prompt":"a"}"#,
            "{",
            "[",
            "[{",
            r#" [{"prompt":"a"},"#,
            r#"["a"]"#,
        ] {
            assert_eq!(found("-", first), Ok(Format::Json), "{first}");
            assert_eq!(found("a", first), Ok(Format::Json), "{first}");
            for name in ["a.txt", "a.md", "a.dat"] {
                let error = found(name, first).unwrap_err();
                assert!(error.starts_with("line 1: this looks like JSON"), "{error}");
                assert!(error.contains("--format jsonl") && error.contains("--format text"));
            }
        }
        assert!(
            found("-", r#""a string""#)
                .unwrap_err()
                .contains("--format jsonl")
        );
    }

    #[test]
    fn the_header_of_a_table_in_a_text_is_refused() {
        let csv = [
            "prompt",
            "id,prompt",
            "\"ID\";\"Prompt\"",
            "id|prompt",
            "question,answer_1",
            "id,model name,prompt",
        ];
        for first in csv {
            let error = found("a.txt", first).unwrap_err();
            assert!(error.contains("--format csv, or --format text"), "{error}");
        }
        assert!(
            found("-", "id\tprompt")
                .unwrap_err()
                .contains("--format tsv")
        );
    }

    #[test]
    fn documents_and_old_line_ends_are_refused() {
        for (name, first) in [
            ("a.yaml", "- prompt: a"),
            ("a.txt", "<?xml version=\"1.0\"?>"),
            ("-", "<!DOCTYPE html>"),
            ("a.txt", "{\\rtf1\\ansi"),
            ("a", "%PDF-1.7"),
        ] {
            assert!(
                found(name, first).unwrap_err().contains("like a document"),
                "{name} {first}"
            );
        }
        assert!(
            found("a.txt", "one\rtwo")
                .unwrap_err()
                .contains("carriage returns")
        );
    }

    #[test]
    fn what_people_write_is_text() {
        let texts = [
            "Why?",
            "[INST] Why? [/INST]",
            "[1] Why?",
            "{name} is here",
            "\"Quoted\", she said",
            "red, green and blue",
            "cats,dogs",
            "Write a prompt, an answer and a title",
            "a | b",
            "<b>bold</b> claims",
            "- one",
            "7",
            "null",
        ];
        for text in texts {
            assert_eq!(found("a.txt", text), Ok(Format::Text), "{text}");
            assert_eq!(found("-", text), Ok(Format::Text), "{text}");
        }
    }

    #[test]
    fn formats_have_names() {
        for (name, format) in [("ndjson", Format::Json), ("csv", Format::Csv)] {
            assert_eq!(name.parse(), Ok(format));
        }
        let expected = "\"xml\" is not one of text, jsonl, csv, tsv";
        assert_eq!("xml".parse::<Format>().unwrap_err().to_string(), expected);
    }
}
