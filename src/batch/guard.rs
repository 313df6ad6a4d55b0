//! Who must be asked before a call leaves, when prompts and records are not kept in files of our own.

use std::fmt::Debug;

use crate::cancel::{CancelToken, Cancelled};
use crate::prompts::Prompt;

/// Watches over the calls of a batch: none should leave whose answer could not be kept.
pub trait Guard: Debug + Sync {
    /// Waits until calls may be made.
    ///
    /// # Errors
    /// [`Cancelled`]
    fn ready(&self, cancel: &CancelToken) -> Result<(), Cancelled>;

    /// The call of this prompt has its turn and is about to leave. False: it must not, just now.
    fn begin(&self, prompt: &Prompt) -> bool;

    /// The call has failed, and the prompt may wait a while for the next one.
    fn failed(&self, prompt: &Prompt);
}
