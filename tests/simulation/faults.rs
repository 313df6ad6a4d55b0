//! The place where a simulation puts its disk: it is asked before each step, and may refuse it, or take a part of a write.
//! It stands in no build for users.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A step that a disk may refuse.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DiskStep {
    /// This number of bytes is to be written.
    Write(usize),
    /// The file is to be cut to this length.
    Cut(u64),
    /// What was written is to be synced.
    Sync,
}

/// Decides about each step: an error, or how much of it the real file is to do: bytes of a write, or one sync.
#[derive(Clone)]
pub(crate) struct DiskFaults(pub(crate) Arc<dyn Fn(DiskStep) -> io::Result<usize> + Send + Sync>);

impl DiskFaults {
    pub(super) fn may(&self, step: DiskStep) -> io::Result<usize> {
        (self.0)(step)
    }
}

impl Default for DiskFaults {
    /// A disk without faults.
    fn default() -> Self {
        DiskFaults(Arc::new(|step| match step {
            DiskStep::Write(length) => Ok(length),
            DiskStep::Cut(_) | DiskStep::Sync => Ok(1),
        }))
    }
}

impl fmt::Debug for DiskFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskFaults")
    }
}
