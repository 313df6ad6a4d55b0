//! Exercise 4: everyone wakes at once.
//!
//! This limiter sleeps without its lock, and a pause binds even those who sleep already. But they all sleep until the same
//! instant: the end of the pause. Then four threads call together, where one call is allowed.
//! Write [`Yours`] so that the calls go on one interval apart. `cargo run --example exercise_4`

#![allow(dead_code, unused)] // until it is solved

mod classroom;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::classroom::judge::{self, Exercise, Limiter};
use crate::classroom::{Behaviour, Classroom, INTERVAL, Lock, SECOND};
use paceline::clock::{Clock, SimClock};

struct Plan {
    /// When the next call may go.
    next: Instant,
    /// Nobody goes before this.
    paused_until: Instant,
}

impl Plan {
    /// Reserves the next free instant.
    fn reserve(&mut self, now: Instant) -> Instant {
        let mine = self.next.max(now);
        self.next = mine + INTERVAL;
        mine
    }
}

struct EveryoneWakes {
    clock: SimClock,
    plan: Lock<Plan>,
}

impl Limiter for EveryoneWakes {
    fn wait(&self) {
        let mine = self.plan.lock().reserve(self.clock.now());
        self.clock.sleep_until(mine);
        let paused_until = self.plan.lock().paused_until;
        self.clock.sleep_until(paused_until); // not yet
    }

    fn pause(&self, time: Duration) {
        let mut plan = self.plan.lock();
        plan.paused_until = plan.paused_until.max(self.clock.now() + time);
    }
}

struct Yours {
    clock: SimClock,
    plan: Lock<Plan>,
}

impl Limiter for Yours {
    fn wait(&self) {
        // ---- yours: begin
        todo!()
        // ---- yours: end
    }

    fn pause(&self, time: Duration) {
        let mut plan = self.plan.lock();
        plan.paused_until = plan.paused_until.max(self.clock.now() + time);
        plan.next = plan.next.max(plan.paused_until);
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
        number: 4,
        behaviour: Behaviour {
            overloaded: 20 * SECOND..50 * SECOND,
            ..Behaviour::default()
        },
        rules: |seen| {
            let rules = [
                judge::answers_all(seen, 200),
                judge::refused_at_most(seen, 1),
                judge::keeps_the_interval(seen),
                judge::last_call_by(seen, 20.9),
            ];
            rules.into_iter().flatten().collect()
        },
        hint: "an instant that was reserved before the pause is worth nothing after it: reserve another.",
    };
    let plan = |room: &Classroom| {
        let now = room.clock.now();
        let plan = Plan {
            next: now,
            paused_until: now,
        };
        Lock::new(&room.clock, plan)
    };
    exercise.run(
        |room| {
            let (clock, plan) = (room.clock.clone(), plan(room));
            ask_for_all(room, &EveryoneWakes { clock, plan });
        },
        |room| {
            let (clock, plan) = (room.clock.clone(), plan(room));
            ask_for_all(room, &Yours { clock, plan });
        },
    )
}
