//! What `report` and `export` have in common: they read results, often twice, and write something that is made of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::Path;

use thiserror::Error;

use super::Exit;
use super::format::counted;
use crate::journal::{Results, ResultsError, write_whole};

/// Why a command made nothing.
#[derive(Debug, Error)]
pub(crate) enum OutputError {
    /// What was asked for cannot be made, or the results cannot be read. Nothing was written.
    #[error("{0}")]
    Unusable(String),
    /// The output cannot be written.
    #[error("cannot write to {to}: {source}")]
    Write { to: String, source: io::Error },
}

impl OutputError {
    /// The exit status for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            OutputError::Unusable(_) => Exit::Usage,
            OutputError::Write { .. } => Exit::Stopped,
        }
    }

    /// What to do about an output that cannot be written: nothing if its reader has closed the pipe, as `head` does.
    pub(crate) fn of_write(to: &Path, source: io::Error) -> Result<(), Self> {
        if is_stdout(to) && source.kind() == io::ErrorKind::BrokenPipe {
            return Ok(());
        }
        let name = || to.display().to_string();
        let to = if is_stdout(to) {
            "standard output".to_owned()
        } else {
            name()
        };
        Err(OutputError::Write { to, source })
    }

    /// The results at `path` cannot be used.
    pub(crate) fn of_results(path: &Path, error: impl std::fmt::Display) -> Self {
        OutputError::Unusable(format!("{}: {error}", path.display()))
    }
}

/// Whether a path on the command line means standard output.
pub(crate) fn is_stdout(to: &Path) -> bool {
    to == Path::new("-")
}

/// Opens results to read them.
pub(crate) fn open_results(path: &Path) -> Result<Results<BufReader<File>>, OutputError> {
    Results::open(path).map_err(|error| {
        OutputError::Unusable(format!(
            "cannot read results from {}: {error}",
            path.display()
        ))
    })
}

/// What to say about a last line without an end: it has this length in bytes, and does not count.
pub(crate) fn torn_line(bytes: u64) -> String {
    let bytes = counted(bytes, "byte");
    format!(
        "the last line of the results is unfinished ({bytes}) and is left out: is a run writing it?"
    )
}

/// Makes sure that the output does not take the place of the results.
pub(crate) fn not_the_results(to: &Path, results: &Path) -> Result<(), OutputError> {
    let both = fs::canonicalize(to)
        .ok()
        .zip(fs::canonicalize(results).ok());
    if both.is_some_and(|(to, results)| to == results) {
        let text = format!(
            "{} holds the results themselves: name another file",
            to.display()
        );
        return Err(OutputError::Unusable(text));
    }
    Ok(())
}

/// Writes what `make` makes to standard output (`-`), or to a file, which then appears whole or not at all. Devices and
/// pipes are written to directly.
pub(crate) fn write_to<T, E: From<io::Error>>(
    to: &Path,
    make: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    if is_stdout(to) {
        let mut stdout = io::stdout().lock();
        let made = make(&mut stdout)?;
        stdout.flush()?;
        return Ok(made);
    }
    let is_special = |file: fs::Metadata| !file.is_file() && !file.is_dir();
    if to.metadata().is_ok_and(is_special) {
        return make(&mut OpenOptions::new().write(true).open(to)?);
    }
    // A symbolic link stays one: its target is replaced.
    let target = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    write_whole(&target, |file| make(file))
}

/// Results cannot be read, or not a second time.
#[derive(Debug, Error)]
pub(crate) enum RereadError {
    /// The results cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The results cannot be read a second time.
    #[error("cannot read the results a second time ({0}): are they in a plain file?")]
    Again(io::Error),
    /// A record is not where it was.
    #[error("the results were changed while they were read: try again")]
    Changed,
}

impl RereadError {
    /// An error of the second reading. The first one found nothing wrong with the results.
    pub(crate) fn second(error: ResultsError) -> Self {
        match error {
            ResultsError::Read { source, .. } => RereadError::Again(source),
            _ => RereadError::Changed,
        }
    }
}

/// Of each prompt keeps the last record, in order of the prompts. Entries are a prompt's line and the place of a record.
pub(crate) fn keep_last<P: Copy + Ord>(records: &mut Vec<(u64, P)>) {
    records.sort_unstable();
    records.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.1 = later.1;
        }
        is_same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_each_prompt_is_kept() {
        let mut records = vec![(2, 10), (1, 20), (2, 40), (2, 30), (3, 50)];
        keep_last(&mut records);
        assert_eq!(records, [(1, 20), (2, 40), (3, 50)]);
    }
}
