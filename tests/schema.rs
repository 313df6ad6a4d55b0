//! `--schema`: what is asked of each API, what becomes of answers that do not fit, and what is exported.

#![cfg(feature = "cli")]

#[path = "common/mod.rs"]
mod common;

use std::fs;

use common::tcp::{self, response};
use common::{BRISK, Cli, Ran};
use paceline::practice::{Faults, Server, ServerOptions};
use serde_json::{Value, json};

const SHORT: &str = "name, age int, tags [str]";

fn long() -> Value {
    json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    }, "required": ["name", "age", "tags"], "additionalProperties": false})
}

fn practice(wrong_json: f64, wrong_again: bool) -> Server {
    let faults = Faults {
        wrong_json,
        wrong_again,
        ..Faults::default()
    };
    Server::start_with(ServerOptions {
        faults,
        ..ServerOptions::default()
    })
    .unwrap()
}

fn run(cli: &Cli, server: &Server, options: &[&str]) -> Ran {
    let url = server.base_url();
    cli.run(&[&["--base-url", &url, "--schema", SHORT], BRISK, options].concat())
}

fn body(server: &Server, index: usize) -> Value {
    serde_json::from_str(&server.requests()[index].body).unwrap()
}

#[test]
fn answers_that_do_not_fit_once_are_asked_for_again_and_all_prompts_are_answered() {
    let server = practice(0.1, false);
    let cli = Cli::of_topics(200);
    let ran = run(&cli, &server, &[]);
    assert!(ran.is_all_answered(200), "{ran}");
    let outcomes = ran.attempts("outcome");
    let misfits = outcomes
        .iter()
        .filter(|outcome| *outcome == "misfit")
        .count();
    assert!((5..40).contains(&misfits), "{misfits}");
    assert_eq!(outcomes.len(), 200 + misfits);
    assert_eq!(server.requests().len(), 200 + misfits);
    let said = format!("{} of them retries: {misfits} x schema misfit", misfits);
    assert!(ran.stderr.contains(&said), "{said}: {ran}");
    let again = run(&cli, &server, &[]);
    assert_eq!(again.exit, 0, "{again}");
    assert_eq!(server.requests().len(), 200 + misfits, "all is on record");
}

#[test]
fn an_answer_that_never_fits_fails_its_prompt_with_the_path() {
    for (retries, calls) in [("1", 2), ("0", 1), ("3", 4)] {
        let server = practice(1.0, true);
        let ran = run(&Cli::of_topics(1), &server, &["--schema-retries", retries]);
        assert_eq!(ran.exit, 1, "{ran}");
        let record = ran.record("line-1");
        assert_eq!(record["error"]["code"], "schema", "{ran}");
        let message = record["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("/name: {"), "{message}");
        assert!(record["response"]["body"].is_object() && record["text"].is_null());
        assert_eq!(ran.attempts("outcome"), vec![json!("misfit"); calls]);
    }
}

#[test]
fn the_model_is_told_what_does_not_fit_in_each_api() {
    for (api, list) in [
        ("chat", "messages"),
        ("responses", "input"),
        ("messages", "messages"),
        ("gemini", "contents"),
    ] {
        let server = practice(1.0, false);
        let ran = run(&Cli::of_topics(1), &server, &["--api", api]);
        assert!(ran.is_all_answered(1), "{api}: {ran}");
        let first = body(&server, 0);
        let again = body(&server, 1);
        let turns = again[list].as_array().unwrap();
        assert_eq!(turns.len(), 3, "{api}: {again}");
        assert!(
            turns[2]
                .to_string()
                .contains("does not fit the schema: /name: "),
            "{again}"
        );
        assert!(turns[1].to_string().contains("wrong"), "{again}");
        let (mut asked, mut asked_again) = (first, again);
        for request in [&mut asked, &mut asked_again] {
            request[list].take();
        }
        assert_eq!(asked, asked_again, "{api}: the rest is as it was");
    }
}

#[test]
fn each_api_answers_with_json_that_fits_and_its_fields_are_exported() {
    for api in ["chat", "responses", "messages", "gemini"] {
        let server = practice(0.0, false);
        let cli = Cli::of("bees\n");
        let ran = run(&cli, &server, &["--api", api]);
        assert!(ran.is_all_answered(1), "{api}: {ran}");
        let record = ran.record("line-1");
        assert_eq!(record["finish_reason"], "stop", "{api}: {ran}");
        let text = record["text"].as_str().unwrap();
        let answer: Value = serde_json::from_str(text).unwrap();
        assert!(
            answer["age"].is_i64() && answer["tags"].is_array(),
            "{api}: {answer}"
        );
        let export =
            |format| cli.paceline(&["export", "prompts.results.jsonl", "--format", format]);
        let table = export("csv").stdout;
        assert!(
            table.starts_with(
                "custom_id,prompt,text,finish_reason,error,status,attempts,name,age,tags\n"
            ),
            "{table}"
        );
        assert!(table.contains(",[practice] bees,"), "{table}");
        let line: Value = serde_json::from_str(&export("jsonl").stdout).unwrap();
        assert_eq!(line["answer"], answer);
    }
}

#[test]
fn the_short_form_asks_the_same_as_the_long_one() {
    let server = practice(0.0, false);
    let cli = Cli::of_topics(1);
    fs::write(cli.path("person.json"), long().to_string()).unwrap();
    run(&cli, &server, &[]);
    let url = server.base_url();
    let again = ["--base-url", &url, "--schema", "person.json", "--restart"];
    assert!(cli.run(&again).is_all_answered(1));
    assert_eq!(body(&server, 0), body(&server, 1));
    let asked = &body(&server, 0)["response_format"]["json_schema"];
    assert_eq!(
        (&asked["schema"], &asked["strict"]),
        (&long(), &json!(true))
    );
}

#[test]
fn an_answer_that_does_not_fit_is_paid_for_as_well() {
    let url = tcp::answering(|request| {
        let is_right = request.contains("does not fit") || !request.contains("topic 3");
        let age = if is_right { json!(7) } else { json!("seven") };
        let answer = json!({"name": "n", "age": age, "tags": []}).to_string();
        let message = json!({"role": "assistant", "content": answer});
        let usage = json!({"prompt_tokens": 100, "completion_tokens": 10});
        let body =
            json!({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage});
        response("200 OK", &body.to_string())
    });
    let cli = Cli::of_topics(9);
    let price = ["--price", "10,100", "--schema", SHORT, "--base-url", &url];
    let ran = cli.run(&[&price[..], BRISK].concat());
    assert!(ran.is_all_answered(9), "{ran}");
    assert!(ran.stderr.contains("1,000 tokens in, 100 out"), "{ran}");
    let report = ["report", "prompts.results.jsonl", "--price", "10,100"];
    let report = cli.paceline(&report);
    assert!(report.stdout.contains("1,000 in, 100 out"), "{report}");
    assert!(report.stdout.contains("$0.02"), "{report}");
}

#[test]
fn an_answer_that_is_no_json_or_was_cut_fails_and_says_so() {
    let server = practice(0.0, false);
    let ran = run(&Cli::of_topics(1), &server, &["--max-tokens", "3"]);
    let message = ran.record("line-1")["error"]["message"].to_string();
    assert!(
        message.contains("cut at the most tokens: it is not JSON"),
        "{ran}"
    );
}

#[test]
fn another_schema_is_another_request() {
    let server = practice(0.0, false);
    let cli = Cli::of_topics(2);
    assert!(run(&cli, &server, &[]).is_all_answered(2));
    let url = server.base_url();
    let other = cli.run(&["--base-url", &url, "--schema", "name"]);
    assert_eq!(other.exit, 2, "{other}");
    assert!(other.stderr.contains("schema"), "{other}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_bad_schema_ends_the_run_before_anything_is_sent() {
    let server = practice(0.0, false);
    let url = server.base_url();
    let cli = Cli::of_topics(1);
    fs::write(
        cli.path("bad.json"),
        "{\"properties\": {\"a\": {\"type\": \"text\"}}}",
    )
    .unwrap();
    for (schema, api, why) in [
        ("bad.json", "chat", "/properties/a/type"),
        ("gone.json", "chat", "No such file"),
        ("name, age years", "chat", "\"years\""),
        ("{\"type\":", "chat", "not JSON"),
        ("name", "embeddings", "takes no schema"),
        ("{\"type\": \"array\"}", "messages", "has to be object"),
    ] {
        let ran = cli.run(&["--base-url", &url, "--api", api, "--schema", schema]);
        assert_eq!(ran.exit, 2, "{schema}: {ran}");
        assert!(ran.stderr.contains(why), "{schema}: {ran}");
    }
    assert!(server.requests().is_empty());
}
