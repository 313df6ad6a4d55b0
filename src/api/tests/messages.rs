//! Anthropic's messages: requests and answers.

use serde_json::{Value, json};

use super::super::ApiKind::Messages;
use super::super::{Api, Key, Usage};
use super::{assert_no_answer, assert_read, params_with, plain_params};

#[test]
fn the_most_tokens_are_always_said_and_the_system_message_is_a_field() {
    let messages = json!([{"role": "user", "content": "Why?"}]);
    let expected = json!({"model": "m", "max_tokens": 4096, "messages": messages});
    assert_eq!(Messages.body("Why?", &plain_params()), expected);
    let params = params_with(json!({"top_k": 5, "thinking": {"type": "enabled"}}));
    let expected = json!({"model": "m", "max_tokens": 9, "messages": messages, "system": "Be brief.",
        "temperature": 0.5, "top_k": 5, "thinking": {"type": "enabled"}});
    assert_eq!(Messages.body("Why?", &params), expected);
}

#[test]
fn the_text_is_that_of_the_blocks_and_the_reason_is_in_the_usual_words() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let thinking = json!({"type": "thinking", "thinking": "Hm.", "signature": "x"});
    let tool = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    let table = [
        (
            json!([text("Because.")]),
            json!("end_turn"),
            "Because.",
            Some("stop"),
        ),
        (
            json!([thinking, text("One."), text(" Two.")]),
            json!("end_turn"),
            "One. Two.",
            Some("stop"),
        ),
        (
            json!([text("Half a")]),
            json!("max_tokens"),
            "Half a",
            Some("length"),
        ),
        (
            json!([text("Full")]),
            json!("model_context_window_exceeded"),
            "Full",
            Some("length"),
        ),
        (
            json!([text("a")]),
            json!("stop_sequence"),
            "a",
            Some("stop"),
        ),
        (
            json!([text("Let me see."), tool]),
            json!("tool_use"),
            "Let me see.",
            Some("tool_calls"),
        ),
        (json!([]), json!("refusal"), "", Some("refusal")),
        (json!([]), json!("pause_turn"), "", Some("pause_turn")),
        (json!([]), json!(null), "", None),
    ];
    let bodies = table.map(|(content, stop_reason, text, reason)| {
        let body = json!({"type": "message", "content": content, "stop_reason": stop_reason});
        (body, text, reason)
    });
    assert_read(&Messages, bodies);
}

#[test]
fn what_has_no_blocks_is_no_answer() {
    let error =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let text = json!({"content": "text"});
    assert_no_answer(&Messages, [error, json!({}), json!([]), json!(null), text]);
}

#[test]
fn the_tokens_of_a_cache_are_input() {
    let usage = |usage: Value| {
        Messages
            .completion(&json!({"content": [], "usage": usage}).to_string())
            .unwrap()
            .usage
    };
    let cached = json!({"input_tokens": 12, "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 5000, "output_tokens": 34});
    assert_eq!(
        usage(cached),
        Some(Usage {
            input: 5112,
            cached: 5000,
            cache_write: 100,
            output: 34,
            ..Usage::default()
        })
    );
    assert_eq!(
        usage(json!({"input_tokens": 12, "output_tokens": 34})),
        Some(Usage {
            input: 12,
            output: 34,
            ..Usage::default()
        })
    );
    assert_eq!(usage(json!({})), None);
}

#[test]
fn the_key_and_the_version_have_headers_of_their_own() {
    let key = Key::new("sk-ant-1").unwrap();
    assert_eq!(
        Messages.key_header(&key),
        ("x-api-key".to_owned(), "sk-ant-1".to_owned())
    );
    let version = ("anthropic-version".to_owned(), "2023-06-01".to_owned());
    assert_eq!(Messages.headers(), [version]);
}
