//! What the readers of all APIs share: objects, texts in their parts, and what a call cost.

use serde_json::Value;

use super::Usage;

/// A body that is a JSON object.
pub(super) fn object(body: &str) -> Option<Value> {
    serde_json::from_str(body).ok().filter(Value::is_object)
}

/// The items of a list; none if it is not a list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A text, or the texts of a list of parts; the parts with what the model thought are left out.
pub(super) fn text_of(content: &Value) -> String {
    let text = |part: &Value| match part["type"].as_str() {
        None | Some("text" | "output_text") => part["text"].as_str().map(str::to_owned),
        Some(_) => None,
    };
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(text).collect(),
        _ => String::new(),
    }
}

/// A field that is a text.
pub(super) fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
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
    #[derive(serde::Deserialize)]
    struct UsageFields {
        #[serde(default)]
        usage: Value,
        #[serde(default, rename = "usageMetadata")]
        gemini: Value,
    }
    let UsageFields { usage, gemini } = serde_json::from_str(body).ok()?;
    counted(&usage).or_else(|| counted(&gemini))
}

/// What a call cost. Anthropic counts the tokens of a cache apart from the input, and Gemini its
/// thoughts apart from the answer; the others count them in.
pub(super) fn counted(usage: &Value) -> Option<Usage> {
    let counts = |paths: &[&str]| -> Vec<u64> {
        let counts = paths.iter().filter_map(|path| usage.pointer(path));
        counts.filter_map(tokens).collect()
    };
    let sum = |paths: &[&str]| counts(paths).into_iter().reduce(u64::saturating_add);
    let first = |paths: &[&str]| counts(paths).first().copied().unwrap_or(0);
    let input = sum(&["/prompt_tokens"])
        .or_else(|| {
            sum(&[
                "/input_tokens",
                "/cache_creation_input_tokens",
                "/cache_read_input_tokens",
            ])
        })
        .or_else(|| sum(&["/promptTokenCount", "/toolUsePromptTokenCount"]));
    let output = sum(&["/completion_tokens"])
        .or_else(|| sum(&["/output_tokens"]))
        .or_else(|| sum(&["/candidatesTokenCount", "/thoughtsTokenCount"]));
    if input.is_none() && output.is_none() {
        return None;
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let cached = first(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/cache_read_input_tokens",
        "/prompt_cache_hit_tokens",
        "/cachedContentTokenCount",
    ]);
    let reasoning = first(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/thoughtsTokenCount",
    ]);
    let cached = cached.min(input);
    Some(Usage {
        input,
        cached,
        cache_write: first(&["/cache_creation_input_tokens"]).min(input - cached),
        output,
        reasoning: reasoning.min(output),
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
