//! The results file: JSON lines, append-only, one whole line a finished prompt, in order of completion.
//!
//! A record is a superset of the OpenAI Batch output line, so tools for that format read it. It is written before its
//! prompt counts as done. A prompt that is run again gets another record, and of several the last one counts: nothing
//! that was written is ever changed.
//!
//! From left to right: what a [`Record`] is and how it is named ([`RecordId`]); reading the file ([`Results`]); what is
//! done ([`Index`]) and how that compares with the input ([`Tally`]); writing ([`Journal`], [`Durability`]); and each
//! answer as a file of its own ([`Folder`]). Which prompts to run is for the rooms above to decide.

mod by_line;
mod claim;
mod draft;
mod durability;
mod folder;
mod id;
mod index;
mod reader;
mod record;
mod tally;
mod writer;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

#[cfg(feature = "cli")]
pub(crate) use draft::Draft;
pub use durability::{Durability, ParseDurabilityError};
pub use folder::{Folder, FolderError};
pub use id::{ForeignId, RecordId};
pub use index::{Index, Standing};
pub use reader::{Line, Results, ResultsError};
pub use record::{Attempt, Fault, Record, Reply};
pub use tally::{Change, Changes, Comparison, Tally};
pub use writer::{Journal, Opened};

/// The results cannot be written, or not be gone on with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be opened.
    #[error("cannot write results to {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another run has the file.
    #[error("another run is writing {}: wait until it ends, or write elsewhere with -o", .0.display())]
    Busy(PathBuf),
    /// What the file holds cannot be gone on with.
    #[error("cannot go on with {}: {source}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ResultsError,
    },
    /// A record cannot be written. What was written before is whole.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// The file, or standard output.
        to: String,
        /// What went wrong.
        source: io::Error,
    },
    /// An answer cannot be written as a file of its own.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An earlier write failed.
    #[error("nothing more is written to {to}, because an earlier write failed")]
    Closed {
        /// The file, or standard output.
        to: String,
    },
}
