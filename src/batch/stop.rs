//! Why a batch stops before its end, and the halt rule: how many prompts may fail before it does.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error as ThisError;

use super::amount;
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

/// Stops the batch after a number of failed prompts (`5`), or a percentage of the finished ones (`10%`).
///
/// ```
/// use paceline::batch::Halt;
///
/// let rule: Halt = "10%".parse().unwrap();
/// assert_eq!(rule, Halt::Percent(10));
/// assert!("101%".parse::<Halt>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Halt {
    /// At this number of failed prompts.
    Count(NonZeroU64),
    /// At this percentage of the finished prompts, once 20 have finished.
    Percent(u8),
}

impl Halt {
    /// A percentage counts from this number of finished prompts; of fewer it says little.
    pub(crate) const SAMPLE: u64 = 20;

    /// Whether `failed` of `finished` prompts stop the batch.
    pub(crate) fn is_reached(self, failed: u64, finished: u64) -> bool {
        match self {
            Halt::Count(most) => failed >= most.get(),
            Halt::Percent(most) => {
                finished >= Self::SAMPLE
                    && failed.saturating_mul(100) >= finished.saturating_mul(most.into())
            }
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Count(most) => most.fmt(f),
            Halt::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl FromStr for Halt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = match text.strip_suffix('%') {
            None => text.parse().ok().map(Halt::Count),
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|p| (1..=100).contains(p))
                .map(Halt::Percent),
        };
        rule.ok_or("give a number of failures such as 5, or a percentage from 1% to 100%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        for text in ["1", "500", "1%", "100%"] {
            assert_eq!(text.parse::<Halt>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "0%", "101%", "-1", "5 %", "%", "many"] {
            assert!(bad.parse::<Halt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_percentage_waits_for_a_sample() {
        let half = Halt::Percent(50);
        assert_eq!(
            [(19, 19), (9, 20), (10, 20), (499, 1000)].map(|(f, n)| half.is_reached(f, n)),
            [false, false, true, false]
        );
    }
}
