//! Lesson 3: sleep twice as long after each 429. Fewer calls, and still in waves.
//!
//! `cargo run --example 3_backoff`

mod classroom;

use std::thread;

use classroom::{Classroom, STORY_SECOND, topics};
use paceline::{Backoff, Jitter};

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    let backoff = Backoff::new()
        .base(STORY_SECOND * 2)
        .max(STORY_SECOND * 60)
        .jitter(Jitter::None);
    for (n, delay) in backoff.delays(0).take(6).enumerate() {
        println!("after 429 number {}: {} ms", n + 1, delay.as_millis());
    }
    thread::scope(|scope| {
        for topic in &topics {
            let (room, backoff) = (&room, &backoff);
            scope.spawn(move || {
                let mut delays = backoff.delays(0);
                while room.call_api(topic).is_err() {
                    thread::sleep(delays.next().expect("there is always another"));
                }
            });
        }
    });
    room.notice(
        "the delays are the same for all, so the waves stay together; they only come less often.",
    );
}
