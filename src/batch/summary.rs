//! The result of a batch in numbers.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::prompt_run::PromptCalls;
use super::{Before, Stop, Tokens};
use crate::journal::Record;

/// An answer that needs a look: it is empty, or it ended for an unusual reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flag {
    /// It has no text.
    Empty,
    /// It was cut at its token limit.
    Cut,
    /// A content filter withheld it, or the model refused.
    Filtered,
    /// It ended in another way: with a tool call, for example.
    Other,
}

impl Flag {
    /// The flag of an answer; `None` for a usual one.
    #[must_use]
    pub fn of(text: &str, finish_reason: Option<&str>) -> Option<Self> {
        match finish_reason {
            Some("length") => Some(Flag::Cut),
            Some("content_filter" | "refusal") => Some(Flag::Filtered),
            None | Some("stop") => text.trim().is_empty().then_some(Flag::Empty),
            Some(_) => Some(Flag::Other),
        }
    }
}

/// How many answers have each [`Flag`]. Displayed as a list, which is empty if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Flags {
    /// Answers without text.
    pub empty: u64,
    /// Answers cut at their token limit.
    pub cut: u64,
    /// Answers withheld by a content filter or refused by the model.
    pub filtered: u64,
    /// Answers that ended in another way: with a tool call, for example.
    pub other: u64,
}

impl Flags {
    /// Counts one answer.
    pub fn count(&mut self, flag: Flag) {
        *match flag {
            Flag::Empty => &mut self.empty,
            Flag::Cut => &mut self.cut,
            Flag::Filtered => &mut self.filtered,
            Flag::Other => &mut self.other,
        } += 1;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.cut, "cut at the most tokens"),
            (self.filtered, "withheld by a filter"),
            (self.empty, "empty"),
            (self.other, "ended in another way"),
        ];
        let said = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

/// The result of a batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Prompts that earlier runs have finished.
    pub before: Before,
    /// Prompts with an answer on record.
    pub answered: u64,
    /// Prompts with a failure on record.
    pub failed: u64,
    /// Answers that need a look.
    pub flags: Flags,
    /// Calls made.
    pub calls: u64,
    /// Calls that were rate limited.
    pub throttled: u64,
    /// Calls that failed otherwise.
    pub faults: u64,
    /// Calls per minute that the server was found to allow; `None` if the limit was known, or was not found.
    pub found: Option<f64>,
    /// Tokens of the answers that report their usage.
    pub tokens: Tokens,
    /// Answers that do not report their usage.
    pub unmetered: u64,
    /// Time from the start to the end.
    pub took: Duration,
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
    started: Instant,
    first_call: Option<Instant>,
    last_call: Option<Instant>,
}

impl Summary {
    pub(super) fn new(started: Instant) -> Self {
        Summary {
            before: Before::default(),
            answered: 0,
            failed: 0,
            flags: Flags::default(),
            calls: 0,
            throttled: 0,
            faults: 0,
            found: None,
            tokens: Tokens::default(),
            unmetered: 0,
            took: Duration::ZERO,
            stop: None,
            started,
            first_call: None,
            last_call: None,
        }
    }

    /// Counts the calls of one prompt.
    pub(super) fn count(&mut self, account: &PromptCalls) {
        self.calls += account.calls;
        self.throttled += account.rate_limited;
        self.faults += account.failed;
        self.first_call = self.first_call.into_iter().chain(account.first).min();
        self.last_call = self.last_call.into_iter().chain(account.last).max();
    }

    /// Counts a record that has been written.
    pub(super) fn written(&mut self, record: &Record) {
        match &record.text {
            None => self.failed += 1,
            Some(text) => {
                self.answered += 1;
                let flag = Flag::of(text, record.finish_reason.as_deref());
                if let Some(flag) = flag {
                    self.flags.count(flag);
                }
            }
        }
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.took = now - self.started;
    }

    /// Calls per minute, from the first call to the last; `None` for fewer than two calls.
    #[must_use]
    pub fn calls_a_minute(&self) -> Option<f64> {
        let span = self
            .last_call?
            .duration_since(self.first_call?)
            .as_secs_f64();
        (self.calls > 1 && span > 0.0).then(|| (self.calls - 1) as f64 * 60.0 / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_flagged_by_its_finish_reason_or_as_empty() {
        let mut flags = Flags::default();
        for (text, reason) in [
            ("fine", Some("stop")),
            ("fine", None),
            (" \n", Some("stop")),
            ("", None),
            ("half a sen", Some("length")),
            ("", Some("content_filter")),
            ("I cannot", Some("refusal")),
            ("", Some("tool_calls")),
        ] {
            if let Some(flag) = Flag::of(text, reason) {
                flags.count(flag);
            }
        }
        assert_eq!(
            flags,
            Flags {
                empty: 2,
                cut: 1,
                filtered: 2,
                other: 1
            }
        );
        let said =
            "1 cut at the most tokens, 2 withheld by a filter, 2 empty, 1 ended in another way";
        assert_eq!(
            (flags.to_string(), Flags::default().to_string()),
            (said.to_owned(), String::new())
        );
    }
}
