//! Google's Gemini: requests and answers.

use serde_json::{Value, json};

use super::super::ApiKind::Gemini;
use super::super::{Api, Params, Usage};

#[test]
fn the_model_is_in_the_path() {
    let table = [
        (
            "gemini-2.5-flash",
            "/models/gemini-2.5-flash:generateContent",
        ),
        (
            "models/gemini-2.5-flash",
            "/models/gemini-2.5-flash:generateContent",
        ),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("what is?\n", "/models/what%20is%3F%0A:generateContent"),
    ];
    for (model, path) in table {
        assert_eq!(Gemini.path(model), path);
    }
}

#[test]
fn what_can_be_configured_is_in_an_object_that_more_can_be_put_into() {
    let contents = json!([{"role": "user", "parts": [{"text": "Why?"}]}]);
    let plain = Params {
        model: "m".into(),
        ..Params::default()
    };
    assert_eq!(Gemini.body("Why?", &plain), json!({"contents": contents}));
    let extra = json!({"generationConfig": {"topP": 0.9, "temperature": 1, "thinkingConfig": {"thinkingBudget": 0}},
        "safetySettings": []});
    let params = Params {
        system: Some("Be brief.".into()),
        max_tokens: Some(9),
        temperature: Some(0.5),
        extra: extra.as_object().unwrap().clone(),
        ..plain
    };
    let config = json!({"maxOutputTokens": 9, "temperature": 1, "topP": 0.9, "thinkingConfig": {"thinkingBudget": 0}});
    let expected = json!({"contents": contents, "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": config, "safetySettings": []});
    assert_eq!(Gemini.body("Why?", &params), expected);
}

#[test]
fn the_text_is_that_of_the_first_candidate_and_the_reason_is_in_the_usual_words() {
    let text = |text: &str| json!({"text": text});
    let thought = json!({"text": "Hm.", "thought": true});
    let signed = json!({"thoughtSignature": "EjQK"});
    let call = json!({"functionCall": {"name": "f", "args": {}}});
    let table = [
        (json!([text("Because.")]), "STOP", "Because.", "stop"),
        (
            json!([thought, text("One."), signed, text(" Two.")]),
            "STOP",
            "One. Two.",
            "stop",
        ),
        (json!([call]), "STOP", "", "tool_calls"),
        (json!([text("Half a")]), "MAX_TOKENS", "Half a", "length"),
        (json!(null), "MAX_TOKENS", "", "length"),
        (json!(null), "SAFETY", "", "content_filter"),
        (json!(null), "RECITATION", "", "content_filter"),
        (
            json!(null),
            "MALFORMED_FUNCTION_CALL",
            "",
            "MALFORMED_FUNCTION_CALL",
        ),
    ];
    for (parts, finish, text, reason) in table {
        let content = json!({"role": "model", "parts": parts});
        let body =
            json!({"candidates": [{"content": content, "finishReason": finish, "index": 0}]});
        let completion = Gemini.completion(&body.to_string()).unwrap();
        assert_eq!(
            (
                completion.text.as_str(),
                completion.finish_reason.as_deref()
            ),
            (text, Some(reason)),
            "{body}"
        );
    }
    let bare = json!({"candidates": [{"finishReason": "SAFETY"}]});
    let completion = Gemini.completion(&bare.to_string()).unwrap();
    assert_eq!(
        (
            completion.text.as_str(),
            completion.finish_reason.as_deref()
        ),
        ("", Some("content_filter"))
    );
}

#[test]
fn a_prompt_that_is_blocked_is_answered_with_nothing_by_the_filter() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}});
    let completion = Gemini.completion(&blocked.to_string()).unwrap();
    assert_eq!(
        (
            completion.text.as_str(),
            completion.finish_reason.as_deref()
        ),
        ("", Some("content_filter"))
    );
    assert_eq!(
        completion.usage,
        Some(Usage {
            input: 7,
            output: 0,
            ..Usage::default()
        })
    );
}

#[test]
fn what_has_no_candidate_is_no_answer() {
    let empty = json!({"usageMetadata": {"promptTokenCount": 7}});
    for body in [
        empty,
        json!({}),
        json!([]),
        json!({"candidates": []}),
        json!({"candidates": [1]}),
        json!(null),
    ] {
        assert_eq!(Gemini.completion(&body.to_string()), None, "{body}");
    }
}

#[test]
fn thoughts_are_output() {
    let usage = |usage: Value| {
        Gemini
            .completion(&json!({"candidates": [{}], "usageMetadata": usage}).to_string())
            .unwrap()
            .usage
    };
    let thoughtful = json!({"promptTokenCount": 10, "candidatesTokenCount": 20, "thoughtsTokenCount": 300,
        "totalTokenCount": 330});
    assert_eq!(
        usage(thoughtful),
        Some(Usage {
            input: 10,
            output: 320,
            reasoning: 300,
            ..Usage::default()
        })
    );
    assert_eq!(usage(json!({})), None);
}

#[test]
fn the_name_of_the_call_is_in_the_body() {
    let name = |id: Value| {
        Gemini
            .completion(&json!({"candidates": [{}], "responseId": id}).to_string())
            .unwrap()
            .request_id
    };
    assert_eq!(
        (name(json!("r")).as_deref(), name(json!(7))),
        (Some("r"), None)
    );
}
