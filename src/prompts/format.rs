//! The formats of prompts, and what a file's name says about its format. No file is opened here.

use std::path::Path;

use crate::names::named;

/// How prompts are written in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One prompt a line.
    #[default]
    Text,
    /// One JSON value a line: an object with a `prompt`, a string, or a line of an OpenAI Batch file.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

named!(Format {
    Text = "text" | "txt",
    Jsonl = "jsonl" | "ndjson",
    Csv = "csv",
});

impl Format {
    /// The format that a file's extension names, text if it names none, and whether the file is compressed with gzip.
    ///
    /// ```
    /// use paceline::prompts::Format;
    ///
    /// assert_eq!(Format::of("questions.csv"), (Format::Csv, false));
    /// assert_eq!(Format::of("questions.JSONL.gz"), (Format::Jsonl, true));
    /// assert_eq!(Format::of("questions"), (Format::Text, false));
    /// ```
    #[must_use]
    pub fn of(path: impl AsRef<Path>) -> (Self, bool) {
        let path = path.as_ref();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        if extension == "gz" {
            return (Self::of(path.with_extension("")).0, true);
        }
        let format = extension.to_str().and_then(|name| name.parse().ok());
        (format.unwrap_or_default(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_the_format() {
        let table = [
            ("a.txt", Format::Text, false),
            ("a.jsonl", Format::Jsonl, false),
            ("a.ndjson", Format::Jsonl, false),
            ("dir.csv/a.csv", Format::Csv, false),
            ("a.b.CSV.Gz", Format::Csv, true),
            ("a.txt.gz", Format::Text, true),
            ("a.gz", Format::Text, true),
            ("a.md", Format::Text, false),
            ("dir.csv/a", Format::Text, false),
            (".csv", Format::Text, false),
            ("", Format::Text, false),
        ];
        for (path, format, is_gzip) in table {
            assert_eq!(Format::of(path), (format, is_gzip), "{path}");
        }
    }

    #[test]
    fn formats_have_names() {
        for (name, format) in [("ndjson", Format::Jsonl), ("csv", Format::Csv)] {
            assert_eq!(name.parse(), Ok(format));
        }
        let expected = "\"xml\" is not one of text, jsonl, csv";
        assert_eq!("xml".parse::<Format>().unwrap_err().to_string(), expected);
    }
}
