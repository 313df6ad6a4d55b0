//! Adding prompts to a queue, in chunks. Prompts that the queue already has stay as they are.

use std::time::Duration;

use super::entry::{self, LAST_LINE};
use super::link::{QueueLink, script};
use super::{Queue, QueueError};
use crate::prompts::Prompt;

/// The counts of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Prompts that were added.
    pub(crate) added: u64,
    /// Prompts that the queue already had.
    pub(crate) known: u64,
}

/// A push in progress. Prompts that it has added stay, however it ends; the same push again adds the rest.
pub(crate) struct Push {
    link: QueueLink,
    pushed: Pushed,
    prompts: Vec<PendingPrompt>,
    bytes: usize,
}

struct PendingPrompt {
    line: u64,
    json: String,
    /// It has no request body of its own, so the worker needs a model.
    plain: bool,
}

impl Queue {
    /// Begins a push. Creates the queue if it does not exist.
    ///
    /// # Errors
    /// [`QueueError::Store`] if Redis cannot be reached.
    pub(crate) fn push(&self) -> Result<Push, QueueError> {
        let mut push = Push {
            link: self.link(),
            pushed: Pushed::default(),
            prompts: Vec::new(),
            bytes: 0,
        };
        push.flush()?;
        Ok(push)
    }
}

impl Push {
    /// How long a push counts as in progress after its last flush. Several times [`Push::BEAT`].
    const PROMISE: Duration = Duration::from_secs(30);
    /// Call [`Push::flush`] at least this often: it is also the heartbeat of the push.
    pub(crate) const BEAT: Duration = Duration::from_secs(5);
    /// The largest number of prompts in one request to Redis, so that others do not wait long for the server.
    const CHUNK: usize = 500;
    /// A request is sent once it has this many bytes of prompts.
    const CHUNK_BYTES: usize = 1 << 20;

    /// Adds a prompt to the current chunk, and sends the chunk when it is full.
    ///
    /// # Errors
    /// [`QueueError::Changed`] or [`QueueError::TooFar`] if the prompt does not fit; [`QueueError::Store`].
    pub(crate) fn add(&mut self, prompt: &Prompt) -> Result<(), QueueError> {
        if prompt.line > LAST_LINE {
            return Err(QueueError::TooFar { line: prompt.line });
        }
        let json = entry::write(prompt);
        self.bytes += json.len();
        self.prompts.push(PendingPrompt {
            line: prompt.line,
            json,
            plain: prompt.body.is_none(),
        });
        if self.prompts.len() >= Self::CHUNK || self.bytes >= Self::CHUNK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Sends the current chunk, which may be empty.
    ///
    /// # Errors
    /// [`QueueError::Changed`] at a line that has another prompt; [`QueueError::Store`], and the flush can be repeated.
    pub(crate) fn flush(&mut self) -> Result<(), QueueError> {
        let promise = Self::PROMISE.as_millis().to_string();
        let rows: Vec<_> = self.prompts.iter().map(PendingPrompt::row).collect();
        let words = rows
            .iter()
            .flat_map(|(line, digest, json, plain)| [line.as_bytes(), digest, json, plain]);
        let args: Vec<&[u8]> = [promise.as_bytes()].into_iter().chain(words).collect();
        let (added, known, changed): (u64, u64, u64) = self.link.run(&script::PUSH, &args)?;
        self.pushed.added += added;
        self.pushed.known += known;
        self.prompts.clear();
        self.bytes = 0;
        if changed > 0 {
            Err(QueueError::Changed {
                line: changed,
                queue: self.link.url().clone().into(),
            })
        } else {
            Ok(())
        }
    }

    /// Whether the current chunk is empty.
    pub(crate) fn is_flushed(&self) -> bool {
        self.prompts.is_empty()
    }

    /// The counts so far.
    pub(crate) fn pushed(&self) -> Pushed {
        self.pushed
    }

    /// Sends the last chunk and marks the push as complete.
    ///
    /// # Errors
    /// Those of [`Push::flush`]; [`QueueError::Removed`].
    pub(crate) fn finish(&mut self) -> Result<Pushed, QueueError> {
        self.flush()?;
        self.ended(b"1")?;
        Ok(self.pushed)
    }

    /// Marks the push as interrupted: the input has more prompts.
    ///
    /// # Errors
    /// [`QueueError::Removed`]; [`QueueError::Store`].
    pub(crate) fn break_off(&mut self) -> Result<(), QueueError> {
        self.ended(b"0")
    }

    fn ended(&mut self, complete: &[u8]) -> Result<(), QueueError> {
        match self.link.run(&script::PUSHED, &[complete])? {
            0 => Err(self.link.removed()),
            _ => Ok(()),
        }
    }
}

impl PendingPrompt {
    /// The arguments of `push.lua`: line, digest, prompt, and whether it needs a model.
    fn row(&self) -> (String, [u8; 8], &[u8], &[u8]) {
        let plain: &[u8] = if self.plain { b"1" } else { b"0" };
        (
            self.line.to_string(),
            entry::digest(self.line, &self.json),
            self.json.as_bytes(),
            plain,
        )
    }
}
