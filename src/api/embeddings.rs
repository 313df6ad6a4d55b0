//! OpenAI's embeddings: a text becomes a vector. Most other servers speak it, too.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::reading::usage_of;
use super::{Api, Completion, Counting, OPENAI, Params, join, with_version_after_a_host};
use crate::json::in_one_line;

/// `POST /embeddings`.
///
/// The text of an answer is its vector as JSON, such as `[0.1,-0.2]`, or, where it was asked for as base64, that. A
/// request that brings several inputs is answered with a list of vectors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Embeddings;

impl Api for Embeddings {
    fn base_url(&self) -> &str {
        OPENAI
    }

    fn complete(&self, base_url: &str) -> String {
        with_version_after_a_host(base_url, "/v1")
    }

    fn path(&self, _: &str) -> String {
        "/embeddings".to_owned()
    }

    /// There is nobody to be told anything, and nothing to be drawn by chance: of the parameters only the model counts.
    fn body(&self, prompt: &str, params: &Params) -> Value {
        let mut body = json!({"model": params.model, "input": prompt});
        join(&mut body, &params.extra);
        body
    }

    /// The numbers are not read: a vector has many, and they stay as they came, but in one line.
    fn completion(&self, body: &str) -> Option<Completion> {
        let list: EmbeddingList<'_> = serde_json::from_str(body).ok()?;
        let vectors: Vec<_> = list.data.iter().map(vector).collect::<Option<_>>()?;
        let text = match &vectors[..] {
            [] => return None,
            [vector] => serde_json::from_str(vector).unwrap_or_else(|_| vector.clone()),
            _ => format!("[{}]", vectors.join(",")),
        };
        Some(Completion {
            text,
            usage: usage_of(body),
            ..Completion::default()
        })
    }

    fn counting(&self) -> Counting {
        Counting::Input
    }
}

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

/// A list of numbers, or a text that stands for one, as JSON in one line.
fn vector(item: &Embedding<'_>) -> Option<String> {
    let json = item.embedding.get();
    json.starts_with(['[', '"'])
        .then(|| in_one_line(json.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::Usage;
    use super::*;

    #[test]
    fn the_body_is_the_model_the_text_and_what_else_is_asked_for() {
        let extra = json!({"dimensions": 256}).as_object().unwrap().clone();
        let params = Params {
            model: "m".into(),
            extra,
            ..Params::default()
        };
        assert_eq!(
            Embeddings.body("Why?", &params),
            json!({"model": "m", "input": "Why?", "dimensions": 256})
        );
    }

    #[test]
    fn the_text_is_the_vector() {
        let text = |embeddings: &[Value]| {
            let item = |(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector});
            let data: Vec<_> = embeddings.iter().enumerate().map(item).collect();
            Embeddings
                .completion(&json!({"object": "list", "data": data}).to_string())
                .map(|completion| {
                    assert_eq!(completion.finish_reason, None);
                    completion.text
                })
        };
        assert_eq!(text(&[json!([0.25, -1.5])]).as_deref(), Some("[0.25,-1.5]"));
        assert_eq!(
            text(&[json!([1]), json!([2])]).as_deref(),
            Some("[[1],[2]]")
        );
        assert_eq!(text(&[json!("AACAPw==")]).as_deref(), Some("AACAPw=="));
        assert_eq!(
            (text(&[]), text(&[json!(null)]), text(&[json!({})])),
            (None, None, None)
        );
        for body in [
            json!({"data": [{}]}),
            json!({"data": [1]}),
            json!({}),
            json!([]),
            json!(null),
        ] {
            assert_eq!(Embeddings.completion(&body.to_string()), None, "{body}");
        }
    }

    #[test]
    fn a_vector_keeps_its_digits() {
        let body = "{\"data\": [{\"embedding\": [\n 0.10,\n -1e-7\n]}]}";
        assert_eq!(Embeddings.completion(body).unwrap().text, "[0.10,-1e-7]");
    }

    #[test]
    fn there_is_only_input() {
        let usage = |usage: Value| {
            Embeddings
                .completion(&json!({"data": [{"embedding": [1]}], "usage": usage}).to_string())
                .unwrap()
                .usage
        };
        assert_eq!(
            usage(json!({"prompt_tokens": 5, "total_tokens": 5})),
            Some(Usage {
                input: 5,
                output: 0,
                ..Usage::default()
            })
        );
        assert_eq!(
            (usage(json!({})), usage(json!(7)), usage(json!(null))),
            (None, None, None)
        );
    }
}
