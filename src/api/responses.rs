//! OpenAI's responses: the newer way to ask the same models. vLLM, Ollama and llama.cpp speak it, too.

use serde_json::{Value, json};

use super::view::{View, joined};
use super::{Api, Params, Said, join, put};

/// `POST /responses`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Responses;

impl Api for Responses {
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

    /// The words of all messages, those of a refusal among them; what the model thought to itself is left out. A response
    /// that has failed, or is not done yet, is no answer.
    fn said(&self, body: &str) -> Option<Said> {
        let [output, status, details, usage] =
            View::of(body).fields(["output", "status", "incomplete_details", "usage"]);
        let output = output.items()?;
        let parts: Vec<_> = output.iter().flat_map(|item| parts(*item)).collect();
        let reason = match status.text().as_deref() {
            None | Some("completed") => ending(&output, &parts).to_owned(),
            Some("incomplete") => cut(details),
            Some(_) => return None,
        };
        let said = parts.into_iter().map(|part| match part.get("refusal") {
            refusal if refusal.is_null() => joined([part]),
            refusal => refusal.text().unwrap_or_default().into_owned(),
        });
        Some(Said {
            text: said.collect(),
            finish_reason: Some(reason),
            usage: usage.spent("input_tokens", "output_tokens"),
            ..Said::default()
        })
    }
}

/// The parts of an item of the output, if it is a message.
fn parts(item: View<'_>) -> Vec<View<'_>> {
    let message = Some(item).filter(|item| item.is_a("message"));
    message
        .and_then(|message| message.get("content").items())
        .unwrap_or_default()
}

/// Why a response that is complete has ended.
fn ending(output: &[View<'_>], parts: &[View<'_>]) -> &'static str {
    if parts.iter().any(|part| part.is_a("refusal")) {
        "refusal"
    } else if output.iter().any(|item| item.is_a("function_call")) {
        "tool_calls"
    } else {
        "stop"
    }
}

/// Why a response is not complete.
fn cut(details: View<'_>) -> String {
    match details.get("reason").text().as_deref() {
        Some("max_output_tokens") => "length",
        Some(reason) => reason,
        None => "incomplete",
    }
    .to_owned()
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
            let said = Responses.said(&body.to_string()).unwrap();
            assert_eq!(
                (said.text.as_str(), said.finish_reason.as_deref()),
                (text, Some(reason)),
                "{body}"
            );
        }
    }

    #[test]
    fn what_has_failed_or_is_not_done_is_no_answer() {
        for status in ["failed", "cancelled", "in_progress", "queued"] {
            assert_eq!(
                Responses.said(&json!({"status": status, "output": []}).to_string()),
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
            assert_eq!(Responses.said(&body.to_string()), None, "{body}");
        }
    }

    #[test]
    fn the_usage_is_read_where_there_is_one() {
        let usage = |usage: Value| {
            Responses
                .said(&json!({"output": [], "usage": usage}).to_string())
                .unwrap()
                .usage
        };
        let whole = json!({"input_tokens": 75, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1186, "output_tokens_details": {"reasoning_tokens": 1024}, "total_tokens": 1261});
        assert_eq!(
            usage(whole),
            Some(super::super::Usage {
                input: 75,
                output: 1186
            })
        );
        assert_eq!(usage(json!(null)), None);
    }
}
