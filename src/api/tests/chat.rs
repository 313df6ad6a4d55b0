//! OpenAI's chat completions: requests and answers.

use serde_json::{Value, json};

use super::super::ApiKind::Chat;
use super::super::{Api, Params, Usage};

#[test]
fn the_body_has_the_messages_and_only_the_parameters_that_are_set() {
    let plain = Params {
        model: "m".into(),
        ..Params::default()
    };
    let expected = json!({"model": "m", "messages": [{"role": "user", "content": "Why?"}]});
    assert_eq!(Chat.body("Why?", &plain), expected);
}

#[test]
fn every_parameter_reaches_the_body_and_extra_fields_win() {
    let extra = json!({"temperature": 1, "top_p": 0.5})
        .as_object()
        .unwrap()
        .clone();
    let params = Params {
        model: "m".into(),
        system: Some("Be brief.".into()),
        max_tokens: Some(9),
        temperature: Some(0.0),
        extra,
    };
    let expected = json!({
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "max_tokens": 9, "temperature": 1, "top_p": 0.5,
    });
    assert_eq!(Chat.body("Why?", &params), expected);
}

#[test]
fn the_text_is_that_of_the_first_choice() {
    let body = |message: Value| json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let text = |message| {
        let completion = Chat.completion(&body(message).to_string()).unwrap();
        assert_eq!(completion.finish_reason.as_deref(), Some("stop"));
        completion.text
    };
    assert_eq!(text(json!({"content": "Because."})), "Because.");
    assert_eq!(text(json!({"content": "\"So\"\n"})), "\"So\"\n");
    assert_eq!(
        (
            text(json!({"content": ""})),
            text(json!({"content": ["a part"]}))
        ),
        Default::default()
    );
}

#[test]
fn a_refusal_is_an_answer_with_its_words() {
    let message = json!({"content": null, "refusal": "No."});
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let completion = Chat.completion(&body.to_string()).unwrap();
    assert_eq!(completion.text, "No.");
    assert_eq!(completion.finish_reason.as_deref(), Some("refusal"));
}

#[test]
fn a_text_in_parts_is_put_together() {
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "The answer "}, {"type": "text", "text": "is 4."}]);
    let body = json!({"choices": [{"message": {"content": parts}}]});
    assert_eq!(
        Chat.completion(&body.to_string()).unwrap().text,
        "The answer is 4."
    );
}

#[test]
fn an_answer_without_a_message_has_an_empty_text() {
    let body = json!({"choices": [{"message": null, "finish_reason": "stop"}]});
    assert_eq!(Chat.completion(&body.to_string()).unwrap().text, "");
}

#[test]
fn a_choice_that_failed_behind_a_gateway_is_no_answer() {
    for odd in [
        json!({"error": {"code": 502, "message": "Upstream error"}}),
        json!({"finish_reason": "error"}),
        json!({"finish_reason": "stop", "native_finish_reason": "network_error"}),
    ] {
        let mut choice = json!({"message": {"content": "Half a"}});
        choice
            .as_object_mut()
            .unwrap()
            .extend(odd.as_object().unwrap().clone());
        assert_eq!(
            Chat.completion(&json!({"choices": [choice]}).to_string()),
            None,
            "{choice}"
        );
    }
}

#[test]
fn the_usage_is_read_where_there_is_one() {
    let usage = |usage: Value| {
        Chat.completion(&json!({"choices": [{"message": {}}], "usage": usage}).to_string())
            .unwrap()
            .usage
    };
    let whole = json!({"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46});
    assert_eq!(
        usage(whole),
        Some(Usage {
            input: 12,
            output: 34,
            ..Usage::default()
        })
    );
    assert_eq!(
        usage(json!({"prompt_tokens": 12})),
        Some(Usage {
            input: 12,
            output: 0,
            ..Usage::default()
        })
    );
    assert_eq!(
        (usage(json!(null)), usage(json!({"prompt_tokens": -1}))),
        (None, None)
    );
}

#[test]
fn what_has_no_message_is_no_answer() {
    for body in [
        json!({}),
        json!([]),
        json!({"choices": []}),
        json!({"choices": [{"message": 1}]}),
        json!(null),
    ] {
        assert_eq!(Chat.completion(&body.to_string()), None, "{body}");
    }
}
