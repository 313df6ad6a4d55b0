//! OpenAI's embeddings: a text becomes a vector. Most other servers speak it, too.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::view::View;
use super::{Api, Counting, Params, Said, Usage, join};
use crate::json::in_one_line;

/// `POST /embeddings`.
///
/// The text of an answer is its vector as JSON, such as `[0.1,-0.2]`, or, where it was asked for as base64, that. A
/// request that brings several inputs is answered with a list of vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embeddings;

impl Api for Embeddings {
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
    fn said(&self, body: &str) -> Option<Said> {
        let List { data, usage } = serde_json::from_str(body).ok()?;
        let vectors: Vec<_> = data.into_iter().map(vector).collect::<Option<_>>()?;
        let line = |vector: View<'_>| in_one_line(vector.json().to_owned());
        let text = match vectors[..] {
            [] => return None,
            [vector] => vector.text().map_or_else(|| line(vector), Cow::into_owned),
            _ => format!(
                "[{}]",
                vectors.into_iter().map(line).collect::<Vec<_>>().join(",")
            ),
        };
        let usage = usage
            .count("prompt_tokens")
            .map(|input| Usage { input, output: 0 });
        Some(Said {
            text,
            usage,
            ..Said::default()
        })
    }

    fn counting(&self) -> Counting {
        Counting::Input
    }
}

/// What is needed of a list of embeddings, read in one pass, for they are long.
#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
    #[serde(borrow, default)]
    usage: View<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    embedding: View<'a>,
}

/// A list of numbers, or a text that stands for one.
fn vector(item: Item<'_>) -> Option<View<'_>> {
    Some(item.embedding).filter(|vector| vector.is_array() || vector.is_string())
}

#[cfg(test)]
mod tests {
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
                .said(&json!({"object": "list", "data": data}).to_string())
                .map(|said| {
                    assert_eq!(said.finish_reason, None);
                    said.text
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
            assert_eq!(Embeddings.said(&body.to_string()), None, "{body}");
        }
    }

    #[test]
    fn a_vector_keeps_its_digits() {
        let body = "{\"data\": [{\"embedding\": [\n 0.10,\n -1e-7\n]}]}";
        assert_eq!(Embeddings.said(body).unwrap().text, "[0.10,-1e-7]");
    }

    #[test]
    fn there_is_only_input() {
        let usage = |usage: Value| {
            Embeddings
                .said(&json!({"data": [{"embedding": [1]}], "usage": usage}).to_string())
                .unwrap()
                .usage
        };
        assert_eq!(
            usage(json!({"prompt_tokens": 5, "total_tokens": 5})),
            Some(Usage {
                input: 5,
                output: 0
            })
        );
        assert_eq!(
            (usage(json!({})), usage(json!(7)), usage(json!(null))),
            (None, None, None)
        );
    }
}
