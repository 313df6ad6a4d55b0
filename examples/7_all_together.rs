//! Lesson 7: the queue, the workers, the limiter and the retry, each where it belongs.
//!
//! `cargo run --example 7_all_together`

mod classroom;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use classroom::{Classroom, RPM, STORY_SECOND, Status, topics};
use paceline::{Backoff, Jitter, RateLimiter, Retry, Verdict, pool};

/// What to do about each failure: there is no default, because some are not worth another try.
fn judge(status: &Status) -> Verdict {
    match status {
        429 => Verdict::Throttled(None),
        0 | 500.. => Verdict::Retry,
        _ => Verdict::Stop,
    }
}

fn main() {
    let room = Classroom::open();
    let limiter = RateLimiter::per_minute(RPM);
    let backoff = Backoff {
        base: STORY_SECOND,
        max: STORY_SECOND * 60,
        jitter: Jitter::Full,
    };
    let retry = Retry {
        backoff,
        ..Retry::default()
    };
    let faults = AtomicU32::new(0);
    let call = |topic: &str| {
        // Something goes wrong now and then: every seventh call has no answer.
        if faults.fetch_add(1, Ordering::Relaxed) % 7 == 6 {
            Err(503)
        } else {
            room.call_api(topic)
        }
    };
    thread::scope(|scope| {
        let articles = pool::run(scope, NonZeroUsize::new(4).unwrap(), topics(20), |topic| {
            // A retry takes a turn, too; and one that is refused holds everyone.
            retry.paced(&limiter, judge, |n| {
                if n > 1 {
                    println!("{topic}: try {n}");
                }
                call(topic)
            })
        });
        for (topic, article) in articles {
            if !matches!(article, Ok(Ok(_))) {
                println!("{topic}: lost");
            }
        }
    });
    room.notice("every topic is answered, and retries keep to the same rate.");
}
