//! The limiter alone, at a fixed rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use paceline::clock::SimClock;
use paceline::limiter::Gcra;
use paceline::{Clock, Rate, RateLimiter};

use super::{DAYS_30, HOUR, MINUTE, alone, memory};

/// When the permits are due in all this time, by the pure decision alone, if everyone is paused for a while every six
/// hours.
fn due(rate: Rate) -> Vec<Duration> {
    let start = Instant::now();
    let mut gcra = Gcra::new(rate, start);
    let mut pause = HOUR * 6;
    let mut permits = Vec::new();
    loop {
        while pause < DAYS_30 && start + pause <= gcra.due(1) {
            gcra.pause_until(start + pause + MINUTE * 10);
            pause += HOUR * 6;
        }
        let at = gcra.due(1);
        if at >= start + DAYS_30 {
            return permits;
        }
        gcra.take(at, 1);
        permits.push(at - start);
    }
}

#[test]
fn in_thirty_days_at_a_fixed_rate_every_permit_is_granted_the_instant_it_is_due() {
    const CALLERS: usize = 4;
    let _alone = alone();
    let rate = Rate::every(MINUTE / 6 + Duration::from_micros(1)).exact(); // never at the very instant of a pause
    let expected = due(rate);
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
