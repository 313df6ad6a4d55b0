//! What the server saw: a strip with a row for each thread and a column for each second, and a table.

use std::time::Duration;

use super::{SECOND, WORKERS};

/// A call that the server saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Since the start.
    pub(crate) at: Duration,
    /// The thread that called.
    pub(crate) row: usize,
    /// What became of it: one of [`MARKS`].
    pub(crate) mark: char,
}

/// The characters of a strip. Where several calls fall into one column, the last of these is shown.
const MARKS: [(char, &str); 5] = [
    ('.', "answered"),
    ('x', "failed (503)"),
    ('!', "rejected (400)"),
    ('$', "no credit left (429)"),
    ('#', "refused (429)"),
];

/// Calls this close together are a wave.
const WAVE: Duration = Duration::from_millis(100);

/// Seconds in a strip.
const COLUMNS: usize = 72;

const HEAD: &str = "lesson               articles   calls    429s    wave  together  last call in";

/// The table's rows so far, to compare with. Each lesson's own row is counted; a test checks that they agree.
const ROWS: [&str; 6] = [
    "1 naive                     2     200     198       4       181        0.1 min",
    "2 fixed sleep             200     955     755       3       126       21.2 min",
    "3 backoff                 200    1190     990       3       167       27.9 min",
    "4 jitter                  200    1123     923       2        96       26.7 min",
    "5 limiter                 200     200       0       1         0       20.0 min",
    "6 queue and workers       200     200       0       1         0       20.0 min",
];

/// What all calls come to.
pub(crate) struct Score {
    pub(crate) articles: usize,
    pub(crate) calls: usize,
    pub(crate) refused: usize,
    /// The most calls within a tenth of a second, without each thread's first: those come together because the
    /// program starts.
    pub(crate) wave: usize,
    /// How many calls came within a tenth of a second of another.
    pub(crate) together: usize,
    /// When the last call arrived that was answered.
    pub(crate) last: Duration,
}

impl Score {
    pub(crate) fn of(seen: &[Seen]) -> Self {
        let answered = || seen.iter().filter(|call| call.mark == '.');
        Score {
            articles: answered().count(),
            calls: seen.len(),
            refused: seen.iter().filter(|call| call.mark == '#').count(),
            wave: largest_wave(seen),
            together: together(seen),
            last: answered().map(|call| call.at).max().unwrap_or_default(),
        }
    }

    fn row(&self, lesson: &str) -> String {
        let Score {
            articles,
            calls,
            refused,
            wave,
            together,
            last,
        } = self;
        let minutes = last.as_secs_f64() / 60.0;
        format!(
            "{lesson:<21}{articles:>8}{calls:>8}{refused:>8}{wave:>8}{together:>10}{minutes:>11.1} min"
        )
    }
}

fn largest_wave(seen: &[Seen]) -> usize {
    let later = seen.get(WORKERS..).unwrap_or_default();
    let wave = |first: &Seen| {
        let near = |call: &&Seen| call.at >= first.at && call.at - first.at < WAVE;
        later.iter().filter(near).count()
    };
    later.iter().map(wave).max().unwrap_or(0)
}

fn together(seen: &[Seen]) -> usize {
    let is_near = |call: &&Seen| {
        let near = seen
            .iter()
            .filter(|other| call.at.abs_diff(other.at) < WAVE);
        near.count() > 1
    };
    seen.iter().filter(is_near).count()
}

/// Asks the reader for a guess, before anything is shown.
pub(crate) fn predict(question: &str) {
    println!("predict: {question}\n(Make a guess before you read on.)\n");
}

/// Shows what the server saw in a lesson, beside the lessons before it.
pub(crate) fn show(lesson: &str, seen: &[Seen]) -> Score {
    println!("{}", strip(seen, Duration::ZERO));
    let score = Score::of(seen);
    let number = lesson
        .bytes()
        .next()
        .map_or(1, |digit| usize::from(digit - b'0'));
    println!("{HEAD}");
    for row in &ROWS[..number - 1] {
        println!("{row}");
    }
    println!("{}\n", score.row(lesson));
    score
}

/// Draws the calls of 72 seconds.
pub(crate) fn strip(seen: &[Seen], from: Duration) -> String {
    let rows = seen.iter().map(|call| call.row + 1).max().unwrap_or(0);
    let mut drawn = legend(seen);
    for row in 0..rows {
        let calls: Vec<_> = seen.iter().filter(|call| call.row == row).collect();
        let columns = (0..COLUMNS as u32).map(|n| mark_at(&calls, from + SECOND * n));
        drawn += &format!("thread {} |{}|\n", row + 1, columns.collect::<String>());
    }
    drawn + &ruler(from)
}

fn legend(seen: &[Seen]) -> String {
    let occurs = |mark: &char| seen.iter().any(|call| call.mark == *mark);
    let used = MARKS.iter().filter(|(mark, _)| occurs(mark));
    let used: Vec<_> = used
        .map(|(mark, words)| format!("{mark} {words}"))
        .collect();
    format!("a column a second:  {}\n", used.join("  "))
}

/// What a thread's second looks like.
fn mark_at(calls: &[&Seen], second: Duration) -> char {
    let here = calls
        .iter()
        .filter(|call| (second..second + SECOND).contains(&call.at));
    let rank = |mark: char| MARKS.iter().position(|known| known.0 == mark);
    here.map(|call| call.mark)
        .max_by_key(|mark| rank(*mark))
        .unwrap_or(' ')
}

/// The seconds below the columns: one mark in ten.
fn ruler(from: Duration) -> String {
    let marks = (0..COLUMNS as u64).step_by(10);
    let marks: String = marks
        .map(|n| format!("{:<10}", format!("{} s", from.as_secs() + n)))
        .collect();
    format!("          {}\n", marks.trim_end())
}
