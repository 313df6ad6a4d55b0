//! Lesson 7: the queue, the workers, the limiter and the retry, each in its place.
//!
//! `cargo run --example 7_all_together`

mod classroom;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};

use classroom::{Classroom, RPM, STORY_SECOND, Status, topics};
use paceline::{Backoff, Jitter, Pool, Rate, RateLimiter, Retry, Verdict};

/// What to do about each failure. There is no default: some are not worth another attempt.
fn judge(status: &Status) -> Verdict {
    match status {
        429 => Verdict::RateLimited(None),
        0 | 500.. => Verdict::Retry,
        _ => Verdict::Stop,
    }
}

fn main() {
    let room = Classroom::open();
    let limiter = RateLimiter::new(Rate::per_minute(RPM.get()));
    let backoff = Backoff::new()
        .base(STORY_SECOND)
        .max(STORY_SECOND * 60)
        .jitter(Jitter::Full);
    let retry = Retry::new().backoff(backoff);
    let faults = AtomicU32::new(0);
    let call = |topic: &str| {
        // Now and then something goes wrong: every seventh call has no answer.
        if faults.fetch_add(1, Ordering::Relaxed) % 7 == 6 {
            Err(503)
        } else {
            room.call_api(topic)
        }
    };
    let topics = topics(20);
    let write = |topic: &String| {
        // A retry takes a permit, too; and one that is answered 429 pauses everyone.
        retry
            .call(judge, |_attempt| call(topic))
            .limiter(&limiter)
            .on_retry(|failed| println!("{topic}: attempt {} failed", failed.attempt))
            .run()
    };
    let _ = Pool::new(4).for_each(&topics, write, |number, article| {
        if !matches!(article, Ok(Ok(_))) {
            println!("{}: lost", topics[number]);
        }
        ControlFlow::<()>::Continue(())
    });
    room.notice("every topic is answered, and a failure is tried again at the same rate.");
}
