//! Exercise 2: the bucket that starts full.
//!
//! Ten tokens in the bucket, and a new one every 6 seconds: 10 calls a minute, one should think. But this server accepts
//! one call every 6 seconds, and the bucket is full when the program starts and after each rest.
//! Write [`Yours`] so that a rest is not followed by a burst. `cargo run --example exercise_2`

#![allow(dead_code, unused)] // until it is solved

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::classroom::judge::{self, Exercise};
use crate::classroom::{Behaviour, Classroom, INTERVAL, Lock, SECOND};
use paceline::clock::{Clock, SimClock};

struct Bucket {
    tokens: f64,
    /// When they were counted.
    at: Instant,
}

/// Waits until the bucket has a token, and takes it.
fn wait(
    clock: &SimClock,
    bucket: &Lock<Bucket>,
    take: fn(&mut Bucket, Instant) -> Option<Duration>,
) {
    loop {
        let missing = take(&mut bucket.lock(), clock.now());
        match missing {
            None => return,
            Some(time) => clock.sleep_until(clock.now() + time),
        }
    }
}

/// The exhibit. Takes a token; if there is none, returns the time until there is one.
fn take_from_ten(bucket: &mut Bucket, now: Instant) -> Option<Duration> {
    const SIZE: f64 = 10.0;
    let new = (now - bucket.at).as_secs_f64() / INTERVAL.as_secs_f64();
    bucket.tokens = (bucket.tokens + new).min(SIZE);
    bucket.at = now;
    if bucket.tokens < 1.0 {
        // Rounded up: a nanosecond too early would be for nothing.
        return Some(INTERVAL.mul_f64(1.0 - bucket.tokens) + Duration::from_nanos(1));
    }
    bucket.tokens -= 1.0;
    None
}

/// The same, without bursts.
fn take_yours(bucket: &mut Bucket, now: Instant) -> Option<Duration> {
    // ---- yours: begin
    let new = (now - bucket.at).as_secs_f64() / INTERVAL.as_secs_f64();
    bucket.tokens = (bucket.tokens + new).min(1.0); // rest is not saved up
    bucket.at = now;
    if bucket.tokens < 1.0 {
        return Some(INTERVAL.mul_f64(1.0 - bucket.tokens) + Duration::from_nanos(1));
    }
    bucket.tokens -= 1.0;
    None
    // ---- yours: end
}

/// Four threads ask for all articles; after five each there is lunch.
fn ask_for_all(room: &Classroom, take: fn(&mut Bucket, Instant) -> Option<Duration>) {
    let full = Bucket {
        tokens: 10.0,
        at: room.clock.now(),
    };
    let bucket = Lock::new(&room.clock, full);
    let lunch = room.clock.now() + 300 * SECOND;
    room.four_threads(|topics| {
        for (number, topic) in topics.iter().enumerate() {
            if number == 5 {
                room.clock.sleep_until(lunch);
            }
            wait(&room.clock, &bucket, take);
            while room.call(topic).is_err() {
                wait(&room.clock, &bucket, take);
            }
        }
    });
}

pub(crate) fn main() -> ExitCode {
    let exercise = Exercise {
        number: 2,
        behaviour: Behaviour::default(),
        rules: |seen| {
            let rules = [
                judge::answers_all(seen, 200),
                judge::refused_at_most(seen, 0),
                judge::keeps_the_interval(seen),
                judge::last_call_by(seen, 24.0),
            ];
            rules.into_iter().flatten().collect()
        },
        hint: "how many tokens may the bucket hold, if no two calls may come at once?",
    };
    exercise.run(
        |room| ask_for_all(room, take_from_ten),
        |room| ask_for_all(room, take_yours),
    )
}
