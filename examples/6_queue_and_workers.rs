//! Lesson 6: a queue and a few workers. The number of threads no longer grows with the topics.
//!
//! `cargo run --example 6_queue_and_workers`

mod classroom;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::thread;

use classroom::{Classroom, RPM, topics};
use paceline::{Pool, Rate, RateLimiter};

fn main() {
    let room = Classroom::open();
    let limiter = RateLimiter::new(Rate::per_minute(RPM.get()));
    let topics = topics(20);
    let write = |topic: &String| {
        let _permit = limiter.acquire();
        (thread::current().id(), room.call_api(topic))
    };
    let mut threads = HashSet::new();
    let _ = Pool::new(4).for_each(&topics, write, |number, done| {
        let (thread, article) = done.expect("no task panics");
        threads.insert(thread);
        if let Err(status) = article {
            println!("{}: lost, status {status}", topics[number]);
        }
        ControlFlow::<()>::Continue(())
    });
    println!("threads that worked: {}", threads.len());
    room.notice("four threads do twenty topics at the limit: more would only wait in line.");
}
