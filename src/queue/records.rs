//! Taking records out of a queue, in order of completion. They stay there until the queue is removed.

use std::time::Duration;

use super::link::{Link, field};
use super::{Queue, QueueError, Status};
use crate::journal::Record;

/// The records of a queue, from the first.
pub struct Records {
    link: Link,
    /// The last entry that was read.
    last: String,
}

impl Queue {
    /// Its records, from the first.
    #[must_use]
    pub fn records(&self) -> Records {
        Records {
            link: self.link(),
            last: "0".to_owned(),
        }
    }
}

impl Records {
    /// The next records, some at a time. None: there is none yet, though so long was waited.
    ///
    /// # Errors
    /// [`QueueError::Store`], and it may be tried again; [`QueueError::Foreign`]
    pub fn next_some(&mut self, wait: Option<Duration>) -> Result<Vec<Record>, QueueError> {
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

    /// How the queue stands.
    ///
    /// # Errors
    /// [`QueueError::Removed`]; [`QueueError::Store`]
    pub fn status(&mut self) -> Result<Status, QueueError> {
        self.link.status()?.ok_or_else(|| self.link.removed())
    }
}
