//! Headers that the user adds, and the secrets of a run.

use std::fs;
use std::sync::mpsc;

use super::common::Cli;
use super::common::tcp::{self, response};

#[test]
fn headers_are_sent_with_every_call_and_replace_ours() {
    let (tell, told) = mpsc::channel();
    let url = tcp::answering(move |request| {
        tell.send(request.to_owned()).unwrap();
        response("200 OK", r#"{"content":[{"type":"text","text":"Yes."}]}"#)
    });
    let cli = Cli::of_topics(2)
        .env("ANTHROPIC_API_KEY", "sk-ant-test-1")
        .env("HELICONE", "Bearer sk-helicone-1");
    let ran = cli.run(&[
        "--api",
        "messages",
        "--base-url",
        &url,
        "--header",
        "anthropic-version: 2024-01-01",
        "--header",
        "anthropic-beta: a",
        "--header",
        "Anthropic-Beta: b",
        "--header-env",
        "Helicone-Auth=HELICONE",
    ]);
    assert!(ran.is_all_answered(2), "{ran}");
    for request in told.iter().take(2) {
        for line in [
            "anthropic-version: 2024-01-01",
            "anthropic-beta: a",
            "anthropic-beta: b",
            "helicone-auth: Bearer sk-helicone-1",
            "x-api-key: sk-ant-test-1",
        ] {
            assert_eq!(
                request.matches(&format!("\r\n{line}\r\n")).count(),
                1,
                "{line}: {request}"
            );
        }
        assert!(!request.contains("2023-06-01"), "{request}");
    }
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_with_the_reason() {
    let cli = Cli::of_topics(1)
        .env("OPENAI_API_KEY", "sk-test-1")
        .env("BROKEN", "sk-broken\r\nX: y");
    for (option, header, why) in [
        ("--header", "no colon", "NAME: VALUE"),
        ("--header", "a b: c", "name of a header"),
        ("--header", "x: a\r\nb: c", "line breaks"),
        ("--header", "Content-Length: 1", "content-length"),
        ("--header", "Host: x", "host"),
        (
            "--header",
            "Authorization: Bearer other-key",
            "carries the key",
        ),
        ("--header-env", "X", "NAME=VARIABLE"),
        ("--header-env", "X=NOT_SET_HERE", "$NOT_SET_HERE"),
        ("--header-env", "X=BROKEN", "line breaks"),
    ] {
        let ran = cli.run(&["--base-url", &tcp::nobody(), option, header]);
        assert_eq!(ran.exit, 2, "{ran}");
        assert!(ran.stderr.contains(why), "{why}: {ran}");
        assert!(
            !ran.stderr.contains("other-key") && !ran.stderr.contains("sk-broken"),
            "{ran}"
        );
    }
}

#[test]
fn no_secret_of_the_run_reaches_a_file_or_the_screen_in_any_spelling() {
    let spellings = [
        "sk-first/key-1",
        "sk-second-key-2",
        "header-secret-3",
        "address-secret-4",
        "sk-first\\/key-1",
        "\\u0073k-second-key-2",
        "sk-first%2Fkey-1",
        "c2stZmlyc3Qva2V5LTE=",
        "aGVhZGVyLXNlY3JldC0z",
    ];
    let all = spellings.join(" ");
    for (status, body) in [
        (
            "200 OK",
            format!(
                r#"{{"choices":[{{"message":{{"content":"{all}"}},"finish_reason":"stop"}}],"model":"{all}"}}"#
            ),
        ),
        (
            "400 Bad",
            format!(r#"{{"error":{{"message":"bad: {all}","code":"{all}"}}}}"#),
        ),
        ("200 OK", format!("no json: {all}")),
    ] {
        let head = format!("{status}\r\nx-request-id: req sk-second-key-2 sk-first%2Fkey-1");
        let url = tcp::answering(move |_| response(&head, &body)) + "/v1?api-key=address-secret-4";
        let cli = Cli::of_topics(2)
            .env("FIRST", "sk-first/key-1")
            .env("SECOND", "sk-second-key-2")
            .env("THIRD", "Bearer header-secret-3");
        let ran = cli.run(&[
            "-vv",
            "--max-retries",
            "0",
            "--rpm",
            "60000",
            "--base-url",
            &url,
            "--key-env",
            "FIRST",
            "--key-env",
            "SECOND",
            "--header-env",
            "X-Third=THIRD",
        ]);
        let file = fs::read_to_string(cli.path("prompts.results.jsonl")).unwrap();
        let report = cli.paceline(&["report", "prompts.results.jsonl"]);
        let shown = format!("{}{}{file}{report}", ran.stderr, ran.stdout);
        for part in [
            "first/key",
            "second-key",
            "secret-3",
            "secret-4",
            "c2stZmlyc3Qva",
            "aGVhZGVyLXNlY",
        ] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
        assert!(file.contains('…'), "{shown}");
    }
}

#[test]
fn prose_where_json_was_asked_for_is_flagged() {
    let format = r#"response_format={"type":"json_object"}"#;
    for (text, reason) in [("Well, yes.", "not_json"), (r#"{\"a\": 1}"#, "stop")] {
        let message = format!(r#"{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}"#);
        let url =
            tcp::answering(move |_| response("200 OK", &format!(r#"{{"choices":[{message}]}}"#)));
        let ran = Cli::of_topics(1).run(&["--base-url", &url, "--param", format]);
        assert!(ran.is_all_answered(1), "{ran}");
        assert_eq!(ran.record("line-1")["finish_reason"], reason, "{ran}");
        assert_eq!(
            ran.stderr.contains("see finish_reason"),
            reason == "not_json",
            "{ran}"
        );
    }
    let url = tcp::answering(|_| {
        response(
            "200 OK",
            r#"{"choices":[{"message":{"content":"Yes."},"finish_reason":"stop"}]}"#,
        )
    });
    let ran = Cli::of_topics(1).run(&["--base-url", &url]);
    assert_eq!(ran.record("line-1")["finish_reason"], "stop", "{ran}");
}
