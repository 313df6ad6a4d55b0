//! Why a batch stops before its end.

use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{Halt, amount};
use crate::api::CallError;
use crate::journal::JournalError;
use crate::prompts::PromptError;

/// Why a batch stopped before its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Stop {
    /// The server will answer none of our calls: the key, the money, the address.
    #[error("{0}")]
    Refused(Box<CallError>),
    /// The server has held us too long.
    #[error(
        "the server has given no answer for {waited:?}, and says to wait {more:?} more ({error})"
    )]
    Held {
        /// How long there has been no answer.
        waited: Duration,
        /// How much longer the server says to wait.
        more: Duration,
        /// When it may be worth coming back.
        come_back: SystemTime,
        /// The last refusal.
        error: Box<CallError>,
    },
    /// The server answers with faults, and too few answers.
    #[error("the server is broken: for a minute more than a tenth of the calls have failed ({0})")]
    Broken(Box<CallError>),
    /// As many prompts have failed as may.
    #[error("{failed} of {finished} prompts have failed, and --halt {halt} says that is enough")]
    Halted {
        /// Prompts that failed.
        failed: u64,
        /// Prompts that are done, the failed among them.
        finished: u64,
        /// The rule.
        halt: Halt,
    },
    /// The answers have cost as much as they may.
    #[error("the answers have cost {}, and --max-cost is {}", amount(*.spent), amount(*.most))]
    Spent {
        /// What they cost, all in all.
        spent: f64,
        /// What they may cost.
        most: f64,
    },
    /// The results cannot be written.
    #[error("{0}")]
    Journal(JournalError),
    /// A prompt is not what it was when it was answered.
    #[error(
        "line {line} is in the results already, but of another request: the prompt, the model or a parameter has changed"
    )]
    Changed {
        /// The prompt's line, from 1.
        line: u64,
    },
    /// The input cannot be read on.
    #[error("{0}")]
    Input(PromptError),
    /// The pace is shared, and what it is shared through cannot be reached.
    #[error("{0}")]
    Lost(String),
    /// Somebody cancelled.
    #[error("interrupted")]
    Interrupted,
}
