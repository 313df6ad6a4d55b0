//! One queue for many machines, on Redis: prompts are pushed once, worked on anywhere, and their records pulled.
//!
//! The prompts are a stream with one consumer group; the records are another stream. A change of more than one key is a
//! Lua script, so it happens as a whole or not at all: one script stores a record and removes its prompt, and the first
//! record of a prompt wins. A worker keeps the prompts that it has taken while it sends heartbeats; when they cease,
//! another worker hands its prompts on. A prompt is identified by its line, so one queue holds one input, like one
//! results file.
//!
//! The files: a prompt as a stream entry (`entry`), the connection and the scripts (`link`), the connection's health and
//! retries (`health`), the prompts that a worker holds (`held`), and the parts that commands use: [`Status`], [`Push`],
//! [`Worker`] and `records`. The connection itself is [`store`](crate::store)'s.

mod entry;
mod health;
mod held;
mod link;
mod push;
mod records;
mod status;
mod worker;

use std::fmt;

use thiserror::Error;

use crate::store::{RedisUrl, StoreError};
use link::{QueueLink, script};

pub(crate) use health::{ConnectionHealth, Role};
pub(crate) use push::Push;
pub(crate) use status::{QueueState, Status};
pub(crate) use worker::{JoinOptions, Worker};

/// An error of a queue.
#[derive(Debug, Error)]
pub(crate) enum QueueError {
    /// Redis cannot be reached, or reports an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue does not exist.
    #[error("there is no queue {0}")]
    Missing(QueueName),
    /// The queue existed before, but no longer does.
    #[error("the queue {0} was removed meanwhile")]
    Removed(QueueName),
    /// The queue has another prompt at this line.
    #[error("the queue {queue} already has another prompt at line {line}")]
    Changed {
        /// The prompt's line.
        line: u64,
        /// The queue.
        queue: QueueName,
    },
    /// The line number is higher than a queue can hold.
    #[error(
        "line {line} is too high for one queue, which holds lines up to {}: split the input",
        entry::LAST_LINE
    )]
    TooFar {
        /// The prompt's line.
        line: u64,
    },
    /// The other workers of this queue send another request.
    #[error("the workers of this queue send another request")]
    OtherRequest {
        /// The request that they send for an empty prompt.
        theirs: String,
        /// The request that this worker would send for an empty prompt.
        ours: String,
    },
    /// The queue holds data that this version cannot read: another program or a newer version wrote it.
    #[error(
        "the queue {queue} holds data that this version cannot read ({problem}): check its name, or use the \
         version that wrote it"
    )]
    Foreign {
        /// The queue.
        queue: QueueName,
        /// What is wrong with the data.
        problem: String,
    },
}

/// The name and the address of a queue, for messages: `NAME at URL`.
#[derive(Clone, Debug)]
pub(crate) struct QueueName(RedisUrl);

impl From<RedisUrl> for QueueName {
    fn from(url: RedisUrl) -> Self {
        QueueName(url)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.0.name(), self.0)
    }
}

/// A queue at a Redis URL. Creating this value does not connect.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    url: RedisUrl,
}

impl Queue {
    /// The queue at this URL.
    pub(crate) fn at(url: RedisUrl) -> Self {
        Queue { url }
    }

    /// The name and the address, for messages.
    pub(crate) fn named(&self) -> QueueName {
        self.url.clone().into()
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        self.url.name()
    }

    /// The state of the queue.
    ///
    /// # Errors
    /// [`QueueError::Missing`] if it does not exist; [`QueueError::Store`].
    pub(crate) fn status(&self) -> Result<Status, QueueError> {
        self.link().status()?.ok_or_else(|| self.missing())
    }

    /// Puts all failed prompts back into the queue. Returns their number.
    ///
    /// # Errors
    /// [`QueueError::Missing`] if it does not exist; [`QueueError::Store`].
    pub(crate) fn retry_failed(&self) -> Result<u64, QueueError> {
        let mut link = self.link();
        let status = link.status()?.ok_or_else(|| self.missing())?;
        while link.run::<u64>(&script::RETRY, &[])? > 0 {}
        Ok(status.failed)
    }

    /// Deletes the queue and its records.
    ///
    /// # Errors
    /// [`QueueError::Missing`] if it does not exist; [`QueueError::Store`].
    pub(crate) fn remove(&self) -> Result<(), QueueError> {
        match self.link().run(&script::REMOVE, &[])? {
            0 => Err(self.missing()),
            _ => Ok(()),
        }
    }

    pub(crate) fn url(&self) -> &RedisUrl {
        &self.url
    }

    fn link(&self) -> QueueLink {
        QueueLink::to(self.url.clone())
    }

    fn missing(&self) -> QueueError {
        QueueError::Missing(self.named())
    }
}
