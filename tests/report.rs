//! `paceline report` over the built binary: a run that keeps its pace, and files of which none is to be believed.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::Read;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};

use common::{Cli, Ran};
use paceline::practice::{Limits, Server, ServerOptions};
use serde_json::{Value, json};

/// A record of one call that left so many milliseconds after ten o'clock.
fn record(line: u64, key: u64, at: u64) -> String {
    let started_at = format!("2026-11-24T10:00:{:02}.{:03}Z", at / 1000, at % 1000);
    let attempt = json!({"n": 1, "key": key, "started_at": started_at, "took_ms": 300, "outcome": "answered"});
    let (id, custom_id) = (
        format!("pl_{line}_ca978112ca1bbdca"),
        format!("line-{line}"),
    );
    // The order of the fields is that of our records, which begin with their id.
    format!(
        r#"{{"id":"{id}","custom_id":"{custom_id}","text":"text","attempts":[{attempt}]}}{}"#,
        "\n"
    )
}

/// A folder with these results in it.
fn with_results(results: &str) -> Cli {
    let cli = Cli::of("");
    fs::write(cli.path("r.jsonl"), results).unwrap();
    cli
}

fn report(results: &str, options: &[&str]) -> Ran {
    with_results(results).paceline(&[&["report", "r.jsonl"], options].concat())
}

fn numbers(ran: &Ran) -> Value {
    assert_eq!(ran.exit, 0, "{ran}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

#[test]
fn a_run_at_its_limit_makes_no_call_too_soon() {
    let limits = Limits {
        rpm: NonZeroU32::new(1200),
        ..Limits::default()
    };
    let server = Server::start_with(ServerOptions {
        limits,
        ..ServerOptions::default()
    })
    .unwrap();
    let cli = Cli::of_topics(20);
    let ran = cli.run(&["--rpm", "1200", "--base-url", &server.base_url()]);
    assert!(ran.is_all_answered(20), "{ran}");
    // The records name the limit.
    let ran = cli.paceline(&["report", "prompts.results.jsonl"]);
    assert!(ran.exit == 0 && ran.stderr.is_empty(), "{ran}");
    for line in [
        "  answered          20\n",
        "  too soon          0 calls\n",
        "  over in any 60 s  0 calls\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}{ran}");
    }
    let numbers =
        numbers(&cli.paceline(&["report", "prompts.results.jsonl", "--rpm", "1200", "--json"]));
    assert!(
        numbers["keys"][0]["smallest_gap"]["ms"].as_u64() >= Some(49),
        "{numbers}"
    );
    assert!(
        numbers["tokens"]["output"].as_u64() > Some(20) && numbers["tokens"]["stated_by"] == 20,
        "{numbers}"
    );
}

#[test]
fn calls_that_came_too_soon_are_counted_and_the_soonest_is_named() {
    let results = [
        (3, 0, 1300),
        (1, 0, 0),
        (2, 0, 900),
        (4, 1, 1310),
        (5, 0, 2000),
    ];
    let results: String = results
        .iter()
        .map(|(line, key, at)| record(*line, *key, *at))
        .collect();
    let ran = report(&results, &["--rpm", "60"]);
    assert_eq!(ran.exit, 0, "{ran}");
    let [key_0, key_1] = ["Pace of key 0", "Pace of key 1"].map(|head| {
        let section = ran
            .stdout
            .split(head)
            .nth(1)
            .and_then(|rest| rest.split("\n\n").next());
        section.unwrap_or_else(|| panic!("no {head}: {ran}"))
    });
    assert!(
        key_0.contains("smallest gap      400 ms, from line-2 to line-3"),
        "{ran}"
    );
    assert!(
        key_0.contains("too soon          2 calls; the soonest is line-5, 300 ms early"),
        "{ran}"
    );
    assert!(
        key_1.contains("too soon          0 calls"),
        "another key, another limit: {ran}"
    );
    let numbers = numbers(&report(
        &results,
        &["--rpm", "60", "--burst", "2", "--json"],
    ));
    assert_eq!(numbers["limit"], json!({"calls_a_minute": 60, "burst": 2}));
    assert_eq!(
        numbers["keys"][0]["excess"],
        json!({"too_soon": 0, "worst": null, "most_over_in_a_minute": 0})
    );
}

#[test]
fn without_a_limit_there_are_only_facts() {
    let results = record(1, 0, 0) + &record(2, 0, 7);
    let ran = report(&results, &[]);
    assert!(
        ran.stdout.contains("7 ms, from line-1 to line-2") && !ran.stdout.contains("too soon"),
        "{ran}"
    );
    let ran = report(&results, &["--burst", "2"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("--rpm"),
        "a burst of what? {ran}"
    );
}

#[test]
fn results_that_are_being_written_are_reported_as_far_as_they_are_whole() {
    let growing = record(1, 0, 0) + "{\"id\":\"pl_2_";
    let ran = report(&growing, &[]);
    assert!(
        ran.exit == 0 && ran.stdout.contains("  answered          1\n"),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("the last line of the results is unfinished (12 bytes)"),
        "{ran}"
    );
    assert_eq!(report(&growing, &["-q"]).stderr, "");
    let ran = report("", &[]);
    assert_eq!(
        (ran.exit, ran.stdout.as_str()),
        (0, "no records yet\n"),
        "a run may have just begun: {ran}"
    );
}

#[test]
fn results_that_cannot_be_used_are_status_2_and_name_the_line() {
    let ran = report(
        &(record(1, 0, 0) + "{\"id\":7}\n" + &record(2, 0, 0)),
        &["--json"],
    );
    assert_eq!((ran.exit, ran.stdout.as_str()), (2, ""), "{ran}");
    assert!(
        ran.stderr
            .contains("r.jsonl: line 2 is not a whole record (invalid type"),
        "{ran}"
    );
    let ran = with_results("").paceline(&["report", "none.jsonl"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("cannot read results from none.jsonl"),
        "{ran}"
    );
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let cli = with_results(&record(1, 0, 0));
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command
        .arg("report")
        .arg(cli.path("r.jsonl"))
        .env_remove("RUST_LOG");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
#[cfg(target_os = "linux")]
fn a_report_that_cannot_be_written_is_status_3() {
    let cli = with_results(&record(1, 0, 0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let output = command
        .arg("report")
        .arg(cli.path("r.jsonl"))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}

// ---- As a page ------------------------------------------------------------------------------------------------------

#[test]
fn a_page_is_written_whole_in_place_of_an_older_one() {
    let cli = with_results(&record(1, 0, 0));
    fs::write(cli.path("p.html"), "old").unwrap();
    let ran = cli.paceline(&["report", "r.jsonl", "--html", "p.html"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "{ran}");
    assert!(ran.stderr.contains("p.html: open it in a browser"), "{ran}");
    let page = fs::read_to_string(cli.path("p.html")).unwrap();
    assert!(
        page.starts_with("<!doctype html>") && page.ends_with("</html>\n") && page.contains("<svg")
    );
    let files = fs::read_dir(cli.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        !files
            .into_iter()
            .any(|name| name.to_string_lossy().ends_with(".part")),
        "no draft is left"
    );
    let ran = cli.paceline(&["report", "r.jsonl", "--html", "-"]);
    assert_eq!((ran.exit, ran.stdout == page), (0, true), "{ran}");
}

#[test]
fn a_page_does_not_take_the_place_of_its_results_and_says_where_it_cannot_be_written() {
    let cli = with_results(&record(1, 0, 0));
    let ran = cli.paceline(&["report", "r.jsonl", "--html", "r.jsonl"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("name another file"),
        "{ran}"
    );
    assert_eq!(
        fs::read_to_string(cli.path("r.jsonl")).unwrap(),
        record(1, 0, 0)
    );
    let ran = cli.paceline(&["report", "r.jsonl", "--html", "no/such/p.html"]);
    assert!(
        ran.exit == 3 && ran.stderr.contains("cannot write to no/such/p.html: "),
        "{ran}"
    );
    let ran = cli.paceline(&["report", "r.jsonl", "--html", "p.html", "--json"]);
    assert_eq!(ran.exit, 2, "{ran}");
}
