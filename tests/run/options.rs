//! Every option of `run` reaches what it should.

use std::fs;
use std::num::NonZeroUsize;
use std::time::Duration;

use mockito::Matcher;
use serde_json::{Value, json};

use super::common::tcp::completion;
use super::common::{self, Cli};
use super::{PATH, QUICK, practice, strict};
use paceline::practice::{Faults, Latency, Limits, Server, ServerOptions};

/// A server that answers whatever it is asked.
fn kind() -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    server
        .mock("POST", PATH)
        .with_body(completion("Because."))
        .create();
    server
}

/// A server that fails whatever it is asked.
fn failing() -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    server.mock("POST", PATH).with_status(500).create();
    server
}

// ---- Input and output -----------------------------------------------------------------------------------------------

#[test]
fn results_go_to_the_file_that_is_named() {
    let cli = Cli::of_topics(2);
    let ran = cli.run(&["-o", "elsewhere.jsonl", "--base-url", &kind().url()]);
    assert_eq!((ran.exit, ran.records.len()), (0, 0), "{ran}");
    assert_eq!(
        common::records(&fs::read_to_string(cli.path("elsewhere.jsonl")).unwrap()).len(),
        2
    );
    assert!(ran.stderr.contains("results  elsewhere.jsonl ("), "{ran}");
}

#[test]
fn a_dash_sends_the_results_to_standard_output_and_nothing_else_goes_there() {
    let ran = Cli::of_topics(2).run(&["-o", "-", "-vv", "--base-url", &kind().url()]);
    assert_eq!((ran.exit, ran.records.len()), (0, 0), "{ran}");
    assert_eq!(common::records(&ran.stdout).len(), 2);
}

#[test]
fn prompts_from_standard_input_are_answered_on_standard_output() {
    let server = kind();
    let args = ["run", "-", "-m", "m", "--base-url", &server.url()];
    let ran = Cli::of("").stdin("one\n\nthree").paceline(&args);
    let mut ids: Vec<_> = common::records(&ran.stdout)
        .iter()
        .map(|record| record["custom_id"].clone())
        .collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(
        (ran.exit, ids),
        (0, vec![json!("line-1"), json!("line-3")]),
        "{ran}"
    );

    let cli = Cli::of("").stdin("one");
    let ran = cli.paceline(&[&args[..], &["-o", "prompts.results.jsonl"]].concat());
    assert_eq!(
        (ran.exit, ran.ids(), ran.stdout.as_str()),
        (0, vec!["line-1"], ""),
        "{ran}"
    );
}

#[test]
fn a_limit_sends_the_first_prompts_only() {
    let ran = Cli::of_topics(5).run(&["--limit", "2", "--base-url", &kind().url()]);
    assert!(ran.is_all_answered(2), "{ran}");
    assert!(ran.stderr.starts_with("2 prompts to "), "{ran}");
}

// ---- The request ----------------------------------------------------------------------------------------------------

/// Runs one prompt with these options; the server answers only if the request's body is this.
#[track_caller]
fn assert_sends(options: &[&str], body: &Value) {
    let mut server = mockito::Server::new();
    let mock = server
        .mock("POST", PATH)
        .match_body(Matcher::Json(body.clone()));
    mock.with_body(completion("Because.")).create();
    let url = server.url();
    let ran =
        Cli::of("Why?").paceline(&[&["run", "prompts.txt", "--base-url", &url], options].concat());
    assert!(ran.is_all_answered(1), "{ran}");
}

#[test]
fn the_model_is_asked_for() {
    let messages = json!([{"role": "user", "content": "Why?"}]);
    assert_sends(
        &["-m", "tiny"],
        &json!({"model": "tiny", "messages": messages}),
    );
    assert_sends(
        &["--model", "tiny"],
        &json!({"model": "tiny", "messages": messages}),
    );
}

#[test]
fn every_option_about_the_request_is_in_its_body() {
    let messages =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]);
    let options = [
        ["-m", "m"],
        ["--system", "Be brief."],
        ["--max-tokens", "9"],
        ["--temperature", "0.5"],
        ["--param", "top_p=0.9"],
        ["--param", r#"stop=["a=b"]"#],
    ];
    let body = json!({"model": "m", "messages": messages, "max_tokens": 9, "temperature": 0.5, "top_p": 0.9,
        "stop": ["a=b"]});
    assert_sends(&options.concat(), &body);
}

// ---- The server -----------------------------------------------------------------------------------------------------

/// A server that answers only those who show this key.
fn locked(key: &str) -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    let mock = server
        .mock("POST", PATH)
        .match_header("authorization", format!("Bearer {key}").as_str());
    mock.with_body(completion("Because.")).create();
    server
}

#[test]
fn the_key_is_read_from_the_usual_variable_or_from_the_one_that_is_named() {
    let server = locked("sk-usual");
    let cli = Cli::of_topics(1).env("OPENAI_API_KEY", " sk-usual\n");
    assert!(cli.run(&["--base-url", &server.url()]).is_all_answered(1));

    let server = locked("sk-other");
    let cli = Cli::of_topics(1)
        .env("OPENAI_API_KEY", "sk-usual")
        .env("OTHER", "sk-other");
    let ran = cli.run(&["--base-url", &server.url(), "--key-env", "OTHER"]);
    assert!(ran.is_all_answered(1), "{ran}");
}

#[test]
fn the_address_is_read_from_the_environment_unless_it_is_given() {
    let (server, unwanted) = (kind(), super::tcp::nobody());
    let ran = Cli::of_topics(1)
        .env("OPENAI_BASE_URL", &server.url())
        .run(&[]);
    assert!(ran.is_all_answered(1), "{ran}");
    let cli = Cli::of_topics(1).env("OPENAI_BASE_URL", &unwanted);
    assert!(cli.run(&["--base-url", &server.url()]).is_all_answered(1));
}

#[test]
fn a_local_server_is_not_asked_for_through_a_proxy() {
    let server = kind();
    let cli = Cli::of_topics(1)
        .env("http_proxy", &super::tcp::nobody())
        .env("HTTP_PROXY", &super::tcp::nobody());
    let ran = cli.run(&["--base-url", &server.url()]);
    assert!(ran.is_all_answered(1), "{ran}");
}

#[test]
fn a_call_that_takes_too_long_is_given_up() {
    let server = practice(
        Limits::default(),
        Faults {
            hang: 1.0,
            ..Faults::default()
        },
    );
    let options = [
        "--timeout",
        "50ms",
        "--max-retries",
        "1",
        "--base-url",
        &server.base_url(),
    ];
    let ran = Cli::of_topics(1).run(&[QUICK, &options].concat());
    assert_eq!(
        (ran.exit, ran.attempts("outcome")),
        (1, vec![json!("timeout"), json!("timeout")]),
        "{ran}"
    );
    assert_eq!(ran.record("line-1")["error"]["code"], "timeout");
    assert!(
        ran.attempts("took_ms")
            .iter()
            .all(|took| took.as_u64() >= Some(50)),
        "{ran}"
    );
}

#[test]
fn certificates_are_read_before_anything_is_sent() {
    let ran = Cli::of_topics(1).run(&[
        "--base-url",
        "https://localhost:9",
        "--ca-cert",
        "prompts.txt",
    ]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(
        ran.stderr.contains("prompts.txt holds no PEM certificate"),
        "{ran}"
    );
}

#[test]
fn practice_needs_neither_key_nor_network() {
    let nowhere = super::tcp::nobody();
    let cli = Cli::of_topics(3)
        .env("HTTPS_PROXY", &nowhere)
        .env("HTTP_PROXY", &nowhere);
    let ran = cli.paceline(&["run", "prompts.txt", "--practice", "--rpm", "6000"]);
    assert!(ran.is_all_answered(3), "{ran}");
    assert_eq!(
        ran.record("line-1")["response"]["body"]["model"],
        "paceline-practice"
    );
    assert!(
        ran.stderr
            .contains("(the practice server, not a model), at 6000 calls a minute"),
        "{ran}"
    );
}

// ---- The pace -------------------------------------------------------------------------------------------------------

#[test]
fn a_burst_may_go_at_once_after_a_quiet_time() {
    let limits = Limits {
        burst: 5.try_into().unwrap(),
        ..strict(2)
    };
    let server = practice(limits, Faults::default());
    let ran = Cli::of_topics(4).run(&[
        "--rpm",
        "2",
        "--burst",
        "5",
        "--base-url",
        &server.base_url(),
    ]);
    assert!(ran.is_all_answered(4), "{ran}");
    assert_eq!(server.stats().rate_limited, 0);
    let longest = ran
        .attempts("paced_ms")
        .iter()
        .map(|paced| paced.as_u64().unwrap())
        .max();
    assert!(
        longest < Some(30_000),
        "nobody waited for the next half minute: {ran}"
    );
}

#[test]
fn told_that_there_is_no_limit_it_ignores_the_one_in_the_headers() {
    let limits = Limits {
        burst: 100.try_into().unwrap(),
        ..strict(60)
    };
    let server = practice(limits, Faults::default());
    let ran = Cli::of_topics(40).run(&["--rpm", "none", "--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(40), "{ran}");
    let longest = ran.attempts("paced_ms").iter().map(|ms| ms.as_u64()).max();
    assert!(longest < Some(Some(1000)), "no call waited its turn: {ran}");
    assert!(ran.stderr.contains("without a limit on the rate"), "{ran}");
}

#[test]
fn a_server_that_works_on_two_calls_at_once_gets_few_more() {
    let server = Server::start_with(ServerOptions {
        limits: Limits {
            slots: NonZeroUsize::new(2),
            ..Limits::default()
        },
        latency: Latency::Constant(Duration::from_millis(100)),
        ..ServerOptions::default()
    })
    .unwrap();
    let url = server.base_url();
    let ran = Cli::of_topics(40).run(&["--rpm", "none", "--timeout", "2s", "--base-url", &url]);
    assert!(ran.is_all_answered(40), "{ran}");
    let stats = server.stats();
    assert_eq!(stats.arrivals, 40, "no call timed out");
    assert!((2..=8).contains(&stats.most_in_flight), "{stats:?}");
}

#[test]
fn a_rate_is_told_only_after_a_second() {
    let limits = Limits {
        burst: 50.try_into().unwrap(),
        ..strict(1200)
    };
    let server = practice(limits, Faults::default());
    let url = server.base_url();
    let ran = Cli::of_topics(20).run(&["--rpm", "1200", "--burst", "50", "--base-url", &url]);
    assert!(ran.is_all_answered(20), "{ran}");
    assert!(!ran.stderr.contains("  rate "), "{ran}");
}

#[test]
fn one_worker_makes_one_call_at_a_time_and_in_order() {
    let server = practice(Limits::default(), Faults::default());
    let ran = Cli::of_topics(8).run(&["-w", "1", "--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(8), "{ran}");
    assert_eq!(server.stats().most_in_flight, 1);
    let order: Vec<_> = ran
        .records
        .iter()
        .map(|record| record["custom_id"].clone())
        .collect();
    assert_eq!(
        order,
        (1..=8)
            .map(|n| json!(format!("line-{n}")))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_server_that_holds_longer_than_the_patience_stops_the_batch_and_says_when_to_come_back() {
    let mut server = mockito::Server::new();
    server
        .mock("POST", PATH)
        .with_status(429)
        .with_header("retry-after", "3600")
        .create();
    let ran = Cli::of_topics(9).run(&["-w", "1", "--max-wait", "30m", "--base-url", &server.url()]);
    assert_eq!((ran.exit, ran.records.len()), (3, 0), "{ran}");
    assert!(
        ran.stderr.contains("come back at ")
            && ran
                .stderr
                .contains(" (in 1 h), or wait longer with --max-wait"),
        "{ran}"
    );
}

#[test]
fn calls_in_flight_stay_within_the_limit_on_open_files() {
    let server = super::practice(Limits::default(), Faults::default());
    let url = server.base_url();
    for workers in ["auto", "100"] {
        let args = [
            "run",
            "prompts.txt",
            "-m",
            "m",
            "--rpm",
            "60000",
            "--base-url",
            &url,
            "-w",
            workers,
        ];
        let ran = Cli::of_topics(150).paceline_after("ulimit -n 40", &args);
        assert!(ran.is_all_answered(150), "{ran}");
        let is_told = ran
            .stderr
            .contains("warning: the system's limits on open files and threads allow 12 workers");
        assert!(is_told || workers == "auto", "{ran}");
        assert!(!ran.stderr.contains("failed"), "{ran}");
    }
}

// ---- Retries --------------------------------------------------------------------------------------------------------

/// The backoffs of one prompt that always fails.
#[track_caller]
fn backoffs(options: &[&str]) -> Vec<u64> {
    let server = failing();
    let ran = Cli::of_topics(1).run(&[&["--base-url", &server.url()], options].concat());
    assert_eq!(ran.exit, 1, "{ran}");
    assert_eq!(ran.record("line-1")["error"]["code"], "server_error");
    let backoffs = ran.attempts("backoff_ms");
    assert_eq!(
        backoffs.last(),
        Some(&Value::Null),
        "nothing follows the last attempt"
    );
    backoffs.iter().filter_map(Value::as_u64).collect()
}

#[test]
fn retries_are_spent_and_no_more() {
    assert_eq!(backoffs(&["--max-retries", "0"]).len(), 0);
    assert_eq!(
        backoffs(&[QUICK, &["--max-retries", "3"]].concat()).len(),
        3
    );
    assert_eq!(backoffs(QUICK).len(), 5, "the default");
}

#[test]
fn backoffs_double_from_the_base_to_the_most() {
    let options = [
        "--base-delay",
        "2ms",
        "--max-delay",
        "9ms",
        "--jitter",
        "none",
    ];
    assert_eq!(backoffs(&options), [2, 4, 8, 9, 9]);
}

#[test]
fn the_kind_of_jitter_is_what_is_asked_for() {
    let range =
        |kind, max| backoffs(&["--base-delay", "10ms", "--max-delay", max, "--jitter", kind]);
    assert!(
        range("equal", "10ms")
            .iter()
            .all(|ms| (5..=10).contains(ms))
    );
    assert!(range("full", "10ms").iter().all(|ms| (0..=10).contains(ms)));
    assert!(
        range("decorrelated", "30ms")
            .iter()
            .all(|ms| (10..=30).contains(ms))
    );
    assert_eq!(range("additive", "11ms").len(), 5);
}

#[test]
fn the_longest_duration_that_can_be_typed_is_no_panic() {
    let server = kind();
    for option in ["--timeout", "--max-delay", "--max-wait"] {
        let ran = Cli::of_topics(1).run(&[option, "8760h", "--base-url", &server.url()]);
        assert!(ran.is_all_answered(1), "{option}: {ran}");
        let ran =
            Cli::of_topics(1).run(&[option, "2562047788015214h", "--base-url", &server.url()]);
        assert!(
            ran.exit == 2 && ran.stderr.contains("of a year at most"),
            "{option}: {ran}"
        );
    }
}
