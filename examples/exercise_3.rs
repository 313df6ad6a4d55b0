//! Exercise 3: the retry that goes past the limiter.
//!
//! Each topic takes a permit, and the limiter is perfect. But now and then the server fails with a 503, the call is
//! repeated, and the repeated call has no permit. It comes between two others, and is one too many.
//! Write [`ask_yours`] so that it never happens. `cargo run --example exercise_3`

#![allow(dead_code, unused)] // until it is solved

mod classroom;

use std::process::ExitCode;

use crate::classroom::judge::{self, Exercise};
use crate::classroom::{Behaviour, CALLS_A_MINUTE, Classroom, SECOND, seed};
use paceline::{Backoff, Rate, RateLimiter};

/// The exhibit. Asks for an article until it is there.
fn ask_past_the_limiter(room: &Classroom, limiter: &RateLimiter, topic: &str) {
    let mut delays = Backoff::new().delays(seed(topic));
    let _permit = limiter.acquire();
    while room.call(topic).is_err() {
        room.sleep(delays.next().expect("there is always another"));
    }
}

/// The same, and each call has its permit.
fn ask_yours(room: &Classroom, limiter: &RateLimiter, topic: &str) {
    // ---- yours: begin
    todo!()
    // ---- yours: end
}

fn ask_for_all(room: &Classroom, ask: fn(&Classroom, &RateLimiter, &str)) {
    let limiter = RateLimiter::builder()
        .rate(Rate::per_minute(CALLS_A_MINUTE))
        .clock(room.clock.clone())
        .build();
    room.four_threads(|topics| topics.iter().for_each(|topic| ask(room, &limiter, topic)));
}

pub(crate) fn main() -> ExitCode {
    let exercise = Exercise {
        number: 3,
        behaviour: Behaviour {
            fails_every: Some(5),
            stranger_at: Some(90 * SECOND),
            ..Behaviour::default()
        },
        rules: |seen| {
            let rules = [
                judge::answers_all(seen, 200),
                judge::refused_at_most(seen, 1),
                judge::keeps_the_interval(seen),
                judge::last_call_by(seen, 26.0),
            ];
            rules.into_iter().flatten().collect()
        },
        hint: "the permit belongs to the call, not to the topic. (A 429 is news for the permit: rate_limited.)",
    };
    exercise.run(
        |room| ask_for_all(room, ask_past_the_limiter),
        |room| ask_for_all(room, ask_yours),
    )
}
