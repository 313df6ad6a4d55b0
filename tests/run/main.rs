//! `paceline run` as its users run it: the real program, over real connections, to its end.
//!
//! This file has the main job: every answer once, refusals waited out, faults tried again, and how it all ends.
//! [`options`] has each option, [`usage`] what is wrong before anything is sent, [`log`] what is said meanwhile, and
//! [`watch`] what can be seen and what it costs.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
mod log;
mod options;
mod usage;
mod watch;

use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use common::Cli;
use common::tcp::{self, completion, response};
use paceline::practice::{self, Faults, Latency, Limits, Outage, Server};
use serde_json::{Value, json};

pub(crate) const PATH: &str = "/v1/chat/completions";
/// For tests that retry: the same policy, a thousand times as fast.
pub(crate) const QUICK: &[&str] = &[
    "--base-delay",
    "1ms",
    "--max-delay",
    "5ms",
    "--jitter",
    "full",
];

/// A practice server that answers at once, but for this.
fn practice(limits: Limits, faults: Faults) -> Server {
    Server::start_with(practice::ServerOptions {
        limits,
        faults,
        seed: 7,
        ..practice::ServerOptions::default()
    })
    .unwrap()
}

fn strict(rpm: u32) -> Limits {
    Limits {
        rpm: NonZeroU32::new(rpm),
        ..Limits::default()
    }
}

/// Milliseconds since 1970.
fn instant(timestamp: &Value) -> i64 {
    timestamp
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond()
}

// ---- Answers --------------------------------------------------------------------------------------------------------

#[test]
fn every_prompt_gets_one_record_with_its_answer() {
    let server = practice(Limits::default(), Faults::default());
    let ran = Cli::of_topics(20).run(&["--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(20), "{ran}");
    assert!(ran.stdout.is_empty(), "results are in the file");
    let record = ran.record("line-7");
    assert_eq!(record["prompt"], "topic 7");
    assert!(
        record["text"].as_str().unwrap().contains("topic 7"),
        "each record has its own answer"
    );
    assert_eq!(
        (&record["finish_reason"], &record["error"]),
        (&json!("stop"), &Value::Null)
    );
    assert_eq!(record["response"]["status_code"], 200);
    assert_eq!(
        record["response"]["body"]["choices"][0]["message"]["content"],
        record["text"]
    );
    assert_eq!(
        record["attempts"][0]["request_id"],
        record["response"]["request_id"]
    );
    assert_eq!((server.stats().arrivals, server.stats().answered), (20, 20));
}

#[test]
fn a_pace_that_is_told_is_kept_and_nothing_is_refused() {
    let server = practice(strict(600), Faults::default());
    let ran = Cli::of_topics(8).run(&["--rpm", "600", "--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(8), "{ran}");
    let mut sent: Vec<_> = ran.attempts("started_at").iter().map(instant).collect();
    sent.sort_unstable();
    assert!(
        sent[sent.len() - 1] - sent[0] >= 690,
        "eight calls are seven tenths of a second apart: {sent:?}"
    );
}

#[test]
fn told_no_limit_it_keeps_to_the_one_in_the_headers() {
    let server = practice(strict(1200), Faults::default());
    let ran = Cli::of_topics(30).run(&[
        "-w",
        "16",
        "--rpm",
        "auto",
        "--base-url",
        &server.base_url(),
    ]);
    assert!(ran.is_all_answered(30), "{ran}");
    assert!(
        server.stats().rate_limited <= 2,
        "no more than a busy machine may be to blame for: {ran}"
    );
}

#[test]
fn a_limit_that_nobody_states_is_found_by_being_refused_and_there_is_never_a_stampede() {
    let options = practice::ServerOptions {
        limits: strict(600),
        hints: false,
        ..practice::ServerOptions::default()
    };
    let server = Server::start_with(options).unwrap();
    let ran = Cli::of_topics(20).run(&["-w", "16", "--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(20), "{ran}");
    assert!(
        (1..10).contains(&server.stats().rate_limited),
        "{:?}",
        server.stats()
    );
    let arrivals = arrivals(&server);
    let before = |end: f64| {
        arrivals
            .iter()
            .filter(move |at| (0.0..50.0).contains(&(end - **at)))
            .count()
    };
    let most = arrivals.iter().map(|end| before(*end)).max();
    assert!(most <= Some(2), "{most:?} calls in 50 ms: {arrivals:?}");
}

/// When calls arrived, in milliseconds since the server's start, in order.
fn arrivals(server: &Server) -> Vec<f64> {
    let url = format!("{}/stats?arrivals=1", server.url());
    let page = ureq::get(url)
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    let page: Value = serde_json::from_str(&page).unwrap();
    let rows = page["arrival_list"].as_array().unwrap();
    let mut arrivals: Vec<_> = rows.iter().map(|row| row[0].as_f64().unwrap()).collect();
    arrivals.sort_by(f64::total_cmp);
    arrivals
}

// ---- Refusals and faults --------------------------------------------------------------------------------------------

#[test]
fn a_prompt_that_is_refused_twice_waits_as_ordered_and_its_third_attempt_is_answered() {
    let mut server = mockito::Server::new();
    for wait in ["30", "60"] {
        let refusal = server
            .mock("POST", PATH)
            .with_status(429)
            .with_header("retry-after-ms", wait);
        refusal.with_header("x-request-id", wait).expect(1).create();
    }
    server
        .mock("POST", PATH)
        .with_body(completion("Because."))
        .expect(1)
        .create();
    let ran = Cli::of("Why?").run(&["--base-url", &server.url(), "--max-retries", "0"]);
    assert_eq!(ran.exit, 0, "{ran}");
    assert_eq!(ran.record("line-1")["text"], "Because.");
    assert_eq!(ran.attempts("n"), [1, 2, 3]);
    assert_eq!(ran.attempts("status"), [429, 429, 200]);
    assert_eq!(
        ran.attempts("outcome"),
        ["rate_limited", "rate_limited", "answered"]
    );
    assert_eq!(
        ran.attempts("retry_after_ms"),
        [json!(30), json!(60), Value::Null]
    );
    assert_eq!(
        ran.attempts("request_id"),
        [json!("30"), json!("60"), Value::Null]
    );
    let sent: Vec<_> = ran.attempts("started_at").iter().map(instant).collect();
    let backoffs = ran.attempts("backoff_ms");
    for (n, ordered) in [30, 60].into_iter().enumerate() {
        assert!(
            sent[n + 1] - sent[n] >= ordered,
            "it came back early: {ran}"
        );
        assert!(backoffs[n].as_i64() >= Some(ordered), "{ran}");
    }
    assert_eq!(backoffs[2], Value::Null, "nothing follows an answer");
}

/// Runs 20 prompts against a server that misbehaves so, and checks that its faults are all in the records.
#[track_caller]
fn assert_all_answered_despite(name: &str, faults: Faults, outcome: &str) {
    let server = practice(Limits::default(), faults);
    let cli = Cli::of_topics(20);
    let ran = cli.run(
        &[
            QUICK,
            &["--max-retries", "50", "--timeout-retries", "50"],
            &["--base-url", &server.base_url()],
        ]
        .concat(),
    );
    assert!(ran.is_all_answered(20), "{ran}");
    let stats = server.stats();
    let hit = stats.faults[name];
    let outcomes = ran.attempts("outcome");
    let retried = outcomes.iter().filter(|word| *word == outcome).count() as u64;
    assert!(
        hit > 0 && retried == hit && outcomes.len() as u64 == 20 + hit,
        "{hit} faults, {retried}: {ran}"
    );
    assert_eq!(stats.arrivals, 20 + hit, "and no call was made unseen");
    let retries = ran.records.iter().flat_map(|record| {
        record["attempts"]
            .as_array()
            .unwrap()
            .split_last()
            .unwrap()
            .1
    });
    assert!(
        retries
            .into_iter()
            .all(|attempt| attempt["backoff_ms"].as_i64() <= Some(5)),
        "{ran}"
    );
}

#[test]
fn answers_of_status_500_are_retried_until_all_is_answered() {
    assert_all_answered_despite(
        "error_500",
        Faults {
            error_500: 0.3,
            ..Faults::default()
        },
        "server_error",
    );
}

#[test]
fn connections_that_are_reset_are_retried_until_all_is_answered() {
    assert_all_answered_despite(
        "reset",
        Faults {
            reset: 0.3,
            ..Faults::default()
        },
        "connection",
    );
}

#[test]
fn truncated_bodies_are_retried_until_all_is_answered() {
    assert_all_answered_despite(
        "truncated",
        Faults {
            truncated: 0.3,
            ..Faults::default()
        },
        "connection",
    );
}

#[test]
fn bodies_that_are_no_json_are_retried_until_all_is_answered() {
    assert_all_answered_despite(
        "bad_json",
        Faults {
            bad_json: 0.3,
            ..Faults::default()
        },
        "unreadable",
    );
}

#[test]
fn an_empty_answer_is_kept_and_counted_for_people() {
    let server = practice(
        Limits::default(),
        Faults {
            empty: 1.0,
            ..Faults::default()
        },
    );
    let ran = Cli::of_topics(2).run(&["--base-url", &server.base_url()]);
    assert!(
        ran.is_all_answered(2) && ran.record("line-1")["text"] == "",
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("2 answered (2 empty: see finish_reason)"),
        "{ran}"
    );
}

// ---- Ends: 0 is above -----------------------------------------------------------------------------------------------

#[test]
fn exit_1_some_prompts_failed_and_their_records_say_why() {
    let mut server = mockito::Server::new();
    let too_long =
        json!({"error": {"message": "Too long.", "code": "context_length_exceeded"}}).to_string();
    let long = mockito::Matcher::Regex("topic 2".into());
    server
        .mock("POST", PATH)
        .match_body(long)
        .with_status(400)
        .with_body(&too_long)
        .create();
    server
        .mock("POST", PATH)
        .with_body(completion("Because."))
        .create();
    let ran = Cli::of_topics(3).run(&["--base-url", &server.url()]);
    assert_eq!(
        (ran.exit, ran.ids()),
        (1, vec!["line-1", "line-2", "line-3"]),
        "{ran}"
    );
    let failed = ran.record("line-2");
    assert_eq!(failed["text"], Value::Null);
    assert_eq!(
        failed["error"],
        json!({"code": "context_length_exceeded", "message": "Too long."})
    );
    assert_eq!(failed["response"]["status_code"], 400);
    assert_eq!(
        failed["attempts"].as_array().unwrap().len(),
        1,
        "a rejected prompt is not sent again"
    );
    assert!(ran.stderr.contains(": 2 answered, 1 failed"), "{ran}");
}

#[test]
fn exit_1_a_dead_server_leaves_a_record_for_each_prompt() {
    let nobody = tcp::nobody();
    let ran =
        Cli::of_topics(2).run(&[QUICK, &["--max-retries", "2", "--base-url", &nobody]].concat());
    assert_eq!(
        (ran.exit, ran.ids()),
        (1, vec!["line-1", "line-2"]),
        "{ran}"
    );
    assert_eq!(ran.record("line-1")["error"]["code"], "no_connection");
    assert_eq!(ran.record("line-1")["response"], Value::Null);
    assert_eq!(ran.attempts("outcome"), ["connection"; 6]);
}

#[test]
fn exit_3_a_refused_key_stops_after_one_call() {
    let mut server = mockito::Server::new();
    let refusal =
        json!({"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}});
    let mock = server
        .mock("POST", PATH)
        .with_status(401)
        .with_body(refusal.to_string())
        .expect(1)
        .create();
    let cli = Cli::of_topics(50).env("OPENAI_API_KEY", "sk-wrong");
    let ran = cli.run(&["-w", "1", "--base-url", &server.url()]);
    assert_eq!((ran.exit, ran.records.len()), (3, 0), "{ran}");
    assert!(
        ran.stderr
            .contains("stopped: status 401, invalid_api_key: Incorrect API key provided."),
        "{ran}"
    );
    mock.assert();
}

#[test]
fn exit_3_the_calls_in_flight_are_kept() {
    let both_are_in_flight = Arc::new(Barrier::new(2));
    let url = tcp::answering(move |request| {
        both_are_in_flight.wait();
        match request.contains("topic 2") {
            true => response("401 Unauthorized", ""),
            false => response("200 OK", &completion("Kept.")),
        }
    });
    let ran = Cli::of_topics(2).run(&["-w", "2", "--base-url", &url]);
    assert_eq!(
        (ran.exit, ran.ids()),
        (3, vec!["line-1"]),
        "the refused prompt can be run again: {ran}"
    );
    assert_eq!(ran.record("line-1")["text"], "Kept.");
}

#[test]
fn exit_3_an_exhausted_quota_is_not_waited_for() {
    let server = practice(
        Limits::default(),
        Faults {
            quota: Some((3, None)),
            ..Faults::default()
        },
    );
    let ran = Cli::of_topics(20).run(&["-w", "1", "--base-url", &server.base_url()]);
    assert_eq!((ran.exit, ran.records.len()), (3, 3), "{ran}");
    assert!(ran.stderr.contains("insufficient_quota"), "{ran}");
    assert_eq!((server.stats().arrivals, server.stats().no_money), (4, 1));
}

#[test]
fn exit_3_an_outage_of_refusals_is_not_waited_for_longer_than_we_may() {
    const HOUR: Duration = Duration::from_secs(3600);
    let outage = Some(Outage {
        after: Duration::ZERO,
        length: HOUR,
        status: 429,
    });
    let (latency, faults) = (
        Latency::Constant(HOUR),
        Faults {
            outage,
            ..Faults::default()
        },
    );
    let options = practice::ServerOptions {
        latency,
        faults,
        hints: false,
        ..practice::ServerOptions::default()
    };
    let server = Server::start_with(options).unwrap();
    let ran = Cli::of_topics(20).run(&["--max-wait", "300ms", "--base-url", &server.base_url()]);
    assert_eq!(
        (ran.exit, ran.records.len()),
        (3, 0),
        "a refusal comes at once, unlike an answer: {ran}"
    );
    assert!(
        ran.stderr.contains("come back later"),
        "no made-up time: {ran}"
    );
    assert!(server.stats().arrivals < 10, "{:?}", server.stats());
}

#[test]
#[cfg(target_os = "linux")]
fn exit_3_a_full_disk_stops_before_more_is_paid_for() {
    let server = practice(Limits::default(), Faults::default());
    let ran = Cli::of_topics(50).run(&[
        "-w",
        "1",
        "-o",
        "/dev/full",
        "--base-url",
        &server.base_url(),
    ]);
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(
        ran.stderr.contains("cannot write to /dev/full") && ran.stderr.contains("with -o"),
        "{ran}"
    );
    assert!(server.stats().arrivals < 10, "{:?}", server.stats());
}

#[test]
fn a_good_run_ends_with_the_results_and_one_command_to_go_on_with() {
    let ran = Cli::of_topics(2).run(&["--practice", "--rpm", "60000"]);
    let end = " kB)\n  next     paceline export prompts.practice.jsonl -o prompts.practice.csv\n";
    assert!(ran.is_all_answered(2) && ran.stderr.ends_with(end), "{ran}");
}

#[test]
fn answers_of_practice_do_not_stand_in_the_way_of_the_first_real_run() {
    let cli = Cli::of_topics(2);
    let practised = cli.run(&["--practice", "--rpm", "60000"]);
    assert!(practised.is_all_answered(2), "{practised}");
    let url = tcp::answering(|_| response("200 OK", &completion("Real.")));
    let ran = cli.run(&["--base-url", &url, "--rpm", "60000"]);
    assert!(ran.is_all_answered(2), "{ran}");
    assert!(
        ran.records.iter().all(|record| record["text"] == "Real."),
        "{ran}"
    );
    assert!(cli.path("prompts.practice.jsonl").exists());
}

#[test]
fn results_are_not_named_if_nothing_was_written() {
    let url = tcp::nobody();
    let ran = Cli::of_topics(2).run(&["--base-url", &url, "--max-wait", "100ms"]);
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(!ran.stderr.contains("results  "), "{ran}");
    let told = "error: the server cannot be reached: nothing listens at http://127.0.0.1:";
    assert!(ran.stderr.contains(told), "{ran}");
    assert!(
        ran.stderr.contains("\n  help: is the address right"),
        "{ran}"
    );
}

#[test]
fn as_many_calls_are_in_flight_as_there_are_workers() {
    let latency = Latency::Constant(Duration::from_millis(300));
    let server = Server::start_with(practice::ServerOptions {
        latency,
        ..practice::ServerOptions::default()
    })
    .unwrap();
    let ran = Cli::of_topics(12).run(&[
        "-w",
        "4",
        "--rpm",
        "60000",
        "--base-url",
        &server.base_url(),
    ]);
    assert!(ran.is_all_answered(12), "{ran}");
    assert_eq!(server.stats().most_in_flight, 4);
}
