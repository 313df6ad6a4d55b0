//! Writes and counts finished prompts, one at a time, on the thread that owns the results.
//!
//! The pool hands over the next prompt only after this one is written. So at any instant, unwritten answers are only
//! those that workers hold, and the one that is being written.

use super::prompt_run::Finished;
use super::{Halt, Stop, Summary};
use crate::journal::{JournalError, Record};

pub(super) struct Sink<W> {
    write: W,
    halt: Option<Halt>,
    pub(super) summary: Summary,
    /// A record could not be written. No others are written, or records would be missing in the middle.
    is_broken: bool,
}

impl<W: FnMut(&Record) -> Result<(), JournalError>> Sink<W> {
    pub(super) fn new(write: W, halt: Option<Halt>, summary: Summary) -> Self {
        Sink {
            write,
            halt,
            summary,
            is_broken: false,
        }
    }

    /// Writes and counts a finished prompt. Returns a reason to stop the batch, if there is one.
    pub(super) fn take(&mut self, finished: &Finished) -> Option<Stop> {
        let record = finished.record.as_ref().filter(|_| !self.is_broken)?;
        let written = (self.write)(record);
        // If only the answer's own file could not be written, its record is in the journal, and others can follow.
        self.is_broken = !matches!(written, Ok(()) | Err(JournalError::Folder(_)));
        if !self.is_broken {
            self.summary.written(record);
        }
        match written {
            Err(error) => Some(Stop::Journal(error)),
            Ok(()) => self.enough_failed(),
        }
    }

    fn enough_failed(&self) -> Option<Stop> {
        let failed = self.summary.failed;
        let finished = failed + self.summary.answered;
        let halt = self.halt.filter(|halt| halt.is_reached(failed, finished))?;
        Some(Stop::Halted {
            failed,
            finished,
            halt,
        })
    }
}
