//! The limiter alone, at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paceline::clock::SimClock;
use paceline::{Clock, Rate, RateLimiter};

use super::{DAYS_30, HOUR, MINUTE, alone, memory};

/// When the permits are due in all this time, one each `interval`, if everyone is paused for a while every six hours.
fn due(interval: Duration) -> Vec<Duration> {
    let (mut due, mut pause) = (Duration::ZERO, HOUR * 6);
    let mut permits = Vec::new();
    while due < DAYS_30 {
        if pause < DAYS_30 && pause <= due {
            due = due.max(pause + MINUTE * 10);
            pause += HOUR * 6;
        } else {
            permits.push(due);
            due += interval;
        }
    }
    permits
}

#[test]
fn in_thirty_days_at_a_fixed_rate_every_permit_is_granted_the_instant_it_is_due() {
    const CALLERS: usize = 4;
    let _alone = alone();
    let interval = MINUTE / 6 + Duration::from_micros(1); // never at the very instant of a pause
    let rate = Rate::every(interval).exact();
    let expected = due(interval);
    let clock = SimClock::new();
    let start = clock.now();
    let builder = RateLimiter::builder().rate(rate);
    let limiter = builder.clock(clock.clone()).build();
    let taken = AtomicUsize::new(0);
    let after_a_day = AtomicUsize::new(0);
    let call = || {
        while taken.load(Ordering::SeqCst) + CALLERS <= expected.len() {
            let at = limiter.acquire().granted_at() - start;
            let n = taken.fetch_add(1, Ordering::SeqCst);
            assert_eq!(at, expected[n], "permit {n}");
            if n == 8_640 {
                after_a_day.store(memory().unwrap_or_default(), Ordering::SeqCst);
            }
        }
    };
    let pause = || {
        let pauses = (1..).map(|n| HOUR * 6 * n);
        for pause in pauses.take_while(|pause| *pause < DAYS_30) {
            clock.sleep_until(start + pause);
            limiter.pause(MINUTE * 10);
        }
    };
    clock.run(CALLERS + 1, |n| if n < CALLERS { call() } else { pause() });
    let taken = taken.into_inner();
    let grown = memory().unwrap_or_default() as i64 - after_a_day.into_inner() as i64;
    println!(
        "{taken} permits of {} in thirty days; {grown} KiB more than after one",
        expected.len()
    );
    assert!(taken > expected.len() - 4 && taken > 250_000);
    assert!(grown < 2_048, "{grown} KiB");
}
