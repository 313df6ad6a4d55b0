//! The result of a batch.

use std::ops::Deref;

use super::{Snapshot, Stop};

/// The result of a batch: its last [`Snapshot`], whose fields it has, too, and why it stopped early, if it did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The state of the batch at its end.
    pub end: Snapshot,
    /// Calls per minute that the server was found to allow; `None` if the limit was known, or was not found.
    pub found: Option<f64>,
    /// Prompts still to do; `None` if their number is not known.
    pub left: Option<u64>,
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
}

impl Deref for Summary {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.end
    }
}
