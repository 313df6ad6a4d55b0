//! Prompts with identical requests, which are asked once: the first is sent, and its record is copied for the others.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::journal::{Record, RecordId};
use crate::prompts::Prompt;

/// Which prompts of an input have identical requests. It takes about 16 bytes a prompt, and the names of those that come
/// again.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// The number of the first prompt with each request, by its digest.
    first: HashMap<u64, u64>,
    /// The prompts that come again, without their texts, by the digest.
    again: HashMap<u64, Vec<Prompt>>,
    /// The digests that are asked in this run.
    asked: Mutex<HashSet<u64>>,
}

impl Twins {
    /// Looks at a prompt, in the order of the input; the id is that of its record.
    #[cfg(feature = "cli")]
    pub(crate) fn look(&mut self, prompt: &Prompt, id: &RecordId) {
        let first = *self.first.entry(id.digest).or_insert(id.line);
        if first != id.line {
            let twin = Prompt {
                text: String::new(),
                body: None,
                row: Box::default(),
                ..prompt.clone()
            };
            self.again.entry(id.digest).or_default().push(twin);
        }
    }

    /// How many prompts come again.
    #[cfg(feature = "cli")]
    pub(crate) fn count(&self) -> u64 {
        self.again.values().map(|twins| twins.len() as u64).sum()
    }

    /// The twins that will get a copy of this prompt's record; `None` if it gets one itself.
    pub(super) fn of(
        &self,
        id: &RecordId,
        is_to_do: impl Fn(&RecordId) -> bool,
    ) -> Option<Vec<Prompt>> {
        let Some(twins) = self.again.get(&id.digest) else {
            return Some(Vec::new());
        };
        if !self.asked.lock().insert(id.digest) {
            return None;
        }
        let later = twins.iter().filter(|twin| {
            let digest = id.digest;
            twin.line != id.line
                && is_to_do(&RecordId {
                    line: twin.line,
                    digest,
                })
        });
        Some(later.cloned().collect())
    }
}

/// The record of a prompt, for its twin.
pub(super) fn copy(record: &Record, twin: &Prompt) -> Record {
    let id = record.id.parse::<RecordId>().map(|id| RecordId {
        line: twin.line,
        ..id
    });
    Record {
        id: id.map_or_else(|_| record.id.clone(), |id| id.to_string()),
        custom_id: twin.custom_id.clone(),
        columns: twin.columns.clone(),
        same_as: Some(record.id.clone()),
        attempts: Vec::new(),
        ..record.clone()
    }
}
