//! Lesson 5: wait for a permit before each call, and there is no 429.
//!
//! `cargo run --example 5_limiter`

mod classroom;

use std::thread;

use classroom::{Classroom, RPM, topics};
use paceline::RateLimiter;

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    let limiter = RateLimiter::per_minute(RPM);
    thread::scope(|scope| {
        for topic in &topics {
            let (room, limiter) = (&room, &limiter);
            scope.spawn(move || {
                limiter.wait(); // no lock is held while it sleeps
                match room.call_api(topic) {
                    Ok(_article) => println!("{topic}: an article"),
                    Err(status) => println!("{topic}: lost, status {status}"),
                }
            });
        }
    });
    room.notice(
        "one call each 100 ms, in order of arrival. But it takes a thread for every topic.",
    );
}
