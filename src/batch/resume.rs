//! Decides which prompts of earlier runs are skipped and which are run again.

use parking_lot::Mutex;

use super::Stop;
use crate::journal::{Index, RecordId};
use crate::json::Json;
use crate::prompts::Prompt;

/// How to continue from earlier results: plain data.
///
/// # Default
/// No prompt is done, failed prompts stay failed, and an answered prompt that has changed stops the batch.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The prompts that are done.
    pub index: Index,
    /// Run failed prompts again.
    pub retry_failed: bool,
    /// Keep the earlier answers of prompts that have changed since.
    pub keep: bool,
    /// What the prompts are sent with, for the records: an object with a text for each part.
    pub(crate) settings: Option<Json>,
}

/// Prompts that were skipped because an earlier run has finished them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct Before {
    /// Prompts with an answer.
    pub answered: u64,
    /// Prompts that failed.
    pub failed: u64,
}

/// Skips prompts that are done, and counts them.
#[derive(Debug, Default)]
pub(super) struct Passing {
    resume: Resume,
    before: Mutex<Before>,
}

impl Passing {
    pub(super) fn new(resume: Resume) -> Self {
        let retry_failed = resume.index.retries(resume.retry_failed);
        Passing {
            resume: Resume {
                retry_failed,
                ..resume
            },
            before: Mutex::default(),
        }
    }

    /// Whether the prompt is still to do. An error stops the batch.
    pub(super) fn is_to_do(&self, id: &RecordId) -> Result<bool, Stop> {
        let status = self.resume.index.status(id);
        let is_done = status
            .is_done(self.resume.retry_failed, self.resume.keep)
            .ok_or(Stop::Changed { line: id.line })?;
        if is_done {
            let mut before = self.before.lock();
            before.answered += u64::from(status.is_answered());
            before.failed += u64::from(!status.is_answered());
        }
        Ok(!is_done)
    }

    /// What this prompt is sent with. One that brings its own body may bring its own settings.
    pub(super) fn settings(&self, prompt: &Prompt) -> Option<Json> {
        let settings = self.resume.settings.as_ref();
        settings.filter(|_| prompt.body.is_none()).cloned()
    }

    /// Whether a prompt is still to do, without counting it.
    pub(super) fn is_left(&self, id: &RecordId) -> bool {
        let status = self.resume.index.status(id);
        status.is_done(self.resume.retry_failed, self.resume.keep) == Some(false)
    }

    pub(super) fn before(&self) -> Before {
        *self.before.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four prompts: a new one, an answered one, a failed one, and one that changed after its answer. Returns which of them
    /// are to do.
    fn pass(retry_failed: bool, keep: bool) -> (Vec<Option<bool>>, Before) {
        let id = |line| RecordId::of(line, b"request");
        let index = [
            (id(2), true),
            (id(3), false),
            (RecordId::of(4, b"old"), true),
        ]
        .into_iter()
        .collect();
        let passing = Passing::new(Resume {
            index,
            retry_failed,
            keep,
            settings: None,
        });
        (
            (1..=4)
                .map(|line| passing.is_to_do(&id(line)).ok())
                .collect(),
            passing.before(),
        )
    }

    #[test]
    fn finished_prompts_are_skipped_and_a_change_stops_the_batch() {
        let (to_do, before) = pass(false, false);
        assert_eq!(to_do, [Some(true), Some(false), Some(false), None]);
        assert_eq!(
            before,
            Before {
                answered: 1,
                failed: 1
            }
        );
    }

    #[test]
    fn failed_prompts_are_run_again_on_request() {
        let (to_do, before) = pass(true, false);
        assert_eq!(to_do[2], Some(true));
        assert_eq!(
            before,
            Before {
                answered: 1,
                failed: 0
            }
        );
    }

    #[test]
    fn where_nothing_was_ever_answered_all_is_run_again() {
        let failed = [1, 2].map(|line| (RecordId::of(line, b"request"), false));
        let passing = Passing::new(Resume {
            index: failed.into_iter().collect(),
            ..Resume::default()
        });
        let same = RecordId::of(1, b"request");
        let changed = RecordId::of(2, b"other");
        assert!(passing.is_to_do(&same).unwrap() && passing.is_to_do(&changed).unwrap());
        assert_eq!(passing.before(), Before::default());
    }

    #[test]
    fn earlier_answers_are_kept_on_request() {
        let (to_do, before) = pass(false, true);
        assert_eq!(to_do[3], Some(false));
        assert_eq!(
            before,
            Before {
                answered: 2,
                failed: 1
            }
        );
    }
}
