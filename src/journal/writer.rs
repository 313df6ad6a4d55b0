//! Appends records: one line, one write, one writer.
//!
//! The file is locked as long as the journal lives, so a second run on the same results is refused. An unfinished last
//! line, as a crash leaves it, is cut off when the file is opened. A write that fails leaves nothing behind, and after it
//! nothing more is written. There is no thread: appending syncs when that is due, and an owner that is idle may do so.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::JournalError;
use super::durability::{Durability, SyncTimer};
use super::file::{ResultsFile, cannot_open};
use super::index::Index;
use super::reader::Results;
use super::record::Record;
use crate::clock::{Clock, SystemClock};

/// Appends records, each with one write.
///
/// ```
/// use paceline::batch::Resume;
/// use paceline::journal::{Durability, Journal, Opened};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("results.jsonl");
/// let Opened { mut journal, index, torn } = Journal::open(&path, Durability::Interval)?;
/// assert_eq!(torn, 0); // a new file
/// let mut resume = Resume::default(); // for `Batch::resuming`, which skips what is done
/// resume.index = index;
/// // For each other prompt: journal.append(&record)?;
/// journal.finish()?;
/// # Ok::<(), paceline::journal::JournalError>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    /// `None` is standard output.
    file: Option<ResultsFile>,
    timer: SyncTimer,
    /// The line being made; kept to use its memory again.
    line: Vec<u8>,
    /// A write or a sync has failed.
    closed: bool,
}

/// A journal that continues earlier results.
#[derive(Debug)]
pub struct Opened {
    /// Ready to append.
    pub journal: Journal,
    /// What is done already.
    pub index: Index,
    /// The length in bytes of an unfinished last line, which was cut off.
    pub torn: u64,
}

impl Journal {
    /// Opens results to continue them, or creates the file. Reads what is there once, and cuts off an unfinished last
    /// line. Devices and pipes are only written to.
    ///
    /// # Errors
    /// [`JournalError::Open`]; [`JournalError::Busy`]; [`JournalError::Results`], with the file left as it is.
    pub fn open(path: &Path, durability: Durability) -> Result<Opened, JournalError> {
        let mut file = ResultsFile::open(path)?;
        let mut index = Index::default();
        let mut torn = 0;
        if file.is_plain {
            let mut results = file.results().map_err(cannot_open(path))?;
            index = Index::read(&mut results).map_err(|source| JournalError::Results {
                path: path.to_owned(),
                source,
            })?;
            torn = results.torn;
            let whole = results.whole;
            file.cut_unfinished(whole, torn)?;
        }
        Ok(Opened {
            journal: Journal::on(Some(file), durability),
            index,
            torn,
        })
    }

    /// Begins new results. Old ones, which are not read, are kept beside them under a name with the time in it, which is
    /// returned: `r.2026-11-24T10-00-00Z.jsonl` for `r.jsonl`.
    ///
    /// # Errors
    /// [`JournalError::Open`] or [`JournalError::Busy`], with the file left as it is.
    pub(crate) fn restart(
        path: &Path,
        durability: Durability,
        now: SystemTime,
    ) -> Result<(Self, Option<PathBuf>), JournalError> {
        let old = ResultsFile::open(path)?;
        if !old.is_plain || old.length == 0 {
            return Ok((Journal::on(Some(old), durability), None));
        }
        let (new, aside) = old.put_aside(now)?;
        Ok((Journal::on(Some(new), durability), Some(aside)))
    }

    /// Writes to standard output.
    pub(crate) fn stdout() -> Self {
        Journal::on(None, Durability::Never)
    }

    fn on(file: Option<ResultsFile>, durability: Durability) -> Self {
        let plain = file.as_ref().filter(|file| file.is_plain);
        let durability = plain.map_or(Durability::Never, |_| durability);
        if let Some(file) = plain
            && file.length == 0
            && durability != Durability::Never
        {
            file.sync_name();
        }
        Journal {
            file,
            timer: SyncTimer::new(durability),
            line: Vec::new(),
            closed: false,
        }
    }

    /// Writes one record as one line with one write, and syncs if that is due.
    ///
    /// # Errors
    /// [`JournalError::Write`] when a write or a sync fails, and from then on: half a line that reached a file is cut off
    /// again. [`JournalError::Damaged`] if the file is not intact.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        if self.closed {
            return self.checked(Err(io::Error::other("an earlier write failed")));
        }
        let written = self
            .make_line(record, Results::<&[u8]>::LONGEST)
            .and_then(|()| self.write_line());
        self.checked(written)?;
        let now = SystemClock.now();
        self.timer.written(now);
        self.sync_if_due(now)
    }

    fn write_line(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.append(&self.line),
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&self.line)?;
                stdout.flush()
            }
        }
    }

    /// Makes the line of a record. If it were longer than a reader takes, it goes without the response's body: the text of
    /// the answer is what counts.
    fn make_line(&mut self, record: &Record, longest: usize) -> io::Result<()> {
        /// Most records are shorter; the memory of a longer one is given back.
        const USUAL: usize = 1 << 20;
        self.line.clear();
        self.line.shrink_to(USUAL);
        serde_json::to_writer(&mut self.line, record)?;
        if self.line.len() >= longest {
            self.line.clear();
            log::warn!(
                "the record of {} is too long: it goes without the body of the response",
                record.custom_id
            );
            serde_json::to_writer(&mut self.line, &record.without_body())?;
        }
        if self.line.len() >= longest {
            let (id, most) = (&record.custom_id, longest >> 20);
            let problem = format!("the record of {id} is longer than {most} MiB");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.line.push(b'\n');
        Ok(())
    }

    /// Takes what was written to the disk, and checks that the file is intact, if the last time was more than a second
    /// ago. [`append`](Journal::append) calls it; call it, too, where nothing may be appended for a while.
    ///
    /// # Errors
    /// [`JournalError::Write`] or [`JournalError::Damaged`]: nothing more is written.
    pub(crate) fn sync_if_due(&mut self, now: Instant) -> Result<(), JournalError> {
        if self.timer.due().is_some_and(|due| due <= now) {
            self.sync()
        } else {
            Ok(())
        }
    }

    /// Takes what is left to the disk, and checks that the file is intact.
    ///
    /// # Errors
    /// [`JournalError::Write`] or [`JournalError::Damaged`]
    pub fn finish(mut self) -> Result<(), JournalError> {
        self.sync()
    }

    /// As [`finish`](Journal::finish), but more may follow.
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if !self.closed && !file.is_intact() {
            self.closed = true;
            return Err(JournalError::Damaged(file.path.clone()));
        }
        let synced = if self.timer.take_sync(SystemClock.now()) {
            file.sync()
        } else {
            Ok(())
        };
        self.checked(synced)
    }

    /// Reads the file from its beginning; `None` if it is not a plain file.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn results(&mut self) -> io::Result<Option<Results<BufReader<&File>>>> {
        let plain = self.file.as_ref().filter(|file| file.is_plain);
        plain.map(ResultsFile::results).transpose()
    }

    /// From now on, a simulated disk is asked before each step.
    #[cfg(any(test, feature = "simulate"))]
    pub(crate) fn on_disk(&mut self, faults: super::DiskFaults) {
        if let Some(file) = &mut self.file {
            file.faults = faults;
        }
    }

    fn checked(&mut self, result: io::Result<()>) -> Result<(), JournalError> {
        self.closed |= result.is_err();
        let to = || match &self.file {
            Some(file) => file.path.display().to_string(),
            None => "standard output".to_owned(),
        };
        result.map_err(|source| JournalError::Write { to: to(), source })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.timer.due().is_some()
            && let Err(error) = self.sync()
        {
            log::error!("{error}");
        }
    }
}

#[cfg(test)]
mod tests;
