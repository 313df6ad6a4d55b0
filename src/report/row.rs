//! What a report wants to know of a record.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::numbers::Tokens;
use crate::journal::{Attempt, Fault};

/// A record, all of it checked. Of the response, which is most of it, only the beginning and the end are looked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Row<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, rename = "custom_id")]
    _custom_id: Cow<'a, str>,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    pub(super) error: Option<Fault>,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

impl Row<'_> {
    /// What the response says it cost. APIs differ in the names, and some gateways send both.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        #[derive(Deserialize)]
        struct Response {
            body: Body,
        }
        #[derive(Deserialize)]
        struct Body {
            #[serde(alias = "usageMetadata")]
            usage: Usage,
        }
        #[derive(Deserialize)]
        struct Usage {
            prompt_tokens: Option<u64>,
            completion_tokens: Option<u64>,
            input_tokens: Option<u64>,
            output_tokens: Option<u64>,
            #[serde(rename = "promptTokenCount")]
            gemini_input: Option<u64>,
            #[serde(rename = "candidatesTokenCount")]
            gemini_output: Option<u64>,
            #[serde(rename = "thoughtsTokenCount")]
            gemini_thoughts: Option<u64>,
        }
        let response: Response = serde_json::from_str(self.response?.get()).ok()?;
        let usage = response.body.usage;
        let thoughts = usage
            .gemini_thoughts
            .map(|thoughts| thoughts + usage.gemini_output.unwrap_or(0));
        let input = usage
            .prompt_tokens
            .or(usage.input_tokens)
            .or(usage.gemini_input);
        let output = usage
            .completion_tokens
            .or(usage.output_tokens)
            .or(thoughts)
            .or(usage.gemini_output);
        let is_stated = input.is_some() || output.is_some();
        let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
        is_stated.then_some(Tokens {
            input,
            output,
            stated_by: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn tokens(response: &str) -> Option<(u64, u64)> {
        let record = format!(r#"{{"id":"pl_1","custom_id":"a","response":{response}}}"#);
        let row: Row<'_> = serde_json::from_str(&record).unwrap();
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
