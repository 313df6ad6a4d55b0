//! Answers that come as streams: the same records as without, and nothing paid for more than twice.

use std::io::Write;
use std::sync::atomic::Ordering;

use paceline::practice::{self, Faults, Reply, Server};
use serde_json::{Value, json};

use super::billed::hearing;
use super::common::tcp;
use super::common::{BRISK, Cli, Ran};

const APIS: [&str; 4] = ["chat", "responses", "messages", "gemini"];
const QUICK: [&str; 5] = ["--stream", "--base-delay", "1ms", "--max-delay", "1ms"];

fn practice(faults: Faults) -> Server {
    Server::start_with(practice::ServerOptions {
        faults,
        cached: 0.5,
        seed: 7,
        ..practice::ServerOptions::default()
    })
    .unwrap()
}

fn run(server: &Server, api: &str, prompts: usize, options: &[&str]) -> Ran {
    let url = server.url();
    let base = [
        "--api",
        api,
        "--base-url",
        &url,
        "--max-tokens",
        "400",
        "-w",
        "1",
    ];
    Cli::of_topics(prompts).run(&[BRISK, &base, options].concat())
}

/// The records without what every run has of its own.
fn timeless(ran: &Ran) -> Vec<Value> {
    let mut records = ran.records.clone();
    for record in &mut records {
        record["settings"]["server"] = Value::Null; // each has a port of its own
        for attempt in record["attempts"].as_array_mut().unwrap() {
            for time in ["started_at", "queued_ms", "paced_ms", "took_ms", "late_ms"] {
                attempt.as_object_mut().unwrap().remove(time);
            }
        }
    }
    records
}

#[test]
fn a_streamed_run_has_the_records_of_one_without() {
    for api in APIS {
        for schema in [false, true] {
            let mut options = vec![];
            if schema {
                options = vec![
                    "--schema",
                    r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
                ];
            }
            let (plain, streamed) = (practice(Faults::default()), practice(Faults::default()));
            let expected = run(&plain, api, 5, &options);
            options.push("--stream");
            let ran = run(&streamed, api, 5, &options);
            assert!(ran.is_all_answered(5), "{api}: {ran}");
            assert_eq!(timeless(&ran), timeless(&expected), "{api}");
            let request = &streamed.requests()[0];
            let asks = request.body.starts_with("{\"stream\":true,");
            assert!(
                asks || request.path.ends_with(":streamGenerateContent?alt=sse"),
                "{request:?}"
            );
        }
    }
}

/// Each prompt is asked at most twice, and what came is on record.
fn assert_kept(ran: &Ran, server: &Server, outcome: &str, api: &str) {
    assert_eq!((ran.exit, ran.records.len()), (1, 2), "{api}: {ran}");
    assert_eq!(server.requests().len(), 4, "{api}: {ran}");
    for attempt in ran
        .records
        .iter()
        .flat_map(|record| record["attempts"].as_array().unwrap())
    {
        assert_eq!(attempt["outcome"], outcome, "{api}: {ran}");
        assert_eq!(attempt["billed"], "unknown", "{api}: {ran}");
        assert!(
            attempt["partial"].to_string().contains("[practice] "),
            "{api}: {ran}"
        );
    }
    let body = &ran.records[0]["response"]["body"];
    assert!(body.to_string().contains("[practice] "), "{api}: {ran}");
    assert!(
        ran.stderr.contains("4 may have been billed"),
        "{api}: {ran}"
    );
}

#[test]
fn a_stream_that_stalls_is_given_up_and_asked_for_once_more() {
    for api in APIS {
        let server = practice(Faults {
            stalled: 1.0,
            ..Faults::default()
        });
        let ran = run(
            &server,
            api,
            2,
            &[&QUICK[..], &["--idle-timeout", "200ms"]].concat(),
        );
        assert_kept(&ran, &server, "timeout", api);
        let message = ran.records[0]["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("stream did not come in 0.2 s"),
            "{message}"
        );
    }
}

#[test]
fn a_stream_that_breaks_is_asked_for_once_more() {
    for api in APIS {
        let server = practice(Faults {
            truncated: 1.0,
            ..Faults::default()
        });
        let ran = run(&server, api, 2, &QUICK);
        assert_kept(&ran, &server, "connection", api);
    }
}

#[test]
fn a_stream_of_signs_of_life_is_given_up_without_a_first_token() {
    let (url, calls) = hearing(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let mut goes_on = stream.write_all(head.as_bytes()).is_ok();
        while goes_on {
            goes_on = stream.write_all(b": processing\n\n").is_ok();
        }
    });
    let options = ["--base-url", &url, "--first-token-timeout", "200ms"];
    let ran = Cli::of_topics(1).run(&[BRISK, &QUICK, &options].concat());
    let record = &ran.records[0];
    assert_eq!(calls.load(Ordering::SeqCst), 2, "{ran}");
    let message = record["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("the first token did not come in 0.2 s"),
        "{message}"
    );
}

#[test]
fn an_error_in_the_middle_of_a_stream_ends_as_its_words_say() {
    let table = [
        (
            json!({"type": "invalid_request_error", "code": "invalid_prompt"}),
            "rejected",
            1,
        ),
        (json!({"type": "server_error"}), "unreadable", 2),
        (
            json!({"code": 429, "message": "slow down"}),
            "rate_limited",
            2,
        ),
    ];
    for (error, outcome, calls) in table {
        let server = practice(Faults::default());
        let begun = json!({"choices": [{"index": 0, "delta": {"content": "Well"}}]});
        let body = format!("data: {begun}\n\ndata: {}\n\n", json!({"error": error}));
        for _ in 0..2 {
            server.next(Reply::new(200, body.clone()));
        }
        let ran = run(&server, "chat", 1, &QUICK);
        assert_eq!(
            (ran.exit, server.requests().len()),
            (1, calls),
            "{error}: {ran}"
        );
        let attempt = &ran.records[0]["attempts"][0];
        assert_eq!(attempt["outcome"], outcome, "{ran}");
        assert!(
            ran.records[0]["response"]["body"]
                .to_string()
                .contains("Well"),
            "{ran}"
        );
    }
}

#[test]
fn a_server_that_knows_no_streams_is_understood_and_an_api_without_is_refused() {
    let server = practice(Faults::default());
    server.next(Reply::new(200, tcp::completion("Because.")));
    let ran = run(&server, "chat", 1, &QUICK);
    assert_eq!(ran.records[0]["text"], "Because.", "{ran}");
    let ran = Cli::of_topics(1).run(&["--api", "embeddings", "--base-url", "http://h", "--stream"]);
    assert_eq!(
        (ran.exit, ran.stderr.contains("has no streams")),
        (2, true),
        "{ran}"
    );
}
