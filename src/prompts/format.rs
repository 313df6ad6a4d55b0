//! How prompts are written down, and what a file's name says about it. Pure: no file is opened.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// How prompts are written down.
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

impl Format {
    const NAMES: [(Format, &str); 5] = [
        (Format::Text, "text"),
        (Format::Text, "txt"),
        (Format::Jsonl, "jsonl"),
        (Format::Jsonl, "ndjson"),
        (Format::Csv, "csv"),
    ];

    /// What the extension of a file says: its format, and whether it is compressed with gzip. What says nothing is
    /// text.
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
        let is_gzip = extension(path).is_some_and(|extension| extension == "gz");
        let plain = if is_gzip {
            path.with_extension("")
        } else {
            path.to_owned()
        };
        let format = extension(&plain).and_then(|extension| extension.parse().ok());
        (format.unwrap_or_default(), is_gzip)
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension()?.to_str().map(str::to_ascii_lowercase)
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found
            .map(|(format, _)| *format)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// No format is called that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no format is called {:?}: choose one of text, jsonl, csv",
            self.0
        )
    }
}

impl std::error::Error for UnknownFormat {}

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
        for (format, name) in Format::NAMES {
            assert_eq!(name.parse(), Ok(format));
        }
        let expected = "no format is called \"xml\": choose one of text, jsonl, csv";
        assert_eq!("xml".parse::<Format>().unwrap_err().to_string(), expected);
    }
}
