//! Lesson 1: four threads ask as fast as they can. There is a limit, and nobody has heard of it.
//!
//! `cargo run --example 1_naive`

mod classroom;

use classroom::{Classroom, strip};

fn main() {
    strip::predict(
        "The server accepts 10 calls a minute. How many of 200 articles do four threads get?",
    );
    let room = Classroom::open();
    room.four_threads(|topics| {
        for topic in topics {
            let _article_or_nothing = room.call_api(topic); // a 429 is not tried again
        }
    });
    let score = strip::show("1 naive", &room.seen());
    println!(
        "answer: {} articles. {} topics are lost.",
        score.articles, score.refused
    );
    println!("notice: the program ends within seconds. A 429 does not say never, it says not yet.");
}
