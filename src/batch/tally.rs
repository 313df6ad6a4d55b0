//! Tallies: why calls failed, why prompts failed in the end, and which answers need a look.
//!
//! A cause is an outcome with its status and its code. The tally is bounded in every direction, because codes and
//! messages come from servers. Displays, logs and reports take their words from here.

use std::fmt;

use serde::Serialize;

use crate::journal::{RecordAttempt, RecordError};
use crate::outcome::CallOutcome;
use crate::text::shortened;

/// Failures that have one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FailureCause {
    /// How the calls ended.
    pub(crate) outcome: CallOutcome,
    /// The HTTP status, if a response came.
    pub status: Option<u16>,
    /// The server's error code, or one of ours such as `timeout`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// How many there were.
    pub count: u64,
    /// The latest message: one line without control characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The names of the first prompts that it happened to, at most 5.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
}

impl FailureCause {
    pub(crate) fn new(
        outcome: CallOutcome,
        status: Option<u16>,
        code: &str,
        message: &str,
    ) -> Self {
        FailureCause {
            outcome,
            status,
            code: shortened(code, Causes::WORD),
            count: 0,
            message: shortened(message, Causes::MESSAGE),
            first: Vec::new(),
        }
    }

    /// Why a prompt failed, by its record.
    pub(crate) fn of_prompt(
        attempts: &[RecordAttempt],
        status: Option<u16>,
        error: Option<&RecordError>,
    ) -> Self {
        let last = attempts.last().map(|attempt| attempt.outcome);
        let (code, message) = error.map_or(("unknown", ""), |error| (&error.code, &error.message));
        let outcome = CallOutcome::of_prompt(last, code, status);
        FailureCause::new(outcome, status, code, message)
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.outcome, self.status, &self.code) == (other.outcome, other.status, &other.code)
    }

    /// The cause in one or two words: the status, or how the call ended: `429`, `connection`, `time-out`.
    pub(crate) fn label(&self) -> String {
        self.outcome.label(self.status)
    }
}

/// `429 rate_limit_exceeded: Rate limit reached.`, or the message alone if no response came.
impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status} {}: {}", self.code, self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A tally of failures by cause: plain data. At most 24 causes are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Causes {
    /// The causes, in order of their first failure.
    pub list: Vec<FailureCause>,
    /// Failures of further causes.
    pub others: u64,
    /// Which cause the latest failure has, as an index of the list.
    #[serde(skip)]
    latest: Option<usize>,
}

impl Causes {
    /// A server has a handful of errors; with more, their codes are made up for each call.
    const MOST: usize = 24;
    /// Names that a cause keeps.
    pub(crate) const IDS: usize = 5;
    /// In characters: a sentence or two; a line of a terminal is shorter.
    const MESSAGE: usize = 300;
    const WORD: usize = 80;

    /// The cause of the latest failure.
    pub(crate) fn latest(&self) -> Option<&FailureCause> {
        self.list.get(self.latest?)
    }

    /// The causes by [`label`](FailureCause::label), the most frequent first: `23 x 429, 11 x 503`.
    pub(crate) fn by_label(&self) -> Vec<(String, u64)> {
        let mut labels: Vec<(String, u64)> = Vec::new();
        for cause in &self.list {
            let label = cause.label();
            match labels.iter_mut().find(|(there, _)| *there == label) {
                Some((_, count)) => *count += cause.count,
                None => labels.push((label, cause.count)),
            }
        }
        labels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        labels
    }

    /// Counts a failure of the prompt with this name; without a name, only its number counts.
    pub(crate) fn count(&mut self, name: &str, new: FailureCause) {
        self.latest = self.place(new);
        let Some(place) = self.latest else {
            self.others += 1;
            return;
        };
        let cause = &mut self.list[place];
        cause.count += 1;
        let name = shortened(name, Self::WORD);
        if !name.is_empty() && cause.first.len() < Self::IDS && !cause.first.contains(&name) {
            cause.first.push(name);
        }
    }

    /// The place of a cause in the list; `None` if the list is full. Its message becomes the latest one.
    pub(crate) fn place(&mut self, new: FailureCause) -> Option<usize> {
        let place = self.list.iter().position(|cause| cause.is_same(&new));
        match place {
            Some(place) => self.list[place].message = new.message,
            None if self.list.len() < Self::MOST => self.list.push(new),
            None => return None,
        }
        place.or(Some(self.list.len() - 1))
    }
}

/// An answer that needs a look: it is empty, or it ended for an unusual reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// It has no text.
    Empty,
    /// It was cut at its token limit.
    Cut,
    /// It was asked to be JSON, and is not.
    NotJson,
    /// A content filter withheld it, or the model refused.
    Filtered,
    /// It ended in another way: with a tool call, for example.
    Other,
}

impl Flag {
    /// The flag of an answer; `None` for a usual one.
    pub(crate) fn of(text: &str, finish_reason: Option<&str>) -> Option<Self> {
        match finish_reason {
            Some("length") => Some(Flag::Cut),
            Some("not_json") => Some(Flag::NotJson),
            // A gate passes answers on without a look at their texts.
            Some("not_read") => None,
            Some("content_filter" | "refusal") => Some(Flag::Filtered),
            None | Some("stop") => text.trim().is_empty().then_some(Flag::Empty),
            Some(_) => Some(Flag::Other),
        }
    }
}

/// How many answers have each [`Flag`]. Displayed as a list, which is empty if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Flags {
    /// Answers without text.
    pub empty: u64,
    /// Answers cut at their token limit.
    pub cut: u64,
    /// Answers that were asked to be JSON, and are not.
    pub not_json: u64,
    /// Answers withheld by a content filter or refused by the model.
    pub filtered: u64,
    /// Answers that ended in another way: with a tool call, for example.
    pub other: u64,
}

impl Flags {
    /// Counts one answer.
    pub(crate) fn count(&mut self, flag: Flag) {
        *match flag {
            Flag::Empty => &mut self.empty,
            Flag::Cut => &mut self.cut,
            Flag::NotJson => &mut self.not_json,
            Flag::Filtered => &mut self.filtered,
            Flag::Other => &mut self.other,
        } += 1;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.cut, "cut at the most tokens"),
            (self.not_json, "not JSON as asked"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use CallOutcome::{Connection, RateLimited, ServerError, Timeout};

    #[test]
    fn failures_are_counted_by_outcome_status_and_code() {
        let mut causes = Causes::default();
        let slow =
            |message| FailureCause::new(RateLimited, Some(429), "rate_limit_exceeded", message);
        causes.count("line-1", slow("try again in 20s"));
        causes.count(
            "line-2",
            FailureCause::new(ServerError, Some(500), "oops", "sorry"),
        );
        causes.count("line-1", slow("try\nagain in\u{1b}[31m 3s"));
        causes.count(
            "line-3",
            FailureCause::new(RateLimited, Some(429), "tokens", "slow down"),
        );
        let first = &causes.list[0];
        assert_eq!(
            (first.count, first.first.as_slice()),
            (2, &["line-1".to_owned()][..])
        );
        assert_eq!(
            first.to_string(),
            "429 rate_limit_exceeded: try again in\u{fffd}[31m 3s"
        );
        assert_eq!(causes.latest().map(|cause| &*cause.code), Some("tokens"));
        assert_eq!(
            causes.by_label(),
            [("429".to_owned(), 3), ("500".to_owned(), 1)]
        );
        let counts = causes.list.iter().map(|cause| cause.count);
        assert_eq!(counts.sum::<u64>() + causes.others, 4);
    }

    #[test]
    fn a_tally_is_bounded_whatever_the_server_says() {
        let mut causes = Causes::default();
        for n in 0..1000 {
            let code = format!("{n}{}", "x".repeat(10_000));
            causes.count(&code, FailureCause::new(Timeout, None, &code, &code));
            causes.count(
                &n.to_string(),
                FailureCause::new(Connection, None, "broken", "gone"),
            );
        }
        let counts = causes.list.iter().map(|cause| cause.count);
        let total = counts.sum::<u64>() + causes.others;
        assert_eq!((causes.list.len(), total), (24, 2000));
        assert_eq!(causes.list[1].first, ["0", "1", "2", "3", "4"]);
        assert!(causes.list.iter().all(|cause| cause.message.len() < 1000));
        assert_eq!(causes.list[1].to_string(), "gone");
    }

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
            ("{cut", Some("not_json")),
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
                not_json: 1,
                filtered: 2,
                other: 1
            }
        );
        let said = "1 cut at the most tokens, 1 not JSON as asked, 2 withheld by a filter, 2 empty, \
                    1 ended in another way";
        assert_eq!(
            (flags.to_string(), Flags::default().to_string()),
            (said.to_owned(), String::new())
        );
    }
}
