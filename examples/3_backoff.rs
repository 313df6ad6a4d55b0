//! Lesson 3: sleep twice as long after each 429. The waves come less often, and are as high as before.
//!
//! `cargo run --example 3_backoff`

mod classroom;

use classroom::{Classroom, strip};
use paceline::{Backoff, Jitter};

fn main() {
    strip::predict("Now the sleeps double: 1, 2, 4 … 60 s. Are fewer calls refused than with 5 s?");
    let room = Classroom::open();
    let backoff = Backoff::new().jitter(Jitter::None);
    room.four_threads(|topics| {
        for topic in topics {
            let mut delays = backoff.delays(0);
            while room.call_api(topic).is_err() {
                room.sleep(delays.next().expect("there is always another"));
            }
        }
    });
    let score = strip::show("3 backoff", &room.seen());
    println!(
        "answer: {} calls. {} of them were refused: more than with 5 s.",
        score.calls, score.refused
    );
    println!(
        "notice: all threads double alike, so the waves stay. Each new topic begins again at 1 s, which is"
    );
    println!(
        "too short; and a thread that has lost often sleeps while the limit is free. That costs time."
    );
}
