//! The results file: JSON lines, append-only, one whole line per finished prompt, in order of completion.
//!
//! A record is a superset of the OpenAI Batch output line, so tools for that format read it. It is written before its
//! prompt counts as done. A prompt that is run again gets another record, and the last one counts: nothing that was
//! written is ever changed.
//!
//! [`Record`] and `RecordId` are the data; `Results` reads the file; [`Index`] knows what is done, and `ResumeDiff`
//! how that differs from the input; [`Journal`] writes, with the [`Durability`] that is wanted; `Folder` writes each
//! answer to a file of its own. Which prompts to run is for `batch` to decide.

mod diff;
mod durability;
#[cfg(any(test, feature = "simulate"))]
#[path = "../tests/simulation/faults.rs"]
mod faults;
mod file;
mod folder;
mod id;
mod index;
mod reader;
mod record;
mod usage;
mod writer;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub(crate) use self::{
    diff::ResumeDiff,
    folder::Folder,
    id::RecordId,
    index::PromptStatus,
    reader::{ResultLine, Results},
    record::{RecordResponse, late_ms},
};
pub use self::{
    durability::Durability,
    index::Index,
    reader::ResultsError,
    record::{Record, RecordAttempt, RecordError},
    writer::{Journal, Opened},
};
#[cfg(any(test, feature = "simulate"))]
pub(crate) use faults::{DiskFaults, DiskStep};
#[cfg(feature = "cli")]
pub(crate) use record::millis;
#[cfg(feature = "cli")]
pub(crate) use usage::{AttemptUsage, ResponseUsage, usage_of_record};

/// Results cannot be written, or not be continued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be opened.
    #[error("cannot write results to {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another run writes to the file.
    #[error("another run is writing {}", .0.display())]
    Busy(PathBuf),
    /// The content of the file is not results of ours.
    #[error("cannot go on with {}: {source}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// The first problem with it.
        source: ResultsError,
    },
    /// A record cannot be written. The records before it are whole.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// The file, or standard output.
        to: String,
        /// The cause.
        source: io::Error,
    },
    /// Another program deleted, replaced or cut the file while it was written. Its answers may be lost.
    #[error("{} was deleted, replaced or cut by another program", .0.display())]
    Damaged(PathBuf),
    /// An answer cannot be written to a file of its own.
    #[error("cannot write to {}: {source}", path.display())]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
