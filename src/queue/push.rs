//! Putting prompts into a queue, some at a time: what is there already is left as it is.

use std::time::Duration;

use super::entry::{self, LAST_LINE};
use super::link::{Link, script};
use super::{Queue, QueueError};
use crate::prompts::Prompt;

/// What a push came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// Prompts that were put in.
    pub added: u64,
    /// Prompts that were there already.
    pub known: u64,
}

/// Puts prompts in. What it has put in stays, however it ends; the same push again adds the rest.
pub struct Push {
    link: Link,
    pushed: Pushed,
    prompts: Vec<Written>,
    bytes: usize,
}

struct Written {
    line: u64,
    json: String,
    /// Has no body of its own, so a model must be named.
    plain: bool,
}

impl Queue {
    /// Begins to put prompts in. The queue is made if there is none.
    ///
    /// # Errors
    /// [`QueueError::Store`]
    pub fn push(&self) -> Result<Push, QueueError> {
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
    /// For so long after a sign of life a push counts as going on.
    const PROMISE: Duration = Duration::from_secs(30);
    /// How often to give a sign of life, at least: [`Push::flush`] is one.
    pub const BEAT: Duration = Duration::from_secs(5);
    /// So many prompts, or bytes, go at once.
    const MOST: usize = 500;
    const MOST_BYTES: usize = 1 << 20;

    /// Puts in a prompt, now or a little later.
    ///
    /// # Errors
    /// [`QueueError::Changed`], [`QueueError::TooFar`]; [`QueueError::Store`]
    pub fn add(&mut self, prompt: &Prompt) -> Result<(), QueueError> {
        if prompt.line > LAST_LINE {
            return Err(QueueError::TooFar { line: prompt.line });
        }
        let json = entry::write(prompt);
        self.bytes += json.len();
        self.prompts.push(Written {
            line: prompt.line,
            json,
            plain: prompt.body.is_none(),
        });
        if self.prompts.len() >= Self::MOST || self.bytes >= Self::MOST_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Puts in what was to be put in later.
    ///
    /// # Errors
    /// [`QueueError::Changed`]; [`QueueError::Store`]. It may be tried again.
    pub fn flush(&mut self) -> Result<(), QueueError> {
        let promise = Self::PROMISE.as_millis().to_string();
        let rows: Vec<_> = self.prompts.iter().map(Written::row).collect();
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
                queue: self.link.place().clone().into(),
            })
        } else {
            Ok(())
        }
    }

    /// Whether nothing is left to be put in later.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.prompts.is_empty()
    }

    /// What it has come to so far.
    #[must_use]
    pub fn pushed(&self) -> Pushed {
        self.pushed
    }

    /// All is put in.
    ///
    /// # Errors
    /// As of [`Push::flush`].
    pub fn finish(&mut self) -> Result<Pushed, QueueError> {
        self.flush()?;
        self.ended(b"1")?;
        Ok(self.pushed)
    }

    /// No more is put in, though there is more.
    ///
    /// # Errors
    /// [`QueueError::Store`]
    pub fn break_off(&mut self) -> Result<(), QueueError> {
        self.ended(b"0")
    }

    fn ended(&mut self, complete: &[u8]) -> Result<(), QueueError> {
        match self.link.run(&script::PUSHED, &[complete])? {
            0 => Err(self.link.removed()),
            _ => Ok(()),
        }
    }
}

impl Written {
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
