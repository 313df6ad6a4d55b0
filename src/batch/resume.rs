//! Decides which prompts of earlier runs are skipped and which are run again.

use super::Stop;
use crate::journal::{Index, PromptStatus, RecordId};
use crate::json::Json;

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
    /// Whether every prompt on record was compared: its request is still the one of its record. Then it is not made again
    /// for a prompt that is done.
    pub(crate) is_compared: bool,
}

impl Resume {
    /// How a prompt ended that is done; `None` if it is to do.
    ///
    /// # Errors
    /// [`Stop::Changed`]
    pub(super) fn finished(&self, id: &RecordId) -> Result<Option<PromptStatus>, Stop> {
        let status = self.index.status(id);
        let retry_failed = self.index.retries(self.retry_failed);
        match status.is_done(retry_failed, self.keep) {
            Some(is_done) => Ok(is_done.then_some(status)),
            None => Err(Stop::Changed { line: id.line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four prompts: a new one, an answered one, a failed one, and one that changed after its answer. Returns how those
    /// ended that are done, and an error for one that stops the batch.
    fn finished(retry_failed: bool, keep: bool) -> [Result<Option<PromptStatus>, ()>; 4] {
        let id = |line| RecordId::of(line, b"request");
        let records = [
            (id(2), true),
            (id(3), false),
            (RecordId::of(4, b"old"), true),
        ];
        let resume = Resume {
            index: records.into_iter().collect(),
            retry_failed,
            keep,
            settings: None,
            is_compared: false,
        };
        [1, 2, 3, 4].map(|line| resume.finished(&id(line)).map_err(|_| ()))
    }

    #[test]
    fn finished_prompts_are_skipped_and_a_change_stops_the_batch() {
        let answered = Ok(Some(PromptStatus::Answered));
        let failed = Ok(Some(PromptStatus::Failed));
        assert_eq!(
            finished(false, false),
            [Ok(None), answered, failed, Err(())]
        );
    }

    #[test]
    fn failed_prompts_are_run_again_on_request() {
        let finished = finished(true, false);
        assert_eq!(finished[1], Ok(Some(PromptStatus::Answered)));
        assert_eq!(finished[2], Ok(None));
    }

    #[test]
    fn where_nothing_was_ever_answered_all_is_run_again() {
        let failed = [1, 2].map(|line| (RecordId::of(line, b"request"), false));
        let resume = Resume {
            index: failed.into_iter().collect(),
            ..Resume::default()
        };
        for (line, request) in [(1, "request"), (2, "other")] {
            let id = RecordId::of(line, request.as_bytes());
            assert_eq!(resume.finished(&id).unwrap(), None, "{request}");
        }
    }

    #[test]
    fn earlier_answers_are_kept_on_request() {
        let changed = PromptStatus::Changed { answered: true };
        assert_eq!(finished(false, true)[3], Ok(Some(changed)));
        assert!(changed.is_answered());
    }
}
