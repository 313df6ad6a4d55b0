//! Writes and counts finished prompts, one at a time, on the thread that owns the results.
//!
//! The pool hands over the next prompt only after this one is written. So at any instant, unwritten answers are only
//! those that workers hold, and the one that is being written.

use std::error::Error;

use super::prompt_run::Finished;
use super::{Settings, Stop, Summary};
use crate::journal::{JournalError, Record};

pub(super) struct Sink<W> {
    write: W,
    settings: Settings,
    pub(super) summary: Summary,
    /// A record could not be written. No others are written, or records would be missing in the middle.
    is_broken: bool,
}

impl<W: FnMut(&Record) -> Result<(), Box<dyn Error + Send + Sync>>> Sink<W> {
    pub(super) fn new(write: W, settings: Settings) -> Self {
        Sink {
            write,
            settings,
            summary: Summary::default(),
            is_broken: false,
        }
    }

    /// Writes and counts a finished prompt. Returns a reason to stop the batch, if there is one.
    pub(super) fn take(&mut self, finished: &Finished) -> Option<Stop> {
        let record = finished.record.as_ref().filter(|_| !self.is_broken)?;
        let written = (self.write)(record);
        // If only the answer's own file could not be written, its record is in the journal, and others can follow.
        self.is_broken = written
            .as_ref()
            .is_err_and(|error| !matches!(error.downcast_ref(), Some(JournalError::Folder(_))));
        if !self.is_broken {
            self.summary.written(record);
        }
        match written {
            Err(error) => Some(Stop::Sink(error)),
            Ok(()) => self.all_alike().or_else(|| self.enough_failed()),
        }
    }

    /// If the first prompts all failed for one reason, so will the others: a wrong model, path or parameter.
    fn all_alike(&self) -> Option<Stop> {
        /// A few prompts may fail alike by chance; 20 cost little.
        const SAMPLE: u64 = 20;
        let Summary {
            answered,
            failed,
            failed_prompts,
            ..
        } = &self.summary;
        match failed_prompts.list.as_slice() {
            [one] if *failed == SAMPLE && *answered == 0 && !self.settings.keep_going => {
                let cause = Box::new(one.clone());
                Some(Stop::AllAlike { cause })
            }
            _ => None,
        }
    }

    fn enough_failed(&self) -> Option<Stop> {
        let failed = self.summary.failed;
        let finished = failed + self.summary.answered;
        let halt = self.settings.halt;
        let halt = halt.filter(|halt| halt.is_reached(failed, finished))?;
        Some(Stop::Halted {
            failed,
            finished,
            halt,
        })
    }
}
