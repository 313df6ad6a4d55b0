//! What the APIs answer: the text, why it ended, and what the call cost.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::ApiKind::{self, *};
use super::{Completion, Usage};
use crate::json::in_one_line;

/// The tool of `messages` whose input is an answer that fits a schema.
pub(super) const SCHEMA_TOOL: &str = "structured_answer";

/// Reads the body of an answer; `None` if it is none.
pub(super) fn completion(api: ApiKind, body: &str) -> Option<Completion> {
    if api == Embeddings {
        return vectors(body);
    }
    let body = object(body)?;
    let answer = match api {
        Chat => chat(&body),
        Responses => responses(&body),
        Messages => messages(&body),
        Gemini | Embeddings => gemini(&body),
    };
    let tier = &body["service_tier"];
    let usage = usage_in(&body["usage"], &body["usageMetadata"], tier);
    Some(Completion {
        usage,
        request_id: body["responseId"].as_str().map(str::to_owned),
        ..answer?
    })
}

/// An answer that ended for this reason, which it says in OpenAI's words.
fn ended(reason: Option<&str>, text: String) -> Completion {
    let usual = |reason| match reason {
        "end_turn" | "stop_sequence" | "STOP" | "completed" => "stop",
        "max_tokens" | "model_context_window_exceeded" | "max_output_tokens" | "MAX_TOKENS" => {
            "length"
        }
        "tool_use" => "tool_calls",
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
        | "IMAGE_SAFETY" => "content_filter",
        other => other,
    };
    Completion {
        text,
        finish_reason: reason.map(|reason| usual(reason).to_owned()),
        ..Completion::default()
    }
}

/// A message without content (a call of a tool) is an answer whose text is empty, and a refusal one with its words. A
/// choice that failed on its way through a gateway is no answer.
fn chat(body: &Value) -> Option<Completion> {
    let choice = body["choices"].get(0)?;
    let message = &choice["message"];
    let reason = choice["finish_reason"].as_str();
    let is_empty = message.is_null() && reason.is_some();
    if has_failed(choice) || !(message.is_object() || is_empty) {
        return None;
    }
    let text = text_of(&message["content"]);
    let refusal = message["refusal"].as_str().filter(|_| text.is_empty());
    Some(match refusal {
        Some(refusal) => ended(Some("refusal"), refusal.to_owned()),
        None => ended(reason, text),
    })
}

/// Gateways report the failure of the server behind them in a choice.
fn has_failed(choice: &Value) -> bool {
    let failed = |name: &str| matches!(choice[name].as_str(), Some("error" | "network_error"));
    choice["error"].is_object() || failed("finish_reason") || failed("native_finish_reason")
}

/// The text of all messages, with that of a refusal; what the model thought is left out. A response that has failed, or is
/// not done yet, is no answer.
fn responses(body: &Value) -> Option<Completion> {
    let output = body["output"].as_array()?;
    let parts = || output.iter().flat_map(|item| items(&item["content"]));
    let messages = output.iter().filter(|item| item["type"] == "message");
    let said = messages.flat_map(|item| items(&item["content"]));
    let refusal = |part: &Value| part["refusal"].is_string();
    let reason = match body["status"].as_str().unwrap_or("completed") {
        "completed" if parts().any(refusal) => "refusal",
        "completed" if output.iter().any(|item| item["type"] == "function_call") => "tool_calls",
        "incomplete" => body["incomplete_details"]["reason"]
            .as_str()
            .unwrap_or("incomplete"),
        "completed" => "completed",
        _ => return None,
    };
    let texts = said.filter_map(|part| part["refusal"].as_str().or(part["text"].as_str()));
    Some(ended(Some(reason), texts.collect()))
}

/// The text of all blocks of text; what the model thought is left out.
fn messages(body: &Value) -> Option<Completion> {
    let blocks = body["content"].as_array()?;
    let names_tool = |block: &&Value| block["name"] == SCHEMA_TOOL;
    let is_structured = |block: &&Value| block["type"] == "tool_use" && names_tool(block);
    let reason = body["stop_reason"].as_str();
    Some(match blocks.iter().find(is_structured) {
        Some(call) => {
            let reason = reason.map(|reason| reason.replace("tool_use", "stop"));
            ended(reason.as_deref(), call["input"].to_string())
        }
        None => ended(reason, text_of(&body["content"])),
    })
}

/// The text of the first candidate. A prompt that the filter has blocked has no candidate: that is an empty answer, ended
/// by the filter, like one that it has withheld.
fn gemini(body: &Value) -> Option<Completion> {
    let Some(candidate) = items(&body["candidates"]).first() else {
        let is_blocked = body["promptFeedback"]["blockReason"].is_string();
        return is_blocked.then(|| ended(Some("content_filter"), String::new()));
    };
    let parts = items(&candidate["content"]["parts"]);
    let calls = parts.iter().any(|part| part["functionCall"].is_object());
    let spoken = parts.iter().filter(|part| part["thought"] != true);
    let reason = match candidate["finishReason"].as_str() {
        Some("STOP") if calls => Some("tool_calls"),
        reason => reason,
    };
    let text = spoken.filter_map(|part| part["text"].as_str()).collect();
    candidate.is_object().then(|| ended(reason, text))
}

/// The vector as JSON, such as `[0.1,-0.2]`, or, where it was asked for as base64, that; a list of vectors where the request
/// brought several inputs. The numbers are not read: they stay as they came, but in one line.
fn vectors(body: &str) -> Option<Completion> {
    #[derive(Deserialize)]
    struct EmbeddingList<'a> {
        #[serde(borrow)]
        data: Vec<Embedding<'a>>,
    }
    #[derive(Deserialize)]
    struct Embedding<'a> {
        #[serde(borrow)]
        embedding: &'a RawValue,
    }
    let list: EmbeddingList<'_> = serde_json::from_str(body).ok()?;
    let is_vector = |json: &&str| json.starts_with(['[', '"']);
    let vector = |item: &Embedding<'_>| {
        let json = Some(item.embedding.get()).filter(is_vector)?;
        Some(in_one_line(json.to_owned()))
    };
    let vectors: Vec<_> = list.data.iter().map(vector).collect::<Option<_>>()?;
    let text = match &vectors[..] {
        [] => return None,
        [vector] => serde_json::from_str(vector).unwrap_or_else(|_| vector.clone()),
        _ => format!("[{}]", vectors.join(",")),
    };
    Some(Completion {
        usage: usage_of(body),
        ..ended(None, text)
    })
}

/// A body that is a JSON object.
fn object(body: &str) -> Option<Value> {
    serde_json::from_str(body).ok().filter(Value::is_object)
}

/// The items of a list; none if it is not a list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A text, or the texts of a list of parts; the parts with what the model thought are left out.
fn text_of(content: &Value) -> String {
    let text = |part: &Value| match part["type"].as_str() {
        None | Some("text" | "output_text") => part["text"].as_str().map(str::to_owned),
        Some(_) => None,
    };
    match content {
        Value::String(text) => text.clone(),
        parts => items(parts).iter().filter_map(text).collect(),
    }
}

/// What a call cost, given the body of its answer in the words of any API.
///
/// ```
/// use paceline::api::{Usage, usage_of};
///
/// let chat = r#"{"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 3}}"#;
/// assert_eq!(usage_of(chat), Some(Usage { input: 12, output: 3, ..Usage::default() }));
/// let gemini = r#"{"usageMetadata": {"promptTokenCount": 12, "thoughtsTokenCount": 3}}"#;
/// let thought = Usage { input: 12, output: 3, reasoning: 3, ..Usage::default() };
/// assert_eq!(usage_of(gemini), Some(thought));
/// ```
#[must_use]
pub fn usage_of(body: &str) -> Option<Usage> {
    #[derive(Deserialize)]
    struct UsageFields {
        #[serde(default)]
        usage: Value,
        #[serde(default, rename = "usageMetadata")]
        gemini: Value,
        #[serde(default)]
        service_tier: Value,
    }
    let fields: UsageFields = serde_json::from_str(body).ok()?;
    usage_in(&fields.usage, &fields.gemini, &fields.service_tier)
}

/// What a call cost, by these fields of its answer. OpenAI's flex tier costs half.
fn usage_in(usage: &Value, gemini: &Value, tier: &Value) -> Option<Usage> {
    let usage = counted(usage).or_else(|| counted(gemini))?;
    let is_flex = tier == "flex";
    Some(if is_flex { usage.at_half() } else { usage })
}

/// The fields of the input, in the words of each API: the first one that is there counts, with those that are added to it.
/// Anthropic counts the tokens of a cache apart from the input, and Gemini its thoughts apart from the answer.
const INPUT: [&str; 3] = [
    "prompt_tokens",
    "input_tokens+cache_creation_input_tokens+cache_read_input_tokens",
    "promptTokenCount+toolUsePromptTokenCount",
];
const CACHED: [&str; 5] = [
    "prompt_tokens_details/cached_tokens",
    "input_tokens_details/cached_tokens",
    "cache_read_input_tokens",
    "prompt_cache_hit_tokens",
    "cachedContentTokenCount",
];
const OUTPUT: [&str; 3] = [
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount+thoughtsTokenCount",
];
const REASONING: [&str; 3] = [
    "completion_tokens_details/reasoning_tokens",
    "output_tokens_details/reasoning_tokens",
    "thoughtsTokenCount",
];

/// What a call cost.
fn counted(usage: &Value) -> Option<Usage> {
    // Plainer than a JSON pointer, whose escapes cost a tenth of a report.
    let part = |path: &str| path.split('/').try_fold(usage, |part, name| part.get(name));
    let count = |path: &str| tokens(part(path)?);
    let sum = |paths: &&str| {
        paths
            .split('+')
            .filter_map(count)
            .reduce(u64::saturating_add)
    };
    let first = |ways: &[&str]| ways.iter().find_map(sum);
    let (input, output) = (first(&INPUT), first(&OUTPUT));
    input.or(output)?;
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let cached = first(&CACHED).unwrap_or(0).min(input);
    let cache_write = first(&["cache_creation_input_tokens"]).unwrap_or(0);
    Some(Usage {
        input,
        cached,
        cache_write: cache_write.min(input - cached),
        output,
        reasoning: first(&REASONING).unwrap_or(0).min(output),
        ..Usage::default()
    })
}

/// A whole number of tokens; some servers write it as `12.0`.
fn tokens(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_whole.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_whole_numbers_however_they_are_written() {
        let count = |number: &str| tokens(&serde_json::from_str(number).unwrap());
        assert_eq!(
            (count("0"), count("4294967295")),
            (Some(0), Some(u32::MAX.into()))
        );
        assert_eq!((count("12.0"), count("1e3")), (Some(12), Some(1000)));
        for number in ["-1", "1.5", "4294967296", "\"7\"", "null"] {
            assert_eq!(count(number), None, "{number}");
        }
    }

    #[test]
    fn the_usage_is_read_by_one_rule_in_the_words_of_every_api() {
        // input, cached, cache_write, output, reasoning
        let table = [
            (
                json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46}),
                [12, 0, 0, 34, 0],
            ),
            (json!({"prompt_tokens": 12.0}), [12, 0, 0, 0, 0]),
            (json!({"output_tokens": 12}), [0, 0, 0, 12, 0]),
            (
                json!({"prompt_tokens": 12, "input_tokens": 99, "completion_tokens": 3}),
                [12, 0, 0, 3, 0],
            ),
            // OpenAI's chat
            (
                json!({"prompt_tokens": 2006, "completion_tokens": 300,
                    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 256}}),
                [2006, 1920, 0, 300, 256],
            ),
            // OpenAI's responses
            (
                json!({"input_tokens": 75, "input_tokens_details": {"cached_tokens": 64},
                    "output_tokens": 1186, "output_tokens_details": {"reasoning_tokens": 1024}}),
                [75, 64, 0, 1186, 1024],
            ),
            // Anthropic
            (
                json!({"input_tokens": 12, "cache_creation_input_tokens": 100,
                    "cache_read_input_tokens": 5000, "output_tokens": 34}),
                [5112, 5000, 100, 34, 0],
            ),
            // Gemini
            (
                json!({"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 20,
                    "thoughtsTokenCount": 300, "toolUsePromptTokenCount": 5}),
                [15, 8, 0, 320, 300],
            ),
            // DeepSeek, and LiteLLM before Anthropic
            (
                json!({"prompt_tokens": 50, "prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 10,
                    "completion_tokens": 5}),
                [50, 40, 0, 5, 0],
            ),
            (
                json!({"prompt_tokens": 5112, "completion_tokens": 34, "cache_creation_input_tokens": 100,
                    "cache_read_input_tokens": 5000}),
                [5112, 5000, 100, 34, 0],
            ),
            // A part is never more than the whole.
            (
                json!({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}),
                [5, 5, 0, 0, 0],
            ),
        ];
        let table = table.map(|(usage, [input, cached, cache_write, output, reasoning])| {
            let expected = Usage {
                input,
                cached,
                cache_write,
                output,
                reasoning,
                ..Usage::default()
            };
            (usage, Some(expected))
        });
        let nothing = [
            json!({}),
            json!(null),
            json!(7),
            json!({"prompt_tokens": -1}),
        ];
        for (usage, expected) in table.into_iter().chain(nothing.map(|usage| (usage, None))) {
            for name in ["usage", "usageMetadata"] {
                assert_eq!(
                    usage_of(&json!({name: usage}).to_string()),
                    expected,
                    "{usage}"
                );
            }
        }
        assert_eq!(usage_of("[{}]"), None);
    }

    #[test]
    fn a_text_may_come_in_parts_and_thoughts_are_left_out() {
        let parts = json!([{"type": "thinking", "thinking": "Hm.", "text": "Hm."},
            {"type": "text", "text": "One."}, {"text": " Two."}, "odd", {"type": "image_url"}]);
        assert_eq!(text_of(&parts), "One. Two.");
        assert_eq!(
            (text_of(&json!("x")), text_of(&json!(null))),
            ("x".into(), String::new())
        );
    }

    #[test]
    fn an_array_is_not_an_object() {
        assert!(object("{}").is_some() && object("[]").is_none());
    }
}
