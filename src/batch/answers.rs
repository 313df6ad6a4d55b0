//! Answers that need a look, and how many there are.

use std::fmt;

use serde::Serialize;

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
