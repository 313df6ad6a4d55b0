//! What `report` and `export` have in common: they read results, often twice, and write something that is made of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::Path;

use thiserror::Error;

use super::error::CommandError;
use super::exit::Exit;
use crate::files::write_whole;
use crate::journal::{ResultLine, Results, ResultsError};
use crate::text::counted;

/// The end of a command whose output to `to` failed. A reader that has left, as `head` does, is no error.
pub(super) fn write_failed(to: &Path, source: &io::Error) -> Result<Exit, CommandError> {
    match is_dash(to) {
        true => Err(CommandError::stdout(source)),
        false => Err(CommandError::output(to.display(), source)),
    }
}

/// Whether a path on the command line means standard input or output.
pub(super) fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether it is a device or a pipe.
pub(super) fn is_special(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Whether both paths lead to one file.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let both = fs::canonicalize(one).ok().zip(fs::canonicalize(other).ok());
    both.is_some_and(|(one, other)| one == other && one.is_file())
}

/// Opens results to read them.
pub(super) fn open_results(path: &Path) -> Result<Results<BufReader<File>>, CommandError> {
    Results::open(path).map_err(CommandError::file("cannot read results from", path))
}

/// What to say about a last line without an end: it has this length in bytes, and does not count.
pub(super) fn torn_line(bytes: u64) -> String {
    let bytes = counted(bytes, "byte");
    format!(
        "the last line of the results is unfinished ({bytes}) and is left out: is a run writing it?"
    )
}

/// Makes sure that the output does not take the place of the results.
pub(super) fn not_the_results(to: &Path, results: &Path) -> Result<(), CommandError> {
    if is_same_file(to, results) {
        let text = format!(
            "{} holds the results themselves: name another file",
            to.display()
        );
        return Err(CommandError::usage(text));
    }
    Ok(())
}

/// Writes what `make` makes to standard output (`-`), or to a file, which then appears whole or not at all. Devices and
/// pipes are written to directly.
pub(super) fn write_to<T, E: From<io::Error>>(
    to: &Path,
    make: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    if is_dash(to) {
        let mut stdout = io::stdout().lock();
        let made = make(&mut stdout)?;
        stdout.flush()?;
        return Ok(made);
    }
    if is_special(to) {
        return make(&mut OpenOptions::new().write(true).open(to)?);
    }
    // A symbolic link stays one: its target is replaced.
    let target = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    write_whole(&target, |file| make(file))
}

/// Does the same; a reader that has left is no error.
pub(super) fn write_out(
    to: &Path,
    make: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Exit, CommandError> {
    match write_to(to, make) {
        Ok(()) => Ok(Exit::Answered),
        Err(source) => write_failed(to, &source),
    }
}

/// Results cannot be read, or not a second time.
#[derive(Debug, Error)]
pub(super) enum RereadError {
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

/// Reads again the line at this offset. The first reading found nothing wrong.
pub(super) fn read_again<R: BufRead + Seek>(
    results: &mut Results<R>,
    offset: u64,
) -> Result<ResultLine<'_>, RereadError> {
    let second = |error| match error {
        ResultsError::Read { source, .. } => RereadError::Again(source),
        _ => RereadError::Changed,
    };
    results.seek(offset).map_err(RereadError::Again)?;
    let line = results.next_line().map_err(second)?;
    line.ok_or(RereadError::Changed)
}

/// Of each prompt keeps the last record, in order of the prompts. Entries are the line of a prompt and something about a
/// record, in order of the records.
pub(super) fn keep_last<R: Copy>(records: &mut Vec<(u64, R)>) {
    records.sort_by_key(|(prompt, _)| *prompt);
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
        let mut records = vec![(2, "a"), (1, "b"), (2, "d"), (2, "c"), (3, "e")];
        keep_last(&mut records);
        assert_eq!(records, [(1, "b"), (2, "c"), (3, "e")]);
    }
}
