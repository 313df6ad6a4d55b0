//! Writes each answer to a file of its own: `0017-why-is-the-sky-blue.md`.
//!
//! The number is the prompt's line, so names are unique and sort like the input; the rest is for people. Whatever a
//! prompt says, its file is in the folder: a name consists of letters, digits and hyphens, and one dot. The results file
//! is what counts; these files can be made from it again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::id::RecordId;
use super::record::Record;
use crate::files::write_whole;

/// A folder of answers.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, or creates it.
    ///
    /// # Errors
    /// [`JournalError::Folder`]
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let path = path.to_owned();
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(Folder { path }),
            Err(source) => Err(JournalError::Folder { path, source }),
        }
    }

    /// The file for the answer to this prompt.
    pub(crate) fn path_of(&self, line: u64, prompt: &str) -> PathBuf {
        self.path.join(file_name(line, prompt))
    }

    /// Writes the answer of a record, in place of an earlier one. `None` if the prompt failed, or the record is not ours.
    ///
    /// # Errors
    /// [`JournalError::Folder`]
    pub(crate) fn write(&self, record: &Record) -> Result<Option<PathBuf>, JournalError> {
        let (Some(text), Ok(RecordId { line, .. })) = (&record.text, record.id.parse()) else {
            return Ok(None);
        };
        let path = self.path_of(line, &record.prompt);
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let written = write_whole(&path, |file| write!(file, "{text}{end}"));
        match written {
            Ok(()) => Ok(Some(path)),
            Err(source) => Err(JournalError::Folder { path, source }),
        }
    }

    /// Writes the answers that have no file yet: those of a run that was cut short, or that had no folder. Returns their
    /// number.
    ///
    /// # Errors
    /// [`JournalError::Folder`], or the first error of the records.
    pub(crate) fn catch_up<E: From<JournalError>>(
        &self,
        records: impl IntoIterator<Item = Result<Record, E>>,
    ) -> Result<u64, E> {
        let is_there = |record: &Record| {
            let id = record.id.parse();
            id.is_ok_and(|id: RecordId| self.path_of(id.line, &record.prompt).exists())
        };
        let mut written = 0;
        for record in records {
            let record = record?;
            if !is_there(&record) && self.write(&record)?.is_some() {
                written += 1;
            }
        }
        Ok(written)
    }
}

/// The name of the file for an answer.
fn file_name(line: u64, prompt: &str) -> String {
    format!("{line:04}-{}.md", slug(prompt))
}

/// The part of a text that goes into a file's name: its letters and digits, of any alphabet, in lower case, with one
/// hyphen for anything between them. It ends after a whole word, unless that would leave too little.
fn slug(text: &str) -> String {
    /// In bytes; any file system takes 255.
    const LONGEST: usize = 60;
    let mut slug = String::new();
    for character in text.chars().take(1000) {
        if character.is_alphanumeric() {
            slug.extend(character.to_lowercase().filter(|c| c.is_alphanumeric()));
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() > LONGEST {
            let word = slug.rfind('-').filter(|end| *end > LONGEST / 2);
            slug.truncate(word.unwrap_or(slug.floor_char_boundary(LONGEST)));
            break;
        }
    }
    match slug.trim_end_matches('-') {
        "" => "prompt".to_owned(),
        slug => slug.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::full;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_named_by_its_line_and_its_prompt() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("answers")).unwrap();
        let path = folder.path_of(17, "Why is the sky blue?");
        assert!(path.ends_with("answers/0017-why-is-the-sky-blue.md"));
    }

    #[test]
    fn a_name_has_the_line_and_the_beginning_of_the_prompt() {
        assert_eq!(
            file_name(1, "Why is the sky blue?"),
            "0001-why-is-the-sky-blue.md"
        );
        assert_eq!(
            file_name(123_456, "  C++ & Rust, \"2024\"!\n"),
            "123456-c-rust-2024.md"
        );
        assert_eq!(
            file_name(2, "Pourquoi l’été à Zürich?"),
            "0002-pourquoi-l-été-à-zürich.md"
        );
        assert_eq!(file_name(3, "空はなぜ青い?"), "0003-空はなぜ青い.md");
    }

    #[test]
    fn a_prompt_cannot_choose_where_its_answer_goes() {
        let table = [
            ("../../etc/passwd", "0001-etc-passwd.md"),
            ("/etc/shadow", "0001-etc-shadow.md"),
            ("C:\\Windows\\System32", "0001-c-windows-system32.md"),
            ("a\0b\nc\u{202e}d", "0001-a-b-c-d.md"),
            ("", "0001-prompt.md"),
            ("....", "0001-prompt.md"),
            ("🦀🚲💨", "0001-prompt.md"),
            ("-rf *", "0001-rf.md"),
        ];
        for (prompt, expected) in table {
            assert_eq!(file_name(1, prompt), expected);
        }
    }

    #[test]
    fn a_long_prompt_makes_a_short_name_of_whole_words() {
        let name = file_name(1, &"word ".repeat(1000));
        assert_eq!(name, format!("0001-{}.md", ["word"; 12].join("-")));
        assert_eq!(
            file_name(1, &"x".repeat(5000)),
            format!("0001-{}.md", "x".repeat(60))
        );
        assert_eq!(
            file_name(1, &format!("Q: {}", "x".repeat(5000))),
            format!("0001-q-{}.md", "x".repeat(58))
        );
        assert_eq!(
            file_name(1, &"青".repeat(5000)),
            format!("0001-{}.md", "青".repeat(20))
        );
    }

    #[test]
    fn an_answer_is_written_whole_and_again_without_a_second_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("new/answers")).unwrap();
        let answered = |text: &str| Record {
            text: Some(text.to_owned()),
            prompt: "Sky?".into(),
            ..full("pl_17_ca978112ca1bbdca")
        };
        folder.write(&answered("first")).unwrap();
        let path = folder.write(&answered("second\n")).unwrap().unwrap();
        assert!(path.ends_with("new/answers/0017-sky.md"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(
            folder.write(&full("pl_18_ca978112ca1bbdca")).unwrap(),
            None,
            "a failed prompt has no answer"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn catching_up_writes_only_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let records = [1, 2].map(|line: u64| Record {
            text: Some("answer".into()),
            ..full(&format!("pl_{line}_ca978112ca1bbdca"))
        });
        let catch_up = || {
            folder
                .catch_up(records.iter().cloned().map(Ok::<_, JournalError>))
                .unwrap()
        };
        fs::write(folder.path_of(1, "a\u{2028}b\nc"), "edited by hand").unwrap();
        assert_eq!((catch_up(), catch_up()), (1, 0));
        assert_eq!(
            fs::read_to_string(folder.path_of(1, "a\u{2028}b\nc")).unwrap(),
            "edited by hand"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::open(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot write to {}", file.path().display())),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn a_name_never_leaves_the_folder(line: u64, prompt: String) {
            let name = file_name(line, &prompt);
            let path = Path::new(&name);
            prop_assert_eq!(path.file_name().unwrap().to_str(), Some(&*name));
            let slug = name.strip_suffix(".md").unwrap().split_once('-').unwrap().1;
            prop_assert!(slug.chars().all(|c| c == '-' || c.is_alphanumeric()) && (1..=60).contains(&slug.len()));
        }
    }
}
