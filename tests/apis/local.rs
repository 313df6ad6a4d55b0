//! Servers on one's own machine: no key, no name for a call, often no usage, and errors in all shapes.

use serde_json::{Value, json};

use super::common::{BRISK, Cli, Ran};
use super::{QUICK, run};

/// Runs one prompt, without a key, against a server that answers everything so.
fn answered(api: &str, path: &str, status: usize, body: &str) -> Ran {
    let mut server = mockito::Server::new();
    let mock = server
        .mock("POST", path)
        .match_header("authorization", mockito::Matcher::Missing);
    mock.match_header("x-api-key", mockito::Matcher::Missing)
        .with_status(status)
        .with_body(body)
        .create();
    run(
        &Cli::of("Why?"),
        api,
        &server.url(),
        &[QUICK, BRISK, &["--max-retries", "1"]].concat(),
    )
}

#[test]
fn an_answer_needs_neither_usage_nor_a_name() {
    let chat = json!({"choices": [{"message": {"role": "assistant", "content": "Because."}}]});
    // Ollama and llama.cpp put what a model thought beside what it said.
    let ollama = json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "qwen3", "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Because.", "reasoning": "Hm."},
            "finish_reason": "stop"}]});
    let llama = json!({"choices": [{"finish_reason": "stop", "index": 0,
            "message": {"role": "assistant", "reasoning_content": "Hm.", "content": "Because."}}],
        "usage": {"completion_tokens": 3, "prompt_tokens": 5, "total_tokens": 8}, "timings": {"prompt_ms": 1.5}});
    let vllm = json!({"object": "response", "status": "completed", "output": [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}], "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Because."}]}]});
    let messages = json!({"type": "message", "content": [{"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "Because."}], "stop_reason": "end_turn"});
    let table = [
        ("chat", "/v1/chat/completions", chat),
        ("chat", "/v1/chat/completions", ollama),
        ("chat", "/v1/chat/completions", llama),
        ("responses", "/v1/responses", vllm),
        ("messages", "/v1/messages", messages),
    ];
    for (api, path, body) in table {
        let ran = answered(api, path, 200, &body.to_string());
        assert!(ran.is_all_answered(1), "{ran}");
        assert_eq!(ran.record("line-1")["text"], "Because.", "{ran}");
        assert_eq!(ran.record("line-1")["response"]["request_id"], Value::Null);
    }
    let bare = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]});
    let ran = answered("embeddings", "/v1/embeddings", 200, &bare.to_string());
    assert_eq!(ran.record("line-1")["text"], "[0.5,-0.25]", "{ran}");
}

#[test]
fn an_error_explains_itself_whatever_its_shape() {
    let table = [
        // Ollama
        (
            404,
            r#"{"error":"model 'x' not found"}"#,
            1,
            "rejected",
            "model 'x' not found",
        ),
        (
            404,
            r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
            1,
            "api_error",
            "model \"x\" not found, try pulling it first",
        ),
        // llama.cpp
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_prompt_tokens":14429,"n_ctx":8192}}"#,
            1,
            "exceed_context_size_error",
            "the request exceeds the available context size",
        ),
        // vLLM
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 32768 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            1,
            "BadRequestError",
            "This model's maximum context length is 32768 tokens.",
        ),
        (
            422,
            r#"{"detail":[{"loc":["body","messages"],"msg":"Field required"}]}"#,
            1,
            "rejected",
            r#"{"detail":[{"loc":["body","messages"],"msg":"Field required"}]}"#,
        ),
        // a proxy before it
        (
            500,
            "Internal Server Error",
            2,
            "server_error",
            "Internal Server Error",
        ),
        (
            502,
            "<html>\n<h1>502 Bad Gateway</h1>",
            2,
            "server_error",
            "<html> <h1>502 Bad Gateway</h1>",
        ),
    ];
    for (status, body, calls, code, message) in table {
        let ran = answered("chat", "/v1/chat/completions", status, body);
        assert_eq!((ran.exit, ran.attempts("n").len()), (1, calls), "{ran}");
        assert_eq!(
            ran.record("line-1")["error"],
            json!({"code": code, "message": message})
        );
    }
}

#[test]
fn a_server_whose_queue_is_full_or_whose_model_is_loading_costs_no_prompt_its_retries() {
    let ollama = r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#;
    let llama = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    for busy in [ollama, llama] {
        let mut server = mockito::Server::new();
        let path = "/v1/chat/completions";
        server
            .mock("POST", path)
            .with_status(503)
            .with_body(busy)
            .expect(2)
            .create();
        let answer = super::common::tcp::completion("Because.");
        server.mock("POST", path).with_body(answer).create();
        let ran = run(
            &Cli::of("Why?"),
            "chat",
            &server.url(),
            &[BRISK, &["--max-retries", "0"]].concat(),
        );
        assert!(ran.is_all_answered(1), "{ran}");
        assert_eq!(
            ran.attempts("outcome"),
            ["rate_limited", "rate_limited", "answered"]
        );
    }
}

#[test]
fn a_key_that_google_does_not_know_stops_the_batch() {
    let body = json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}});
    let ran = answered(
        "gemini",
        "/v1beta/models/m:generateContent",
        400,
        &body.to_string(),
    );
    assert_eq!((ran.exit, ran.records.len()), (3, 0), "{ran}");
    assert!(ran.stderr.contains("API key not valid"), "{ran}");
}

#[test]
fn a_prompt_that_google_blocks_is_an_answer_withheld_by_the_filter() {
    let body = json!({"promptFeedback": {"blockReason": "SAFETY"}, "responseId": "r-1"});
    let ran = answered(
        "gemini",
        "/v1beta/models/m:generateContent",
        200,
        &body.to_string(),
    );
    assert!(ran.is_all_answered(1), "{ran}");
    let record = ran.record("line-1");
    assert_eq!(
        (&record["text"], &record["finish_reason"]),
        (&json!(""), &json!("content_filter"))
    );
    assert_eq!(record["response"]["request_id"], "r-1");
    assert!(ran.stderr.contains("1 withheld by a filter"), "{ran}");
}
