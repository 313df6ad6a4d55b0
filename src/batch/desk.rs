//! Where finished prompts are handed in: one at a time, each is written and then counted.
//!
//! The worker that finished a prompt writes its record itself, before it takes the next prompt. So at any instant the
//! answers that are not yet on record are those of calls in flight, and of no others.

use super::attempts::Course;
use super::{Halt, Stop, Summary};
use crate::journal::{JournalError, Record};
use crate::prompts::Prompt;

pub(super) struct Desk<W> {
    write: W,
    halt: Option<Halt>,
    pub(super) summary: Summary,
    /// A record could not be written: nothing more is, or records would be missing in the middle.
    broken: bool,
}

impl<W: FnMut(&Record) -> Result<(), JournalError>> Desk<W> {
    pub(super) fn new(write: W, halt: Option<Halt>, summary: Summary) -> Self {
        Desk { write, halt, summary, broken: false }
    }

    /// Writes and counts what has become of a prompt. An error is a reason to stop the batch.
    pub(super) fn hand_in(&mut self, course: Course, prompt: &Prompt) -> Result<(), Stop> {
        self.summary.count(&course);
        let Some(record) = course.into_record(prompt).filter(|_| !self.broken) else { return Ok(()) };
        if let Err(error) = (self.write)(&record) {
            self.broken = true;
            return Err(Stop::Journal(error));
        }
        self.summary.written(&record);
        self.enough_failed()
    }

    fn enough_failed(&self) -> Result<(), Stop> {
        let (failed, finished) = (self.summary.failed, self.summary.failed + self.summary.answered);
        match self.halt.filter(|halt| halt.is_reached(failed, finished)) {
            Some(halt) => Err(Stop::Halted { failed, finished, halt }),
            None => Ok(()),
        }
    }
}
