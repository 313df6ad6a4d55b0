//! Reading the records of a queue, in order of completion. They stay in the queue until it is removed.

use std::time::Duration;

use super::link::{QueueLink, field};
use super::{Queue, QueueError, Status};
use crate::journal::Record;

/// A reader of the records of a queue, from the first one.
pub(crate) struct Records {
    link: QueueLink,
    /// The ID of the last entry that was read.
    last: String,
}

impl Queue {
    /// A reader of its records, from the first one.
    pub(crate) fn records(&self) -> Records {
        Records {
            link: self.link(),
            last: "0".to_owned(),
        }
    }
}

impl Records {
    /// The next records, 50 at most. Without any, waits for one for up to `wait`, then returns an empty list.
    ///
    /// # Errors
    /// [`QueueError::Store`], and the call can be repeated; [`QueueError::Foreign`] if a record cannot be read.
    pub(crate) fn next_some(&mut self, wait: Option<Duration>) -> Result<Vec<Record>, QueueError> {
        let entries = self.link.records(&self.last, wait)?;
        let read = |entry| {
            let json = field(entry, "record")
                .ok_or_else(|| self.link.foreign("an entry without a record"))?;
            serde_json::from_str(&json).map_err(|error| self.link.foreign(error))
        };
        let records = entries.iter().map(read).collect::<Result<_, _>>()?;
        self.last = entries
            .last()
            .map_or_else(|| self.last.clone(), |entry| entry.id.clone());
        Ok(records)
    }

    /// The state of the queue.
    ///
    /// # Errors
    /// [`QueueError::Removed`] if it no longer exists; [`QueueError::Store`].
    pub(crate) fn status(&mut self) -> Result<Status, QueueError> {
        self.link.status()?.ok_or_else(|| self.link.removed())
    }
}
