//! The limiter alone, at a kept pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use paceline::clock::SimClock;
use paceline::limiter::Turnstile;
use paceline::{Clock, Rate, RateLimiter};

use super::{DAYS_30, HOUR, MINUTE, alone, memory};

/// When the turns are due in all this time, by the pure decision alone, if everyone is held for a while every six hours.
fn due(rate: Rate) -> Vec<Duration> {
    let start = Instant::now();
    let (mut turnstile, mut hold) = (Turnstile::new(rate, start), HOUR * 6);
    let mut turns = Vec::new();
    loop {
        while hold < DAYS_30 && start + hold <= turnstile.due(1) {
            turnstile.hold_until(start + hold + MINUTE * 10);
            hold += HOUR * 6;
        }
        let at = turnstile.due(1);
        if at >= start + DAYS_30 {
            return turns;
        }
        turnstile.take(at, 1);
        turns.push(at - start);
    }
}

#[test]
fn in_thirty_days_at_a_kept_pace_every_turn_comes_the_instant_it_is_due_to_the_last() {
    let _alone = alone();
    let rate = Rate::every(MINUTE / 6 + Duration::from_micros(1)); // never at the very instant of a hold
    let expected = due(rate);
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = RateLimiter::on(Arc::new(clock.clone()), rate);
    let taken = AtomicUsize::new(0);
    let seats: Vec<_> = (0..5).map(|_| clock.enlist()).collect();
    let after_a_day = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut seats = seats.into_iter();
        let (clock, limiter, taken, expected, after_a_day) =
            (&clock, &limiter, &taken, &expected, &after_a_day);
        for seat in seats.by_ref().take(4) {
            scope.spawn(move || {
                let _seat = seat.join();
                while taken.load(Ordering::SeqCst) + 4 <= expected.len() {
                    let at = limiter.wait().at - start;
                    let n = taken.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(at, expected[n], "turn {n}");
                    if n == 8_640 {
                        after_a_day.store(memory().unwrap_or_default(), Ordering::SeqCst);
                    }
                }
            });
        }
        let holding = seats.next().unwrap();
        scope.spawn(move || {
            let _seat = holding.join();
            for hold in (1..)
                .map(|n| HOUR * 6 * n)
                .take_while(|hold| *hold < DAYS_30)
            {
                clock.sleep_until(start + hold);
                limiter.hold_until(start + hold + MINUTE * 10);
            }
        });
    });
    let (taken, grown) = (
        taken.into_inner(),
        memory().unwrap_or_default() as i64 - after_a_day.into_inner() as i64,
    );
    println!(
        "{taken} turns of {} in thirty days; {grown} KiB more than after one",
        expected.len()
    );
    assert!(taken > expected.len() - 4 && taken > 250_000);
    assert!(grown < 2_048, "{grown} KiB");
}
