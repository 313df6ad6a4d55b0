//! A check before each call, for batches whose prompts and records are kept elsewhere: in a shared queue, for example.

use std::fmt::Debug;

use crate::cancel::{CancelToken, WaitError};
use crate::prompts::Prompt;

/// Decides whether a call may leave, so that no call is made whose answer could not be stored.
pub(crate) trait Guard: Debug + Sync {
    /// Waits until calls may be made.
    ///
    /// # Errors
    /// [`WaitError`] if the token ends first.
    fn ready(&self, cancel: &CancelToken) -> Result<(), WaitError>;

    /// The call of this prompt has its permit and is about to leave. Returns false if it must not leave now; the permit is
    /// given up, and the guard is asked again.
    fn begin(&self, prompt: &Prompt) -> bool;

    /// A call of this prompt failed. The prompt may wait a while for its retry.
    fn failed(&self, prompt: &Prompt);
}
