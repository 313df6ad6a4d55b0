//! The fields of a record that `report`, `export` and `plan --from` need: one reading of a line for all of them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::api::Usage;
use crate::batch::FailureCause;
use crate::journal::{AttemptUsage, RecordAttempt, RecordError, ResponseUsage, usage_of_record};
use crate::outcome::CallOutcome;

/// A record, with the response's body as it was written: no digit of a number is lost on the way. Its attempts are read
/// as far as they are needed.
#[derive(Debug, Deserialize)]
pub(super) struct RecordFields<'a, A> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) custom_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) prompt: Cow<'a, str>,
    /// The other columns of the input.
    #[serde(default)]
    pub(super) columns: Map<String, Value>,
    /// What it was sent with, as it was written.
    #[serde(borrow, default)]
    pub(super) settings: Option<&'a RawValue>,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    pub(super) response: Option<ResponseUsage<'a>>,
    /// Set in copies of a record, which cost nothing.
    pub(super) same_as: Option<IgnoredAny>,
    pub(super) error: Option<RecordError>,
    #[serde(default = "Vec::new")]
    pub(super) attempts: Vec<A>,
}

impl<A> RecordFields<'_, A> {
    /// The HTTP status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        self.response.as_ref()?.status_code
    }

    /// The fields of an answer that was asked for with `--schema`.
    pub(super) fn answer(&self) -> Map<String, Value> {
        #[derive(Deserialize)]
        struct SchemaOnly {
            schema: Option<IgnoredAny>,
        }
        let settings = self.settings.map_or("{}", RawValue::get);
        let has_schema =
            serde_json::from_str(settings).is_ok_and(|SchemaOnly { schema }| schema.is_some());
        let text = self.text.as_deref().filter(|_| has_schema);
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// The tokens that the record states. A copy states none.
    pub(super) fn tokens(&self) -> Option<Usage>
    where
        for<'b> &'b A: Into<AttemptUsage>,
    {
        let is_copy = self.same_as.is_some();
        let attempts = self.attempts.iter().map(Into::into);
        (!is_copy).then(|| usage_of_record(self.response.as_ref(), attempts))?
    }
}

impl RecordFields<'_, RecordAttempt> {
    /// The tokens, of all that the record states, of calls that brought no answer.
    pub(super) fn tokens_without_answer(&self, all: Usage) -> Usage {
        if self.text.is_none() {
            return all;
        }
        let mut sum = Usage::default();
        let calls = self.attempts.iter();
        let without = calls.filter(|attempt| attempt.outcome != CallOutcome::Answered);
        let stated = without.filter_map(|attempt| attempt.usage);
        stated.for_each(|usage| sum += usage);
        sum
    }

    /// Why the prompt failed.
    pub(super) fn cause(&self) -> FailureCause {
        FailureCause::of_prompt(&self.attempts, self.status(), self.error.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn tokens(response: &str) -> Option<(u64, u64)> {
        let record = format!(r#"{{"id":"pl_1","custom_id":"a","response":{response}}}"#);
        let row: RecordFields<'_, RecordAttempt> = serde_json::from_str(&record).unwrap();
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
