//! Exercise 1: the limiter that sleeps under the lock.
//!
//! It is the article's own, and it looks right: one call an interval, whatever happens. Then the server is overloaded,
//! says "wait", and nobody can tell the limiter: some thread always sleeps while it holds the lock.
//! Write [`Yours`] so that a pause binds everyone at once. `cargo run --example exercise_1`

#![allow(dead_code, unused)] // until it is solved

mod classroom;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::classroom::judge::{self, Exercise, Limiter};
use crate::classroom::{Behaviour, Classroom, INTERVAL, Lock, SECOND};
use paceline::clock::{Clock, SimClock};

struct SleepsUnderTheLock {
    clock: SimClock,
    /// When the next call may go.
    next: Lock<Instant>,
}

impl Limiter for SleepsUnderTheLock {
    fn wait(&self) {
        let mut next = self.next.lock();
        self.clock.sleep_until(*next);
        *next = self.clock.now() + INTERVAL;
    }

    fn pause(&self, time: Duration) {
        let mut next = self.next.lock(); // waits until nobody sleeps
        *next = (*next).max(self.clock.now() + time);
    }
}

struct Yours {
    clock: SimClock,
    /// When the next call may go.
    next: Lock<Instant>,
}

impl Limiter for Yours {
    fn wait(&self) {
        // ---- yours: begin
        todo!()
        // ---- yours: end
    }

    fn pause(&self, time: Duration) {
        let mut next = self.next.lock();
        *next = (*next).max(self.clock.now() + time);
    }
}

/// Four threads ask for all articles. A 429 pauses everyone, and is asked again.
fn ask_for_all(room: &Classroom, limiter: &impl Limiter) {
    let ask = |topic: &str| {
        limiter.wait();
        let answer = room.call(topic);
        if let Err(failure) = answer {
            limiter.pause(failure.retry_after.unwrap_or(SECOND));
        }
        answer.is_ok()
    };
    room.four_threads(|topics| topics.iter().for_each(|topic| while !ask(topic) {}));
}

pub(crate) fn main() -> ExitCode {
    let exercise = Exercise {
        number: 1,
        behaviour: Behaviour {
            overloaded: 20 * SECOND..50 * SECOND,
            ..Behaviour::default()
        },
        rules: |seen| {
            let rules = [
                judge::answers_all(seen, 200),
                judge::refused_at_most(seen, 1),
                judge::keeps_the_interval(seen),
            ];
            let rules = rules.into_iter().flatten();
            // The first 429 is there before second 25.
            rules
                .chain(judge::pause_lasts(seen, 25 * SECOND, 50 * SECOND))
                .collect()
        },
        hint: "take the lock, look, let go of it; sleep; then look again: a pause may have begun meanwhile.",
    };
    let limiter = |room: &Classroom| Lock::new(&room.clock, room.clock.now());
    exercise.run(
        |room| {
            let (clock, next) = (room.clock.clone(), limiter(room));
            ask_for_all(room, &SleepsUnderTheLock { clock, next });
        },
        |room| {
            let (clock, next) = (room.clock.clone(), limiter(room));
            ask_for_all(room, &Yours { clock, next });
        },
    )
}
