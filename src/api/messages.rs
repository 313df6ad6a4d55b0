//! Anthropic's messages, which several gateways and local servers speak, too.

use serde_json::{Value, json};

use super::reading::{counted, object, text_of};
use super::{Api, Completion, Counting, Key, Params, join, put, with_version};

/// `POST /messages`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages;

impl Messages {
    /// Maximum number of tokens of an answer if none is given. The API demands a number, and this is
    /// one that every model takes.
    pub(crate) const MAX_TOKENS: u32 = 4096;
}

impl Api for Messages {
    fn base_url(&self) -> &str {
        "https://api.anthropic.com/v1"
    }

    fn base_url_env(&self) -> &str {
        "ANTHROPIC_BASE_URL"
    }

    fn key_env(&self) -> &str {
        "ANTHROPIC_API_KEY"
    }

    fn complete(&self, base_url: &str) -> String {
        with_version(base_url, "/v1")
    }

    fn path(&self, _: &str) -> String {
        "/messages".to_owned()
    }

    fn key_header(&self, key: &Key) -> (String, String) {
        ("x-api-key".to_owned(), key.expose().to_owned())
    }

    fn headers(&self) -> Vec<(String, String)> {
        vec![("anthropic-version".to_owned(), "2023-06-01".to_owned())]
    }

    fn body(&self, prompt: &str, params: &Params) -> Value {
        let most = params.max_tokens.unwrap_or(Self::MAX_TOKENS);
        let messages = json!([{"role": "user", "content": prompt}]);
        let mut body = json!({"model": params.model, "max_tokens": most, "messages": messages});
        put(&mut body, "system", params.system.as_deref());
        put(&mut body, "temperature", params.temperature);
        join(&mut body, &params.extra);
        body
    }

    /// The text of all blocks of text; what the model thought is left out.
    fn completion(&self, body: &str) -> Option<Completion> {
        let body = object(body).filter(|body| body["content"].is_array())?;
        let structured = structured(&body["content"]);
        let reason = body["stop_reason"].as_str().map(finish_reason);
        let by_tool = structured.is_some() && reason.as_deref() == Some("tool_calls");
        Some(Completion {
            text: structured.unwrap_or_else(|| text_of(&body["content"])),
            finish_reason: if by_tool {
                Some("stop".to_owned())
            } else {
                reason
            },
            usage: counted(&body["usage"]),
            request_id: None,
        })
    }

    fn counting(&self) -> Counting {
        Counting::Used
    }
}

/// The tool whose input is an answer that fits a schema.
pub(crate) const SCHEMA_TOOL: &str = "structured_answer";

/// The input of that tool, if the model calls it.
fn structured(blocks: &Value) -> Option<String> {
    let mut blocks = blocks.as_array()?.iter();
    let call = blocks.find(|block| block["type"] == "tool_use" && block["name"] == SCHEMA_TOOL)?;
    Some(call["input"].to_string())
}

/// Why it ended, in OpenAI's words.
fn finish_reason(reason: &str) -> String {
    let usual = match reason {
        "end_turn" | "stop_sequence" => "stop",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        _ => reason,
    };
    usual.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Usage;
    use super::*;

    #[test]
    fn the_most_tokens_are_always_said_and_the_system_message_is_a_field() {
        let plain = Params {
            model: "m".into(),
            ..Params::default()
        };
        let messages = json!([{"role": "user", "content": "Why?"}]);
        let expected = json!({"model": "m", "max_tokens": 4096, "messages": messages});
        assert_eq!(Messages.body("Why?", &plain), expected);
        let extra = json!({"top_k": 5, "thinking": {"type": "enabled"}})
            .as_object()
            .unwrap()
            .clone();
        let params = Params {
            system: Some("Be brief.".into()),
            max_tokens: Some(9),
            temperature: Some(0.5),
            extra,
            ..plain
        };
        let expected = json!({"model": "m", "max_tokens": 9, "messages": messages, "system": "Be brief.",
            "temperature": 0.5, "top_k": 5, "thinking": {"type": "enabled"}});
        assert_eq!(Messages.body("Why?", &params), expected);
    }

    #[test]
    fn the_text_is_that_of_the_blocks_and_the_reason_is_in_the_usual_words() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let thinking = json!({"type": "thinking", "thinking": "Hm.", "signature": "x"});
        let tool = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
        let table = [
            (
                json!([text("Because.")]),
                json!("end_turn"),
                "Because.",
                Some("stop"),
            ),
            (
                json!([thinking, text("One."), text(" Two.")]),
                json!("end_turn"),
                "One. Two.",
                Some("stop"),
            ),
            (
                json!([text("Half a")]),
                json!("max_tokens"),
                "Half a",
                Some("length"),
            ),
            (
                json!([text("Full")]),
                json!("model_context_window_exceeded"),
                "Full",
                Some("length"),
            ),
            (
                json!([text("a")]),
                json!("stop_sequence"),
                "a",
                Some("stop"),
            ),
            (
                json!([text("Let me see."), tool]),
                json!("tool_use"),
                "Let me see.",
                Some("tool_calls"),
            ),
            (json!([]), json!("refusal"), "", Some("refusal")),
            (json!([]), json!("pause_turn"), "", Some("pause_turn")),
            (json!([]), json!(null), "", None),
        ];
        for (content, stop_reason, text, reason) in table {
            let body = json!({"type": "message", "role": "assistant", "content": content, "stop_reason": stop_reason});
            let completion = Messages.completion(&body.to_string()).unwrap();
            assert_eq!(
                (
                    completion.text.as_str(),
                    completion.finish_reason.as_deref()
                ),
                (text, reason),
                "{body}"
            );
        }
    }

    #[test]
    fn what_has_no_blocks_is_no_answer() {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        for body in [
            error,
            json!({}),
            json!([]),
            json!(null),
            json!({"content": "text"}),
        ] {
            assert_eq!(Messages.completion(&body.to_string()), None, "{body}");
        }
    }

    #[test]
    fn the_tokens_of_a_cache_are_input() {
        let usage = |usage: Value| {
            Messages
                .completion(&json!({"content": [], "usage": usage}).to_string())
                .unwrap()
                .usage
        };
        let cached = json!({"input_tokens": 12, "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 5000, "output_tokens": 34});
        assert_eq!(
            usage(cached),
            Some(Usage {
                input: 5112,
                cached: 5000,
                cache_write: 100,
                output: 34,
                ..Usage::default()
            })
        );
        assert_eq!(
            usage(json!({"input_tokens": 12, "output_tokens": 34})),
            Some(Usage {
                input: 12,
                output: 34,
                ..Usage::default()
            })
        );
        assert_eq!(usage(json!({})), None);
    }

    #[test]
    fn the_key_and_the_version_have_headers_of_their_own() {
        let key = Key::new("sk-ant-1").unwrap();
        assert_eq!(
            Messages.key_header(&key),
            ("x-api-key".to_owned(), "sk-ant-1".to_owned())
        );
        let version = ("anthropic-version".to_owned(), "2023-06-01".to_owned());
        assert_eq!(Messages.headers(), [version]);
    }
}
