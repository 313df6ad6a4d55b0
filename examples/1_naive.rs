//! Lesson 1: ask for everything at once, and lose most of it.
//!
//! `cargo run --example 1_naive`

mod classroom;

use std::thread;

use classroom::{Classroom, topics};

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    thread::scope(|scope| {
        for topic in &topics {
            let room = &room;
            scope.spawn(move || match room.call_api(topic) {
                Ok(_article) => println!("{topic}: an article"),
                Err(status) => println!("{topic}: lost, status {status}"),
            });
        }
    });
    room.notice(
        "of ten calls at once, the limit lets one or two in. Without a retry, the other articles are lost.",
    );
}
