//! Signals that a run may answer: the first lets the calls in flight finish, the second ends it at once.

use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;

use crossbeam_channel::unbounded;
use paceline::practice::Faults;
use rand::RngExt;

use super::common::started::Started;
use super::common::tcp::{self, completion, response};
use super::common::{BRISK, Cli};
use super::{Books, chance};

/// What Ctrl-C sends, and what `kill`, a shutdown and a scheduler send.
const SIGNALS: [&str; 2] = ["INT", "TERM"];
const RESUME: &str =
    "stopped: interrupted\n  then: run the same command again; it continues where it stopped\n";

#[test]
fn a_run_that_is_interrupted_again_and_again_loses_nothing_and_repeats_nothing() {
    let share = 0.05;
    let mut books = Books::open(Faults {
        error_500: share,
        reset: share,
        bad_json: share,
        ..Faults::default()
    });
    let (url, mut chance) = (books.url(), chance(1));
    let args = books.command(&url, &["-v"]);
    let exit = loop {
        let mut run = books.cli.start_run(&args);
        run.until("500 prompts to ");
        let _ = (0..chance.random_range(0..=60)).any(|_| run.line().is_none());
        run.signal(SIGNALS[chance.random_range(0..2)]);
        let ran = run.end();
        if ran.exit != 130 {
            break ran.exit;
        }
        assert!(ran.stderr.ends_with(RESUME), "{ran}");
        books.balance(0);
    };
    assert_eq!((exit, books.close("SIGINT and SIGTERM")), (0, 0));
}

// ---- Calls in flight ------------------------------------------------------------------------------------------------

#[test]
fn the_first_signal_waits_for_the_call_in_flight_and_says_so() {
    for signal in SIGNALS {
        let ((tell, called), (go, gone)) = (unbounded(), unbounded());
        let url = tcp::answering(move |_| {
            tell.send(()).unwrap();
            gone.recv().unwrap();
            kept()
        });
        let cli = Cli::of_topics(9);
        let mut run = cli.start_run(&["-w", "1", "--base-url", &url]);
        called.recv().unwrap();
        run.signal(signal);
        run.until("stopping: the calls in flight may finish (Ctrl-C again to end at once)");
        go.send(()).unwrap();
        let ran = run.end();
        assert_eq!((ran.exit, ran.ids()), (130, vec!["line-1"]), "{ran}");
        assert!(
            ran.stderr.contains(": 1 answered") && ran.stderr.ends_with(RESUME),
            "{ran}"
        );
        assert!(called.is_empty(), "nothing more is sent");
    }
}

#[test]
fn the_second_signal_ends_at_once_though_the_server_hangs() {
    for (first, second) in [("INT", "INT"), ("TERM", "TERM"), ("INT", "TERM")] {
        let (tell, called) = unbounded();
        let url = tcp::answering(move |_| {
            tell.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        let cli = Cli::of_topics(9);
        let mut run = cli.start_run(&[&["-w", "4", "--base-url", &url], BRISK].concat());
        (0..4).for_each(|_| called.recv().unwrap());
        run.signal(first);
        run.until("stopping: ");
        run.signal(second);
        let ran = run.end();
        assert_eq!((ran.exit, ran.records.len()), (130, 0), "{ran}");
        let last = "ended at once: the calls in flight are lost\n  \
                    then: run the same command again; it continues where it stopped\n";
        assert!(ran.stderr.ends_with(last), "{ran}");
    }
}

#[test]
fn signals_end_a_run_whose_standard_error_nobody_reads() {
    let (tell, called) = unbounded();
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        loop {
            thread::park();
        }
    });
    let cli = Cli::of_topics(9);
    // As many bytes as a pipe holds.
    let mut child = cli.start_after(
        "head -c 65536 /dev/zero >&2",
        &["run", "prompts.txt", "-m", "m", "-q", "--base-url", &url],
    );
    called.recv().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        kill.unwrap();
    };
    assert_eq!(status.code(), Some(130));
}

/// Under `nohup`, for example. At a terminal, a hang-up is a signal like the others.
#[test]
fn a_hang_up_is_no_reason_to_stop_for_who_has_no_terminal() {
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        kept()
    });
    let cli = Cli::of_topics(9);
    let run = cli.start_run(&[&["-w", "1", "--base-url", &url], BRISK].concat());
    called.recv().unwrap();
    run.signal("HUP");
    (0..9).for_each(|_| go.send(()).unwrap());
    let ran = run.end();
    assert!(
        ran.is_all_answered(9) && !ran.stderr.contains("stopping"),
        "{ran}"
    );
}

fn kept() -> String {
    response("200 OK", &completion("Kept."))
}

// ---- Waits, all of them longer than the patience of the test --------------------------------------------------------

/// Makes four workers wait, and sends each signal to them. The server answers when all four have called. They wait when
/// the log has this number of lines with these words.
#[track_caller]
fn assert_a_signal_ends(options: &[&str], answer: fn() -> String, waiting: (usize, &str)) {
    for signal in SIGNALS {
        let all_have_called = Arc::new(Barrier::new(4));
        let url = tcp::answering(move |_| {
            all_have_called.wait();
            answer()
        });
        let cli = Cli::of_topics(9);
        let mut run =
            cli.start_run(&[&["-v", "-w", "4", "--base-url", &url], BRISK, options].concat());
        (0..waiting.0).for_each(|_| run.until(waiting.1));
        assert_ends_by(signal, run, 0);
    }
}

/// The run ends with this number of answers.
#[track_caller]
fn assert_ends_by(signal: &str, run: Started<'_>, answered: usize) {
    run.signal(signal);
    let ran = run.end();
    assert_eq!((ran.exit, ran.records.len()), (130, answered), "{ran}");
    assert!(ran.stderr.ends_with(RESUME), "{ran}");
}

#[test]
fn a_signal_ends_a_long_hold() {
    let refusal = || response("429 Too Many Requests\r\nretry-after: 600", "");
    assert_a_signal_ends(&[], refusal, (4, "(again in 10 min"));
}

#[test]
fn a_signal_ends_a_long_backoff() {
    let failure = || response("500 Internal Server Error", "");
    let delays = ["--base-delay", "10m", "--max-delay", "10m"];
    assert_a_signal_ends(&delays, failure, (4, "(again in 10 min"));
}

#[test]
fn a_signal_ends_the_wait_for_a_turn() {
    for signal in SIGNALS {
        let (url, cli) = (tcp::answering(|_| kept()), Cli::of_topics(9));
        let mut run = cli.start_run(&["-v", "-w", "4", "--rpm", "1", "--base-url", &url]);
        run.until("  line-1  200  ");
        assert_ends_by(signal, run, 1);
    }
}

/// Runs what comes through a pipe that stays open: one prompt, so far.
fn start_on_a_pipe<'a>(cli: &'a Cli, path: &str, url: &str) -> Started<'a> {
    cli.start(&[
        "run",
        path,
        "-o",
        "prompts.results.jsonl",
        "-m",
        "m",
        "-v",
        "--base-url",
        url,
    ])
}

#[test]
fn a_signal_ends_the_wait_for_the_next_line_of_a_pipe() {
    for (signal, path) in [
        ("INT", "-"),
        ("TERM", "-"),
        ("INT", "/dev/stdin"),
        ("TERM", "/dev/stdin"),
    ] {
        let (url, cli) = (tcp::answering(|_| kept()), Cli::of("").stdin("one\n"));
        let mut run = start_on_a_pipe(&cli, path, &url);
        run.until("  line-1  200  ");
        assert_ends_by(signal, run, 1);
    }
}

#[test]
fn a_batch_that_stops_does_not_wait_for_the_next_line_of_a_pipe_either() {
    for path in ["-", "/dev/stdin"] {
        let url = tcp::answering(|_| response("401 Unauthorized", ""));
        let cli = Cli::of("").stdin("one\n");
        let ran = start_on_a_pipe(&cli, path, &url).end();
        assert!(
            ran.exit == 3 && ran.stderr.contains("error: stopped: status 401"),
            "{ran}"
        );
    }
}
