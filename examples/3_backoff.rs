//! Lesson 3: sleep twice as long after each 429. There are fewer calls, but they still come in waves.
//!
//! `cargo run --example 3_backoff`

mod classroom;

use std::thread;

use classroom::{Classroom, STORY_SECOND, topics};
use paceline::{Backoff, Jitter};

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    let backoff = Backoff {
        base: STORY_SECOND * 2,
        max: STORY_SECOND * 60,
        jitter: Jitter::None,
    };
    for (n, delay) in backoff.delays(0).take(6).enumerate() {
        println!("after refusal {}: {} ms", n + 1, delay.as_millis());
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
    room.notice("all threads have the same delays, so the waves stay. They only come less often.");
}
