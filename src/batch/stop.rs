//! Why a batch stops before its end.

use std::error::Error;
use std::time::Duration;

use thiserror::Error as ThisError;

use super::{Halt, amount};
use crate::api::CallError;
use crate::prompts::PromptError;

/// Why a batch stopped before its end.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Stop {
    /// The server accepts none of our calls: a wrong key, no credit, or a wrong URL.
    #[error("{0}")]
    Refused(Box<CallError>),
    /// The server has kept us waiting too long.
    #[error("the server has given no answer for {waited:?}{} ({error})", and_asks(*.more))]
    Held {
        /// How long there has been no answer.
        waited: Duration,
        /// How much longer the server asks us to wait, if it says so.
        more: Option<Duration>,
        /// The last failure.
        error: Box<CallError>,
    },
    /// The server could not be reached from the first call on.
    #[error("{0}")]
    Unreachable(Box<CallError>),
    /// The first prompts all failed for one reason, and none was answered.
    #[error("the first {count} prompts all failed for one reason: {cause}")]
    AllAlike {
        /// How many there were.
        count: u64,
        /// The reason, with the latest message.
        cause: String,
    },
    /// The prompts ended before the number that was announced.
    #[error("the prompts ended early: {missing} of {announced} are missing")]
    Missing {
        /// Announced with [`Batch::expecting`](super::Batch::expecting).
        announced: u64,
        /// Those that never came.
        missing: u64,
    },
    /// Too many calls fail with a fault.
    #[error("for a minute, more than a tenth of the calls have failed ({0})")]
    Broken(Box<CallError>),
    /// The halt rule is reached.
    #[error("{failed} of {finished} prompts have failed, and the halt rule is {halt}")]
    Halted {
        /// Prompts that failed.
        failed: u64,
        /// Prompts that are done, including the failed ones.
        finished: u64,
        /// The rule.
        halt: Halt,
    },
    /// The answers have reached the cost limit.
    #[error("the answers have cost {}, and the limit is {}", amount(*.spent), amount(*.most))]
    Spent {
        /// What the answers have cost.
        spent: f64,
        /// The limit.
        most: f64,
    },
    /// A record cannot be written: the error of the function that takes the records.
    #[error("{0}")]
    Sink(Box<dyn Error + Send + Sync>),
    /// A prompt has changed since it was answered.
    #[error(
        "line {line} is on record with another request: the prompt, the model or a parameter has changed"
    )]
    Changed {
        /// The prompt's line, from 1.
        line: u64,
    },
    /// The input cannot be read any further.
    #[error("{0}")]
    Input(PromptError),
    /// The shared rate cannot be reached.
    #[error("{0}")]
    Lost(String),
    /// The batch was cancelled from outside.
    #[error("interrupted")]
    Interrupted,
}

fn and_asks(more: Option<Duration>) -> String {
    more.map_or_else(String::new, |more| {
        format!(" and asks us to wait another {more:?}")
    })
}
