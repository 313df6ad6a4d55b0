//! Lesson 6: a queue, and as many workers as there are calls in flight.
//!
//! `cargo run --example 6_queue_and_workers`

mod classroom;

use std::ops::ControlFlow;
use std::time::Duration;

use classroom::strip::{predict, show};
use classroom::{Behaviour, CALLS_A_MINUTE, Classroom, SECOND, WORKERS, topics};
use paceline::{Pool, Rate, RateLimiter};

/// Asks for all articles with this many workers.
fn ask_for_all(room: &Classroom, workers: usize) -> Duration {
    let rate = Rate::per_minute(CALLS_A_MINUTE);
    let limiter = RateLimiter::builder()
        .rate(rate)
        .clock(room.clock.clone())
        .build();
    let write = |topic: String| {
        let _permit = limiter.acquire();
        room.call_api(&topic)
    };
    // The queue hands each topic to the next worker that is free; the articles come to this thread.
    let pool = Pool::new(workers).clock(room.clock.clone());
    let _ = pool.for_each(topics(), write, |_number, _article| {
        ControlFlow::<()>::Continue(())
    });
    room.clock.elapsed()
}

fn main() {
    predict(
        "An article of 1,000 words takes 20 s, not 2. How long do 1, 2, 4, 8 and 16 workers take?",
    );
    let room = Classroom::open();
    ask_for_all(&room, WORKERS);
    show("6 queue and workers", &room.seen());
    for workers in [1, 2, 4, 8, 16] {
        let slow = Behaviour {
            answer_takes: 20 * SECOND,
            ..Behaviour::default()
        };
        let took = ask_for_all(&Classroom::with(slow), workers);
        println!(
            "answer: {workers:>2} workers take {:>2.0} min",
            took.as_secs_f64() / 60.0
        );
    }
    println!(
        "notice: calls in flight = rate x latency = 10 / 60 s x 20 s = 3.3. Fewer workers leave permits"
    );
    println!(
        "unused; more only wait in line. The strip is lesson 5's: a queue changes nothing for the server."
    );
}
