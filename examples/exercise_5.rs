//! Exercise 5: a late 429 restarts the pause.
//!
//! After a 429 everyone pauses for 20 seconds. But three calls were in flight, the overloaded server takes its time to
//! refuse them, and each refusal comes when the pause has long begun. This limiter begins it again each time.
//! Write [`rate_limited_yours`] so that news that everyone has heard changes nothing. `cargo run --example exercise_5`

#![allow(dead_code, unused)] // until it is solved

mod classroom;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::classroom::judge::{self, Exercise};
use crate::classroom::{Behaviour, Classroom, INTERVAL, Lock, SECOND};
use paceline::clock::Clock;

/// The server does not say how long to wait.
const PAUSE: Duration = Duration::from_secs(20);

struct Plan {
    /// When the next call may go.
    next: Instant,
    /// How many pauses have begun.
    pauses: u64,
}

/// Waits for the right to make one call; returns how many pauses had begun by then.
fn wait(room: &Classroom, plan: &Lock<Plan>) -> u64 {
    loop {
        let now = room.clock.now();
        let mut plan = plan.lock();
        if plan.next <= now {
            plan.next = now + INTERVAL;
            return plan.pauses;
        }
        let next = plan.next;
        drop(plan);
        room.clock.sleep_until(next);
    }
}

/// The exhibit. A call was answered 429; when it left, `pauses` had begun.
fn restart_the_pause(plan: &mut Plan, now: Instant, pauses: u64) {
    plan.next = plan.next.max(now + PAUSE);
    plan.pauses += 1;
}

/// The same, and a pause begins only once.
fn rate_limited_yours(plan: &mut Plan, now: Instant, pauses: u64) {
    // ---- yours: begin
    todo!()
    // ---- yours: end
}

fn ask_for_all(room: &Classroom, rate_limited: fn(&mut Plan, Instant, u64)) {
    let now = room.clock.now();
    let plan = Plan {
        next: now,
        pauses: 0,
    };
    let plan = Lock::new(&room.clock, plan);
    let ask = |topic: &str| {
        let pauses = wait(room, &plan);
        let answer = room.call(topic);
        if answer.is_err() {
            rate_limited(&mut plan.lock(), room.clock.now(), pauses);
        }
        answer.is_ok()
    };
    room.four_threads(|topics| topics.iter().for_each(|topic| while !ask(topic) {}));
}

pub(crate) fn main() -> ExitCode {
    let exercise = Exercise {
        number: 5,
        behaviour: Behaviour {
            overloaded: 18 * SECOND..31 * SECOND,
            refusal_takes: vec![13 * SECOND, 20 * SECOND, 27 * SECOND],
            states_wait: false,
            ..Behaviour::default()
        },
        rules: |seen| {
            let rules = [
                judge::answers_all(seen, 200),
                judge::refused_at_most(seen, 3),
                judge::keeps_the_interval(seen),
            ];
            let rules = rules.into_iter().flatten();
            // The first 429 is there after 31 s.
            rules
                .chain(judge::pause_lasts(seen, 31 * SECOND, 51 * SECOND))
                .collect()
        },
        hint: "compare the pauses that had begun when the call left with those that have begun now.",
    };
    exercise.run(
        |room| ask_for_all(room, restart_the_pause),
        |room| ask_for_all(room, rate_limited_yours),
    )
}
