//! Batches that stop of themselves, for a reason that can be put right: exit status 3, and the rest can be resumed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use crossbeam_channel::bounded;

use super::common::tcp::{self, completion, response};
use super::{BRISK, Bench, Cli};

const RESUME: &str = "run the same command again; it continues where it stopped";

#[test]
fn halt_stops_after_so_many_failures() {
    let bench = Bench::of("one\nbad two\nthree\nbad four\nfive\n");
    let ran = bench.run(&["-w", "1", "--halt", "2"]);
    assert_eq!(
        (ran.exit, ran.records.len(), bench.sent().len()),
        (3, 4, 4),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("stopped: 2 of 4 prompts have failed, and --halt is 2"),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("their records say why") && ran.stderr.contains(RESUME),
        "{ran}"
    );
    let again = bench.run(&["-w", "1", "--halt", "2"]);
    assert_eq!(
        (again.exit, bench.sent().len()),
        (1, 1),
        "failures of earlier runs are not counted again: {again}"
    );
    bench.mend();
    assert_eq!(
        (bench.run(&["--retry-failed"]).exit, bench.sent().len()),
        (0, 2)
    );
}

#[test]
fn halt_stops_at_a_share_of_failures_once_it_means_something() {
    let prompts: String = (1..=40)
        .map(|n| format!("{} {n}\n", if n % 10 == 1 { "bad" } else { "good" }))
        .collect();
    let bench = Bench::of(&prompts);
    let ran = bench.run(&["-w", "1", "--halt", "10%"]);
    assert_eq!(
        (ran.exit, ran.records.len(), bench.sent().len()),
        (3, 20, 20),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("2 of 20 prompts have failed, and --halt is 10%"),
        "{ran}"
    );
    bench.mend();
    let ran = bench.run(&["-w", "1", "--halt", "10%", "--retry-failed"]);
    assert_eq!((ran.exit, bench.sent().len()), (0, 22), "{ran}");
}

#[test]
fn a_refused_key_stops_the_batch_and_a_good_one_goes_on_with_it() {
    let (calls, is_good) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (all_in_flight, (stopped, has_stopped)) = (Arc::new(Barrier::new(4)), bounded(3));
    let (count, good) = (calls.clone(), is_good.clone());
    let url = tcp::answering(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        if !good.load(Ordering::SeqCst) {
            all_in_flight.wait();
            if request.contains("topic 2") {
                return response("401 Unauthorized", "");
            }
            has_stopped.recv().unwrap();
        }
        response("200 OK", &completion("Kept."))
    });
    let cli = Cli::of_topics(50);
    let mut run = cli.start_run(&[&["-v", "-w", "4", "--base-url", &url], BRISK].concat());
    run.until("stopping: status 401");
    (0..3).for_each(|_| stopped.send(()).unwrap());
    let ran = run.end();
    assert_eq!(
        (ran.exit, ran.ids()),
        (3, vec!["line-1", "line-3", "line-4"]),
        "the calls in flight are kept: {ran}"
    );
    assert!(
        ran.stderr.contains("stopped: status 401, key_refused") && ran.stderr.contains(RESUME),
        "{ran}"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 4, "and no others were made");
    is_good.store(true, Ordering::SeqCst);
    assert!(
        cli.run(&[&["--base-url", &url], BRISK].concat())
            .is_all_answered(50)
    );
    assert_eq!(
        calls.load(Ordering::SeqCst),
        51,
        "of all prompts only the refused one was sent twice"
    );
}

#[test]
fn what_goes_to_standard_output_is_not_said_to_be_resumable() {
    let (cli, url) = (
        Cli::of_topics(9),
        tcp::answering(|_| response("401 Unauthorized", "")),
    );
    let ran = cli.run(&["-o", "-", "--base-url", &url]);
    assert!(
        ran.exit == 3 && ran.stderr.contains("  then: start again, with -o FILE"),
        "{ran}"
    );
    assert!(!ran.stderr.contains("run the same command again"), "{ran}");
}
