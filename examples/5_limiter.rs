//! Lesson 5: take a permit before each call, and there is nothing to refuse.
//!
//! `cargo run --example 5_limiter`

mod classroom;

use classroom::{CALLS_A_MINUTE, Classroom, strip};
use paceline::{Rate, RateLimiter};

fn main() {
    strip::predict(
        "Each call waits for a permit, one every 6 s, and nothing is retried. How many are refused?",
    );
    let room = Classroom::open();
    let limiter = RateLimiter::builder()
        .rate(Rate::per_minute(CALLS_A_MINUTE))
        .clock(room.clock.clone())
        .build();
    room.four_threads(|topics| {
        for topic in topics {
            let _permit = limiter.acquire(); // no lock is held while it sleeps
            let _article = room.call_api(topic);
        }
    });
    let score = strip::show("5 limiter", &room.seen());
    println!(
        "answer: {} are refused, and {} articles come at the pace of the limit.",
        score.refused, score.articles
    );
    println!(
        "notice: a thread that knows the limit need not run into it. The permits come in order of arrival,"
    );
    println!("so the strip is a staircase: nobody is left behind.");
}
