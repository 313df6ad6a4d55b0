//! Resume as its users meet it: the same command again, after whatever happened in between.
//!
//! This file has what goes on without a question. [`changed`] has what is refused because the input and the results do
//! not belong together any more, [`stops`] the batches that stop of themselves, [`folder`] the answers as files of their
//! own, [`formats`] each way in which prompts are written down, [`shapes`] a kill in each.

#![cfg(feature = "cli")]

mod changed;
#[path = "../common/mod.rs"]
mod common;
mod folder;
mod formats;
mod shapes;
mod stops;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::tcp::{self, completion, response};
use common::{BRISK, Cli, Ran};
use crossbeam_channel::{Receiver, unbounded};

/// A folder of prompts, and a server that rejects those with the word "bad" in them until it is mended. No two of its
/// answers are the same.
pub(crate) struct Bench {
    pub(crate) cli: Cli,
    pub(crate) url: String,
    requests: Receiver<String>,
    mended: Arc<AtomicBool>,
}

impl Bench {
    pub(crate) fn of(prompts: impl AsRef<[u8]>) -> Self {
        Bench::with(Cli::of(prompts))
    }

    pub(crate) fn with(cli: Cli) -> Self {
        let (mended, (heard, requests)) = (Arc::new(AtomicBool::new(false)), unbounded());
        let is_mended = mended.clone();
        let url = tcp::answering(move |request| {
            heard.send(request.to_owned()).unwrap();
            if request.contains("bad") && !is_mended.load(Ordering::SeqCst) {
                return response("400 Bad Request", "That is bad.");
            }
            response(
                "200 OK",
                &completion(&format!("answer {}", rand::random::<u64>())),
            )
        });
        Bench {
            cli,
            url,
            requests,
            mended,
        }
    }

    /// Nothing is rejected any more.
    pub(crate) fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// Writes other prompts in place of the old ones.
    pub(crate) fn rewrite(&self, prompts: &str) {
        fs::write(self.cli.path("prompts.txt"), prompts).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.cli
            .run(&[&["--base-url", &self.url], BRISK, args].concat())
    }

    /// Runs with these words in place of `prompts.txt` and the model.
    pub(crate) fn run_on(&self, args: &[&str]) -> Ran {
        self.cli
            .paceline(&[&["run", "--base-url", &self.url], BRISK, args].concat())
    }

    /// What has been sent since this was last asked, whole requests.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

// ---- The same command again -----------------------------------------------------------------------------------------

#[test]
fn the_same_command_again_sends_nothing_and_says_what_is_done() {
    let bench = Bench::of("one\ntwo\nthree\n");
    let first = bench.run(&[]);
    assert!(
        first.is_all_answered(3) && !first.stderr.contains("already"),
        "{first}"
    );
    assert_eq!(bench.sent().len(), 3);
    let again = bench.run(&[]);
    assert_eq!(
        (again.exit, &again.records, bench.sent().len()),
        (0, &first.records, 0),
        "{again}"
    );
    assert!(
        again
            .stderr
            .contains("on record already: 3 answered, 0 failed\n"),
        "{again}"
    );
    assert!(
        again
            .stderr
            .contains("there was nothing left to send\n  results  prompts.results.jsonl ("),
        "{again}"
    );
}

#[test]
fn prompts_that_are_alike_are_each_answered() {
    let bench = Bench::of("same\nsame\n\nsame\n");
    let ran = bench.run(&[]);
    assert_eq!(
        (ran.exit, ran.ids()),
        (0, vec!["line-1", "line-2", "line-4"]),
        "{ran}"
    );
    let answers: BTreeSet<_> = ran
        .records
        .iter()
        .map(|record| record["text"].to_string())
        .collect();
    assert_eq!(
        (answers.len(), bench.sent().len()),
        (3, 3),
        "each has an answer of its own: {ran}"
    );
    assert_eq!((bench.run(&[]).exit, bench.sent().len()), (0, 0));
}

#[test]
fn a_limit_is_a_beginning_to_go_on_from() {
    let bench = Bench::with(Cli::of_topics(9));
    assert!(bench.run(&["--limit", "5"]).is_all_answered(5));
    let again = bench.run(&["--limit", "5"]);
    assert_eq!((again.exit, bench.sent().len()), (0, 5), "{again}");
    assert!(
        !again.stderr.contains("no longer in the input"),
        "those beyond the limit are not gone: {again}"
    );
    assert!(bench.run(&[]).is_all_answered(9));
    assert_eq!(bench.sent().len(), 4);
    let less = bench.run(&["--limit", "5"]);
    assert_eq!(
        (less.exit, less.records.len(), bench.sent().len()),
        (0, 9, 0),
        "{less}"
    );
    assert!(!less.stderr.contains("no longer in the input"), "{less}");
}

#[test]
fn prompts_may_be_added_at_the_end() {
    let bench = Bench::of("one\ntwo\n");
    assert!(bench.run(&[]).is_all_answered(2));
    bench.rewrite("one\ntwo\nthree\n");
    assert!(bench.run(&[]).is_all_answered(3));
    assert_eq!(bench.sent().len(), 3);
}

#[test]
fn prompts_that_are_gone_from_the_end_are_noted_and_their_records_stay() {
    let bench = Bench::of("one\ntwo\nthree\n");
    assert!(bench.run(&[]).is_all_answered(3));
    bench.rewrite("one\n");
    let ran = bench.run(&[]);
    assert_eq!(
        (ran.exit, ran.records.len(), bench.sent().len()),
        (0, 3, 3),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("2 prompts on record, but no longer in the input"),
        "{ran}"
    );
}

// ---- Failures of earlier runs ---------------------------------------------------------------------------------------

#[test]
fn prompts_that_failed_stay_failed_and_the_exit_status_counts_them() {
    let bench = Bench::of("one\nbad two\nthree\n");
    assert_eq!((bench.run(&[]).exit, bench.sent().len()), (1, 3));
    bench.mend();
    let again = bench.run(&[]);
    assert_eq!((again.exit, bench.sent().len()), (1, 0), "{again}");
    let said = "on record already: 2 answered, 1 failed; --retry-failed runs those again";
    assert!(again.stderr.contains(said), "{again}");
}

#[test]
fn retry_failed_runs_those_that_failed_and_no_others() {
    let bench = Bench::of("one\nbad two\nthree\nbad four\n");
    assert_eq!((bench.run(&[]).exit, bench.sent().len()), (1, 4));
    let still = bench.run(&["--retry-failed"]);
    assert_eq!(
        (still.exit, bench.sent().len(), still.records.len()),
        (1, 2, 6),
        "they may fail again: {still}"
    );
    assert!(
        still
            .stderr
            .contains("on record already: 2 answered, 2 failed, which run again"),
        "{still}"
    );
    assert!(
        still
            .stderr
            .contains("in all   2 answered, 2 failed, with earlier runs"),
        "{still}"
    );
    bench.mend();
    let ran = bench.run(&["--retry-failed"]);
    assert_eq!(
        (ran.exit, bench.sent().len(), ran.records.len()),
        (0, 2, 8),
        "{ran}"
    );
    let answered = ran.records[6..]
        .iter()
        .all(|record| record["text"].is_string());
    assert!(
        answered
            && ran
                .stderr
                .contains("in all   4 answered, 0 failed, with earlier runs"),
        "{ran}"
    );
    assert_eq!(
        (bench.run(&["--retry-failed"]).exit, bench.sent().len()),
        (0, 0),
        "the last record counts"
    );
}

// ---- The results file -----------------------------------------------------------------------------------------------

#[test]
fn a_torn_last_line_is_cut_off_and_said_and_its_prompt_is_run_again() {
    let bench = Bench::of("one\ntwo\nthree\n");
    assert!(bench.run(&["-w", "1"]).is_all_answered(3));
    let whole = bench.cli.results();
    fs::write(
        bench.cli.path("prompts.results.jsonl"),
        &whole[..whole.len() - 9],
    )
    .unwrap();
    let torn = whole.lines().last().unwrap().len() + 1 - 9;
    bench.sent();
    let ran = bench.run(&[]);
    assert!(ran.is_all_answered(3), "{ran}");
    let said = format!(
        "cut off an unfinished record ({torn} bytes) at the end of prompts.results.jsonl: its prompt will be sent again"
    );
    assert!(ran.stderr.contains(&said), "{said}: {ran}");
    let sent = bench.sent();
    assert!(sent.len() == 1 && sent[0].contains("three"), "{sent:?}");
}

#[test]
fn a_line_in_the_middle_that_is_no_record_is_refused_with_its_number() {
    let bench = Bench::of("one\ntwo\nthree\n");
    assert_eq!(
        (bench.run(&["-o", "r.jsonl"]).exit, bench.sent().len()),
        (0, 3)
    );
    let whole = fs::read_to_string(bench.cli.path("r.jsonl")).unwrap();
    let second = whole.lines().nth(1).unwrap();
    let table = [
        (&second[..second.len() - 9], "line 2 is not a whole record"),
        ("", "line 2 is not a whole record"),
        ("\0\0\0", "line 2 is not a whole record"),
        (
            r#"{"id":"batch_req_1","custom_id":"a"}"#,
            "line 2 was not written by paceline",
        ),
    ];
    for (bad, said) in table {
        let broken = whole.replacen(second, bad, 1);
        fs::write(bench.cli.path("r.jsonl"), &broken).unwrap();
        let ran = bench.run(&["-o", "r.jsonl"]);
        assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
        assert!(
            ran.stderr
                .contains(&format!("cannot go on with r.jsonl: {said}")),
            "{ran}"
        );
        assert_eq!(
            fs::read_to_string(bench.cli.path("r.jsonl")).unwrap(),
            broken,
            "the file is left as it is"
        );
    }
}

#[test]
fn a_file_that_is_no_results_file_is_refused_and_left_as_it_is() {
    let bench = Bench::of("one\n");
    for other in ["Dear diary,\ntoday", "Dear diary", "[1]\n"] {
        fs::write(bench.cli.path("diary.txt"), other).unwrap();
        let ran = bench.run(&["-o", "diary.txt"]);
        assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
        assert!(
            ran.stderr.contains("cannot go on with diary.txt: line 1 ")
                && ran.stderr.contains("help: write elsewhere with -o"),
            "{ran}"
        );
        assert_eq!(
            fs::read_to_string(bench.cli.path("diary.txt")).unwrap(),
            other
        );
    }
}

#[test]
fn results_are_never_written_over_the_prompts() {
    let bench = Bench::of("one\n");
    for (prompts, output) in [
        ("prompts.txt", "prompts.txt"),
        ("prompts.txt", "./prompts.txt"),
    ] {
        let ran = bench.run_on(&[prompts, "-m", "m", "--restart", "-o", output]);
        assert_eq!((ran.exit, bench.sent().len()), (2, 0), "{ran}");
        assert!(
            ran.stderr.contains(
                "prompts.txt holds the prompts\n  help: write the results elsewhere with -o"
            ),
            "{ran}"
        );
    }
    assert_eq!(
        fs::read_to_string(bench.cli.path("prompts.txt")).unwrap(),
        "one\n"
    );
}

#[test]
#[cfg(unix)]
fn results_that_are_deleted_while_it_runs_are_noticed_and_the_next_run_asks_again() {
    let cli = Cli::of("one\ntwo\n");
    let results = cli.path("prompts.results.jsonl");
    let was_deleted = Arc::new(AtomicBool::new(false));
    let url = tcp::answering(move |request| {
        if request.contains("two") && !was_deleted.swap(true, Ordering::SeqCst) {
            fs::remove_file(&results).unwrap();
        }
        response("200 OK", &completion("An answer."))
    });
    let args = [&["-w", "1", "--base-url", &url], BRISK].concat();
    let ran = cli.run(&args);
    assert_eq!(ran.exit, 3, "{ran}");
    let said = "prompts.results.jsonl was deleted, replaced or cut by another program";
    assert!(ran.stderr.contains(said), "{ran}");
    assert!(cli.run(&args).is_all_answered(2));
}

#[test]
fn a_second_run_on_the_same_results_refuses_until_the_first_has_ended() {
    let bench = Bench::of("one\ntwo\n");
    let hanging = tcp::answering(|_| {
        loop {
            std::thread::park();
        }
    });
    let mut first = bench.cli.start_run(&["--base-url", &hanging]);
    first.until("2 prompts to ");
    for options in [&[][..], &["--restart"], &["--keep"]] {
        let second = bench.run(options);
        assert_eq!((second.exit, bench.sent().len()), (2, 0), "{second}");
        let said = "another run is writing prompts.results.jsonl\n  help: wait until it ends, or write elsewhere with -o";
        assert!(second.stderr.contains(said), "{second}");
    }
    assert_eq!(bench.run(&["-o", "elsewhere.jsonl"]).exit, 0);
    first.kill();
    let third = bench.run(&[]);
    assert!(
        third.is_all_answered(2),
        "a lock does not outlive who holds it: {third}"
    );
}

/// The results that were put aside, by name.
fn put_aside(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.cli.path(""))
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut aside: Vec<_> = names
        .filter(|name| name.starts_with("prompts.results.2"))
        .collect();
    aside.sort_unstable();
    aside
}

#[test]
fn restart_begins_anew_and_overwrites_no_old_results_however_soon_it_is_used_again() {
    let bench = Bench::of("one\ntwo\n");
    let mut old = BTreeSet::new();
    for n in 0..4 {
        let ran = bench.run(&["--restart"]);
        assert!(ran.is_all_answered(2) && bench.sent().len() == 2, "{ran}");
        assert_eq!(
            ran.stderr
                .contains("the earlier results are kept as prompts.results.2"),
            n > 0,
            "{ran}"
        );
        let aside = put_aside(&bench);
        let kept = aside
            .iter()
            .map(|name| fs::read_to_string(bench.cli.path(name)).unwrap())
            .collect();
        assert_eq!(
            old, kept,
            "everything that was ever written is there: {aside:?}"
        );
        old.insert(bench.cli.results());
    }
    assert!(
        put_aside(&bench)
            .iter()
            .all(|name| name.ends_with(".jsonl"))
    );
    let whole = fs::canonicalize(bench.cli.path("prompts.results.jsonl")).unwrap();
    let ran = bench.run(&["--restart", "-o", whole.to_str().unwrap()]);
    let said = "the earlier results are kept as prompts.results.2";
    assert!(
        ran.stderr.contains(said),
        "a path is short from here: {ran}"
    );
}

#[test]
fn restart_without_old_results_is_a_run_like_any_other() {
    let bench = Bench::of("one\n");
    let ran = bench.run(&["--restart"]);
    assert!(
        ran.is_all_answered(1) && put_aside(&bench).is_empty(),
        "{ran}"
    );
}
