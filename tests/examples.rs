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

// ---- The lessons ----------------------------------------------------------------------------------------------------

/// Each lesson, and its row of the table: articles, calls, 429s, largest wave, calls that came together, minutes to the
/// last call that was let in.
const LESSONS: [(&str, [&str; 6]); 7] = [
    ("1_naive", ["2", "200", "198", "4", "181", "0.1"]),
    ("2_fixed_sleep", ["200", "955", "755", "3", "126", "21.2"]),
    ("3_backoff", ["200", "1190", "990", "3", "167", "27.9"]),
    ("4_jitter", ["200", "1123", "923", "2", "96", "26.7"]),
    ("5_limiter", ["200", "200", "0", "1", "0", "20.0"]),
    ("6_queue_and_workers", ["200", "200", "0", "1", "0", "20.0"]),
    ("7_all_together", ["200", "234", "1", "1", "0", "23.4"]),
];

#[test]
fn each_lesson_shows_its_figures_below_those_of_the_lessons_before() {
    for (number, (name, _)) in LESSONS.iter().enumerate() {
        let printed = example(name).0;
        let table = printed
            .lines()
            .skip_while(|line| !line.starts_with("lesson"));
        let rows: Vec<_> = table.skip(1).take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), number + 1, "{printed}");
        for (row, (name, figures)) in rows.iter().zip(LESSONS) {
            let words: Vec<_> = row.trim_end_matches(" min").split_whitespace().collect();
            let (title, shown) = words.split_at(words.len() - 6);
            assert_eq!((title.join("_").as_str(), shown), (name, &figures[..]));
        }
    }
}

#[test]
fn each_lesson_asks_for_a_guess_first_and_answers_it_last() {
    let answers: [(&str, &[&str]); 7] = [
        ("1_naive", &["2 articles. 198 topics are lost."]),
        ("2_fixed_sleep", &["955 calls. 755 of them were refused."]),
        (
            "3_backoff",
            &["1190 calls. 990 of them were refused: more than with 5 s."],
        ),
        (
            "4_jitter",
            &[
                "U(0, 2^n): 96 calls came together, 923 of 1123 were refused.",
                "2^n + U(0, 1 s): 24 calls came together, 546 of 746 were refused.",
            ],
        ),
        (
            "5_limiter",
            &["0 are refused, and 200 articles come at the pace of the limit."],
        ),
        (
            "6_queue_and_workers",
            &[
                " 1 workers take 67 min",
                " 2 workers take 33 min",
                " 4 workers take 20 min",
                " 8 workers take 20 min",
                "16 workers take 20 min",
            ],
        ),
        (
            "7_all_together",
            &["234 calls for 200 articles. 1 was refused."],
        ),
    ];
    for (name, expected) in answers {
        let printed = example(name).0;
        let order = [
            "predict: ",
            "thread 1 |",
            "\nlesson ",
            "\nanswer: ",
            "\nnotice: ",
        ];
        let places = order.map(|words| printed.find(words).unwrap_or_else(|| panic!("{printed}")));
        assert!(places[0] == 0 && places.is_sorted(), "{printed}");
        let answers = printed
            .lines()
            .filter_map(|line| line.strip_prefix("answer: "));
        assert_eq!(answers.collect::<Vec<_>>(), expected, "{printed}");
    }
}

#[test]
fn the_strips_show_waves_until_there_is_a_limiter() {
    // Seconds in which two threads or more are refused, without the start.
    let waves = |name| {
        let printed = example(name).0;
        let rows = printed.lines().filter(|line| line.starts_with("thread "));
        let rows: Vec<Vec<char>> = rows.map(|row| row.chars().collect()).collect();
        assert_eq!(rows.len(), 4, "{printed}");
        let refused = |column: usize| rows.iter().filter(|row| row[column] == '#').count();
        (15..rows[0].len())
            .filter(|column| refused(*column) >= 2)
            .count()
    };
    let counted = LESSONS.map(|(name, _)| waves(name));
    assert_eq!(counted, [0, 14, 9, 6, 0, 0, 0]);
}

// ---- The exercises --------------------------------------------------------------------------------------------------

/// For each exercise, what the judge says of the exhibit.
const MUSEUM: [&[&str]; 6] = [
    &[
        "4 calls were refused (#), and 1 would do.",
        "everyone should have paused from 25 s to 50 s, and 3 calls came.",
        "the pause ends at 50 s, and the next call came only at 68 s.",
    ],
    &[
        "18 calls were refused (#), and 0 would do.",
        "20 calls came less than 6 s after the call before, the first of them after 0 s.",
    ],
    &[
        "546 calls were refused (#), and 1 would do.",
        "756 calls came less than 6 s after the call before, the first of them after 27 s.",
        "the last call came after 35.0 min; 26.0 min are enough.",
    ],
    &[
        "5 calls were refused (#), and 1 would do.",
        "4 calls came less than 6 s after the call before, the first of them after 50 s.",
    ],
    &["the pause ends at 51 s, and the next call came only at 77 s."],
    &[
        "topic 9 was rejected 6 times: it is wrong, and stays so.",
        "474 calls came when there was no credit: each worker needs one to notice.",
    ],
];

#[test]
fn an_unsolved_exercise_shows_what_is_wrong_with_the_exhibit_and_where_to_write() {
    for (number, complaints) in (1..).zip(MUSEUM) {
        let (status, printed) = run(&format!("exercise_{number}"), &[]);
        assert_eq!(status, Some(1), "{}", printed.0);
        let said: Vec<_> = printed
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("- "))
            .collect();
        assert_eq!(said, complaints);
        let where_to =
            format!("Yours is not there yet: write it at examples/exercise_{number}.rs:");
        let again = format!("Try again: cargo run --example exercise_{number}\n");
        for words in ["thread 4 |", "\nHint: ", &where_to, &again] {
            assert!(printed.0.contains(words), "{words}: {}", printed.0);
        }
        assert!(!printed.0.contains("panicked"), "{}", printed.0);
    }
}

#[test]
fn each_solution_is_right() {
    for number in 1..=6 {
        let (status, printed) = run("solutions", &[&number.to_string()]);
        assert_eq!(status, Some(0), "{}", printed.0);
        let right = format!("Right: exercise {number} is solved.\n");
        assert!(printed.0.ends_with(&right), "{}", printed.0);
    }
}

#[test]
fn a_solution_is_the_exercise_with_its_hole_filled() {
    let without_the_hole = |path: String| {
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once("// ---- yours: begin\n").unwrap();
        let (hole, after) = rest.split_once("// ---- yours: end\n").unwrap();
        let around = format!("{before}{after}").replace("mod classroom;\n\n", "");
        (around, hole.trim().to_owned())
    };
    for number in 1..=6 {
        let (exercise, hole) = without_the_hole(format!("examples/exercise_{number}.rs"));
        let (solution, code) = without_the_hole(format!("examples/solutions/exercise_{number}.rs"));
        assert_eq!(exercise, solution);
        assert!(hole == "todo!()" && !code.contains("todo!"), "{number}");
    }
}

// ---- The others -----------------------------------------------------------------------------------------------------

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
    let given_up = printed.find("\nbuoks: gave up at attempt 1 after ");
    let given_up = given_up.map(|at| &printed[at..]);
    let why = ": another attempt would fail as well\n";
    assert!(given_up.is_some_and(|text| text.contains(why)), "{printed}");
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
    let quota = Some((3, None));
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
