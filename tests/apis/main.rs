//! `paceline run --api …` against the practice server and against servers that answer as local ones do: what goes out,
//! what is on record, and how each maker's refusals end.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
mod local;

use std::num::NonZeroU32;
use std::time::Duration;

use common::{BRISK, Cli, Ran};
use mockito::Matcher;
use paceline::practice::{self, Faults, Latency, Limits, Server};
use serde_json::{Value, json};

const APIS: [&str; 5] = ["chat", "responses", "messages", "gemini", "embeddings"];
const QUICK: &[&str] = &[
    "--base-delay",
    "1ms",
    "--max-delay",
    "5ms",
    "--jitter",
    "full",
];

fn practice(limits: Limits, faults: Faults) -> Server {
    Server::start_with(practice::ServerOptions {
        limits,
        faults,
        seed: 7,
        ..practice::ServerOptions::default()
    })
    .unwrap()
}

/// Runs the prompts, each in a call of its own.
fn run(cli: &Cli, api: &str, url: &str, options: &[&str]) -> Ran {
    let alone: &[_] = match api {
        "embeddings" => &["--per-call", "1"],
        _ => &[],
    };
    cli.run(&[&["--api", api, "--base-url", url], alone, options].concat())
}

/// What `paceline export` makes of the results.
fn exported(cli: &Cli, format: &str) -> Ran {
    cli.paceline(&["export", "prompts.results.jsonl", "--format", format])
}

// ---- Answers --------------------------------------------------------------------------------------------------------

#[test]
fn each_api_is_answered_and_what_was_answered_can_be_exported_and_reported() {
    for api in APIS {
        let server = practice(Limits::default(), Faults::default());
        let cli = Cli::of_topics(5);
        let ran = run(&cli, api, &server.base_url(), BRISK);
        assert!(ran.is_all_answered(5), "{api}: {ran}");
        let record = ran.record("line-2");
        let text = record["text"].as_str().unwrap();
        let (begins, reason) = match api {
            "embeddings" => ("[", Value::Null),
            _ => ("[practice] ", json!("stop")),
        };
        assert!(text.starts_with(begins), "{api}: {text}");
        assert_eq!(record["finish_reason"], reason, "{api}");
        let id = record["response"]["request_id"].as_str().unwrap();
        assert!(
            id.starts_with(if api == "gemini" { "practice-" } else { "req_" }),
            "{api}: {id}"
        );
        assert!(
            !ran.stderr.contains("see finish_reason"),
            "no answer is odd: {ran}"
        );

        for format in ["csv", "jsonl", "md", "txt", "batch"] {
            let exported = exported(&cli, format);
            assert_eq!(exported.exit, 0, "{api}: {exported}");
            assert!(
                format != "txt" || exported.stdout.contains(text),
                "{api}: {exported}"
            );
        }
        let report = cli.paceline(&["report", "prompts.results.jsonl", "--json"]);
        let numbers: Value = serde_json::from_str(&report.stdout).unwrap();
        assert_eq!(
            (&numbers["tokens"]["stated_by"], report.exit),
            (&json!(5), 0),
            "{api}: {report}"
        );
        assert!(
            numbers["tokens"]["input"].as_u64() >= Some(10),
            "{api}: {report}"
        );
    }
}

#[test]
fn the_embedded_practice_server_speaks_each_api() {
    for api in APIS {
        let cli = Cli::of_topics(2);
        let ran = cli.paceline(&[
            "run",
            "prompts.txt",
            "--practice",
            "--rpm",
            "60000",
            "--api",
            api,
        ]);
        assert!(ran.is_all_answered(2), "{api}: {ran}");
        assert!(
            ran.record("line-1")["response"]["body"]
                .to_string()
                .contains("paceline-practice"),
            "{api}: {ran}"
        );
    }
}

#[test]
fn an_answer_that_is_cut_is_known_in_each_api() {
    for api in ["chat", "responses", "messages", "gemini"] {
        let server = practice(Limits::default(), Faults::default());
        let ran = run(
            &Cli::of_topics(1),
            api,
            &server.base_url(),
            &["--max-tokens", "5"],
        );
        assert!(ran.is_all_answered(1), "{api}: {ran}");
        assert_eq!(ran.record("line-1")["finish_reason"], "length", "{api}");
        assert!(
            ran.stderr.contains("1 cut at the most tokens"),
            "{api}: {ran}"
        );
    }
}

// ---- What goes out --------------------------------------------------------------------------------------------------

/// Runs one prompt; the server answers only if everything goes out as it should.
#[track_caller]
fn assert_sends(
    api: &str,
    path: &str,
    key: (&str, &str, &str),
    options: &[&str],
    body: Value,
    answer: &Value,
) {
    let (variable, header, value) = key;
    let mut server = mockito::Server::new();
    let version = if api == "messages" {
        Matcher::from("2023-06-01")
    } else {
        Matcher::Missing
    };
    let mock = server
        .mock("POST", path)
        .match_header(header, value)
        .match_header("anthropic-version", version);
    mock.match_body(Matcher::Json(body))
        .with_body(answer.to_string())
        .create();
    let cli = Cli::of("Why?")
        .env(variable, "k-1")
        .env("OPENAI_BASE_URL", "http://127.0.0.1:9");
    let ran = run(&cli, api, &server.url(), options);
    assert!(ran.is_all_answered(1), "{api}: {ran}");
    assert_eq!(ran.record("line-1")["text"], "Because.", "{api}");
}

#[test]
fn each_request_has_its_makers_path_key_and_names() {
    let options = [
        "--system",
        "Be brief.",
        "--max-tokens",
        "9",
        "--temperature",
        "0.5",
        "--param",
        r#"extra={"a":1}"#,
    ];
    let said =
        json!([{"type": "message", "content": [{"type": "output_text", "text": "Because."}]}]);
    assert_sends(
        "responses",
        "/v1/responses",
        ("OPENAI_API_KEY", "authorization", "Bearer k-1"),
        &options,
        json!({"model": "m", "input": "Why?", "instructions": "Be brief.", "max_output_tokens": 9,
            "temperature": 0.5, "extra": {"a": 1}}),
        &json!({"status": "completed", "output": said}),
    );
    assert_sends(
        "messages",
        "/v1/messages",
        ("ANTHROPIC_API_KEY", "x-api-key", "k-1"),
        &options,
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}],
            "system": "Be brief.", "temperature": 0.5, "extra": {"a": 1}}),
        &json!({"content": [{"type": "text", "text": "Because."}], "stop_reason": "end_turn"}),
    );
    let config = r#"generationConfig={"topP":0.9}"#;
    assert_sends(
        "gemini",
        "/v1beta/models/m:generateContent",
        ("GEMINI_API_KEY", "x-goog-api-key", "k-1"),
        &["--max-tokens", "9", "--param", config],
        json!({"contents": [{"role": "user", "parts": [{"text": "Why?"}]}],
            "generationConfig": {"maxOutputTokens": 9, "topP": 0.9}}),
        &json!({"candidates": [{"content": {"parts": [{"text": "Because."}]}, "finishReason": "STOP"}]}),
    );
    assert_sends(
        "embeddings",
        "/v1/embeddings",
        ("OPENAI_API_KEY", "authorization", "Bearer k-1"),
        &["--param", "dimensions=2"],
        json!({"model": "m", "input": "Why?", "dimensions": 2}),
        &json!({"data": [{"embedding": "Because."}]}),
    );
}

#[test]
fn each_maker_has_its_variables() {
    let table = [
        ("chat", "OPENAI"),
        ("responses", "OPENAI"),
        ("messages", "ANTHROPIC"),
        ("gemini", "GEMINI"),
        ("embeddings", "OPENAI"),
    ];
    for (api, maker) in table {
        let ran = Cli::of_topics(1).run(&["--api", api]);
        assert_eq!(ran.exit, 2, "{api}: {ran}");
        assert!(
            ran.stderr
                .contains(&format!("there is no API key in ${maker}_API_KEY")),
            "{api}: {ran}"
        );
        let url = if api == "gemini" {
            "GOOGLE_GEMINI".to_owned()
        } else {
            maker.to_owned()
        } + "_BASE_URL";
        let server = practice(Limits::default(), Faults::default());
        let cli = Cli::of_topics(1).env(&url, &server.url());
        assert!(cli.run(&["--api", api]).is_all_answered(1), "{api}");
    }
}

#[test]
fn an_embedding_is_not_asked_for_what_only_a_talk_has_and_gemini_needs_a_model() {
    let ran = Cli::of_topics(1).run(&["--api", "embeddings", "--system", "Be brief."]);
    assert!(
        ran.exit == 2
            && ran
                .stderr
                .contains("takes no --system, --max-tokens or --temperature"),
        "{ran}"
    );
    let ran = Cli::of_topics(1).run(&["--api", "gpt"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("is not one of chat, responses"),
        "{ran}"
    );
    let cli = Cli::of("{}\n").env("GEMINI_API_KEY", "k");
    let ran = cli.paceline(&["run", "prompts.txt", "--format", "jsonl", "--api", "gemini"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("say which model to ask"),
        "{ran}"
    );
}

#[test]
fn a_batch_line_is_sent_if_its_address_is_that_of_the_api() {
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/embeddings",
        "body": {"model": "m", "input": ["one", "two"], "dimensions": 2}});
    let server = practice(Limits::default(), Faults::default());
    let cli = Cli::of(line.to_string());
    let batch = [
        "run",
        "prompts.txt",
        "--format",
        "jsonl",
        "--base-url",
        &server.base_url(),
    ];
    let ran = cli.paceline(&batch);
    assert!(
        ran.exit == 2
            && ran.stderr.contains(
                "ends with /chat/completions (or choose another --api), found \"/v1/embeddings\""
            ),
        "{ran}"
    );
    let ran = cli.paceline(&[&batch[..], &["--api", "embeddings"]].concat());
    assert_eq!(ran.exit, 0, "{ran}");
    let vectors: Vec<Vec<f64>> =
        serde_json::from_str(ran.record("a")["text"].as_str().unwrap()).unwrap();
    assert_eq!(vectors.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn another_model_or_another_api_is_another_request_though_its_body_is_the_same() {
    let server = practice(Limits::default(), Faults::default());
    let cli = Cli::of_topics(2);
    let gemini = |model| {
        cli.paceline(&[
            "run",
            "prompts.txt",
            "--api",
            "gemini",
            "--base-url",
            &server.base_url(),
            "-m",
            model,
        ])
    };
    assert!(gemini("one").is_all_answered(2));
    assert!(
        gemini("one")
            .stderr
            .contains("there was nothing left to send")
    );
    let ran = gemini("two");
    assert!(
        ran.exit == 2
            && ran
                .stderr
                .contains("another model, system message or parameter"),
        "{ran}"
    );

    let cli = Cli::of_topics(2);
    assert!(run(&cli, "responses", &server.base_url(), BRISK).is_all_answered(2));
    assert_eq!(run(&cli, "embeddings", &server.base_url(), BRISK).exit, 2);
}

// ---- Refusals -------------------------------------------------------------------------------------------------------

#[test]
fn each_makers_refusal_is_waited_out_for_as_long_as_it_says() {
    for api in APIS {
        let rpm = NonZeroU32::new(300);
        let server = practice(
            Limits {
                rpm,
                ..Limits::default()
            },
            Faults::default(),
        );
        let ran = run(
            &Cli::of_topics(4),
            api,
            &server.base_url(),
            &["--rpm", "60000", "-w", "4", "--max-retries", "0"],
        );
        assert!(ran.is_all_answered(4), "{api}: {ran}");
        assert!(server.stats().rate_limited > 0, "{api}");
        let told: Vec<_> = ran
            .attempts("retry_after_ms")
            .into_iter()
            .filter_map(|wait| wait.as_u64())
            .collect();
        let most = if api == "messages" { 1000 } else { 200 };
        assert_eq!(
            told.len() as u64,
            server.stats().rate_limited,
            "{api}: {ran}"
        );
        assert!(told.iter().all(|wait| *wait <= most), "{api}: {told:?}");
    }
}

#[test]
fn the_limit_is_taken_from_the_headers_of_openai_and_anthropic() {
    for api in ["responses", "messages"] {
        let rpm = NonZeroU32::new(1200);
        let server = practice(
            Limits {
                rpm,
                ..Limits::default()
            },
            Faults::default(),
        );
        let ran = run(&Cli::of_topics(30), api, &server.base_url(), &["-w", "8"]);
        assert!(ran.is_all_answered(30), "{api}: {ran}");
        assert!(
            server.stats().rate_limited <= 2,
            "{api}: no more than a busy machine may be to blame for: {ran}"
        );
    }
}

#[test]
fn tokens_are_counted_as_each_maker_counts_them() {
    for api in APIS {
        let tpm = NonZeroU32::new(12_000);
        let server = practice(
            Limits {
                tpm,
                ..Limits::default()
            },
            Faults::default(),
        );
        let ran = run(
            &Cli::of_topics(3),
            api,
            &server.base_url(),
            &["--tpm", "12000", "--rpm", "60000", "-w", "1"],
        );
        assert!(ran.is_all_answered(3), "{api}: {ran}");
        assert_eq!(server.stats().rate_limited, 0, "{api}: {ran}");
        let paced: u64 = ran
            .attempts("paced_ms")
            .iter()
            .filter_map(Value::as_u64)
            .sum();
        assert!(
            paced < 12_000,
            "{api}: what an answer might have had is not waited for: {ran}"
        );
    }
}

#[test]
fn an_overloaded_server_is_tried_again_in_each_api() {
    for api in APIS {
        let server = practice(
            Limits::default(),
            Faults {
                error_529: 0.3,
                ..Faults::default()
            },
        );
        let ran = run(
            &Cli::of_topics(20),
            api,
            &server.base_url(),
            &[QUICK, &["--max-retries", "0", "--rpm", "60000"]].concat(),
        );
        assert!(ran.is_all_answered(20), "{api}: {ran}");
        assert!(
            ran.attempts("status").iter().any(|status| *status == 529),
            "{api}: {ran}"
        );
    }
}

#[test]
fn a_key_without_money_stops_the_batch_in_each_makers_words() {
    for api in APIS {
        let server = practice(
            Limits::default(),
            Faults {
                quota: Some((3, None)),
                ..Faults::default()
            },
        );
        let ran = run(&Cli::of_topics(20), api, &server.base_url(), &["-w", "1"]);
        assert_eq!((ran.exit, ran.records.len()), (3, 3), "{api}: {ran}");
        let said = match api {
            "messages" => "Your credit balance is too low",
            "gemini" => "RESOURCE_EXHAUSTED",
            _ => "insufficient_quota",
        };
        assert!(ran.stderr.contains(said), "{api}: {ran}");
        assert_eq!(
            (server.stats().arrivals, server.stats().no_money),
            (4, 1),
            "{api}"
        );
    }
}

#[test]
fn a_request_that_can_never_fit_fails_at_once_and_holds_nobody() {
    for (api, status, code) in [
        ("chat", 429, "request_too_large"),
        ("responses", 429, "request_too_large"),
        ("messages", 413, "request_too_large"),
        ("gemini", 400, "INVALID_ARGUMENT"),
        ("embeddings", 429, "request_too_large"),
    ] {
        let tpm = NonZeroU32::new(30_000);
        let server = practice(
            Limits {
                tpm,
                ..Limits::default()
            },
            Faults::default(),
        );
        let cli = Cli::of(format!(
            "one\n{}\nthree\nfour\n",
            "too long ".repeat(14_000)
        ));
        // Told a pace, and so no limit of tokens: the server alone knows it.
        let ran = run(
            &cli,
            api,
            &server.base_url(),
            &["--rpm", "60000", "--tpm", "4000000000", "-w", "1"],
        );
        assert_eq!((ran.exit, ran.records.len()), (1, 4), "{api}: {ran}");
        let failed = ran.record("line-2");
        assert_eq!(
            (&failed["error"]["code"], &failed["response"]["status_code"]),
            (&json!(code), &json!(status))
        );
        assert_eq!(failed["attempts"].as_array().unwrap().len(), 1, "{api}");
        assert_eq!(failed["attempts"][0]["outcome"], "rejected", "{api}");
        let paced: u64 = ran
            .attempts("paced_ms")
            .iter()
            .filter_map(Value::as_u64)
            .sum();
        assert!(paced < 5000, "{api}: {paced} ms");
    }
}

#[test]
fn one_of_three_keys_runs_out_of_money_in_mid_run_and_nothing_is_lost() {
    let faults = Faults {
        quota: Some((20, Some(1))),
        ..Faults::default()
    };
    let latency = Latency::Constant(Duration::from_millis(5));
    let options = practice::ServerOptions {
        faults,
        latency,
        ..practice::ServerOptions::default()
    };
    let server = Server::start_with(options).unwrap();
    let cli = Cli::of_topics(150)
        .env("ONE", "sk-1")
        .env("TWO", "sk-2")
        .env("THREE", "sk-3");
    let keys = ["--key-env", "ONE", "--key-env", "TWO", "--key-env", "THREE"];
    let ran = run(
        &cli,
        "chat",
        &server.base_url(),
        &[&keys[..], &["--rpm", "6000"]].concat(),
    );
    assert!(ran.is_all_answered(150), "{ran}");
    let stats = server.stats();
    assert!(stats.no_money >= 1 && stats.keys.len() == 3, "{stats:?}");
    assert_eq!(stats.keys[1]["arrivals"], 20 + stats.no_money, "{stats:?}");
    assert_eq!(
        (stats.good, stats.rate_limited),
        (150, 0),
        "each prompt is paid for once: {stats:?}"
    );
    assert!(
        ran.stderr.contains("is retired, the other keys continue"),
        "{ran}"
    );
}

#[test]
fn the_practice_server_takes_the_money_of_one_key() {
    let cli = Cli::of_topics(1);
    let mut server = cli.start(&[
        "practice",
        "--port",
        "0",
        "--quota",
        "2@2",
        "--latency",
        "0ms",
    ]);
    let url = server
        .line()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    let ran = |key: &str| {
        Cli::of_topics(5)
            .env("OPENAI_API_KEY", key)
            .run(&["--base-url", &url, "-w", "1"])
            .records
            .len()
    };
    assert_eq!(
        (ran("sk-first"), ran("sk-second"), ran("sk-third")),
        (5, 2, 5)
    );
    assert_eq!(
        Cli::of_topics(1)
            .paceline(&["practice", "--quota", "2@0"])
            .exit,
        2
    );
}
