//! The APIs that the practice server speaks: what a request asks in each of them, and how its answer is wrapped.

use serde_json::{Value, json};

use super::answer::{MODEL, Question, Said, tokens, vector};
use super::maker::Maker;

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Responses,
    Messages,
    Gemini,
    Embeddings,
}

impl Dialect {
    /// The API at this path.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Dialect::Chat),
            "/v1/responses" => Some(Dialect::Responses),
            "/v1/messages" => Some(Dialect::Messages),
            "/v1/embeddings" => Some(Dialect::Embeddings),
            _ => {
                let rest = path
                    .strip_prefix("/v1beta/")
                    .or_else(|| path.strip_prefix("/v1/"))?;
                let model = rest.strip_suffix(":generateContent")?;
                let is_model = ["models/", "tunedModels/"]
                    .iter()
                    .any(|folder| model.starts_with(folder));
                is_model.then_some(Dialect::Gemini)
            }
        }
    }

    pub(super) fn maker(self) -> Maker {
        match self {
            Dialect::Chat | Dialect::Responses | Dialect::Embeddings => Maker::OpenAi,
            Dialect::Messages => Maker::Anthropic,
            Dialect::Gemini => Maker::Google,
        }
    }

    /// What a body asks. Whether the request states the API's version matters to one of them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(self, body: &[u8], has_version: bool) -> Result<Question, &'static str> {
        let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON")?;
        if self == Dialect::Messages && !has_version {
            return Err("anthropic-version: header is required");
        }
        let most = |field: &Value| {
            field
                .as_u64()
                .map(|most| u32::try_from(most).unwrap_or(u32::MAX))
        };
        let (system, asked, max_tokens) = match self {
            Dialect::Chat => {
                let most = most(&body["max_completion_tokens"]).or(most(&body["max_tokens"]));
                (
                    None,
                    talk(&body["messages"], "content")
                        .ok_or("the body has no messages of a user")?,
                    most,
                )
            }
            Dialect::Responses => {
                let asked = words(&body["input"]).map(|text| (text.clone(), tokens(&text)));
                let asked = asked
                    .or_else(|| talk(&body["input"], "content"))
                    .ok_or("the body has no input")?;
                (
                    words(&body["instructions"]),
                    asked,
                    most(&body["max_output_tokens"]),
                )
            }
            Dialect::Messages => {
                let most = most(&body["max_tokens"]).ok_or("max_tokens: Field required")?;
                let asked = talk(&body["messages"], "content").ok_or("messages: Field required")?;
                (words(&body["system"]), asked, Some(most))
            }
            Dialect::Gemini => {
                let asked = talk(&body["contents"], "parts").ok_or("contents is not specified")?;
                let most = most(&body["generationConfig"]["maxOutputTokens"]);
                (words(&body["systemInstruction"]["parts"]), asked, most)
            }
            Dialect::Embeddings => return embed(&body),
        };
        let (topic, count) = asked;
        let input = count.saturating_add(system.map_or(0, |system| tokens(&system) + 4));
        Ok(Question {
            topics: vec![topic],
            input,
            max_tokens,
            dimensions: 0,
        })
    }

    /// The tokens that a call counts for: with OpenAI the most that the answer may have, with Anthropic those that it
    /// has, with Google, and for embeddings, only those of the question.
    pub(super) fn cost(self, question: &Question, seed: u64) -> u32 {
        const USUAL: u32 = 100;
        let output = match self {
            Dialect::Chat | Dialect::Responses => question.max_tokens.unwrap_or(USUAL),
            Dialect::Messages => question.answer(seed, false).tokens(),
            Dialect::Gemini | Dialect::Embeddings => 0,
        };
        question.input.saturating_add(output)
    }

    /// The answer, as its maker would wrap it.
    pub(super) fn wrap(self, question: &Question, seed: u64, empty: bool) -> Value {
        let said = question.answer(seed, empty);
        let (input, name) = (question.input, question.name(seed));
        match self {
            Dialect::Chat => chat(&said, input, &name),
            Dialect::Responses => response(&said, input, &name),
            Dialect::Messages => message(&said, input, &name),
            Dialect::Gemini => candidate(&said, input, &name),
            Dialect::Embeddings => embeddings(question, seed),
        }
    }
}

/// The text of a field that is one, or a list of parts.
fn words(field: &Value) -> Option<String> {
    match field {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) if parts.iter().any(|part| part["text"].is_string()) => Some(
            parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect(),
        ),
        _ => None,
    }
}

/// What the user said last in a talk, and the tokens of all of it.
fn talk(turns: &Value, content: &str) -> Option<(String, u32)> {
    let turns = turns.as_array()?;
    let said: Vec<_> = turns
        .iter()
        .map(|turn| words(&turn[content]))
        .collect::<Option<_>>()?;
    let last = turns
        .iter()
        .rposition(|turn| matches!(turn["role"].as_str(), None | Some("user")))?;
    Some((
        said[last].clone(),
        said.iter()
            .map(|text| tokens(text) + 4)
            .fold(0, u32::saturating_add),
    ))
}

fn embed(body: &Value) -> Result<Question, &'static str> {
    let topics: Option<Vec<_>> = match &body["input"] {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(texts) => texts
            .iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    };
    let topics = topics
        .filter(|topics| !topics.is_empty())
        .ok_or("input is neither a text nor texts")?;
    let input = topics
        .iter()
        .map(|text| tokens(text))
        .fold(0, u32::saturating_add);
    let dimensions = body["dimensions"]
        .as_u64()
        .map_or(8, |dimensions| dimensions.clamp(1, 4096) as usize);
    Ok(Question {
        topics,
        input,
        max_tokens: None,
        dimensions,
    })
}

fn chat(said: &Said, input: u32, name: &str) -> Value {
    let finish_reason = if said.cut { "length" } else { "stop" };
    json!({
        "id": format!("chatcmpl-{name}"), "object": "chat.completion", "created": 0, "model": MODEL,
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": finish_reason,
        }],
        "usage": {
            "prompt_tokens": input, "completion_tokens": said.tokens(), "total_tokens": input + said.tokens(),
        },
    })
}

fn response(said: &Said, input: u32, name: &str) -> Value {
    let (status, details) = match said.cut {
        true => ("incomplete", json!({"reason": "max_output_tokens"})),
        false => ("completed", Value::Null),
    };
    let part = json!({"type": "output_text", "text": said.text, "annotations": []});
    json!({
        "id": format!("resp_{name}"), "object": "response", "created_at": 0, "model": MODEL,
        "status": status, "error": null, "incomplete_details": details,
        "output": [
            {"type": "reasoning", "id": format!("rs_{name}"), "summary": []},
            {"type": "message", "id": format!("msg_{name}"), "status": status, "role": "assistant", "content": [part]},
        ],
        "usage": {"input_tokens": input, "output_tokens": said.tokens(), "total_tokens": input + said.tokens()},
    })
}

fn message(said: &Said, input: u32, name: &str) -> Value {
    let reason = if said.cut { "max_tokens" } else { "end_turn" };
    json!({
        "id": format!("msg_{name}"), "type": "message", "role": "assistant", "model": MODEL,
        "content": [{"type": "text", "text": said.text}], "stop_reason": reason, "stop_sequence": null,
        "usage": {"input_tokens": input, "output_tokens": said.tokens()},
    })
}

fn candidate(said: &Said, input: u32, name: &str) -> Value {
    let reason = if said.cut { "MAX_TOKENS" } else { "STOP" };
    json!({
        "candidates": [{
            "content": {"role": "model", "parts": [{"text": said.text}]}, "finishReason": reason, "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": input, "candidatesTokenCount": said.tokens(),
            "totalTokenCount": input + said.tokens(),
        },
        "modelVersion": MODEL, "responseId": name,
    })
}

fn embeddings(question: &Question, seed: u64) -> Value {
    let item = |(index, topic): (usize, &String)| json!({"object": "embedding", "index": index, "embedding": vector(topic, seed, question.dimensions)});
    let data: Vec<_> = question.topics.iter().enumerate().map(item).collect();
    let usage = json!({"prompt_tokens": question.input, "total_tokens": question.input});
    json!({"object": "list", "data": data, "model": MODEL, "usage": usage})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    const DIALECTS: [(Dialect, api::ApiKind); 5] = [
        (Dialect::Chat, api::ApiKind::Chat),
        (Dialect::Responses, api::ApiKind::Responses),
        (Dialect::Messages, api::ApiKind::Messages),
        (Dialect::Gemini, api::ApiKind::Gemini),
        (Dialect::Embeddings, api::ApiKind::Embeddings),
    ];

    #[test]
    fn each_api_is_at_its_path() {
        for (dialect, kind) in DIALECTS {
            let api = kind.api();
            let url = format!("{}{}", api.complete("http://host"), api.path("m"));
            assert_eq!(
                Dialect::of(url.strip_prefix("http://host").unwrap()),
                Some(dialect),
                "{url}"
            );
        }
        for path in [
            "/v1/models",
            "/v1/models/m",
            "/v1/files/m:generateContent",
            "/v1/completions",
            "/",
        ] {
            assert_eq!(Dialect::of(path), None, "{path}");
        }
    }

    #[test]
    fn what_each_api_asks_is_understood_and_answered_in_its_words() {
        for (dialect, kind) in DIALECTS {
            let api = kind.api();
            let params = api::Params {
                system: Some("Be brief.".into()),
                max_tokens: Some(5),
                ..Default::default()
            };
            let body = api.body("bees in winter", &params).to_string();
            let question = dialect.parse(body.as_bytes(), true).unwrap();
            let answer = dialect.wrap(&question, 7, false);
            let api::Completion {
                text,
                finish_reason: reason,
                usage,
                ..
            } = api.completion(&answer.to_string()).unwrap();
            let usage = usage.unwrap();
            match dialect {
                Dialect::Embeddings => {
                    assert!(text.starts_with('[') && reason.is_none() && usage.output == 0)
                }
                _ => {
                    assert!(
                        text.starts_with("[practice] ") && reason.as_deref() == Some("length"),
                        "{kind}: {text}"
                    );
                    assert_eq!((text.len(), usage.output), (20, 5), "{kind}");
                }
            }
            assert_eq!(usage.input, question.input, "{kind}");
        }
    }

    #[test]
    fn a_call_counts_as_its_maker_counts() {
        let cost = |dialect: Dialect, body: Value| {
            let question = dialect.parse(body.to_string().as_bytes(), true).unwrap();
            dialect.cost(&question, 7) - question.input
        };
        let talk = json!([{"role": "user", "content": "bees"}]);
        assert_eq!(
            cost(Dialect::Chat, json!({"messages": talk, "max_tokens": 900})),
            900
        );
        assert_eq!(
            cost(
                Dialect::Messages,
                json!({"messages": talk, "max_tokens": 5})
            ),
            5
        );
        assert!((20..300).contains(&cost(
            Dialect::Messages,
            json!({"messages": talk, "max_tokens": 4096})
        )));
        assert_eq!(
            cost(
                Dialect::Gemini,
                json!({"contents": [{"parts": [{"text": "bees"}]}]})
            ),
            0
        );
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        for (dialect, _) in DIALECTS {
            for body in [
                "",
                "{",
                "{}",
                "[1]",
                r#"{"messages":[]}"#,
                r#"{"messages":[{"role":"user"}]}"#,
            ] {
                assert!(
                    dialect.parse(body.as_bytes(), true).is_err(),
                    "{dialect:?}: {body}"
                );
            }
        }
        let messages = br#"{"max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#;
        assert!(Dialect::Messages.parse(messages, true).is_ok());
        assert!(
            Dialect::Messages.parse(messages, false).is_err(),
            "the version is demanded"
        );
    }

    #[test]
    fn several_texts_have_several_vectors_as_long_as_asked_for() {
        let body = br#"{"input":["a","b"],"dimensions":3}"#;
        let question = Dialect::Embeddings.parse(body, true).unwrap();
        let answer = Dialect::Embeddings.wrap(&question, 7, false);
        let lengths: Vec<_> = answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["embedding"].as_array().unwrap().len())
            .collect();
        assert_eq!(lengths, [3, 3]);
        assert_ne!(
            answer["data"][0]["embedding"],
            answer["data"][1]["embedding"]
        );
    }
}
