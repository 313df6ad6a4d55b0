//! The result of a batch in numbers.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::view::View;
use super::{Before, Causes, Stop};
use crate::api::Usage;
use crate::journal::Record;

/// An answer that needs a look: it is empty, or it ended for an unusual reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    #[must_use]
    pub(crate) fn of(text: &str, finish_reason: Option<&str>) -> Option<Self> {
        match finish_reason {
            Some("length") => Some(Flag::Cut),
            Some("not_json") => Some(Flag::NotJson),
            Some("content_filter" | "refusal") => Some(Flag::Filtered),
            None | Some("stop") => text.trim().is_empty().then_some(Flag::Empty),
            Some(_) => Some(Flag::Other),
        }
    }
}

/// How many answers have each [`Flag`]. Displayed as a list, which is empty if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
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

/// The result of a batch.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Prompts that earlier runs have finished.
    pub(crate) before: Before,
    /// Prompts with an answer on record.
    pub answered: u64,
    /// Prompts with a failure on record.
    pub failed: u64,
    /// Why those prompts failed.
    pub(crate) failed_prompts: Causes,
    /// Answers that need a look.
    pub(crate) flags: Flags,
    /// Calls made.
    pub calls: u64,
    /// Calls that were rate limited.
    pub rate_limited: u64,
    /// Calls that failed otherwise.
    pub faults: u64,
    /// Calls that were a retry.
    pub retried: u64,
    /// Why calls failed.
    pub(crate) failed_calls: Causes,
    /// Calls per minute, from the first call to the last; `None` if there was no second between them.
    pub calls_a_minute: Option<f64>,
    /// Calls without an answer that may have been billed.
    pub maybe_billed: u64,
    /// Calls per minute that the server was found to allow; `None` if the limit was known, or was not found.
    pub found: Option<f64>,
    /// How long every key was paused, in all.
    pub paused: Duration,
    /// The median latency of the answered calls, within 3 %.
    pub latency: Option<Duration>,
    /// The latency that 95 % of the answered calls kept below, within 3 %.
    pub latency_p95: Option<Duration>,
    /// Tokens of the calls that report their usage.
    pub tokens: Usage,
    /// Tokens of earlier runs, as the results say.
    pub earlier_tokens: Usage,
    /// Answers that do not report their usage.
    pub unmetered: u64,
    /// Time from the start to the end.
    pub took: Duration,
    /// Prompts still to do; `None` if their number is not known.
    pub left: Option<u64>,
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
}

impl Summary {
    /// Counts a record that has been written.
    pub(super) fn written(&mut self, record: &Record) {
        match &record.text {
            None => {
                self.failed += 1;
                self.failed_prompts.count_record(record);
            }
            Some(text) => {
                self.answered += 1;
                let flag = Flag::of(text, record.finish_reason.as_deref());
                if let Some(flag) = flag {
                    self.flags.count(flag);
                }
            }
        }
    }

    /// Takes over what the view has counted.
    pub(super) fn ended(&mut self, view: &View, now: Instant) {
        let end = view.at(now);
        self.calls = end.calls;
        self.rate_limited = end.rate_limited;
        self.faults = end.faults;
        self.retried = end.retried;
        self.maybe_billed = end.maybe_billed;
        self.failed_calls = end.failed_calls;
        self.paused = end.paused;
        self.latency = view.median_latency();
        self.latency_p95 = end.latency_p95;
        self.tokens = end.tokens;
        self.earlier_tokens = end.earlier_tokens;
        self.unmetered = end.unmetered;
        self.took = end.elapsed;
        self.calls_a_minute = view.sent().and_then(|(first, last)| {
            let span = (last - first).as_secs_f64();
            (end.calls > 1 && span >= 1.0).then(|| (end.calls - 1) as f64 * 60.0 / span)
        });
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
