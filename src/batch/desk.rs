//! Where finished prompts are handed in: one at a time, each is written and then counted.
//!
//! The worker that finished a prompt writes its record itself, before it takes the next prompt. So at any instant the
//! answers that are not yet on record are those of calls in flight, and of no others.

use super::attempts::Account;
use super::{Halt, Stop, Summary};
use crate::journal::{JournalError, Record};

pub(super) struct Desk<W> {
    write: W,
    halt: Option<Halt>,
    pub(super) summary: Summary,
    /// A record could not be written: nothing more is, or records would be missing in the middle.
    broken: bool,
}

impl<W: FnMut(&Record) -> Result<(), JournalError>> Desk<W> {
    pub(super) fn new(write: W, halt: Option<Halt>, summary: Summary) -> Self {
        Desk {
            write,
            halt,
            summary,
            broken: false,
        }
    }

    /// Writes and counts what has become of a prompt. Returns a reason to stop the batch, if there is one now.
    pub(super) fn hand_in(&mut self, account: Account, record: Option<&Record>) -> Option<Stop> {
        self.summary.count(account);
        let record = record.filter(|_| !self.broken)?;
        let written = (self.write)(record);
        // An answer that cannot be a file of its own is on record all the same, and so can those be that follow.
        self.broken = !matches!(written, Ok(()) | Err(JournalError::Folder(_)));
        if !self.broken {
            self.summary.written(record);
        }
        written.map_or_else(
            |error| Some(Stop::Journal(error)),
            |()| self.enough_failed(),
        )
    }

    fn enough_failed(&self) -> Option<Stop> {
        let (failed, finished) = (
            self.summary.failed,
            self.summary.failed + self.summary.answered,
        );
        let halt = self.halt.filter(|halt| halt.is_reached(failed, finished))?;
        Some(Stop::Halted {
            failed,
            finished,
            halt,
        })
    }
}
