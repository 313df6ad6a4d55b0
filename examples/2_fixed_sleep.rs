//! Lesson 2: after a 429, sleep five seconds and ask again. It works, in waves.
//!
//! `cargo run --example 2_fixed_sleep`

mod classroom;

use classroom::{Classroom, SECOND, strip};

fn main() {
    strip::predict(
        "Now a refused call is repeated after 5 s. How many calls do 200 articles take?",
    );
    let room = Classroom::open();
    room.four_threads(|topics| {
        for topic in topics {
            while room.call_api(topic).is_err() {
                room.sleep(5 * SECOND);
            }
        }
    });
    let score = strip::show("2 fixed sleep", &room.seen());
    println!(
        "answer: {} calls. {} of them were refused.",
        score.calls, score.refused
    );
    println!(
        "notice: threads that were refused together sleep equally long, and come back together:"
    );
    println!(
        "the columns of # are the waves. One call of a wave gets in, the others were for nothing."
    );
}
