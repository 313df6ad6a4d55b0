//! Results and an input that do not belong together any more: refused before anything is sent, with what changed and
//! with the two ways on.

use std::fs;

use super::common::tcp::{self, completion, response};
use super::{BRISK, Bench, Cli, Ran};

/// The run was refused before anything was sent, said all this, and left the results as they were.
#[track_caller]
fn assert_refused(bench: &Bench, ran: &Ran, results: &str, said: &[&str]) {
    assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
    for words in said.iter().chain(&[
        "with --keep",
        "with --restart, which keeps the old file aside",
    ]) {
        assert!(ran.stderr.contains(words), "{words:?} is not in {ran}");
    }
    assert_eq!(bench.cli.results(), results);
}

#[test]
fn a_changed_prompt_is_refused_and_shown() {
    let bench = Bench::of("one\ntwo\nthree\n");
    assert!(bench.run(&[]).is_all_answered(3));
    let (results, _) = (bench.cli.results(), bench.sent());
    bench.rewrite("one\ntwice\nthree\nfour\n");
    let said = [
        "1 of the 3 prompts on record in prompts.results.jsonl would be sent differently now:\n",
        "1 prompt: another text\n",
        "line 2: the prompt was \"two\" and is \"twice\"\n",
    ];
    assert_refused(&bench, &bench.run(&[]), &results, &said);
}

#[test]
fn a_line_put_in_changes_every_prompt_after_it() {
    let bench = Bench::of("one\ntwo\nthree\n");
    assert!(bench.run(&[]).is_all_answered(3));
    let (results, _) = (bench.cli.results(), bench.sent());
    bench.rewrite("zero\none\ntwo\nthree\n");
    let said = [
        "3 of the 3 prompts",
        "line 1: the prompt was \"one\" and is \"zero\"",
    ];
    assert_refused(&bench, &bench.run(&[]), &results, &said);
}

#[test]
fn another_model_system_message_parameter_or_template_is_refused() {
    let bench = Bench::of("one\ntwo\n");
    fs::write(
        bench.cli.path("formal.txt"),
        "Would you kindly explain {{prompt}}?",
    )
    .unwrap();
    fs::write(bench.cli.path("same.txt"), "{{prompt}}").unwrap();
    assert!(bench.run(&[]).is_all_answered(2));
    let (results, _) = (bench.cli.results(), bench.sent());
    let setting = "2 prompts: the same text, but another model, system message or parameter\n";
    let table: [(&[&str], &str); 6] = [
        (&["-m", "other"], setting),
        (&["-m", "m", "--system", "Be brief."], setting),
        (&["-m", "m", "--temperature", "0"], setting),
        (&["-m", "m", "--max-tokens", "9"], setting),
        (&["-m", "m", "--param", "top_p=0.5"], setting),
        (
            &["-m", "m", "--template", "formal.txt"],
            "line 1: the prompt was \"one\" and is \"Would you kindly explain one?\"",
        ),
    ];
    for (options, said) in table {
        let ran = bench.run_on(&[&["prompts.txt"], options].concat());
        let count = "2 of the 2 prompts on record in prompts.results.jsonl would be sent differently now:\n";
        assert_refused(&bench, &ran, &results, &[count, said]);
    }
    let ran = bench.run(&[
        "--template",
        "same.txt",
        "-w",
        "3",
        "--burst",
        "2",
        "--max-retries",
        "9",
    ]);
    assert_eq!(
        (ran.exit, bench.sent().len()),
        (0, 0),
        "what does not change a request changes nothing: {ran}"
    );
}

#[test]
fn keep_takes_the_old_answers_as_they_are_and_runs_what_is_new() {
    let bench = Bench::of("one\ntwo\n");
    let old = bench.run(&[]);
    assert!(old.is_all_answered(2) && bench.sent().len() == 2);
    bench.rewrite("one\ntwice\nthree\n");
    let ran = bench.cli.paceline(&[
        "run",
        "prompts.txt",
        "-m",
        "other",
        "--keep",
        "--base-url",
        &bench.url,
    ]);
    let sent = bench.sent();
    assert!(
        sent.len() == 1 && sent[0].contains("three") && sent[0].contains("other"),
        "{sent:?}"
    );
    assert!(
        ran.is_all_answered(3) && ran.records[..2] == old.records,
        "{ran}"
    );
    let without = bench.run(&[]);
    assert_eq!(
        (without.exit, bench.sent().len()),
        (2, 0),
        "it is asked for each time: {without}"
    );
}

#[test]
fn restart_asks_everything_anew() {
    let bench = Bench::of("one\n");
    let old = bench.run(&[]);
    assert!(old.is_all_answered(1));
    bench.rewrite("two\n");
    let ran = bench.run(&["--restart"]);
    assert!(
        ran.is_all_answered(1) && ran.record("line-1")["prompt"] == "two",
        "{ran}"
    );
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn a_prompt_that_failed_and_was_changed_is_sent_again() {
    let bench = Bench::of("one\nbad two\nbad three\n");
    assert_eq!((bench.run(&[]).exit, bench.sent().len()), (1, 3));
    bench.rewrite("one\ntwo\nbad three\n");
    let ran = bench.run(&[]);
    assert_eq!((ran.exit, bench.sent().len()), (1, 1), "{ran}");
    assert!(
        ran.stderr.contains(
            "1 prompt failed before, with another text, model or parameter: sent again now"
        ),
        "{ran}"
    );
    assert_eq!(ran.record("line-2")["prompt"], "bad two", "kept");
    assert_eq!(ran.records.last().unwrap()["prompt"], "two");
}

/// Whatever was wrong with all prompts, the same command goes on once it is mended.
#[test]
fn the_same_command_goes_on_once_the_model_the_address_or_a_parameter_is_right() {
    let is_right = |request: &str| {
        request.contains("POST /v1/") && request.contains("\"m\"") && !request.contains("top_p")
    };
    let url = tcp::answering(move |request| match is_right(request) {
        true => response("200 OK", &completion("Because.")),
        false => response(
            "404 Not Found",
            r#"{"error":{"code":"not_found","message":"No such model."}}"#,
        ),
    });
    let run = |cli: &Cli, base: &str, model: &str, options: &[&str]| {
        let command = ["run", "prompts.txt", "-m", model, "--base-url", base];
        cli.paceline(&[&command[..], BRISK, options].concat())
    };
    let elsewhere = format!("{url}/elsewhere");
    let table: [(&str, &str, &[&str]); 3] = [
        (&url, "wrong", &[]),
        (&elsewhere, "m", &[]),
        (&url, "m", &["--param", "top_p=2"]),
    ];
    for (base, model, options) in table {
        let cli = Cli::of_topics(60);
        let wrong = run(&cli, base, model, options);
        assert_eq!(wrong.exit, 3, "{wrong}");
        for words in [
            "the first 20 prompts all failed for one reason; ",
            " were not sent\n  404 not_found: No such model.\n  help: ",
            "then: run the same command",
        ] {
            assert!(wrong.stderr.contains(words), "{words:?} is not in {wrong}");
        }
        assert!(wrong.records.len() < 40, "{wrong}");
        let right = run(&cli, &url, "m", &[]);
        assert_eq!(right.exit, 0, "{right}");
        let answered = right.records.iter().filter(|r| r["text"].is_string());
        assert_eq!(answered.count(), 60, "{right}");
    }
}

#[test]
fn keep_going_sends_the_rest_though_all_fail_alike() {
    let bench = Bench::of("bad\n".repeat(30));
    let ran = bench.run(&["--keep-going"]);
    assert_eq!((ran.exit, bench.sent().len()), (1, 30), "{ran}");
    assert!(
        ran.stderr
            .contains("  help: does the server take this request?"),
        "{ran}"
    );
}

#[test]
fn the_setting_that_is_another_is_named() {
    let bench = Bench::of("one\n");
    fs::write(bench.cli.path("t.txt"), "Explain {{prompt}}.").unwrap();
    assert!(bench.run(&["--system", "Be brief."]).is_all_answered(1));
    let (results, _) = (bench.cli.results(), bench.sent());
    let table: [(&[&str], &str); 5] = [
        (
            &["-m", "other", "--system", "Be brief."],
            "the model was \"m\" and is \"other\"\n",
        ),
        (&["-m", "m"], "; there is no system message any more\n"),
        (
            &["-m", "m", "--system", "Be long."],
            "; another system message\n",
        ),
        (
            &["-m", "m", "--system", "Be brief.", "--temperature", "0"],
            "; there was no parameter\n",
        ),
        (
            &["-m", "m", "--system", "Be brief.", "--template", "t.txt"],
            "; there was no template\n",
        ),
    ];
    for (options, said) in table {
        let ran = bench.run_on(&[&["prompts.txt"], options].concat());
        assert_refused(&bench, &ran, &results, &[said]);
    }
    assert!(!results.contains("brief"), "only a digest is stored");
}

#[test]
fn standard_input_resumes_and_stops_at_the_line_that_changed() {
    let args = ["-", "-m", "m", "-w", "1", "-o", "prompts.results.jsonl"];
    let mut bench = Bench::with(Cli::of("").stdin("one\ntwo\nthree"));
    assert!(bench.run_on(&args).is_all_answered(3));
    assert_eq!(bench.sent().len(), 3);
    assert_eq!((bench.run_on(&args).exit, bench.sent().len()), (0, 0));
    bench.cli = bench.cli.stdin("one\ntwo\nthird\nfour");
    let ran = bench.run_on(&args);
    assert_eq!(
        (ran.exit, bench.sent().len(), ran.records.len()),
        (3, 0, 3),
        "{ran}"
    );
    for words in [
        "stopped: line 3 is on record with another request",
        "has changed",
        "--keep",
        "--restart",
    ] {
        assert!(ran.stderr.contains(words), "{words:?} is not in {ran}");
    }
    let ran = bench.run_on(&[&args[..], &["--keep"]].concat());
    assert!(ran.is_all_answered(4) && bench.sent().len() == 1, "{ran}");
}
