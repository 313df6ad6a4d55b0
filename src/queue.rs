//! One queue for many machines, on Redis: prompts are pushed once, worked on anywhere, and their records pulled.
//!
//! The prompts are a stream with one consumer group; the records are another stream. A change of more than one key is a
//! Lua script, so it happens as a whole or not at all: one script stores a record and removes its prompt, and the first
//! record of a prompt wins. A worker keeps the prompts that it has taken while it sends heartbeats; when they cease,
//! another worker hands its prompts on. A prompt is identified by its line, so one queue holds one input, like one
//! results file.
//!
//! The files: the connection and the scripts (`link`), the prompts that a worker has taken (`taken`), and the parts that
//! commands use: `status`, `push` and `worker`. The connection itself is [`store`](crate::store)'s, and what to do while
//! Redis is away is [`share`](crate::share)'s.

mod link;
mod push;
mod status;
mod taken;
mod worker;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::share::{AwayError, PlaceHealth};
use crate::store::{RedisUrl, StoreError};
use crate::text::duration;
use link::{NO_ARGS, script};

pub(crate) use link::QueueLink;
pub(crate) use push::Push;
pub(crate) use status::{QueueState, Status};
pub(crate) use worker::{JoinOptions, Worker};

/// An error of a queue.
#[derive(Debug, Error)]
pub(crate) enum QueueError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue does not exist, or no longer.
    #[error("the queue {0} was removed meanwhile, or Redis has lost its data")]
    Gone(Queue),
    #[error("the queue {queue} already has another prompt at line {line}")]
    Changed { line: u64, queue: Queue },
    #[error(
        "line {0} is too high for one queue, which holds lines up to {most}: split the input",
        most = push::LAST_LINE
    )]
    TooFar(u64),
    /// The requests are those for an empty prompt.
    #[error("the workers of this queue send another request")]
    OtherRequest { theirs: String, ours: String },
    /// Another program or a newer version wrote the data.
    #[error(
        "the queue {queue} holds data that this version cannot read ({problem}): check its name, or use the \
         version that wrote it"
    )]
    Foreign { queue: Queue, problem: String },
    /// Redis has been away for longer than the patience.
    #[error("Redis has been away for {} ({error})", duration(*.waited))]
    Away {
        waited: Duration,
        error: Box<QueueError>,
    },
    /// The wait for Redis was cancelled.
    #[error("the wait for Redis was cancelled")]
    Cancelled,
}

impl QueueError {
    /// Whether the same call may succeed later without a change.
    fn is_passing(&self) -> bool {
        matches!(self, QueueError::Store(error) if error.is_passing())
    }
}

impl From<AwayError<QueueError>> for QueueError {
    fn from(error: AwayError<QueueError>) -> Self {
        match error {
            AwayError::TooLong(waited, error) => QueueError::Away {
                waited,
                error: Box::new(error),
            },
            AwayError::Final(error) => error,
            AwayError::Cancelled => QueueError::Cancelled,
        }
    }
}

/// A queue at a Redis URL. `Display` writes `NAME at URL`. Creating this value does not connect.
#[derive(Clone, Debug)]
pub(crate) struct Queue(pub(crate) RedisUrl);

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.0.name(), self.0)
    }
}

impl Queue {
    /// The state of the queue.
    ///
    /// # Errors
    /// [`QueueError::Gone`] if it does not exist; [`QueueError::Store`].
    pub(crate) fn status(&self) -> Result<Status, QueueError> {
        self.link().status()
    }

    /// Puts all failed prompts back into the queue. Returns their number.
    ///
    /// # Errors
    /// [`QueueError::Gone`] if it does not exist; [`QueueError::Store`].
    pub(crate) fn retry_failed(&self) -> Result<u64, QueueError> {
        let failed = self.status()?.failed;
        let mut link = self.link();
        while link.run::<u64>(&script::RETRY, NO_ARGS)? > 0 {}
        Ok(failed)
    }

    /// Deletes the queue and its records, if it exists.
    ///
    /// # Errors
    /// [`QueueError::Store`]
    pub(crate) fn remove(&self) -> Result<(), QueueError> {
        self.link().run(&script::REMOVE, NO_ARGS)
    }

    /// Whether Redis is away; calls wait for it for as long as the patience.
    pub(crate) fn outage(&self, patience: Duration) -> PlaceHealth {
        PlaceHealth::new(format!("Redis at {}", self.0), patience)
    }
}
