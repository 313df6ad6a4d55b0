//! `--out-dir`: each answer as a file of its own.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};

use crossbeam_channel::bounded;

use super::common::Ran;
use super::common::tcp::{self, completion, response};
use super::{BRISK, Bench, Cli};

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// Every answer on record is in its file, and there are no other files.
#[track_caller]
fn assert_holds_all(cli: &Cli, ran: &Ran, expected: &[&str]) {
    assert_eq!(names(&cli.path("answers")), expected, "{ran}");
    for record in ran
        .records
        .iter()
        .filter(|record| record["text"].is_string())
    {
        let line: u64 = record["custom_id"].as_str().unwrap()["line-".len()..]
            .parse()
            .unwrap();
        let name = expected
            .iter()
            .find(|name| name.starts_with(&format!("{line:04}-")))
            .unwrap();
        let text = fs::read_to_string(cli.path("answers").join(name)).unwrap();
        assert_eq!(text, format!("{}\n", record["text"].as_str().unwrap()));
    }
}

#[test]
fn answers_of_earlier_runs_are_written_too_and_failures_are_not() {
    let bench = Bench::of("one\nbad two\nthree\n");
    assert_eq!(bench.run(&["--limit", "2"]).exit, 1);
    let ran = bench.run(&["--out-dir", "answers"]);
    assert_eq!((ran.exit, bench.sent().len()), (1, 3), "{ran}");
    assert_holds_all(&bench.cli, &ran, &["0001-one.md", "0003-three.md"]);
    fs::remove_file(bench.cli.path("answers/0001-one.md")).unwrap();
    let again = bench.run(&["--out-dir", "answers"]);
    assert_eq!(bench.sent().len(), 0, "{again}");
    assert_holds_all(&bench.cli, &again, &["0001-one.md", "0003-three.md"]);
}

#[test]
fn no_prompt_chooses_a_place_outside_the_folder() {
    let bench = Bench::of("../../escape\n/etc/passwd\n..\nC:\\x\n");
    let before = names(&bench.cli.path(""));
    let ran = bench.run(&["--out-dir", "answers"]);
    assert!(ran.is_all_answered(4), "{ran}");
    let expected = [
        "0001-escape.md",
        "0002-etc-passwd.md",
        "0003-prompt.md",
        "0004-c-x.md",
    ];
    assert_holds_all(&bench.cli, &ran, &expected);
    let mut after = [
        before,
        vec!["answers".to_owned(), "prompts.results.jsonl".to_owned()],
    ]
    .concat();
    after.sort_unstable();
    assert_eq!(names(&bench.cli.path("")), after);
}

#[test]
fn a_folder_that_cannot_be_is_named_before_anything_is_sent() {
    let bench = Bench::of("one\n");
    let ran = bench.run(&["--out-dir", "prompts.txt"]);
    assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
    assert!(ran.stderr.contains("cannot write to prompts.txt"), "{ran}");
    assert!(!bench.cli.path("prompts.results.jsonl").exists());
}

#[test]
fn an_answer_that_cannot_be_a_file_stops_the_batch_and_costs_no_other_answer() {
    let (both_in_flight, (stopped, has_stopped)) = (Arc::new(Barrier::new(2)), bounded(1));
    let url = tcp::answering(move |request| {
        both_in_flight.wait();
        if request.contains("topic 2") {
            has_stopped.recv().unwrap();
        }
        response("200 OK", &completion("Kept."))
    });
    let cli = Cli::of_topics(2);
    fs::create_dir_all(cli.path("answers/0001-topic-1.md/in-the-way")).unwrap();
    let args = [
        &["-v", "-w", "2", "--out-dir", "answers", "--base-url", &url],
        BRISK,
    ]
    .concat();
    let mut run = cli.start_run(&args);
    run.until("stopping: cannot write to answers/0001-topic-1.md");
    stopped.send(()).unwrap();
    let ran = run.end();
    assert_eq!(
        (ran.exit, ran.ids()),
        (3, vec!["line-1", "line-2"]),
        "both are paid for and on record: {ran}"
    );
    assert!(ran.stderr.contains(": 2 answered"), "{ran}");
    assert!(
        ran.stderr
            .contains("stopped: cannot write to answers/0001-topic-1.md")
            && ran.stderr.contains("--out-dir"),
        "{ran}"
    );

    fs::remove_dir_all(cli.path("answers/0001-topic-1.md")).unwrap();
    let ran = cli.run(&args);
    assert!(
        ran.is_all_answered(2) && !ran.stderr.contains("  200  "),
        "nothing is sent again: {ran}"
    );
    assert_holds_all(&cli, &ran, &["0001-topic-1.md", "0002-topic-2.md"]);
}
