//! OpenAI's responses: the newer way to ask the same models. vLLM, Ollama and llama.cpp speak it, too.

use serde_json::{Value, json};

use super::reading::{counted, items, object};
use super::{Api, Completion, OPENAI, Params, join, put, with_version_after_a_host};

/// `POST /responses`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Responses;

impl Api for Responses {
    fn base_url(&self) -> &str {
        OPENAI
    }

    fn complete(&self, base_url: &str) -> String {
        with_version_after_a_host(base_url, "/v1")
    }

    fn path(&self, _: &str) -> String {
        "/responses".to_owned()
    }

    fn body(&self, prompt: &str, params: &Params) -> Value {
        let mut body = json!({"model": params.model, "input": prompt});
        put(&mut body, "instructions", params.system.as_deref());
        put(&mut body, "max_output_tokens", params.max_tokens);
        put(&mut body, "temperature", params.temperature);
        join(&mut body, &params.extra);
        body
    }

    /// The text of all messages, with that of a refusal; what the model thought is left out. A
    /// response that has failed, or is not done yet, is no answer.
    fn completion(&self, body: &str) -> Option<Completion> {
        let body = object(body)?;
        let output = body["output"].as_array()?;
        let messages = output.iter().filter(|item| item["type"] == "message");
        let parts = messages.flat_map(|item| items(&item["content"]));
        let texts = parts.filter_map(|part| part["refusal"].as_str().or(part["text"].as_str()));
        let has = |kind: &str| output.iter().any(|item| item["type"] == kind);
        let refused = |item: &Value| items(&item["content"]).iter().any(is_refusal);
        let finish_reason = match body["status"].as_str() {
            None | Some("completed") if output.iter().any(refused) => "refusal",
            None | Some("completed") if has("function_call") => "tool_calls",
            None | Some("completed") => "stop",
            Some("incomplete") => match body["incomplete_details"]["reason"].as_str() {
                Some("max_output_tokens") => "length",
                reason => reason.unwrap_or("incomplete"),
            },
            Some(_) => return None,
        };
        Some(Completion {
            text: texts.collect(),
            finish_reason: Some(finish_reason.to_owned()),
            usage: counted(&body["usage"]),
            request_id: None,
        })
    }
}

fn is_refusal(part: &Value) -> bool {
    part["refusal"].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_has_its_name_in_the_body() {
        let plain = Params {
            model: "m".into(),
            ..Params::default()
        };
        assert_eq!(
            Responses.body("Why?", &plain),
            json!({"model": "m", "input": "Why?"})
        );
        let extra = json!({"store": false, "reasoning": {"effort": "low"}})
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
        let expected = json!({"model": "m", "input": "Why?", "instructions": "Be brief.", "max_output_tokens": 9,
            "temperature": 0.5, "store": false, "reasoning": {"effort": "low"}});
        assert_eq!(Responses.body("Why?", &params), expected);
    }

    fn message(parts: Value) -> Value {
        json!({"type": "message", "role": "assistant", "status": "completed", "content": parts})
    }

    fn words(text: &str) -> Value {
        message(json!([{"type": "output_text", "text": text, "annotations": []}]))
    }

    #[test]
    fn the_text_is_what_the_messages_say_and_the_reason_is_in_the_usual_words() {
        let thought = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "content": []});
        let refusal = message(json!([{"type": "refusal", "refusal": "I cannot."}]));
        let call = json!({"type": "function_call", "name": "f", "arguments": "{}"});
        let cut = |reason: Value| json!({"status": "incomplete", "incomplete_details": reason});
        let done = || json!({"status": "completed", "error": null, "incomplete_details": null});
        let table = [
            (
                vec![thought.clone(), words("Because.")],
                done(),
                "Because.",
                "stop",
            ),
            (
                vec![words("One."), call.clone(), words(" Two.")],
                done(),
                "One. Two.",
                "tool_calls",
            ),
            (vec![refusal], done(), "I cannot.", "refusal"),
            (vec![call], done(), "", "tool_calls"),
            (
                vec![words("Half a")],
                cut(json!({"reason": "max_output_tokens"})),
                "Half a",
                "length",
            ),
            (
                vec![thought],
                cut(json!({"reason": "max_output_tokens"})),
                "",
                "length",
            ),
            (
                vec![words("Half")],
                cut(json!({"reason": "content_filter"})),
                "Half",
                "content_filter",
            ),
            (vec![], cut(Value::Null), "", "incomplete"),
            (
                vec![words("From a local server.")],
                json!({}),
                "From a local server.",
                "stop",
            ),
        ];
        for (output, mut body, text, reason) in table {
            body["output"] = output.into();
            let completion = Responses.completion(&body.to_string()).unwrap();
            assert_eq!(
                (
                    completion.text.as_str(),
                    completion.finish_reason.as_deref()
                ),
                (text, Some(reason)),
                "{body}"
            );
        }
    }

    #[test]
    fn what_has_failed_or_is_not_done_is_no_answer() {
        for status in ["failed", "cancelled", "in_progress", "queued"] {
            assert_eq!(
                Responses.completion(&json!({"status": status, "output": []}).to_string()),
                None,
                "{status}"
            );
        }
        for body in [
            json!({}),
            json!([]),
            json!(null),
            json!({"output": "text"}),
            json!({"output": null}),
        ] {
            assert_eq!(Responses.completion(&body.to_string()), None, "{body}");
        }
    }

    #[test]
    fn the_usage_is_read_where_there_is_one() {
        let usage = |usage: Value| {
            Responses
                .completion(&json!({"output": [], "usage": usage}).to_string())
                .unwrap()
                .usage
        };
        let whole = json!({"input_tokens": 75, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1186, "output_tokens_details": {"reasoning_tokens": 1024}, "total_tokens": 1261});
        assert_eq!(
            usage(whole),
            Some(super::super::Usage {
                input: 75,
                output: 1186,
                reasoning: 1024,
                ..super::super::Usage::default()
            })
        );
        assert_eq!(usage(json!(null)), None);
    }
}
