//! Writes and counts finished prompts, one at a time, on the thread that owns the results.
//!
//! The pool hands over the next prompt only after this one is written. So at any instant, unwritten answers are only
//! those that workers hold, and the one that is being written.

use std::error::Error;

use super::event::Event;
use super::snapshot::Snapshot;
use super::view::View;
use super::{Settings, Stop};
use crate::journal::{JournalError, Record};
use crate::prompts::Prompt;

/// An error of the function that takes the records.
type SinkError = Box<dyn Error + Send + Sync>;

pub(super) struct Sink<'a, W> {
    write: W,
    view: &'a View,
    settings: Settings,
    /// A record could not be written. No others are written, or records would be missing in the middle.
    is_broken: bool,
}

impl<'a, W: FnMut(&Record) -> Result<(), SinkError>> Sink<'a, W> {
    pub(super) fn new(write: W, view: &'a View, settings: Settings) -> Self {
        Sink {
            write,
            view,
            settings,
            is_broken: false,
        }
    }

    /// Writes and counts the record of a prompt.
    ///
    /// # Errors
    /// A reason to stop the batch.
    pub(super) fn write(&mut self, prompt: &Prompt, record: &Record) -> Result<(), Stop> {
        if self.is_broken {
            return Ok(());
        }
        let written = (self.write)(record);
        // If only the answer's own file could not be written, its record is in the journal, and others can follow.
        self.is_broken = written
            .as_ref()
            .is_err_and(|error| !matches!(error.downcast_ref(), Some(JournalError::Folder { .. })));
        if !self.is_broken {
            self.view.count(|counts| counts.written(record));
            let answered = record.text.is_some();
            self.view.tell(Event::Done { prompt, answered });
        }
        written.map_err(Stop::Sink)?;
        self.view.count(|counts| self.check(counts))
    }

    /// Whether too many prompts have failed.
    fn check(&self, counts: &Snapshot) -> Result<(), Stop> {
        /// A few prompts may fail alike by chance; 20 cost little.
        const SAMPLE: u64 = 20;
        let (answered, failed) = (counts.answered, counts.failed);
        // If the first prompts all failed for one reason, so will the others: a wrong model, path or parameter.
        if let [cause] = counts.failed_prompts.list.as_slice()
            && (answered, failed) == (0, SAMPLE)
            && !self.settings.keep_going
        {
            return Err(Stop::AllAlike {
                count: failed,
                cause: cause.to_string(),
            });
        }
        let finished = failed + answered;
        match self.settings.halt {
            Some(halt) if halt.is_reached(failed, finished) => Err(Stop::Halted {
                failed,
                finished,
                halt,
            }),
            _ => Ok(()),
        }
    }
}
