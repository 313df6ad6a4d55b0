//! Lesson 6: a queue and a few workers. The threads no longer grow with the topics.
//!
//! `cargo run --example 6_queue_and_workers`

mod classroom;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::thread;

use classroom::{Classroom, RPM, topics};
use paceline::{RateLimiter, pool};

fn main() {
    let room = Classroom::open();
    let limiter = RateLimiter::per_minute(RPM);
    let workers = NonZeroUsize::new(4).unwrap();
    let mut threads = HashSet::new();
    thread::scope(|scope| {
        let articles = pool::run(scope, workers, topics(20), |topic| {
            limiter.wait();
            (thread::current().id(), room.call_api(topic))
        });
        for (topic, done) in articles {
            let (thread, article) =
                done.expect("a panic is an error of one topic, and there is none");
            threads.insert(thread);
            if let Err(status) = article {
                println!("{topic}: lost, status {status}");
            }
        }
    });
    println!("threads that worked: {}", threads.len());
    room.notice(
        "four threads handle twenty topics at the rate of the limit. More threads would only wait in line.",
    );
}
