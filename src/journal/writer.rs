//! Appends records: one line, one write, one writer.
//!
//! A file is locked as long as it is written, so a second run on the same results refuses. What a crash left unfinished
//! is cut off when the file is opened, and a write that fails leaves nothing behind; after that nothing more is written.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::JournalError;
use super::claim::{self, Claim};
use super::durability::{Durability, Syncing};
use super::index::Index;
use super::reader::Results;
use super::record::Record;
use crate::clock::SystemClock;

/// Appends records, each with one write.
///
/// ```
/// use paceline::journal::{Durability, Journal, Opened};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("results.jsonl");
/// let Opened { mut journal, index, torn } = Journal::open(&path, Durability::Interval)?;
/// assert_eq!((index.len(), torn), (0, 0)); // a new file
/// // for each prompt that is not answered: journal.append(&record)?;
/// journal.finish()?;
/// # Ok::<(), paceline::journal::JournalError>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    sink: Sink,
    /// The line being made; kept to use its memory again.
    line: Vec<u8>,
    /// A write has failed.
    closed: bool,
}

/// A journal that goes on with what is there.
#[derive(Debug)]
pub struct Opened {
    /// Ready to append.
    pub journal: Journal,
    /// What is done already.
    pub index: Index,
    /// How many bytes of an unfinished last line were cut off.
    pub torn: u64,
}

#[derive(Debug)]
enum Sink {
    File(Tail),
    Stdout(io::Stdout),
}

/// A file that grows at its end.
#[derive(Debug)]
struct Tail {
    claim: Claim,
    /// Up to there its lines are whole.
    length: u64,
    syncing: Syncing,
}

impl Journal {
    /// Opens results to go on with them, or begins new ones. Reads what is there once, and cuts off an unfinished last
    /// line. Devices and pipes are only written to.
    ///
    /// # Errors
    /// [`JournalError::Open`]; [`JournalError::Busy`]; [`JournalError::Results`], with the file left as it is.
    pub fn open(path: &Path, durability: Durability) -> Result<Opened, JournalError> {
        let claim = Claim::take(path)?;
        let (index, whole, torn) = if claim.plain {
            look_through(&claim)?
        } else {
            Default::default()
        };
        let journal = Journal::on(claim, whole, durability)?;
        if torn > 0 {
            journal.cut_off(torn).map_err(|source| JournalError::Open {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(Opened {
            journal,
            index,
            torn,
        })
    }

    /// Begins new results. Old ones, which are not looked at, are kept beside them under a name with the time in it,
    /// which is returned: `r.2026-11-24T10-00-00Z.jsonl` for `r.jsonl`.
    ///
    /// # Errors
    /// [`JournalError::Open`] or [`JournalError::Busy`], with the file left as it is.
    pub fn restart(
        path: &Path,
        durability: Durability,
        now: SystemTime,
    ) -> Result<(Self, Option<PathBuf>), JournalError> {
        let old = Claim::take(path)?;
        if !old.plain || old.length == 0 {
            return Ok((Journal::on(old, 0, durability)?, None));
        }
        let (new, aside) = old.put_aside(now)?;
        Ok((Journal::on(new, 0, durability)?, Some(aside)))
    }

    /// Writes to standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Journal {
            sink: Sink::Stdout(io::stdout()),
            line: Vec::new(),
            closed: false,
        }
    }

    fn on(claim: Claim, length: u64, durability: Durability) -> Result<Self, JournalError> {
        let durability = if claim.plain {
            durability
        } else {
            Durability::Never
        };
        let syncing = || {
            if claim.created && durability != Durability::Never {
                claim::sync_folder_of(&claim.path);
            }
            Syncing::start(durability, claim.file.try_clone()?, Arc::new(SystemClock))
        };
        match syncing() {
            Ok(syncing) => {
                let sink = Sink::File(Tail {
                    claim,
                    length,
                    syncing,
                });
                Ok(Journal {
                    sink,
                    line: Vec::new(),
                    closed: false,
                })
            }
            Err(source) => Err(JournalError::Open {
                path: claim.path,
                source,
            }),
        }
    }

    /// Writes one record as one line with one write.
    ///
    /// # Errors
    /// [`JournalError::Write`], the first time that a write or a sync fails: half a line that reached a file is cut off
    /// again. [`JournalError::Closed`] from then on.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        const USUAL: usize = 1 << 20;
        if self.closed {
            return Err(JournalError::Closed {
                to: self.sink.to_string(),
            });
        }
        self.line.clear();
        self.line.shrink_to(USUAL);
        let made = serde_json::to_writer(&mut self.line, record).map_err(io::Error::from);
        self.line.push(b'\n');
        let written = made.and_then(|()| self.sink.write(&self.line));
        self.checked(written)
    }

    /// Everything is written: takes what is left to the disk.
    ///
    /// # Errors
    /// [`JournalError::Write`]
    pub fn finish(mut self) -> Result<(), JournalError> {
        let ended = self.sink.end();
        self.checked(ended)
    }

    /// Reads the file from its beginning; none if it is not a plain file.
    ///
    /// # Errors
    /// What the system says.
    pub fn results(&mut self) -> io::Result<Option<Results<BufReader<&File>>>> {
        match &self.sink {
            Sink::File(Tail { claim, .. }) if claim.plain => claim.results().map(Some),
            _ => Ok(None),
        }
    }

    fn checked(&mut self, result: io::Result<()>) -> Result<(), JournalError> {
        self.closed |= result.is_err();
        result.map_err(|source| JournalError::Write {
            to: self.sink.to_string(),
            source,
        })
    }

    fn cut_off(&self, torn: u64) -> io::Result<()> {
        let Sink::File(tail) = &self.sink else {
            return Ok(());
        };
        log::debug!(
            "cutting off {torn} bytes of an unfinished record at the end of {}",
            self.sink
        );
        tail.cut()?;
        tail.claim.file.sync_all()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.sink.end() {
            log::error!("cannot write to {}: {error}", self.sink);
        }
    }
}

/// What is done, how many bytes of whole lines there are, and how many after them.
fn look_through(claim: &Claim) -> Result<(Index, u64, u64), JournalError> {
    let path = || claim.path.clone();
    let mut results = claim.results().map_err(|source| JournalError::Open {
        path: path(),
        source,
    })?;
    let index = Index::read(&mut results).map_err(|source| JournalError::Results {
        path: path(),
        source,
    })?;
    Ok((index, results.whole(), results.torn()))
}

impl Claim {
    fn results(&self) -> io::Result<Results<BufReader<&File>>> {
        (&self.file).rewind()?;
        Ok(Results::new(BufReader::with_capacity(64 << 10, &self.file)))
    }
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(line).and_then(|()| stdout.flush())
            }
            Sink::File(tail) => tail.write(line),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if let Sink::File(tail) = self {
            tail.syncing.end()
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::File(tail) => tail.claim.path.display().fmt(f),
            Sink::Stdout(_) => f.write_str("standard output"),
        }
    }
}

impl Tail {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.syncing.before()?;
        whole_or_not(&mut &self.claim.file, line, || self.cut())?;
        self.length += line.len() as u64;
        self.syncing.after()
    }

    fn cut(&self) -> io::Result<()> {
        if self.claim.plain {
            self.claim.file.set_len(self.length)
        } else {
            Ok(())
        }
    }
}

/// Writes a line, or takes back what was written of it.
fn whole_or_not(
    to: &mut impl Write,
    line: &[u8],
    take_back: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    to.write_all(line).inspect_err(|_| {
        if let Err(error) = take_back() {
            log::error!(
                "half a record stays at the end of the results, until the next run cuts it off: {error}"
            );
        }
    })
}

#[cfg(test)]
mod tests;
