//! The fields of a record that a report needs.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::api::Usage;
use crate::batch::FailureCause;
use crate::journal::{RecordAttempt, RecordError, ResponseUsage, usage_of_record};
use crate::outcome::CallOutcome;

/// A record. Of the response, which is most of it, only the usage is read.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordFields<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, rename = "custom_id")]
    _custom_id: Cow<'a, str>,
    /// What it was sent with, as it was written.
    #[serde(borrow, default)]
    pub(super) settings: Option<&'a RawValue>,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    response: Option<ResponseUsage<'a>>,
    /// Set in copies of a record.
    same_as: Option<IgnoredAny>,
    pub(super) error: Option<RecordError>,
    #[serde(default)]
    pub(crate) attempts: Vec<RecordAttempt>,
}

impl RecordFields<'_> {
    /// Why the prompt failed.
    pub(super) fn cause(&self) -> FailureCause {
        let last = self.attempts.last();
        let outcome = last.map_or(CallOutcome::Panic, |attempt| attempt.outcome);
        let status = self
            .response
            .as_ref()
            .and_then(|response| response.status_code);
        let error = self.error.as_ref();
        let (code, message) = error.map_or(("unknown", ""), |error| (&error.code, &error.message));
        FailureCause::new(outcome, status, code, message)
    }

    /// The tokens that the record states. A copy cost nothing.
    pub(crate) fn tokens(&self) -> Option<Usage> {
        if self.same_as.is_some() {
            return None;
        }
        usage_of_record(self.response.as_ref(), self.attempts.iter().map(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn tokens(response: &str) -> Option<(u64, u64)> {
        let record = format!(r#"{{"id":"pl_1","custom_id":"a","response":{response}}}"#);
        let row: RecordFields<'_> = serde_json::from_str(&record).unwrap();
        row.tokens().map(|tokens| (tokens.input, tokens.output))
    }

    #[test]
    fn tokens_are_read_under_every_name_and_whatever_else_a_body_is() {
        let usage = |usage: &str| {
            tokens(&format!(
                r#"{{"status_code":200,"body":{{"usage":{usage},"a":[1]}}}}"#
            ))
        };
        let table = [
            (
                r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}"#,
                Some((3, 5)),
            ),
            (r#"{"input_tokens":3,"output_tokens":5}"#, Some((3, 5))),
            (
                r#"{"prompt_tokens":3,"completion_tokens":5,"input_tokens":3,"output_tokens":5}"#,
                Some((3, 5)),
            ),
            (r#"{"prompt_tokens":3,"total_tokens":3}"#, Some((3, 0))),
            (
                r#"{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8}"#,
                Some((3, 5)),
            ),
            (
                r#"{"promptTokenCount":3,"candidatesTokenCount":5,"thoughtsTokenCount":7}"#,
                Some((3, 12)),
            ),
            (
                r#"{"promptTokenCount":3,"thoughtsTokenCount":7}"#,
                Some((3, 7)),
            ),
            (r#"{"total_tokens":3}"#, None),
            ("null", None),
            ("7", None),
        ];
        for (text, expected) in table {
            assert_eq!(usage(text), expected, "{text}");
        }
        let gemini = r#"{"status_code":200,"body":{"candidates":[],"usageMetadata":{"promptTokenCount":3}}}"#;
        assert_eq!(tokens(gemini), Some((3, 0)));
        for response in [
            "null",
            r#"{"body":null}"#,
            r#"{"body":"oops"}"#,
            r#"{"body":[1]}"#,
            "{}",
        ] {
            assert_eq!(tokens(response), None, "{response}");
        }
    }
}
