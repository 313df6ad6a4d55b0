//! One queue for many machines, on Redis: prompts are pushed once, worked on anywhere, and their records pulled.
//!
//! The prompts are a stream with one consumer group, the records another stream. All that changes more than one thing
//! is a script, so it happens as a whole or not at all: a record is stored and its prompt taken out in one step, and the
//! first record of a prompt wins. What a worker has taken is his as long as he gives signs of life; then the others hand
//! it on. A prompt is known by its line: one queue is for one input, as one results file is.
//!
//! From left to right: how a prompt is written down (`entry`), the connection and the scripts (`link`), how the queue
//! stands ([`Status`]), putting in ([`Push`]), working ([`Worker`]), and taking out ([`Records`]).

mod entry;
mod link;
mod push;
mod records;
mod status;
mod taken;
mod weather;
mod worker;

use std::fmt;

use thiserror::Error;

use crate::store::{Place, StoreError};
use link::{Link, script};

pub use push::{Push, Pushed};
pub use records::Records;
pub use status::{Peer, Standing, Status};
pub use worker::{Joining, Worker};

/// What went wrong with a queue.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The server cannot be reached, or does not do what it is asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such queue.
    #[error("there is no queue {0}")]
    Missing(Named),
    /// The queue was there, and is not any more.
    #[error("the queue {0} was removed meanwhile")]
    Removed(Named),
    /// A line of the input is in the queue with another prompt.
    #[error("line {line} is in the queue {queue} already, but with another prompt")]
    Changed {
        /// The prompt's line.
        line: u64,
        /// The queue.
        queue: Named,
    },
    /// A line is so far down that the queue cannot keep track of it.
    #[error(
        "line {line} is too far down for one queue: it holds lines up to {}",
        entry::LAST_LINE
    )]
    TooFar {
        /// The prompt's line.
        line: u64,
    },
    /// Other workers ask something else.
    #[error("the workers of this queue send another request")]
    OtherRequest {
        /// What they would send for an empty prompt.
        theirs: String,
        /// What this one would send.
        ours: String,
    },
    /// What is in the queue was not put there by this program, or by a newer one.
    #[error(
        "the queue {queue} holds what this program did not write ({problem}): is it the right queue?"
    )]
    Foreign {
        /// The queue.
        queue: Named,
        /// What was found.
        problem: String,
    },
}

/// A queue as people call it: its name, and where it is.
#[derive(Clone, Debug)]
pub struct Named(Place);

impl From<Place> for Named {
    fn from(place: Place) -> Self {
        Named(place)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.0.name(), self.0)
    }
}

/// A queue by its place. It is not looked at before it is used.
#[derive(Clone, Debug)]
pub struct Queue {
    place: Place,
}

impl Queue {
    /// The queue at this place.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Queue { place }
    }

    /// Its name, and where it is.
    #[must_use]
    pub fn named(&self) -> Named {
        self.place.clone().into()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// How it stands.
    ///
    /// # Errors
    /// [`QueueError::Missing`]; [`QueueError::Store`]
    pub fn status(&self) -> Result<Status, QueueError> {
        self.link().status()?.ok_or_else(|| self.missing())
    }

    /// Puts what failed into it once more. Returns how many prompts that are.
    ///
    /// # Errors
    /// [`QueueError::Missing`]; [`QueueError::Store`]
    pub fn retry_failed(&self) -> Result<u64, QueueError> {
        let mut link = self.link();
        let status = link.status()?.ok_or_else(|| self.missing())?;
        while link.run::<u64>(&script::RETRY, &[])? > 0 {}
        Ok(status.failed)
    }

    /// Deletes it, with its records.
    ///
    /// # Errors
    /// [`QueueError::Missing`]; [`QueueError::Store`]
    pub fn remove(&self) -> Result<(), QueueError> {
        match self.link().run(&script::REMOVE, &[])? {
            0 => Err(self.missing()),
            _ => Ok(()),
        }
    }

    fn link(&self) -> Link {
        Link::to(self.place.clone())
    }

    fn missing(&self) -> QueueError {
        QueueError::Missing(self.named())
    }
}
