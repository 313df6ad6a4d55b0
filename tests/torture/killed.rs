//! SIGKILL, at any moment.

use std::fs::OpenOptions;
use std::io::Write;

use paceline::practice::Faults;
use rand::{Rng, RngExt};

use super::{Books, PROMPTS, WORKERS, chance};

const KILLS: u64 = 40;
/// The most lines of its log that a run may say before it is killed.
const LONGEST: u64 = 32;

#[test]
fn a_run_that_is_killed_forty_times_loses_nothing_and_repeats_at_most_the_calls_in_flight() {
    let share = 0.04;
    let mut books = Books::open(Faults {
        error_500: share,
        error_503: share,
        reset: share,
        truncated: share,
        bad_json: share,
        ..Faults::default()
    });
    let (url, mut chance) = (books.url(), chance(0));
    let args = books.command(&url, &["-v", "--out-dir", "answers"]);
    for _ in 0..KILLS {
        let mut run = books.cli.start_run(&args);
        let ended = (0..chance.random_range(0..=LONGEST)).any(|_| run.line().is_none());
        run.kill();
        books.balance(WORKERS);
        if ended {
            break;
        }
        if chance.random() {
            leave_half_a_record(&books, &mut chance);
        }
    }
    let ran = books.cli.run(&args);
    assert_eq!(ran.exit, 0, "{ran}");
    let files = std::fs::read_dir(books.cli.path("answers"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let answers = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert_eq!(
        answers.count() as u64,
        PROMPTS,
        "each answer is a file, also those of the runs that were killed"
    );
    assert!(books.close("SIGKILL") <= KILLS * WORKERS);
}

/// What a power cut would leave: the beginning of a record.
fn leave_half_a_record(books: &Books, chance: &mut impl Rng) {
    let results = books.cli.results();
    let Some(record) = results.lines().last().filter(|record| record.is_ascii()) else {
        return;
    };
    let half = &record[..chance.random_range(0..=record.len())];
    let mut file = OpenOptions::new()
        .append(true)
        .open(books.cli.path("prompts.results.jsonl"))
        .unwrap();
    file.write_all(half.as_bytes()).unwrap();
}
