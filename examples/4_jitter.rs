//! Lesson 4: let chance spread the delays. The waves dissolve; the 429s remain.
//!
//! `cargo run --example 4_jitter`

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
        .jitter(Jitter::Full);
    for seed in 0..3 {
        let delays: Vec<_> = backoff
            .delays(seed)
            .take(6)
            .map(|delay| delay.as_millis())
            .collect();
        println!("thread {seed} waits {delays:?} ms");
    }
    thread::scope(|scope| {
        for (seed, topic) in (0..).zip(&topics) {
            let (room, backoff) = (&room, &backoff);
            scope.spawn(move || {
                let mut delays = backoff.delays(seed);
                while room.call_api(topic).is_err() {
                    thread::sleep(delays.next().expect("there is always another"));
                }
            });
        }
    });
    room.notice("each thread has its own delays. But none knows the limit: they still find it by being refused.");
}
