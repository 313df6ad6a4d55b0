//! Answers as streams: the body of an answer in the events in which each API sends it.

use serde_json::{Value, json};

use super::apis::Dialect;

/// The events that bring this body.
pub(super) fn events(dialect: Dialect, body: Value) -> String {
    match dialect {
        Dialect::Chat => chat(body),
        Dialect::Responses => responses(&body),
        Dialect::Messages => messages(body),
        Dialect::Gemini => gemini(body),
        Dialect::Embeddings => body.to_string(), // which has no streams
    }
}

/// A text in the parts in which it is sent.
fn parts(text: &Value) -> impl Iterator<Item = &str> {
    text.as_str().unwrap_or_default().split_inclusive(' ')
}

fn data(event: &Value) -> String {
    format!("data: {event}\n\n")
}

/// An event that says its kind.
fn named(kind: &str, mut event: Value) -> String {
    event["type"] = kind.into();
    format!("event: {kind}\n{}", data(&event))
}

fn chat(mut body: Value) -> String {
    let usage = body["usage"].take();
    let choice = body["choices"][0].take();
    let message = &choice["message"];
    body["object"] = "chat.completion.chunk".into();
    let mut chunk = |choices: Value, usage: &Value| {
        body["choices"] = choices;
        body["usage"] = usage.clone();
        data(&body)
    };
    let mut part = |delta: Value, reason: &Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        chunk(json!([choice]), &Value::Null)
    };
    let role = json!({"role": message["role"], "content": ""});
    let mut events = part(role, &Value::Null);
    for content in parts(&message["content"]) {
        events += &part(json!({"content": content}), &Value::Null);
    }
    events += &part(json!({}), &choice["finish_reason"]);
    events + &chunk(json!([]), &usage) + "data: [DONE]\n\n"
}

fn responses(body: &Value) -> String {
    let mut begun = body.clone();
    begun["status"] = "in_progress".into();
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    let mut events = named("response.created", json!({"response": begun}));
    let item = json!({"type": "message", "role": "assistant", "content": []});
    let added = json!({"output_index": 1, "item": item});
    events += &named("response.output_item.added", added);
    for delta in parts(&body["output"][1]["content"][0]["text"]) {
        let event = json!({"output_index": 1, "content_index": 0, "delta": delta});
        events += &named("response.output_text.delta", event);
    }
    let status = body["status"].as_str().unwrap_or_default();
    events + &named(&format!("response.{status}"), json!({"response": body}))
}

fn messages(mut body: Value) -> String {
    let mut block = body["content"][0].take();
    let output = json!({"output_tokens": body["usage"]["output_tokens"]});
    let end = json!({"stop_reason": body["stop_reason"].take(), "stop_sequence": null});
    body["content"] = json!([]);
    body["usage"]["output_tokens"] = 1.into();
    let is_tool = block["type"] == "tool_use";
    let (field, empty) = if is_tool {
        ("input", json!({}))
    } else {
        ("text", json!(""))
    };
    let whole = std::mem::replace(&mut block[field], empty);
    let whole = if is_tool {
        json!(whole.to_string())
    } else {
        whole
    };
    let (field, kind) = match is_tool {
        true => ("partial_json", "input_json_delta"),
        false => ("text", "text_delta"),
    };
    let mut events = named("message_start", json!({"message": body})) + &named("ping", json!({}));
    events += &named(
        "content_block_start",
        json!({"index": 0, "content_block": block}),
    );
    for part in parts(&whole) {
        let delta = json!({"type": kind, field: part});
        events += &named("content_block_delta", json!({"index": 0, "delta": delta}));
    }
    events += &named("content_block_stop", json!({"index": 0}));
    events += &named("message_delta", json!({"delta": end, "usage": output}));
    events + &named("message_stop", json!({}))
}

fn gemini(mut body: Value) -> String {
    let mut candidate = body["candidates"][0].take();
    let text = candidate["content"]["parts"][0]["text"].take();
    let reason = candidate["finishReason"].take();
    let mut chunk = |text: &str, reason: &Value| {
        candidate["content"]["parts"] = json!([{"text": text}]);
        candidate["finishReason"] = reason.clone();
        body["candidates"] = json!([candidate]);
        data(&body)
    };
    let mut events = String::new();
    for part in parts(&text) {
        events += &chunk(part, &Value::Null);
    }
    events + &chunk("", &reason)
}
