//! Each example runs, and prints what it is there to show.
//!
//! `cargo test` builds the examples beside the tests; this finds them there. Nothing here depends on how long they take.

#![cfg(feature = "cli")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use paceline::practice::{Faults, Reply, Server, ServerOptions};

/// What an example printed.
struct Printed(String);

/// Runs the example of this name to its end, which is a success.
fn example(name: &str) -> Printed {
    let (status, printed) = run(name, &[]);
    assert_eq!(status, Some(0), "{name}: {}", printed.0);
    printed
}

/// Runs the example of this name; returns its exit status and what it printed.
fn run(name: &str, args: &[&str]) -> (Option<i32>, Printed) {
    let mut command = Command::new(built(name));
    command.args(args);
    for proxy in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        command.env_remove(proxy);
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), Printed(format!("{text}{errors}")))
}

/// Examples lie in a folder beside that of the tests.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps");
    profile
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION)
}

impl Printed {
    /// The number after these words, at the beginning of a line.
    fn number(&self, words: &str) -> u64 {
        let found = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(words)?.strip_prefix(": "));
        found
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no {words:?} in {}", self.0))
    }

    /// How many calls were answered, and how many refused.
    fn calls(&self) -> (u64, u64) {
        assert!(
            self.0.contains("\nnotice: "),
            "it says what to notice: {}",
            self.0
        );
        (self.number("answered"), self.number("refused with 429"))
    }
}

#[test]
fn naive_calls_are_lost() {
    let printed = example("1_naive");
    let (answered, refused) = printed.calls();
    assert_eq!(answered + refused, 10);
    assert!(
        refused > 0 && printed.0.contains("lost, status 429"),
        "{}",
        printed.0
    );
}

#[test]
fn a_fixed_sleep_answers_all_after_many_refusals() {
    let (answered, refused) = example("2_fixed_sleep").calls();
    assert!(answered == 10 && refused >= 8, "{answered}, {refused}");
}

#[test]
fn a_backoff_doubles_and_answers_all() {
    let printed = example("3_backoff");
    assert!(
        printed
            .0
            .starts_with("after 429 number 1: 33 ms\nafter 429 number 2: 66 ms\n"),
        "{}",
        printed.0
    );
    assert_eq!(printed.calls().0, 10);
}

#[test]
fn jitter_gives_each_thread_its_own_delays() {
    let printed = example("4_jitter");
    let delays: Vec<_> = printed
        .0
        .lines()
        .take(3)
        .filter_map(|line| line.split_once("waits"))
        .collect();
    assert!(
        delays.len() == 3 && delays[0].1 != delays[1].1 && delays[1].1 != delays[2].1,
        "{delays:?}"
    );
    assert_eq!(printed.calls().0, 10);
}

/// On a busy machine a turn may come late, and the next call then come too early for the server; never many.
#[test]
fn who_takes_turns_is_hardly_ever_refused() {
    let (answered, refused) = example("5_limiter").calls();
    assert!(
        answered + refused == 10 && refused <= 3,
        "{answered}, {refused}"
    );
}

#[test]
fn four_workers_do_twenty_topics() {
    let printed = example("6_queue_and_workers");
    let (answered, refused) = printed.calls();
    assert!(
        answered + refused == 20 && refused <= 5,
        "{answered}, {refused}"
    );
    assert!(
        (1..=4).contains(&printed.number("threads that worked")),
        "{}",
        printed.0
    );
}

#[test]
fn all_together_every_topic_is_answered() {
    let printed = example("7_all_together");
    assert_eq!(printed.calls().0, 20);
    assert!(
        printed.0.contains(": attempt 1 failed\n") && !printed.0.contains("lost"),
        "{}",
        printed.0
    );
}

#[test]
fn around_a_client_of_your_own_a_refusal_holds_everyone() {
    let printed = example("embed_ureq");
    let (answered, refused) = printed.calls();
    assert_eq!((answered, printed.number("lost")), (12, 0));
    assert!(refused > 0, "it was told twice the pace: {refused}");
}

#[test]
fn around_a_closure_each_failure_has_a_verdict() {
    let printed = example("embed_closure").0;
    let told = printed
        .matches("books: the database is locked, again in")
        .count();
    assert_eq!(told, 2, "{printed}");
    assert!(printed.contains("\nbooks: 42 rows\n"), "{printed}");
    let given_up =
        "\nbuoks: gave up after 1 attempt in 0.0 s: another attempt would fail as well\n";
    assert!(printed.contains(given_up), "{printed}");
}

#[test]
fn a_pool_among_other_threads_is_called_off_by_one_of_them() {
    let printed = example("embed_threads");
    assert_eq!(printed.number("done"), 10);
    assert!(
        printed.number("taken from the queue, but without a permit") <= 10,
        "{}",
        printed.0
    );
}

#[test]
fn two_pools_keep_one_pace() {
    let printed = example("embed_pools");
    assert_eq!(
        (
            printed.number("permits for summaries"),
            printed.number("permits for translations")
        ),
        (10, 10)
    );
    assert!(
        printed.0.contains("never closer than 20 ms: true\n"),
        "{}",
        printed.0
    );
}

#[test]
fn a_batch_inside_a_program_tells_its_progress() {
    let printed = example("embed_progress");
    assert!(
        printed.0.matches(" of 20 done\n").count() == 20 && printed.0.contains("20 of 20 done\n"),
        "{}",
        printed.0
    );
    for words in ["answered", "answers that were seen", "records"] {
        assert_eq!(printed.number(words), 20, "{words}: {}", printed.0);
    }
}

#[test]
fn a_pace_of_your_own_ends_the_batch() {
    let printed = example("embed_pace");
    assert!(
        printed
            .0
            .starts_with("stopped: the budget of calls is spent\n"),
        "{}",
        printed.0
    );
    let (answered, refused) = printed.calls();
    assert_eq!(answered + refused, 8);
}

#[test]
fn an_api_of_ones_own_reads_its_answers_and_says_when_calls_come_too_fast() {
    let printed = example("own_api");
    assert_eq!(printed.number("translated"), 3, "{}", printed.0);
    assert_eq!(printed.number("too fast"), 2, "{}", printed.0);
}

/// Runs `examples/pattern.rs` with twelve prompts against a server.
fn pattern(server: &Server) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let prompts = folder.path().join("prompts.txt");
    let topics: String = (1..=12).map(|n| format!("topic {n}\n")).collect();
    std::fs::write(&prompts, topics).unwrap();
    let url = format!("{}/chat/completions", server.base_url());
    let (status, printed) = run("pattern", &[prompts.to_str().unwrap(), &url, "1200"]);
    (status, printed.0)
}

#[test]
fn the_pattern_in_one_file_answers_all_and_retries() {
    let server = Server::start().unwrap();
    server.next(Reply::rate_limited(Duration::ZERO));
    server.next(Reply::error(503).header("retry-after", "0"));
    let (status, printed) = pattern(&server);
    assert_eq!(status, Some(0), "{printed}");
    assert_eq!(
        printed.matches(r#""text":"[practice]"#).count(),
        12,
        "{printed}"
    );
    assert_eq!(server.stats().arrivals, 14);
}

#[test]
fn the_pattern_in_one_file_stops_when_there_is_no_credit_left() {
    let quota = Some(3);
    let faults = Faults {
        quota,
        ..Faults::default()
    };
    let server = Server::start_with(ServerOptions {
        faults,
        ..ServerOptions::default()
    })
    .unwrap();
    let (status, printed) = pattern(&server);
    assert_eq!(status, Some(3), "{printed}");
    assert_eq!(printed.matches(r#""text":"#).count(), 3, "{printed}");
    assert!(printed.contains("insufficient_quota"), "{printed}");
    let calls = server.stats().arrivals;
    assert!(
        (4..=3 + 4).contains(&calls),
        "at most one a worker: {calls}"
    );
}

#[test]
fn the_pattern_in_one_file_is_short_and_needs_no_library() {
    let source = include_str!("../examples/pattern.rs");
    assert!(source.lines().count() < 120);
    assert!(!source.contains("paceline::"));
}
