//! OpenAI's responses: requests and answers.

use serde_json::{Value, json};

use super::super::ApiKind::Responses;
use super::super::{Api, Usage};
use super::{assert_no_answer, assert_read, params_with, plain_params};

#[test]
fn each_parameter_has_its_name_in_the_body() {
    let plain = Responses.body("Why?", &plain_params());
    assert_eq!(plain, json!({"model": "m", "input": "Why?"}));
    let params = params_with(json!({"store": false, "reasoning": {"effort": "low"}}));
    let expected = json!({"model": "m", "input": "Why?", "instructions": "Be brief.", "max_output_tokens": 9,
        "temperature": 0.5, "store": false, "reasoning": {"effort": "low"}});
    assert_eq!(Responses.body("Why?", &params), expected);
}

fn message(parts: Value) -> Value {
    json!({"type": "message", "role": "assistant", "status": "completed", "content": parts})
}

fn words(text: &str) -> Value {
    message(json!([{"type": "output_text", "text": text, "annotations": []}]))
}

#[test]
fn the_text_is_what_the_messages_say_and_the_reason_is_in_the_usual_words() {
    let thought = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "content": []});
    let refusal = message(json!([{"type": "refusal", "refusal": "I cannot."}]));
    let call = json!({"type": "function_call", "name": "f", "arguments": "{}"});
    let cut = |reason: Value| json!({"status": "incomplete", "incomplete_details": reason});
    let done = || json!({"status": "completed", "error": null, "incomplete_details": null});
    let table = [
        (
            vec![thought.clone(), words("Because.")],
            done(),
            "Because.",
            "stop",
        ),
        (
            vec![words("One."), call.clone(), words(" Two.")],
            done(),
            "One. Two.",
            "tool_calls",
        ),
        (vec![refusal], done(), "I cannot.", "refusal"),
        (vec![call], done(), "", "tool_calls"),
        (
            vec![words("Half a")],
            cut(json!({"reason": "max_output_tokens"})),
            "Half a",
            "length",
        ),
        (
            vec![thought],
            cut(json!({"reason": "max_output_tokens"})),
            "",
            "length",
        ),
        (
            vec![words("Half")],
            cut(json!({"reason": "content_filter"})),
            "Half",
            "content_filter",
        ),
        (vec![], cut(Value::Null), "", "incomplete"),
        (
            vec![words("From a local server.")],
            json!({}),
            "From a local server.",
            "stop",
        ),
    ];
    let bodies = table.map(|(output, mut body, text, reason)| {
        body["output"] = output.into();
        (body, text, Some(reason))
    });
    assert_read(&Responses, bodies);
}

#[test]
fn what_has_failed_or_is_not_done_is_no_answer() {
    let ends = ["failed", "cancelled", "in_progress", "queued"];
    let ended = ends.map(|status| json!({"status": status, "output": []}));
    assert_no_answer(&Responses, ended);
    let others = [json!({}), json!([]), json!(null), json!({"output": "text"})];
    assert_no_answer(&Responses, others);
    assert_no_answer(&Responses, [json!({"output": null})]);
}

#[test]
fn the_usage_is_read_where_there_is_one() {
    let usage = |usage: Value| {
        Responses
            .completion(&json!({"output": [], "usage": usage}).to_string())
            .unwrap()
            .usage
    };
    let whole = json!({"input_tokens": 75, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1186, "output_tokens_details": {"reasoning_tokens": 1024}, "total_tokens": 1261});
    assert_eq!(
        usage(whole),
        Some(Usage {
            input: 75,
            output: 1186,
            reasoning: 1024,
            ..Usage::default()
        })
    );
    assert_eq!(usage(json!(null)), None);
}
