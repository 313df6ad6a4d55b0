//! What is done already: for each line of the input, which request its last record is of, and whether it holds an answer.
//!
//! The records themselves stay in the file. An entry takes about 60 bytes, so a million prompts take 60 MB.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufRead;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::diff::{PromptChange, ResumeDiff};
use super::id::RecordId;
use super::reader::{Results, ResultsError};
use super::usage::{AttemptUsage, ResponseUsage, usage_of_record};
use crate::api::Usage;
use crate::outcome::CallOutcome;

/// The last record of each prompt: which request it is of, and whether it holds an answer.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By the line of the prompt.
    last: BTreeMap<u64, LastRecord>,
    /// How many prompts have an answer.
    pub(crate) answered: usize,
    /// How many a provider's batch did not get to.
    unasked: usize,
    /// The tokens that all runs have used, as the records say.
    pub(crate) usage: Usage,
}

/// What is kept of a prompt's last record.
#[derive(Clone, Copy, Debug)]
struct LastRecord {
    /// The digest of its [`RecordId`].
    digest: u64,
    /// The hash of the prompt's text, by [`text_hash`].
    text: u64,
    answered: bool,
    /// A provider's batch did not get to it.
    unasked: bool,
    /// The hash of the provider's batch that it is from, or 0.
    batch: u64,
}

/// What the results say about a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PromptStatus {
    /// Its line has no record, or one that says that it was not asked.
    New,
    /// It is answered.
    Answered,
    /// It failed.
    Failed,
    /// The record of its line is of another request: another text, model or parameter.
    Changed {
        /// Whether that record holds an answer.
        answered: bool,
    },
}

impl PromptStatus {
    /// Whether nothing is left to do for the prompt. `None` if it changed after its answer, unless `keep` takes old answers
    /// as they are. A record without an answer stands in no prompt's way: with `retry_failed`, or if the request is
    /// another now, the prompt is not done.
    pub(crate) fn is_done(self, retry_failed: bool, keep: bool) -> Option<bool> {
        match self {
            PromptStatus::New | PromptStatus::Changed { answered: false } => Some(false),
            PromptStatus::Changed { answered: true } => keep.then_some(true),
            PromptStatus::Answered => Some(true),
            PromptStatus::Failed => Some(!retry_failed),
        }
    }

    /// Whether the last record holds an answer, if only to another request.
    pub(crate) fn is_answered(self) -> bool {
        matches!(
            self,
            PromptStatus::Answered | PromptStatus::Changed { answered: true }
        )
    }
}

impl Index {
    /// Reads the results to their end.
    ///
    /// # Errors
    /// [`ResultsError`] at the first line that is not a record of Paceline.
    pub(crate) fn read<R: BufRead>(results: &mut Results<R>) -> Result<Self, ResultsError> {
        /// The fields that matter here; the others are skipped.
        #[derive(Deserialize)]
        struct Glance<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
            #[serde(borrow, default)]
            prompt: Cow<'a, str>,
            text: Option<IgnoredAny>,
            #[serde(borrow)]
            response: Option<ResponseUsage<'a>>,
            #[serde(default)]
            attempts: Vec<AttemptUsage>,
            same_as: Option<IgnoredAny>,
        }
        let mut index = Index::default();
        while let Some(line) = results.next_line()? {
            let glance: Glance<'_> = line.parse()?;
            let text = text_hash(&glance.prompt);
            let last = glance.attempts.last();
            let outcome = last.and_then(|attempt| attempt.outcome);
            let record = LastRecord {
                digest: 0,
                text,
                answered: glance.text.is_some(),
                unasked: outcome.is_some_and(CallOutcome::is_unasked),
                batch: last
                    .and_then(|attempt| attempt.batch.as_deref())
                    .map_or(0, text_hash),
            };
            index.add(line.id(&glance.id)?, record);
            if glance.same_as.is_none() {
                let usage = usage_of_record(glance.response.as_ref(), glance.attempts);
                index.usage += usage.unwrap_or_default();
            }
        }
        Ok(index)
    }

    fn add(&mut self, id: RecordId, record: LastRecord) {
        let digest = id.digest;
        self.answered += usize::from(record.answered);
        self.unasked += usize::from(record.unasked);
        if let Some(before) = self.last.insert(id.line, LastRecord { digest, ..record }) {
            self.answered -= usize::from(before.answered);
            self.unasked -= usize::from(before.unasked);
        }
    }

    /// Whether the last record of this line is from this batch of the provider, and if so, whether it holds an answer.
    #[cfg(feature = "cli")]
    pub(crate) fn of_batch(&self, line: u64, batch: &str) -> Option<bool> {
        let record = self.last.get(&line)?;
        (record.batch == text_hash(batch)).then_some(record.answered)
    }

    /// The number of prompts that failed.
    pub(crate) fn failed(&self) -> usize {
        self.len() - self.answered - self.unasked
    }

    /// What the results say about the prompt whose record would have this id.
    pub(crate) fn status(&self, id: &RecordId) -> PromptStatus {
        match self.last.get(&id.line) {
            None => PromptStatus::New,
            Some(record) if record.digest != id.digest => PromptStatus::Changed {
                answered: record.answered,
            },
            Some(record) if record.answered => PromptStatus::Answered,
            Some(record) if record.unasked => PromptStatus::New,
            Some(_) => PromptStatus::Failed,
        }
    }

    /// The id of the last record of this line.
    pub(crate) fn id_at(&self, line: u64) -> Option<RecordId> {
        let digest = self.last.get(&line)?.digest;
        Some(RecordId { line, digest })
    }

    /// The number of prompts that have a record.
    pub(crate) fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether failed prompts run again. They do without being asked for if nothing was ever answered: then the key, the
    /// address or a parameter was wrong, and is mended now.
    pub(crate) fn retries(&self, retry_failed: bool) -> bool {
        retry_failed || self.answered == 0
    }

    /// Compares an input, in its order, with the results: the id that each prompt's record would have, and its text.
    ///
    /// # Errors
    /// The first error of the input.
    pub(crate) fn compare<E>(
        &self,
        prompts: impl IntoIterator<Item = Result<(RecordId, String), E>>,
    ) -> Result<ResumeDiff, E> {
        let mut diff = ResumeDiff::default();
        let mut last = 0;
        for prompt in prompts {
            let (id, text) = prompt?;
            last = last.max(id.line);
            let Some(record) = self.last.get(&id.line) else {
                continue;
            };
            diff.recorded += 1;
            if record.digest == id.digest {
                continue;
            }
            match (record.answered, record.text == text_hash(&text)) {
                (false, _) => diff.unanswered += 1,
                (true, true) => diff.other_settings += 1,
                (true, false) => diff.other_text += 1,
            }
            if record.answered {
                diff.first.get_or_insert_with(|| PromptChange {
                    line: id.line,
                    now: text,
                    ..PromptChange::default()
                });
            }
        }
        let up_to_last = self.last.range(..=last).count() as u64;
        diff.gone = up_to_last - diff.recorded;
        diff.beyond = self.len() as u64 - up_to_last;
        Ok(diff)
    }
}

/// Tells texts apart within this process. It is not stored, so it may differ between versions.
fn text_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FromIterator<(RecordId, bool)> for Index {
        /// Takes the ids of records and whether they hold an answer. The last record of a line counts.
        fn from_iter<I: IntoIterator<Item = (RecordId, bool)>>(records: I) -> Self {
            let mut index = Index::default();
            for (id, answered) in records {
                let record = LastRecord {
                    digest: id.digest,
                    text: text_hash(""),
                    answered,
                    unasked: false,
                    batch: 0,
                };
                index.add(id, record);
            }
            index
        }
    }

    fn id(line: u64, request: &str) -> RecordId {
        RecordId::of(line, request.as_bytes())
    }

    #[test]
    fn a_prompt_is_new_answered_or_changed_since() {
        let answered = (RecordId::of(1, b"Why is the sky blue?"), true);
        let index = Index::from_iter([answered]);
        assert_eq!(
            index.status(&RecordId::of(1, b"Why is the sky blue?")),
            PromptStatus::Answered
        );
        assert_eq!(
            index.status(&RecordId::of(1, b"Why is grass green?")),
            PromptStatus::Changed { answered: true }
        );
        assert_eq!(
            index.status(&RecordId::of(2, b"Why is the sky blue?")),
            PromptStatus::New
        );
    }

    #[test]
    fn a_prompt_is_known_by_its_place_and_its_request() {
        let index = Index::from_iter([(id(1, "a"), true), (id(2, "a"), false), (id(4, "b"), true)]);
        let statuses = [id(1, "a"), id(2, "a"), id(3, "a"), id(4, "c"), id(2, "b")]
            .map(|id| index.status(&id));
        let expected = [
            PromptStatus::Answered,
            PromptStatus::Failed,
            PromptStatus::New,
            PromptStatus::Changed { answered: true },
            PromptStatus::Changed { answered: false },
        ];
        assert_eq!(statuses, expected);
        assert_eq!((index.len(), index.answered), (3, 2));
    }

    #[test]
    fn a_prompt_is_done_by_one_rule() {
        let changed = |answered| PromptStatus::Changed { answered };
        // Plainly, with retry_failed, with keep, with both.
        let table = [
            (PromptStatus::New, [Some(false); 4]),
            (PromptStatus::Answered, [Some(true); 4]),
            (
                PromptStatus::Failed,
                [Some(true), Some(false), Some(true), Some(false)],
            ),
            (changed(true), [None, None, Some(true), Some(true)]),
            (changed(false), [Some(false); 4]),
        ];
        for (status, expected) in table {
            let rules = [(false, false), (true, false), (false, true), (true, true)];
            let done = rules.map(|(retry_failed, keep)| status.is_done(retry_failed, keep));
            assert_eq!(done, expected, "{status:?}");
        }
    }

    #[test]
    fn the_last_record_of_a_prompt_wins() {
        let file = [
            (7, "a", "null"),
            (3, "a", "\"yes\""),
            (7, "a", "\"\""),
            (3, "b", "null"),
        ]
        .map(|(line, request, text)| {
            format!(
                "{{\"id\":\"{}\",\"prompt\":\"p\\n\",\"text\":{text}}}\n",
                id(line, request)
            )
        });
        let index = Index::read(&mut Results::new(file.concat().as_bytes())).unwrap();
        assert_eq!(
            index.status(&id(7, "a")),
            PromptStatus::Answered,
            "an empty answer is one"
        );
        assert_eq!(index.status(&id(3, "b")), PromptStatus::Failed);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn results_of_another_program_are_refused() {
        let theirs = b"{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":null}\n";
        let error = Index::read(&mut Results::new(&theirs[..]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "line 1 was not written by paceline (\"batch_req_1\" is not one of its ids): is this the right file?"
        );
    }
}
