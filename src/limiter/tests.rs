//! The turnstile's rules, one test each: the arithmetic on made-up instants, the line on simulated time.

use super::*;
use crate::clock::SimClock;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn nz(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// One turn a second, exactly.
fn each_second() -> Rate {
    Rate::per_minute(nz(60)).with_guard(Duration::ZERO)
}

mod turnstile {
    use super::*;

    /// Takes every turn at the instant it is due, and returns when that was, counted from the start.
    fn take_all(turnstile: &mut Turnstile, start: Instant, costs: &[u32]) -> Vec<Duration> {
        let mut now = start;
        let mut take = |&cost: &u32| {
            now = now.max(turnstile.due(cost));
            turnstile.take(now, cost);
            now - start
        };
        costs.iter().map(&mut take).collect()
    }

    #[test]
    fn turns_are_one_interval_apart_and_the_first_is_due_at_once() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second(), start);
        assert_eq!(
            take_all(&mut turnstile, start, &[1; 4]),
            [0, 1, 2, 3].map(|n| SECOND * n)
        );
    }

    #[test]
    fn the_guard_lengthens_each_interval_and_is_small() {
        let rate = Rate::per_minute(nz(600));
        assert_eq!(rate.interval, MS * 100);
        assert!(
            rate.guard > MS && rate.guard * 100 < rate.interval * 2,
            "{:?}",
            rate.guard
        );
        assert_eq!(Rate::per_minute(nz(1)).guard, MS * 25);
        let start = Instant::now();
        assert_eq!(
            take_all(&mut Turnstile::new(rate, start), start, &[1, 1])[1],
            rate.interval + rate.guard
        );
    }

    #[test]
    fn a_late_turn_buys_no_burst_later() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second(), start);
        turnstile.take(start + SECOND * 10, 1);
        assert_eq!(turnstile.due(1), start + SECOND * 11);
    }

    #[test]
    fn the_timers_everyday_error_does_not_add_up_and_eats_little_of_the_guard() {
        let late_by = |guard: Duration, late: Duration| {
            let start = Instant::now();
            let mut turnstile = Turnstile::new(each_second().with_guard(guard), start);
            turnstile.take(start + SECOND, 1);
            let due = turnstile.due(1);
            turnstile.take(due + late, 1);
            turnstile.due(1) - (due + late) - SECOND
        };
        let us = Duration::from_micros;
        assert_eq!(late_by(MS * 10, Duration::ZERO), MS * 10);
        assert_eq!(late_by(MS * 10, us(1200)), us(8800), "made good");
        assert_eq!(
            late_by(MS * 10, MS * 500),
            us(8750),
            "kept at a distance: an eighth"
        );
        assert_eq!(
            late_by(us(400), MS * 500),
            us(250),
            "of a small one, what a timer is late every day"
        );
        assert_eq!(
            late_by(us(100), MS * 500),
            us(50),
            "and never more than half"
        );
    }

    #[test]
    fn a_call_that_leaves_late_keeps_the_next_at_its_distance() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second(), start);
        turnstile.take(start, 1);
        turnstile.departed(start + MS * 300);
        assert_eq!(turnstile.due(1), start + MS * 1300);
        turnstile.take(start + MS * 1300, 1);
        turnstile.departed(start + MS * 1200);
        assert_eq!(
            turnstile.due(1),
            start + MS * 2300,
            "one that left before changes nothing"
        );
    }

    #[test]
    fn a_burst_passes_at_once_after_a_quiet_time_and_then_the_pace_rules() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second().with_burst(nz(3)), start);
        assert_eq!(
            take_all(&mut turnstile, start, &[1; 5]),
            [0, 0, 0, 1, 2].map(|n| SECOND * n)
        );
        assert_eq!(
            take_all(&mut turnstile, start + SECOND * 9, &[1; 5]),
            [0, 0, 0, 1, 2].map(|n| SECOND * n)
        );
    }

    #[test]
    fn after_a_hold_there_is_no_burst() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second().with_burst(nz(3)), start);
        turnstile.hold_until(start + SECOND * 60);
        assert_eq!(
            take_all(&mut turnstile, start, &[1; 3]),
            [60, 61, 62].map(|n| SECOND * n)
        );
    }

    #[test]
    fn a_shorter_hold_changes_nothing() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second(), start);
        turnstile.hold_until(start + SECOND * 60);
        turnstile.hold_until(start + SECOND * 30);
        assert_eq!(turnstile.due(1), start + SECOND * 60);
    }

    #[test]
    fn a_call_larger_than_the_limit_passes_when_the_allowance_is_full_and_is_waited_off() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(each_second().with_burst(nz(10)), start);
        assert_eq!(
            take_all(&mut turnstile, start, &[4, 25, 1]),
            [0, 4, 20].map(|n| SECOND * n)
        );
    }

    #[test]
    fn without_a_rate_turns_are_free_and_start_gently_after_a_hold() {
        let start = Instant::now();
        let mut turnstile = Turnstile::new(Rate::unlimited(), start);
        assert_eq!(
            take_all(&mut turnstile, start, &[1; 3]),
            [Duration::ZERO; 3]
        );
        turnstile.hold_until(start + SECOND);
        let turns = take_all(&mut turnstile, start, &[1; 100]);
        assert_eq!(turns[..3], [SECOND, SECOND + MS * 50, SECOND + MS * 95]);
        assert!(turns[99] - turns[98] < MS, "and are soon free again");
    }
}

/// What happened at the turnstile, in order of time.
#[derive(Default)]
struct Seen {
    /// Which thread came.
    arrivals: Vec<usize>,
    /// Which thread passed, and when.
    turns: Vec<(Duration, usize)>,
}

/// Runs `threads` threads that each take `turns` turns on simulated time, and `aside` in a thread beside them.
fn watch(
    rate: Rate,
    threads: usize,
    turns: usize,
    aside: impl FnOnce(&SimClock, &RateLimiter) + Send,
) -> Seen {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = RateLimiter::on(Arc::new(clock.clone()), rate);
    let seen = Mutex::new(Seen::default());
    let seats: Vec<_> = (0..=threads).map(|_| clock.enlist()).collect();
    thread::scope(|scope| {
        let mut seats = seats.into_iter();
        let (clock, limiter, seen) = (&clock, &limiter, &seen);
        for (n, seat) in seats.by_ref().take(threads).enumerate() {
            scope.spawn(move || {
                let _seat = seat.join();
                for _ in 0..turns {
                    seen.lock().arrivals.push(n);
                    let turn = limiter.wait();
                    seen.lock().turns.push((turn.at - start, n));
                }
            });
        }
        let seat = seats.next().unwrap();
        scope.spawn(move || {
            let _seat = seat.join();
            aside(clock, limiter);
        });
    });
    seen.into_inner()
}

#[test]
fn a_thousand_waiting_threads_pass_in_order_of_arrival_at_the_pace() {
    let seen = watch(each_second(), 1000, 2, |_, _| {});
    let expected: Vec<_> = seen
        .arrivals
        .iter()
        .enumerate()
        .map(|(n, &thread)| (SECOND * n as u32, thread))
        .collect();
    assert_eq!(seen.turns.len(), 2000);
    assert_eq!(seen.turns, expected);
}

#[test]
fn a_hold_binds_everyone_also_the_sleeper_at_the_front_and_no_herd_follows() {
    let seen = watch(each_second(), 16, 10, |clock, limiter| {
        clock.sleep_until(clock.now() + MS * 9500);
        limiter.hold_until(clock.now() + SECOND * 100);
    });
    let times: Vec<_> = seen.turns.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[9], SECOND * 9);
    assert_eq!(times[10], MS * 109_500);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
    assert_eq!(times[159], MS * 109_500 + SECOND * 149);
}

#[test]
fn a_late_refusal_neither_restarts_a_hold_nor_lengthens_it_beyond_what_it_says() {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = RateLimiter::on(Arc::new(clock.clone()), each_second().with_burst(nz(3)));
    let burst = [limiter.wait(), limiter.wait(), limiter.wait()];

    assert!(
        limiter
            .refused(burst[0], Some(start + SECOND * 5))
            .is_some(),
        "the first begins a hold"
    );
    assert!(
        limiter
            .refused(burst[1], Some(start + SECOND * 2))
            .is_none(),
        "a shorter one changes nothing"
    );
    assert!(
        limiter
            .refused(burst[1], Some(start + SECOND * 6))
            .is_none(),
        "a longer one lengthens it, to what it says"
    );
    let after = limiter.wait();
    assert_eq!(after.at, start + SECOND * 6);

    assert!(
        limiter
            .refused(burst[2], Some(clock.now() + SECOND * 60))
            .is_none(),
        "too late: that hold is over"
    );
    assert_eq!(limiter.wait().at, start + SECOND * 7);
    assert!(
        limiter
            .refused(after, Some(clock.now() + SECOND * 60))
            .is_some(),
        "a call sent since then does begin one"
    );
    assert_eq!(limiter.wait().at, start + SECOND * 67);
}

#[test]
fn a_cancelled_wait_takes_no_turn_and_those_behind_move_up() {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = RateLimiter::on(Arc::new(clock.clone()), each_second());
    let impatient = CancelToken::on(clock.clone());
    let seats: Vec<_> = (0..4).map(|_| clock.enlist()).collect();
    let granted = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (n, seat) in seats.into_iter().enumerate() {
            let (limiter, impatient, granted, clock) = (&limiter, &impatient, &granted, &clock);
            scope.spawn(move || {
                let _seat = seat.join();
                match n {
                    1 => assert!(limiter.wait_unless(impatient).is_err()),
                    3 => {
                        clock.sleep_until(start + MS * 500);
                        impatient.cancel();
                    }
                    _ => granted.lock().push((n, limiter.wait().at - start)),
                }
            });
        }
    });
    assert_eq!(*granted.lock(), [(0, Duration::ZERO), (2, SECOND)]);
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn a_thread_that_unwinds_in_the_line_hands_its_place_back() {
    let limiter = RateLimiter::new(each_second());
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _place = limiter.queue_up(1);
        panic!("expected by the test");
    }));
    assert!(unwound.is_err());
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn on_the_real_clock_no_gap_is_shorter_than_the_interval() {
    let limiter = RateLimiter::new(Rate::per_minute(nz(60_000)).with_guard(Duration::ZERO));
    let times = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let turn = limiter.wait();
                    times.lock().push(turn.at);
                }
            });
        }
    });
    let mut times = times.into_inner();
    times.sort();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= MS));
}

#[test]
fn a_correction_wakes_a_large_call_that_waits_for_room_also_where_a_small_one_would_wait_no_less() {
    let clock = SimClock::new();
    let start = clock.now();
    let limits = Limits {
        pace: Tempo::Kept(Rate::every(SECOND * 55)),
        tokens: Some(nz(6000)),
    };
    let limiter = RateLimiter::with_lanes(Arc::new(clock.clone()), [limits]);
    let nobody = CancelToken::on(clock.clone());
    let first = limiter.wait_for(5000, &nobody).unwrap();
    let seats = [clock.enlist(), clock.enlist()];
    thread::scope(|scope| {
        let (clock, limiter, nobody) = (&clock, &limiter, &nobody);
        let [waiting, correcting] = seats;
        scope.spawn(move || {
            let _seat = waiting.join();
            assert_eq!(
                limiter.wait_for(2000, nobody).unwrap().at,
                start + SECOND * 55
            );
        });
        scope.spawn(move || {
            let _seat = correcting.join();
            clock.sleep_until(start + SECOND * 10);
            limiter.correct(first, 100);
        });
    });
}
