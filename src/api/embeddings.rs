//! OpenAI's embeddings: a text becomes a vector. Most other servers speak it, too.

use serde_json::{Value, json};

use super::{Api, Counting, Params, Usage, count, join};

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

    fn usage(&self, body: &Value) -> Option<Usage> {
        Some(Usage { input: count(body.get("usage")?, "prompt_tokens")?, output: 0 })
    }

    fn text(&self, body: &Value) -> Option<(String, Option<String>)> {
        let vector =
            |item: &Value| item.get("embedding").filter(|it| it.is_array() || it.is_string()).cloned();
        let vectors: Vec<_> = body.get("data")?.as_array()?.iter().map(vector).collect::<Option<_>>()?;
        let text = match &vectors[..] {
            [] => return None,
            [Value::String(encoded)] => encoded.clone(),
            [vector] => vector.to_string(),
            _ => Value::Array(vectors).to_string(),
        };
        Some((text, None))
    }

    fn counting(&self) -> Counting {
        Counting::Input
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_model_the_text_and_what_else_is_asked_for() {
        let extra = json!({"dimensions": 256}).as_object().unwrap().clone();
        let params = Params { model: "m".into(), extra, ..Params::default() };
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
            Embeddings.text(&json!({"object": "list", "data": data})).map(|(text, reason)| {
                assert_eq!(reason, None);
                text
            })
        };
        assert_eq!(text(&[json!([0.25, -1.5])]).as_deref(), Some("[0.25,-1.5]"));
        assert_eq!(text(&[json!([1]), json!([2])]).as_deref(), Some("[[1],[2]]"));
        assert_eq!(text(&[json!("AACAPw==")]).as_deref(), Some("AACAPw=="));
        assert_eq!((text(&[]), text(&[json!(null)])), (None, None));
        assert_eq!(Embeddings.text(&json!({"data": [{}]})), None);
    }

    #[test]
    fn there_is_only_input() {
        let usage = json!({"usage": {"prompt_tokens": 5, "total_tokens": 5}});
        assert_eq!(Embeddings.usage(&usage), Some(Usage { input: 5, output: 0 }));
        assert_eq!(Embeddings.usage(&json!({})), None);
    }
}
