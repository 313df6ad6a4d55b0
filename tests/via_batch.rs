//! `run --via batch`: half price through the provider's batch endpoint, submitted once, whatever happens on the way.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::thread::yield_now;
use std::time::Duration;

use common::{BRISK, Cli, Ran};
use paceline::practice::{Faults, Reply, Server, ServerOptions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const STATE: &str = "prompts.results.batch.json";
const APIS: [&str; 2] = ["chat", "messages"];

fn server(batch_time: Duration, faults: Faults) -> Server {
    Server::start_with(ServerOptions {
        batch_time,
        faults,
        seed: 7,
        ..ServerOptions::default()
    })
    .unwrap()
}

fn instant() -> Server {
    server(Duration::ZERO, Faults::default())
}

/// A server whose batches go on until they are cancelled.
fn endless() -> Server {
    server(Duration::from_secs(86_400), Faults::default())
}

/// The arguments of a run that never waits long.
fn args<'a>(url: &'a str, api: &'a str) -> Vec<&'a str> {
    let all = ["--base-url", url, "--api", api, "--poll", "5ms"];
    [&all, &["--base-delay", "1ms", "--jitter", "none"][..]].concat()
}

fn via<'a>(url: &'a str, api: &'a str) -> Vec<&'a str> {
    [&args(url, api)[..], &["--via", "batch"]].concat()
}

/// Cancels the first batch.
fn cancel(server: &Server) {
    let url = format!("{}/v1/batches/batch_0/cancel", server.url());
    ureq::post(url).send_empty().unwrap();
}

fn outcomes(ran: &Ran, outcome: &str) -> usize {
    ran.attempts("outcome")
        .iter()
        .filter(|found| *found == outcome)
        .count()
}

#[test]
fn a_record_is_that_of_a_call_but_for_its_attempts_and_the_name_of_the_call() {
    for api in ["chat", "responses", "messages", "embeddings"] {
        let server = instant();
        let url = server.base_url();
        let records = |args: &[&str]| {
            let cli = Cli::of_topics(3);
            let mut ran = cli.run(args);
            assert_eq!(ran.exit, 0, "{api}: {ran}");
            for record in &mut ran.records {
                record["attempts"] = Value::Null;
                record["response"]["request_id"] = Value::Null;
            }
            ran.records
                .sort_by_key(|record| record["custom_id"].to_string());
            ran.records
        };
        let alone: &[_] = match api {
            "embeddings" => &["--per-call", "1"],
            _ => &[],
        };
        let plain = records(&[&args(&url, api)[..], BRISK, alone].concat());
        let half = records(&[&via(&url, api)[..], BRISK].concat());
        assert_eq!(half, plain, "{api}");
    }
}

#[test]
fn a_batch_costs_half_and_every_later_look_says_so() {
    let server = instant();
    let url = server.base_url();
    let price = ["--price", "1000,2000"];
    let plain = Cli::of_topics(4).run(&[&args(&url, "chat")[..], BRISK, &price].concat());
    let cli = Cli::of_topics(4);
    let half = cli.run(&[&via(&url, "chat")[..], &price].concat());
    let cost = |text: &str| {
        let (_, after) = text.split_once('$').unwrap_or_else(|| panic!("{text}"));
        let end = after
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(after.len());
        after[..end].parse::<f64>().unwrap()
    };
    let full = cost(&plain.stderr);
    assert!(
        (cost(&half.stderr) - full / 2.0).abs() < 0.011,
        "{full} {half}"
    );
    assert!(half.stderr.contains("at half the price: "), "{half}");
    let results = "prompts.results.jsonl";
    let report = cli.paceline(&[&["report", results, "--rpm", "1"], &price[..]].concat());
    assert!(
        report.stdout.contains("4 rows, at half the price"),
        "{report}"
    );
    assert!(report.stdout.contains("no calls are on record"), "{report}");
    let export = cli.paceline(&[&["export", results, "-f", "jsonl"], &price[..]].concat());
    assert!(
        (cost(&report.stdout) - full / 2.0).abs() < 0.011,
        "{full} {report}"
    );
    let exported = common::records(&export.stdout);
    let sum: f64 = exported
        .iter()
        .map(|row| row["cost"].as_f64().unwrap())
        .sum();
    assert!((sum - full / 2.0).abs() < 0.011, "{full} {sum}");
    let again = cli.run(&[&args(&url, "chat")[..], &price].concat());
    assert!(again.stderr.contains("nothing left to send"), "{again}");
}

#[test]
fn a_run_that_is_killed_at_any_request_submits_once_and_writes_each_row_once() {
    const PROMPTS: usize = 60;
    for api in APIS {
        let faults = Faults {
            batch_failed: 0.2,
            ..Faults::default()
        };
        let server = server(Duration::ZERO, faults);
        let (url, cli) = (server.base_url(), Cli::of_topics(PROMPTS));
        let args = [&via(&url, api)[..], &["-v"]].concat();
        let mut chance = StdRng::seed_from_u64(3);
        for _ in 0..25 {
            let mut run = cli.start_run(&args);
            match chance.random() {
                true => {
                    let target = server.requests().len() + chance.random_range(1..5);
                    while server.requests().len() < target && !run.has_ended() {
                        yield_now();
                    }
                }
                false => {
                    let lines = chance.random_range(0..40);
                    let _ = (0..lines).any(|_| run.line().is_none());
                }
            }
            run.kill();
            server.settle().unwrap();
        }
        let ran = cli.run(&args);
        assert_eq!(ran.exit, 1, "{ran}");
        assert_eq!(
            server.stats().batches,
            [1, PROMPTS as u64],
            "{api}: submitted once"
        );
        let mut ids = ran.ids();
        ids.dedup();
        assert_eq!(
            (ids.len(), ran.records.len()),
            (PROMPTS, PROMPTS),
            "{api}: one record each"
        );
        let left: Vec<_> = fs::read_dir(cli.path(""))
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "nothing is left behind: {left:?}");
    }
}

#[test]
fn what_has_expired_is_sent_by_a_plain_run_and_what_has_failed_is_not() {
    for api in APIS {
        let faults = Faults {
            batch_expired: 0.5,
            batch_failed: 0.1,
            ..Faults::default()
        };
        let server = server(Duration::ZERO, faults);
        let (url, cli) = (server.base_url(), Cli::of_topics(100));
        let ran = cli.run(&via(&url, api));
        let (expired, failed) = (outcomes(&ran, "expired"), outcomes(&ran, "server_error"));
        assert!(
            ran.exit == 1 && expired > 30 && failed > 3,
            "{api}: {expired} {failed} {ran}"
        );
        let plain = [&args(&url, api)[..], BRISK].concat();
        let ran = cli.run(&plain);
        assert_eq!(
            (ran.exit, server.stats().arrivals),
            (1, expired as u64),
            "{api}: {ran}"
        );
        assert_eq!(ran.records.len(), 100 + expired, "{api}");
        let ran = cli.run(&[&plain[..], &["--retry-failed"]].concat());
        assert_eq!(
            (ran.exit, server.stats().arrivals),
            (0, (expired + failed) as u64),
            "{api}: {ran}"
        );
    }
}

/// A server that errs with a schema, and the arguments of a run with one.
fn erring(wrong_json: f64, wrong_again: bool) -> (Server, Vec<String>) {
    let faults = Faults {
        wrong_json,
        wrong_again,
        ..Faults::default()
    };
    let server = server(Duration::ZERO, faults);
    let url = server.base_url();
    let args = [&via(&url, "chat")[..], &["--schema", "name, age int"]].concat();
    (server, args.into_iter().map(str::to_owned).collect())
}

#[test]
fn answers_that_do_not_fit_are_asked_for_again_in_another_batch_at_half_the_price() {
    const PROMPTS: usize = 100;
    let (server, args) = erring(0.1, false);
    let args: Vec<_> = args
        .iter()
        .map(String::as_str)
        .chain(["--price", "1000,2000"])
        .collect();
    let cli = Cli::of_topics(PROMPTS);
    let ran = cli.run(&args);
    assert!(ran.is_all_answered(PROMPTS), "{ran}");
    let misfits = outcomes(&ran, "misfit");
    assert!((3..25).contains(&misfits), "{misfits}");
    assert_eq!(outcomes(&ran, "answered"), PROMPTS);
    assert_eq!(server.stats().batches, [2, (PROMPTS + misfits) as u64]);
    let usage = ran.attempts("usage");
    let sum = |name: &str| {
        usage
            .iter()
            .map(|usage| usage[name].as_f64().unwrap())
            .sum::<f64>()
    };
    let cost = (sum("input") * 1000.0 + sum("output") * 2000.0) / 2e6;
    let exported = cli.paceline(
        &[
            &["export", "prompts.results.jsonl", "-f", "jsonl"],
            &args[args.len() - 2..],
        ]
        .concat(),
    );
    let rows = common::records(&exported.stdout);
    let told: f64 = rows.iter().map(|row| row["cost"].as_f64().unwrap()).sum();
    assert!((told - cost).abs() < 0.01, "{told} {cost}");
    let again = cli.run(&args);
    assert!(again.stderr.contains("nothing left to send"), "{again}");
}

#[test]
fn an_answer_that_never_fits_is_asked_for_as_often_as_the_options_say() {
    for (retries, batches) in [("0", 1), ("1", 2), ("3", 4)] {
        let (server, args) = erring(1.0, true);
        let args: Vec<_> = args
            .iter()
            .map(String::as_str)
            .chain(["--schema-retries", retries])
            .collect();
        let ran = Cli::of("a\nb\na\n").run(&[&args[..], &["--dedupe"]].concat());
        assert_eq!((ran.exit, ran.records.len()), (1, 3), "{ran}");
        assert_eq!(
            server.stats().batches,
            [batches, 2 * batches],
            "each once a batch"
        );
        assert_eq!(ran.record("line-1")["error"]["code"], "schema");
        assert_eq!(outcomes(&ran, "misfit") as u64, 2 * batches, "{ran}");
    }
}

#[test]
fn a_run_that_is_killed_while_it_asks_again_does_not_submit_twice() {
    let (server, args) = erring(0.3, false);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let cli = Cli::of_topics(30);
    for requests in 1..12 {
        let mut run = cli.start_run(&args);
        let target = server.requests().len() + requests;
        while server.requests().len() < target && !run.has_ended() {
            yield_now();
        }
        run.kill();
        server.settle().unwrap();
    }
    let ran = cli.run(&args);
    assert!(ran.is_all_answered(30), "{ran}");
    let misfits = outcomes(&ran, "misfit") as u64;
    assert_eq!(server.stats().batches, [2, 30 + misfits], "{ran}");
}

#[test]
fn what_has_expired_goes_into_another_batch_as_well() {
    let faults = Faults {
        batch_expired: 0.5,
        ..Faults::default()
    };
    let server = server(Duration::ZERO, faults);
    let (url, cli) = (server.base_url(), Cli::of_topics(40));
    let expired = outcomes(&cli.run(&via(&url, "chat")), "expired") as u64;
    cli.run(&via(&url, "chat"));
    assert_eq!(server.stats().batches, [2, 40 + expired]);
}

#[test]
fn ctrl_c_leaves_the_batch_under_way_and_the_same_command_picks_it_up() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of_topics(5));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("(in_progress)");
    run.signal("INT");
    let ran = run.end();
    assert_eq!(ran.exit, 130, "{ran}");
    assert!(
        ran.stderr
            .contains("goes on at the provider, and is picked up"),
        "{ran}"
    );
    assert!(cli.path(STATE).exists());
    cancel(&server);
    let ran = cli.run(&via(&url, "chat"));
    assert_eq!((ran.exit, outcomes(&ran, "cancelled")), (1, 5), "{ran}");
    assert_eq!(server.stats().batches, [1, 5]);
    let ran = cli.run(&[&args(&url, "chat")[..], BRISK].concat());
    assert_eq!(ran.exit, 0, "what was cancelled was not asked: {ran}");
}

#[test]
fn while_a_batch_is_under_way_its_prompts_are_not_sent_otherwise() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of_topics(5));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("(in_progress)");
    run.kill();
    for more in [&[][..], &["--restart"], &["--retry-failed"]] {
        let ran = cli.run(&[&args(&url, "chat")[..], BRISK, more].concat());
        assert!(
            ran.exit == 2 && ran.stderr.contains("paid for twice"),
            "{ran}"
        );
        assert!(
            ran.stderr.contains("--via batch") && ran.stderr.contains(STATE),
            "{ran}"
        );
    }
    assert_eq!(server.stats().arrivals, 0);
    let other = cli.run(&via("http://127.0.0.1:9/v1", "chat"));
    assert!(
        other.exit == 2 && other.stderr.contains("the batch in"),
        "{other}"
    );
    let model = cli.run(&[&via(&url, "chat")[..], &["--temperature", "1"]].concat());
    assert!(
        model.exit == 2 && model.stderr.contains("have changed"),
        "{model}"
    );
    let prompts = fs::read_to_string(cli.path("prompts.txt")).unwrap();
    fs::write(
        cli.path("prompts.txt"),
        prompts.replace("topic 3", "topic x"),
    )
    .unwrap();
    let changed = cli.run(&via(&url, "chat"));
    assert!(
        changed.exit == 2 && changed.stderr.contains("put them back"),
        "{changed}"
    );
}

#[test]
fn prompts_that_are_added_meanwhile_go_into_a_batch_of_their_own() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of_topics(5));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("(in_progress)");
    run.kill();
    let prompts = fs::read_to_string(cli.path("prompts.txt")).unwrap();
    fs::write(cli.path("prompts.txt"), prompts + "topic 6\ntopic 7\n").unwrap();
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("submitted 2 prompts");
    drop(run);
    assert_eq!(server.stats().batches, [2, 7]);
}

#[test]
fn results_that_were_removed_meanwhile_are_written_again() {
    for api in APIS {
        let server = server(Duration::from_millis(50), Faults::default());
        let (url, cli) = (server.base_url(), Cli::of_topics(20));
        let mut run = cli.start_run(&via(&url, api));
        run.until("(in_progress)");
        run.kill();
        fs::remove_file(cli.path("prompts.results.jsonl")).unwrap();
        let ran = cli.run(&via(&url, api));
        assert!(ran.is_all_answered(20), "{ran}");
        assert_eq!(server.stats().batches, [1, 20]);
    }
}

#[test]
fn a_wrong_key_submits_nothing_and_stands_in_no_other_runs_way() {
    for api in APIS {
        let server = instant();
        let (url, cli) = (server.base_url(), Cli::of_topics(3));
        server.next(Reply::error(401));
        let ran = cli.run(&via(&url, api));
        assert!(
            ran.exit == 3 && ran.stderr.contains("is the key in $"),
            "{ran}"
        );
        assert!(!cli.path(STATE).exists(), "{api}");
        let ran = cli.run(&[&args(&url, api)[..], BRISK].concat());
        assert!(ran.is_all_answered(3), "{ran}");
    }
}

#[test]
fn a_key_that_becomes_wrong_leaves_the_batch_to_the_right_one() {
    let server = server(Duration::from_millis(50), Faults::default());
    let (url, cli) = (server.base_url(), Cli::of_topics(3));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("submitted");
    for _ in 0..100 {
        server.next(Reply::error(401));
    }
    let ran = run.end();
    assert_eq!(ran.exit, 3, "{ran}");
    while !server.requests().is_empty() && cli.run(&via(&url, "chat")).exit != 0 {}
    assert_eq!(server.stats().batches, [1, 3]);
}

#[test]
fn a_server_that_is_down_is_asked_again() {
    for api in APIS {
        let server = instant();
        let (url, cli) = (server.base_url(), Cli::of_topics(3));
        for status in [500, 502, 500, 504, 500, 500] {
            server.next(Reply::error(status));
        }
        let ran = cli.run(&via(&url, api));
        assert!(ran.is_all_answered(3), "{ran}");
        assert_eq!(server.stats().batches, [1, 3], "{api}");
    }
}

#[test]
fn a_server_that_stays_down_ends_the_run_and_not_the_batch() {
    let server = server(Duration::from_millis(50), Faults::default());
    let (url, cli) = (server.base_url(), Cli::of_topics(3));
    let args = [&via(&url, "chat")[..], &["--max-wait", "1ms"]].concat();
    let mut run = cli.start_run(&args);
    run.until("submitted");
    for _ in 0..50 {
        server.next(Reply::error(500));
    }
    let ran = run.end();
    assert!(ran.exit == 3 && ran.stderr.contains("--max-wait"), "{ran}");
    while cli.run(&args).exit != 0 {}
    assert_eq!(server.stats().batches, [1, 3]);
}

#[test]
fn an_answer_that_is_lost_on_the_way_is_not_submitted_again() {
    for api in APIS {
        let server = server(Duration::from_millis(20), Faults::default());
        let (url, cli) = (server.base_url(), Cli::of_topics(3));
        // The server has taken the batch, and what it says about it is not what it should be.
        let mut run = cli.start_run(&via(&url, api));
        run.until("submitted");
        run.kill();
        let state = fs::read_to_string(cli.path(STATE)).unwrap();
        let mut state: Value = serde_json::from_str(&state).unwrap();
        state["parts"][0]["batch"] = Value::Null;
        fs::write(cli.path(STATE), state.to_string()).unwrap();
        let ran = cli.run(&via(&url, api));
        assert!(ran.is_all_answered(3), "{ran}");
        assert_eq!(server.stats().batches, [1, 3], "{api}");
    }
}

#[test]
fn a_batch_that_arrives_long_after_the_program_was_killed_is_not_submitted_again() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of_topics(3));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("submitted");
    run.kill();
    let state = fs::read_to_string(cli.path(STATE)).unwrap();
    let mut state: Value = serde_json::from_str(&state).unwrap();
    state["parts"][0]["batch"] = Value::Null;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    state["parts"][0]["noted_at"] = now.as_secs().into();
    fs::write(cli.path(STATE), state.to_string()).unwrap();
    server.settle().unwrap();
    for _ in 0..3 {
        server.next(Reply::new(200, r#"{"data":[],"has_more":false}"#)); // not there yet
    }
    let args = [
        &args(&url, "chat")[..4],
        &["--via", "batch", "--poll", "400ms"],
    ]
    .concat();
    let mut run = cli.start_run(&args);
    run.until("(in_progress)");
    drop(run);
    assert_eq!(server.stats().batches, [1, 3]);
}

#[test]
fn what_is_new_waits_while_nobody_knows_if_a_batch_was_submitted() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of_topics(3));
    let mut run = cli.start_run(&via(&url, "chat"));
    run.until("submitted");
    run.kill();
    let state = fs::read_to_string(cli.path(STATE)).unwrap();
    fs::write(cli.path(STATE), state.replace("\"batch_0\"", "null")).unwrap();
    let prompts = fs::read_to_string(cli.path("prompts.txt")).unwrap();
    fs::write(cli.path("prompts.txt"), "new\n".to_owned() + &prompts).unwrap();
    server.settle().unwrap();
    for _ in 0..50 {
        server.next(Reply::error(500));
    }
    let ran = cli.run(&[&via(&url, "chat")[..], &["--max-wait", "1ms"]].concat());
    assert!(ran.exit == 3 && ran.stderr.contains("--max-wait"), "{ran}");
    assert!(cli.path(STATE).exists() && ran.records.is_empty(), "{ran}");
}

#[test]
fn several_batches_are_read_and_written_in_the_order_of_the_prompts() {
    let server = endless();
    let (url, cli) = (server.base_url(), Cli::of("a\nb\na\n"));
    let args = [&via(&url, "chat")[..], &["--dedupe"]].concat();
    let mut run = cli.start_run(&args);
    run.until("(in_progress)");
    run.kill();
    fs::write(cli.path("prompts.txt"), "a\nb\na\nc\nb\na\nc\n").unwrap();
    let mut run = cli.start_run(&args);
    run.until("submitted 3 prompts"); // those under way are not looked at for twins
    run.kill();
    for batch in [1, 0] {
        let url = format!("{}/v1/batches/batch_{batch}/cancel", server.url());
        ureq::post(url).send_empty().unwrap();
    }
    let ran = cli.run(&args);
    assert_eq!((ran.exit, outcomes(&ran, "cancelled")), (1, 3), "{ran}");
    assert_eq!(ran.records.len(), 7, "{ran}");
    assert_eq!(server.stats().batches, [2, 5]);
}

#[test]
fn equal_requests_and_repeated_ones_find_their_prompts() {
    let server = instant();
    let (url, cli) = (server.base_url(), Cli::of("a\nb\na\na\n"));
    let ran = cli.run(&[&via(&url, "chat")[..], &["--dedupe"]].concat());
    assert!(ran.is_all_answered(4), "{ran}");
    assert_eq!(server.stats().batches, [1, 2]);
    let cli = Cli::of_topics(2);
    let ran = cli.run(&[&via(&url, "chat")[..], &["--repeat", "3"]].concat());
    assert_eq!((ran.exit, ran.records.len()), (0, 6), "{ran}");
    assert_eq!(server.stats().batches, [2, 8]);
}

#[test]
fn what_cannot_go_through_a_batch_is_refused_with_the_reason() {
    let table: [(&[&str], &str); 6] = [
        (&["--api", "gemini"], "no batch endpoint for gemini"),
        (&["-o", "-"], "-o FILE"),
        (&["--api", "embeddings", "--per-call", "2"], "--per-call"),
        (&["--key-env", "A", "--key-env", "B"], "one key"),
        (&["--price", "1,1", "--max-cost", "1"], "--max-cost"),
        (&["--via", "post"], "batch"),
    ];
    for (more, reason) in table {
        let args = [
            &["--via", "batch", "--base-url", "http://127.0.0.1:9"],
            more,
        ]
        .concat();
        let args = if more[0] == "--via" {
            more.to_vec()
        } else {
            args
        };
        let ran = Cli::of_topics(1).env("A", "k1").env("B", "k2").run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains(reason),
            "{more:?}: {ran}"
        );
    }
    let two = "{\"prompt\":\"a\",\"model\":\"m1\"}\n{\"prompt\":\"b\",\"model\":\"m2\"}\n";
    let cli = Cli::of("");
    fs::write(cli.path("two.jsonl"), two).unwrap();
    let server = instant();
    let url = server.base_url();
    let ran = cli.paceline(&[&["run", "two.jsonl", "-m", "m"], &via(&url, "chat")[..]].concat());
    assert!(ran.exit == 2 && ran.stderr.contains("m1 and m2"), "{ran}");
}

#[test]
fn a_plan_tells_the_price_of_both_ways() {
    let plan = [
        "plan",
        "prompts.txt",
        "-m",
        "m",
        "--price",
        "1000,2000",
        "--via",
        "batch",
    ];
    let ran = Cli::of_topics(10).paceline(&plan);
    assert!(
        ran.stdout.contains("with --via batch, at half the price"),
        "{ran}"
    );
    assert!(ran.stdout.contains("within 24 hours"), "{ran}");
    let refused = Cli::of_topics(1).paceline(&[&plan[..], &["--api", "gemini"]].concat());
    assert_eq!(refused.exit, 2, "{refused}");
}
