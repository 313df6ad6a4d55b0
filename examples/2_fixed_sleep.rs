//! Lesson 2: try again after a fixed sleep. It works, in waves.
//!
//! `cargo run --example 2_fixed_sleep`

mod classroom;

use std::thread;

use classroom::{Classroom, STORY_SECOND, topics};

fn main() {
    let room = Classroom::open();
    let topics = topics(10);
    thread::scope(|scope| {
        for topic in &topics {
            let room = &room;
            scope.spawn(move || {
                while room.call_api(topic).is_err() {
                    thread::sleep(STORY_SECOND * 5);
                }
            });
        }
    });
    room.notice(
        "all are answered, but calls that failed together come back together, wave after wave.",
    );
}
