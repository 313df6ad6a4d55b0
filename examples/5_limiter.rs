//! Lesson 5: take a permit before each call, and there is nothing to refuse.
//!
//! `cargo run --example 5_limiter`

mod classroom;

use std::thread;

use classroom::{Classroom, RPM, topics};
use paceline::{Rate, RateLimiter};

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    let limiter = RateLimiter::new(Rate::per_minute(RPM.get()));
    thread::scope(|scope| {
        for topic in &topics {
            let (room, limiter) = (&room, &limiter);
            scope.spawn(move || {
                let _permit = limiter.acquire(); // no lock is held while it sleeps
                match room.call_api(topic) {
                    Ok(_article) => println!("{topic}: an article"),
                    Err(status) => println!("{topic}: lost, status {status}"),
                }
            });
        }
    });
    room.notice("one call each 100 ms, in order of arrival. But every topic takes a thread.");
}
