//! Lesson 4: let chance choose each sleep. The waves thin out; the 429s remain.
//!
//! `cargo run --example 4_jitter`

mod classroom;

use classroom::strip::{Score, predict, show};
use classroom::{Classroom, seed};
use paceline::{Backoff, Jitter};

/// Asks for all articles with these sleeps; each topic has its own chance.
fn ask_for_all(room: &Classroom, backoff: Backoff) {
    room.four_threads(|topics| {
        for topic in topics {
            let mut delays = backoff.delays(seed(topic));
            while room.call_api(topic).is_err() {
                room.sleep(delays.next().expect("there is always another"));
            }
        }
    });
}

fn answer(formula: &str, score: &Score) {
    let (together, refused, calls) = (score.together, score.refused, score.calls);
    println!(
        "answer: {formula}: {together} calls came together, {refused} of {calls} were refused."
    );
}

fn main() {
    predict(
        "Each sleep is now anything from 0 to 1, 2, 4 … 60 s. Are there fewer waves? Fewer 429s?",
    );
    let room = Classroom::open();
    ask_for_all(&room, Backoff::new().jitter(Jitter::Full));
    answer("U(0, 2^n)", &show("4 jitter", &room.seen()));
    let room = Classroom::open();
    ask_for_all(&room, Backoff::new()); // the article's jitter adds a second at most
    answer("2^n + U(0, 1 s)", &Score::of(&room.seen()));
    println!(
        "notice: without jitter, 167 calls came together. Chance parts the threads, but none of them"
    );
    println!(
        "knows the limit: they find it by running into it. And who has failed often sleeps longest."
    );
}
