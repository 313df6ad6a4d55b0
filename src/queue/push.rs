//! Adding prompts to a queue, in chunks. Prompts that the queue already has stay as they are.

use std::time::Duration;

use super::link::{QueueLink, script};
use super::{Queue, QueueError};
use crate::journal::RecordId;
use crate::prompts::Prompt;

/// The highest line number: the queue keeps an 8-byte digest a line, and one value of Redis holds 512 MiB.
pub(super) const LAST_LINE: u64 = (512 << 20) / 8 - 1;

/// A push in progress. Prompts that it has added stay, however it ends; the same push again adds the rest.
pub(crate) struct Push {
    link: QueueLink,
    /// Prompts that were added.
    pub(crate) added: u64,
    /// Prompts that the queue already had.
    pub(crate) known: u64,
    /// Whether the queue must exist, because this push has created or found it.
    begun: bool,
    /// The current chunk, as `push.lua` takes it: line, digest, JSON, and whether a model is needed.
    chunk: Vec<(u64, Vec<u8>, Vec<u8>, bool)>,
    bytes: usize,
}

impl Queue {
    /// Begins a push. Creates the queue if it does not exist.
    ///
    /// # Errors
    /// [`QueueError::Store`] if Redis cannot be reached.
    pub(crate) fn push(&self) -> Result<Push, QueueError> {
        let mut push = Push {
            link: self.link(),
            added: 0,
            known: 0,
            begun: false,
            chunk: Vec::new(),
            bytes: 0,
        };
        push.flush()?;
        push.begun = true;
        Ok(push)
    }
}

impl Push {
    /// How long a push counts as in progress after its last flush, in milliseconds. Several times [`Push::BEAT`].
    const PROMISE_MS: u64 = 30_000;
    /// Call [`Push::flush`] at least this often: it is also the heartbeat of the push.
    pub(crate) const BEAT: Duration = Duration::from_secs(5);
    /// The largest number of prompts in one request to Redis, so that others do not wait long for the server.
    const CHUNK: usize = 500;
    /// A request is sent once it has this many bytes of prompts.
    const CHUNK_BYTES: usize = 1 << 20;

    /// Adds a prompt to the current chunk, and sends the chunk when it is full.
    ///
    /// # Errors
    /// [`QueueError::TooFar`], and those of [`Push::flush`].
    pub(crate) fn add(&mut self, prompt: &Prompt) -> Result<(), QueueError> {
        let Prompt { line, body, .. } = prompt;
        if *line > LAST_LINE {
            return Err(QueueError::TooFar(*line));
        }
        let json = serde_json::to_vec(prompt).map_err(|error| self.link.foreign(error))?;
        self.bytes += json.len();
        let digest = digest(*line, &json).into();
        self.chunk.push((*line, digest, json, body.is_none()));
        if self.chunk.len() >= Self::CHUNK || self.bytes >= Self::CHUNK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the current chunk, which may be empty.
    ///
    /// # Errors
    /// [`QueueError::Changed`] at a line that has another prompt; [`QueueError::Gone`] if the queue is gone with the
    /// prompts that were added before; [`QueueError::Store`], and the flush can be repeated.
    pub(crate) fn flush(&mut self) -> Result<(), QueueError> {
        let args = (Self::PROMISE_MS, !self.begun, &self.chunk);
        let (added, known, changed): (u64, u64, u64) = self.link.run(&script::PUSH, args)?;
        self.added += added;
        self.known += known;
        self.chunk.clear();
        self.bytes = 0;
        match changed {
            0 => Ok(()),
            line => Err(QueueError::Changed {
                line,
                queue: self.link.queue.clone(),
            }),
        }
    }

    /// Whether the current chunk is empty.
    pub(crate) fn is_flushed(&self) -> bool {
        self.chunk.is_empty()
    }

    /// Marks the push as complete, after its last flush, or as interrupted: the input has more prompts.
    ///
    /// # Errors
    /// [`QueueError::Gone`]; [`QueueError::Store`].
    pub(crate) fn end(&mut self, complete: bool) -> Result<(), QueueError> {
        self.link.run(&script::PUSHED, complete)
    }
}

/// Distinguishes prompts of the same line. Never all zeros: zeros mean that the queue has no prompt at that line.
fn digest(line: u64, json: &[u8]) -> [u8; 8] {
    (RecordId::of(line, json).digest | 1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prompt_reads_back_as_it_was_written(line in 1u64.., id: String, text: String, body: Option<String>) {
            let prompt = Prompt { custom_id: id, body, ..Prompt::new(line, text) };
            let json = serde_json::to_vec(&prompt).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Prompt>(&json).unwrap(), prompt);
        }
    }

    #[test]
    fn a_digest_tells_prompts_apart_and_is_never_zero() {
        let digests = ["a", "b", ""].map(|text| digest(1, text.as_bytes()));
        assert!(digests[0] != digests[1] && digests.iter().all(|digest| *digest != [0; 8]));
        assert_eq!(
            digest(1, b"a"),
            digest(2, b"a"),
            "the line is the key already"
        );
    }
}
