//! OpenAI's embeddings: requests and answers.

use serde_json::{Value, json};

use super::super::ApiKind::Embeddings;
use super::super::{Api, Params, Usage};

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
        let item =
            |(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector});
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
