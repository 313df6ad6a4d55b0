//! Streams as the APIs send them, and as they arrive: cut anywhere, in every dialect of lines.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::{Client, Params, StreamLimits, Usage, usage_of};

const CHAT: &str = "/chat/completions";
const RESPONSES: &str = "/responses";
const MESSAGES: &str = "/messages";
const GEMINI: &str = "/models/m:generateContent";
const LIMIT: usize = 1 << 20;

fn events(events: &[Value]) -> String {
    let lines = events.iter().map(|event| format!("data: {event}\n\n"));
    lines.collect()
}

fn whole(path: &str, stream: &str) -> Result<Value, String> {
    let body = assembled(path, [stream.as_bytes()], LIMIT)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

fn chunk(choice: Value) -> Value {
    json!({"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice],
        "usage": null, "obfuscation": "xyz"})
}

fn chat() -> String {
    let delta = |delta: Value| chunk(json!({"index": 0, "delta": delta, "finish_reason": null}));
    let call = |part: Value| delta(json!({"tool_calls": [part]}));
    let mut usage = chunk(json!(null));
    usage["choices"] = json!([]);
    usage["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2});
    let chunks = [
        delta(json!({"role": "assistant", "content": "", "refusal": null})),
        delta(json!({"role": "assistant", "content": "Well"})),
        delta(json!({"content": " done"})),
        call(
            json!({"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\""}}),
        ),
        call(json!({"index": 0, "function": {"arguments": ":1}"}})),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "stop"})),
        usage,
    ];
    events(&chunks) + "data: [DONE]\n\n"
}

fn chat_body() -> Value {
    let call =
        json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let message =
        json!({"role": "assistant", "content": "Well done", "refusal": null, "tool_calls": [call]});
    json!({"id": "c-1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
}

#[test]
fn chunks_of_a_chat_become_its_body() {
    assert_eq!(whole(CHAT, &chat()), Ok(chat_body()));
}

#[test]
fn events_of_messages_become_their_body() {
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stream = events(&[
        json!({"type": "message_start", "message": {"id": "m-1", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 25, "output_tokens": 1}}}),
        start(
            0,
            json!({"type": "thinking", "thinking": "", "signature": ""}),
        ),
        json!({"type": "ping"}),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm."})),
        delta(0, json!({"type": "signature_delta", "signature": "sig"})),
        json!({"type": "content_block_stop", "index": 0}),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Well "})),
        delta(1, json!({"type": "text_delta", "text": "done"})),
        delta(
            1,
            json!({"type": "citations_delta", "citation": {"cited_text": "x"}}),
        ),
        start(
            2,
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        ),
        delta(
            2,
            json!({"type": "input_json_delta", "partial_json": "{\"a\""}),
        ),
        delta(
            2,
            json!({"type": "input_json_delta", "partial_json": ":1}"}),
        ),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 15}}),
        json!({"type": "message_stop"}),
    ]);
    let expected = json!({"id": "m-1", "type": "message", "role": "assistant", "model": "m", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Well done", "citations": [{"cited_text": "x"}]},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ], "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 25, "output_tokens": 15}});
    assert_eq!(whole(MESSAGES, &stream), Ok(expected));
}

#[test]
fn the_last_event_of_responses_is_their_body() {
    let part = json!({"type": "output_text", "text": "Well done", "annotations": []});
    let message = json!({"type": "message", "content": [part]});
    let body = json!({"id": "r-1", "status": "completed", "output": [message], "error": null});
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Well"});
    let stream = events(&[
        json!({"type": "response.created", "response": {"id": "r-1", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}),
        delta,
        json!({"type": "response.completed", "response": body}),
    ]);
    assert_eq!(whole(RESPONSES, &stream), Ok(body));
}

#[test]
fn chunks_of_gemini_become_its_body() {
    let chunk = |parts: Value, reason: Value| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason}],
            "usageMetadata": {"promptTokenCount": 3}, "responseId": "g-1"})
    };
    let stream = events(&[
        chunk(json!([{"text": "Hm", "thought": true}]), Value::Null),
        chunk(json!([{"text": ".", "thought": true}]), Value::Null),
        chunk(json!([{"text": "Well"}]), Value::Null),
        chunk(json!([{"text": " done"}]), json!("STOP")),
    ]);
    let parts = json!([{"text": "Hm.", "thought": true}, {"text": "Well done"}]);
    assert_eq!(whole(GEMINI, &stream), Ok(chunk(parts, json!("STOP"))));
}

#[test]
fn every_way_to_write_events_is_read() {
    let stream = chat();
    let table = [
        stream.replace("data: ", "data:"),
        stream.replace('\n', "\r\n"),
        stream.replace('\n', "\r"),
        stream.replace("\n\n", "\n"),
        stream.replace("\n\n", "\n: keep-alive\n\n\n"),
        stream.replace("data: {", "event: chunk\nid: 7\nretry: 3\ndata: {"),
        stream.replace(",\"created\"", "\ndata: ,\"created\""),
        stream.replace("data: [DONE]\n\n", ""),
        format!("\u{feff}: hello\n\n{stream}"),
        format!("\n\n{}", stream.trim_end()),
        format!("{stream}data: {{\"choices\":[{{\"delta\":{{\"content\":\"!\"}}}}]}}")
            .replace("[DONE]", "ping"),
    ];
    for (n, stream) in table.iter().enumerate() {
        let body = whole(CHAT, stream).unwrap();
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(text.trim_end_matches('!'), "Well done", "{n}");
    }
}

#[test]
fn choices_are_in_the_order_of_their_numbers_and_nothing_counts_after_the_end() {
    let part = |index: u64, text: &str| {
        chunk(json!({"index": index, "delta": {"content": text}, "finish_reason": "stop"}))
    };
    let stream = events(&[part(1, "other"), part(0, "first")]) + "data: [DONE]\n\n";
    let body = whole(CHAT, &(stream + &events(&[part(0, " more")]))).unwrap();
    let texts = ["first", "other"].map(Value::from);
    let said = |n: usize| body["choices"][n]["message"]["content"].clone();
    assert_eq!([said(0), said(1)], texts);
}

#[test]
fn an_api_is_known_by_the_end_of_the_path_of_a_request() {
    let usage = |path: &str, event: Value| {
        let mut coming = ComingBody::at(path, 1 << 20);
        coming.take(events(&[event]).as_bytes()).unwrap();
        let _ = coming.end(Ok(())); // a part of a stream is enough
        let body = String::from_utf8(coming.into_body()).unwrap();
        usage_of(&body).map(|usage| (usage.input, usage.output))
    };
    let chat = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}});
    for path in [
        "/v1/chat/completions",
        "/deployments/x/chat/completions?api-version=1",
    ] {
        assert_eq!(usage(path, chat.clone()), Some((9, 3)), "{path}");
    }
    let counts = json!({"input_tokens": 9, "output_tokens": 3});
    let start = json!({"type": "message_start", "message": {"usage": counts}});
    assert_eq!(usage("/v1/messages", start), Some((9, 3)));
    let done = json!({"type": "response.completed", "response": {"usage": counts}});
    assert_eq!(usage("/v1/responses", done), Some((9, 3)));
    let counts = json!({"promptTokenCount": 9, "candidatesTokenCount": 3});
    let path = "/v1beta/models/g:streamGenerateContent?alt=sse";
    assert_eq!(
        usage(path, json!({"candidates": [], "usageMetadata": counts})),
        Some((9, 3))
    );
    assert_eq!(usage("/v1/files", chat), None);
}

#[test]
fn tokens_of_a_stream_are_counted_by_their_bytes_and_answers_teach_how_many() {
    let meter = StreamMeter::default();
    meter.count(400);
    assert_eq!(
        meter.so_far(),
        100.0,
        "four bytes each, before the first answer"
    );
    let usage = Usage {
        output: 1_200,
        reasoning: 200, // which the text does not have
        ..Usage::default()
    };
    let answer = Answer {
        usage: Some(usage),
        ..Answer::new("x".repeat(2_000))
    };
    meter.learn(&answer);
    meter.learn(&Answer::new("no usage"));
    meter.count(400);
    assert_eq!(meter.so_far(), 300.0);
}

#[test]
fn a_stream_that_ends_too_early_or_cannot_be_read_is_broken() {
    let stream = chat();
    let half = &stream[..stream.find("\"finish_reason\":\"stop\"").unwrap()];
    assert!(whole(CHAT, half).unwrap_err().contains("not JSON"));
    let whole_events = &half[..half.rfind("data:").unwrap()];
    let error = whole(CHAT, whole_events).unwrap_err();
    assert!(error.contains("ended before the answer did"), "{error}");
    let silent = whole(CHAT, ": nothing\n\ndata: [DONE]\n\n").unwrap_err();
    assert!(silent.contains("ended before"), "{silent}");
}

#[test]
fn an_error_in_the_middle_is_reported_with_its_event() {
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "?"}});
    for (path, event) in [
        (CHAT, json!({"error": {"code": 429, "message": "?"}})),
        (MESSAGES, overloaded),
        (
            RESPONSES,
            json!({"type": "error", "code": "server_error", "message": "?"}),
        ),
        (
            GEMINI,
            json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "?"}}),
        ),
    ] {
        let begun = json!({"choices": [{"delta": {"content": "Well"}}]});
        let stream = events(&[begun, event.clone()]);
        assert_eq!(whole(path, &stream), Err(event.to_string()));
    }
}

#[test]
fn a_body_that_is_no_stream_stays_as_it_is() {
    for body in ["{\"choices\": []}", "\n [1]", "<html>", "down", "error", ""] {
        let kept = assembled(CHAT, [body.as_bytes()], LIMIT).unwrap();
        assert_eq!(kept, body.trim_start().as_bytes());
    }
}

#[test]
fn a_line_and_an_answer_have_a_largest_size() {
    let limit = 1000;
    let line = format!("data: {}", "x".repeat(limit));
    let body = "x".repeat(limit + 1);
    let answer =
        events(&[json!({"choices": [{"delta": {"content": "x".repeat(100)}}]})]).repeat(11);
    for stream in [&line, &body, &answer] {
        let error = assembled(CHAT, stream.as_bytes().chunks(64), limit).unwrap_err();
        assert_eq!(error, "the body is larger than 1000 bytes");
    }
}

#[test]
fn a_request_asks_for_a_stream_unless_it_says_something_else() {
    let asked = |kind: ApiKind, request: Value| -> Value {
        let limits = StreamLimits {
            first_token: Duration::MAX,
            idle: Duration::MAX,
            meter: Arc::default(),
        };
        let client = Client::new(kind.api(), None, None, Params::default());
        let client = client.streaming(limits).unwrap();
        let asked = client.asking(request.to_string().as_bytes());
        asked.map_or(request, |asked| serde_json::from_slice(&asked).unwrap())
    };
    let chat = asked(ApiKind::Chat, json!({"model": "m"}));
    assert_eq!(
        chat,
        json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}})
    );
    let own = json!({"stream": false, "stream_options": null});
    assert_eq!(asked(ApiKind::Chat, own.clone()), own);
    assert_eq!(asked(ApiKind::Messages, json!({})), json!({"stream": true}));
    assert_eq!(asked(ApiKind::Gemini, json!({})), json!({}));
}

#[test]
fn an_event_of_many_lines_is_read_once() {
    let event = json!({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]});
    let pretty = serde_json::to_string_pretty(&event).unwrap();
    let stream = format!("data: {}\n\n", pretty.replace('\n', "\ndata: "));
    let body = whole(CHAT, &stream).unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], "Hi");
    // Read again after each line, this would take hours.
    let endless = format!("data: [\n{}", "data: 0,\n".repeat(100_000));
    assert!(assembled(CHAT, [endless.as_bytes()], LIMIT).is_err());
}

proptest! {
    #[test]
    fn it_does_not_matter_where_a_stream_is_cut(cuts: Vec<prop::sample::Index>, end in "\n|\r\n|\r") {
        let stream = chat().replace('\n', &end);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort();
        let pieces = cuts.windows(2).map(|cut| &stream.as_bytes()[cut[0]..cut[1]]);
        let body: Value = serde_json::from_slice(&assembled(CHAT, pieces, LIMIT).unwrap()).unwrap();
        prop_assert_eq!(body, chat_body());
    }
}
