//! The limiter's rules, one test each: the arithmetic on made-up instants, the line in simulated time.

mod properties;

use super::*;
use crate::clock::SimClock;
use crate::sync::Mutex;
use crate::sync::thread;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn each_second() -> Rate {
    Rate::per_second(1).exact()
}

fn limiter(clock: &SimClock, rate: Rate) -> RateLimiter {
    RateLimiter::builder()
        .rate(rate)
        .clock(clock.clone())
        .build()
}

mod gcra {
    use super::*;

    /// Takes every turn at the instant it is due, and returns when that was, counted from the start.
    fn take_all(gcra: &mut Gcra, start: Instant, costs: &[u32]) -> Vec<Duration> {
        let mut now = start;
        let mut take = |&cost: &u32| {
            now = now.max(gcra.due(cost));
            gcra.take(now, cost);
            now - start
        };
        costs.iter().map(&mut take).collect()
    }

    #[test]
    fn calls_are_one_interval_apart_and_the_first_is_due_at_once() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second(), start);
        assert_eq!(
            take_all(&mut gcra, start, &[1; 4]),
            [0, 1, 2, 3].map(|n| SECOND * n)
        );
    }

    #[test]
    fn the_margin_lengthens_each_interval_and_is_small() {
        let rate = Rate::per_minute(600);
        assert_eq!(rate.interval, MS * 100);
        assert!(
            rate.margin > MS && rate.margin * 100 < rate.interval * 2,
            "{:?}",
            rate.margin
        );
        assert_eq!(Rate::per_minute(1).margin, MS * 25);
        let start = Instant::now();
        assert_eq!(
            take_all(&mut Gcra::new(rate, start), start, &[1, 1])[1],
            rate.interval + rate.margin
        );
    }

    #[test]
    fn a_late_call_buys_no_burst_later() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second(), start);
        gcra.take(start + SECOND * 10, 1);
        assert_eq!(gcra.due(1), start + SECOND * 11);
    }

    #[test]
    fn the_timers_everyday_error_does_not_add_up_and_eats_little_of_the_margin() {
        let late_by = |margin: Duration, late: Duration| {
            let start = Instant::now();
            let mut gcra = Gcra::new(each_second().margin(margin), start);
            gcra.take(start + SECOND, 1);
            let due = gcra.due(1);
            gcra.take(due + late, 1);
            gcra.due(1) - (due + late) - SECOND
        };
        let us = Duration::from_micros;
        assert_eq!(late_by(MS * 10, Duration::ZERO), MS * 10);
        assert_eq!(late_by(MS * 10, us(1200)), us(8800), "made up for");
        assert_eq!(
            late_by(MS * 10, MS * 500),
            us(8750),
            "kept at a distance: an eighth of the margin"
        );
        assert_eq!(
            late_by(us(400), MS * 500),
            us(250),
            "of a small margin, the everyday lateness of a timer"
        );
        assert_eq!(
            late_by(us(100), MS * 500),
            us(50),
            "and never more than half"
        );
    }

    #[test]
    fn a_burst_goes_at_once_after_a_quiet_time_and_then_one_interval_apart() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second().burst(3), start);
        assert_eq!(
            take_all(&mut gcra, start, &[1; 5]),
            [0, 0, 0, 1, 2].map(|n| SECOND * n)
        );
        assert_eq!(
            take_all(&mut gcra, start + SECOND * 9, &[1; 5]),
            [0, 0, 0, 1, 2].map(|n| SECOND * n)
        );
    }

    #[test]
    fn a_changed_rate_neither_delays_the_next_call_nor_grants_a_new_burst() {
        let start = Instant::now();
        for (before, after) in [(1, 10), (10, 1)] {
            let mut gcra = Gcra::new(Rate::per_second(before).burst(10).exact(), start);
            let spent = take_all(&mut gcra, start, &[1; 11])[10];
            assert_eq!(spent, SECOND / before);
            let next = gcra.due(1);
            gcra.set_rate(Rate::per_second(after).burst(10).exact());
            assert_eq!(gcra.due(1), next);
            let calls = take_all(&mut gcra, start, &[1; 3]);
            assert_eq!(calls[2] - calls[1], SECOND / after);
        }
    }

    #[test]
    fn after_a_pause_there_is_no_burst() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second().burst(3), start);
        gcra.pause_until(start + SECOND * 60);
        assert_eq!(
            take_all(&mut gcra, start, &[1; 3]),
            [60, 61, 62].map(|n| SECOND * n)
        );
    }

    #[test]
    fn a_shorter_pause_changes_nothing() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second(), start);
        gcra.pause_until(start + SECOND * 60);
        gcra.pause_until(start + SECOND * 30);
        assert_eq!(gcra.due(1), start + SECOND * 60);
    }

    #[test]
    fn a_call_that_costs_more_than_the_burst_goes_when_it_is_whole_and_is_made_up_for() {
        let start = Instant::now();
        let mut gcra = Gcra::new(each_second().burst(10), start);
        assert_eq!(
            take_all(&mut gcra, start, &[4, 25, 1]),
            [0, 4, 20].map(|n| SECOND * n)
        );
    }

    #[test]
    fn without_a_rate_calls_are_free_and_start_gently_after_a_pause() {
        let start = Instant::now();
        let mut gcra = Gcra::new(Rate::unlimited(), start);
        assert_eq!(take_all(&mut gcra, start, &[1; 3]), [Duration::ZERO; 3]);
        gcra.pause_until(start + SECOND);
        let calls = take_all(&mut gcra, start, &[1; 100]);
        assert_eq!(calls[..3], [SECOND, SECOND + MS * 50, SECOND + MS * 95]);
        assert!(calls[99] - calls[98] < MS, "and are soon free again");
    }
}

/// What happened at the limiter, in order of time.
#[derive(Default)]
struct Seen {
    /// Which thread came.
    arrivals: Vec<usize>,
    /// Which thread got a permit, and when.
    permits: Vec<(Duration, usize)>,
}

/// Runs `threads` threads that each take `permits` permits in simulated time, and `aside` in a thread beside them.
fn watch(
    rate: Rate,
    threads: usize,
    permits: usize,
    aside: impl Fn(&SimClock, &RateLimiter) + Sync,
) -> Seen {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = limiter(&clock, rate);
    let seen = Mutex::new(Seen::default());
    clock.run(threads + 1, |n| {
        if n == threads {
            return aside(&clock, &limiter);
        }
        for _ in 0..permits {
            seen.lock().arrivals.push(n);
            let permit = limiter.acquire();
            seen.lock().permits.push((permit.granted_at() - start, n));
        }
    });
    seen.into_inner()
}

#[test]
fn a_thousand_waiting_threads_are_served_in_order_of_arrival_one_interval_apart() {
    let seen = watch(each_second(), 1000, 2, |_, _| {});
    let in_order = seen.arrivals.iter().enumerate();
    let expected: Vec<_> = in_order
        .map(|(n, &thread)| (SECOND * n as u32, thread))
        .collect();
    assert_eq!(seen.permits.len(), 2000);
    assert_eq!(seen.permits, expected);
}

#[test]
fn a_pause_binds_everyone_also_the_sleeper_at_the_front_and_no_herd_follows() {
    let seen = watch(each_second(), 16, 10, |clock, limiter| {
        clock.sleep_until(clock.now() + MS * 9500);
        limiter.pause(SECOND * 100);
    });
    let times: Vec<_> = seen.permits.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[9], SECOND * 9);
    assert_eq!(times[10], MS * 109_500);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
    assert_eq!(times[159], MS * 109_500 + SECOND * 149);
}

#[test]
fn a_faster_rate_counts_from_the_permit_after_the_next() {
    let seen = watch(Rate::every(SECOND * 60).exact(), 1, 4, |clock, limiter| {
        clock.sleep_until(clock.now() + SECOND);
        limiter.set_rate(each_second());
    });
    let times: Vec<_> = seen.permits.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 60, 61, 62]);
}

#[test]
fn the_rate_is_the_one_that_was_set_last() {
    let limiter = RateLimiter::new(each_second());
    assert_eq!(limiter.rate(), each_second());
    limiter.set_rate(Rate::per_minute(500));
    assert_eq!(limiter.rate(), Rate::per_minute(500));
}

#[test]
fn a_permit_that_is_not_free_says_when_it_is_due() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    drop(limiter.acquire());
    let not_yet = limiter.try_acquire().unwrap_err();
    assert_eq!(not_yet.due, clock.now() + SECOND);
    assert_eq!(not_yet.to_string(), "no permit is free yet");
}

#[test]
fn a_pause_of_no_time_does_not_make_a_429_late() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    let permit = limiter.acquire();
    limiter.pause(Duration::ZERO);
    permit.rate_limited(Some(SECOND * 5));
    assert_eq!(limiter.stats().paused_for, SECOND * 5);
}

#[test]
fn a_late_429_neither_restarts_a_pause_nor_lengthens_it_beyond_what_it_says() {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = limiter(&clock, each_second().burst(4));
    let [first, shorter, longer, late] = std::array::from_fn(|_| limiter.acquire());
    let paused = || limiter.stats().paused_for;

    first.rate_limited(Some(SECOND * 5));
    assert_eq!(paused(), SECOND * 5, "the first begins a pause");
    shorter.rate_limited(Some(SECOND * 2));
    assert_eq!(paused(), SECOND * 5, "a shorter one changes nothing");
    longer.rate_limited(Some(SECOND * 6));
    assert_eq!(
        paused(),
        SECOND * 6,
        "a longer one lengthens it to what it says"
    );
    let after = limiter.acquire();
    assert_eq!(after.granted_at(), start + SECOND * 6);

    late.rate_limited(Some(SECOND * 60));
    assert_eq!(paused(), Duration::ZERO, "too late: that pause is over");
    assert_eq!(limiter.acquire().granted_at(), start + SECOND * 7);
    after.rate_limited(Some(SECOND * 60));
    assert_eq!(
        paused(),
        SECOND * 60,
        "a call sent since then does begin one"
    );
    assert_eq!(limiter.acquire().granted_at(), start + SECOND * 67);
}

#[test]
fn pauses_without_a_time_double_while_they_follow_each_other() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    let pause = || {
        limiter.acquire().rate_limited(None);
        limiter.stats().paused_for.as_secs()
    };
    let pauses: Vec<_> = (0..9).map(|_| pause()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    clock.sleep_until(clock.now() + SECOND * 200);
    assert_eq!(pause(), 1, "after a quiet time it begins again");
}

#[test]
fn an_absurd_retry_after_is_no_overflow() {
    let limiter = RateLimiter::new(each_second().burst(2));
    let [one, other] = [limiter.acquire(), limiter.acquire()];
    one.rate_limited(Some(Duration::from_secs(u64::MAX)));
    other.rate_limited(Some(Duration::MAX));
    limiter.pause(Duration::MAX);
    assert!(limiter.stats().paused_for > SECOND * 3600);
    assert!(limiter.try_acquire().is_err());
    assert_eq!(
        limiter.acquire_timeout(Duration::ZERO).err(),
        Some(WaitError::OutOfTime)
    );
}

#[test]
fn a_cancelled_wait_takes_no_permit_and_those_behind_move_up() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    let token = CancelToken::on(clock.clone());
    let granted = clock.run(4, |n| match n {
        1 => limiter.acquire_or_cancel(&token).map(|_| clock.elapsed()),
        3 => {
            clock.sleep_until(clock.now() + MS * 500);
            token.cancel();
            Ok(clock.elapsed())
        }
        _ => Ok(limiter.acquire()).map(|_| clock.elapsed()),
    });
    let expected = [
        Ok(Duration::ZERO),
        Err(WaitError::Cancelled),
        Ok(SECOND),
        Ok(MS * 500),
    ];
    assert_eq!(granted, expected);
    assert_eq!(limiter.stats().waiting, 0);
}

#[test]
fn a_token_on_another_clock_ends_the_wait_at_once() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    limiter.pause(SECOND * 60);
    let token = CancelToken::new(); // on the system's clock
    let ended = clock.run(2, |n| {
        if n == 1 {
            clock.sleep_until(clock.now() + SECOND);
            token.cancel();
            return None;
        }
        Some((limiter.acquire_or_cancel(&token).err(), clock.elapsed()))
    });
    assert_eq!(ended, [Some((Some(WaitError::Cancelled), SECOND)), None]);
}

#[test]
fn a_wait_with_a_time_ends_as_soon_as_no_permit_is_due_by_then() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    let ended = clock.run(4, |_| {
        let permit = limiter.acquire_timeout(MS * 1500);
        permit.map(|permit| permit.waited())
    });
    let late = Err(WaitError::OutOfTime);
    assert_eq!(ended, [Ok(Duration::ZERO), Ok(SECOND), late, late]);
    assert_eq!(
        clock.elapsed(),
        SECOND,
        "the third knows when it is at the front"
    );
    assert_eq!(
        limiter
            .acquire_timeout(MS * 1001)
            .map(|permit| permit.waited()),
        Ok(SECOND)
    );
    assert_eq!(limiter.stats().timed_out, 2);
}

#[test]
fn trying_never_overtakes_the_line() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    let start = clock.now();
    drop(limiter.acquire());
    clock.run(2, |n| {
        if n == 0 {
            drop(limiter.acquire());
            return;
        }
        clock.sleep_until(start + MS * 500);
        assert_eq!(limiter.stats().waiting, 1);
        let due = start + SECOND;
        assert_eq!(limiter.try_acquire().err(), Some(NotYet { due }));
    });
    clock.sleep_until(start + SECOND * 2);
    assert!(limiter.try_acquire().is_ok());
}

#[test]
fn what_was_done_is_counted() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second());
    clock.run(3, |_| drop(limiter.acquire()));
    limiter.acquire().rate_limited(Some(SECOND * 9));
    let expected = Stats {
        granted: 4,
        rate_limited: 1,
        waited: SECOND * 4,
        longest_wait: SECOND * 2,
        paused_for: SECOND * 9,
        ..Stats::default()
    };
    assert_eq!(limiter.stats(), expected);
}

#[test]
fn a_limiter_is_idle_when_a_new_one_would_do_the_same() {
    let clock = SimClock::new();
    let limiter = limiter(&clock, each_second().burst(3));
    assert!(limiter.is_idle());
    drop([limiter.acquire(), limiter.acquire()]);
    clock.sleep_until(clock.now() + MS * 1900);
    assert!(
        !limiter.is_idle(),
        "one call of the burst is not available yet"
    );
    clock.sleep_until(clock.now() + MS * 100);
    assert!(limiter.is_idle());
    limiter.pause(SECOND);
    assert!(!limiter.is_idle());
}

#[test]
fn a_limiter_that_somebody_holds_is_not_forgotten() {
    let clock = SimClock::new();
    let on = clock.clone();
    let customers = Keyed::with(move |_: &u32| limiter(&on, each_second()));
    let held = customers.get(&0);
    let permit = customers.get(&1).acquire();
    drop(customers.get(&2).acquire());
    assert_eq!(customers.forget_idle(), 0, "nobody is idle yet");
    clock.sleep_until(clock.now() + SECOND * 5);
    assert_eq!(customers.forget_idle(), 1, "the third");
    drop((held, permit));
    assert_eq!(customers.forget_idle(), 2);
}

#[test]
fn a_permit_reports_to_the_limiter_that_granted_it() {
    let [one, other] = [(), ()].map(|()| RateLimiter::new(Rate::unlimited()));
    let permit = one.acquire();
    drop(other.acquire());
    permit.rate_limited(Some(SECOND));
    assert_eq!(other.stats().rate_limited, 0);
    assert!(other.try_acquire().is_ok() && one.try_acquire().is_err());
}

#[test]
fn what_threads_share_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<RateLimiter>();
    shared::<Permit>();
    shared::<Keyed<String>>();
    shared::<CancelToken>();
    shared::<SimClock>();
}

#[test]
fn in_real_time_no_gap_is_shorter_than_the_interval() {
    let limiter = RateLimiter::new(Rate::per_second(1000).exact());
    let times = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let permit = limiter.acquire();
                    times.lock().push(permit.granted_at());
                }
            });
        }
    });
    let mut times = times.into_inner();
    times.sort();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= MS));
}

#[test]
fn limiters_by_key_are_shown_with_their_keys() {
    let keyed = Keyed::new(each_second());
    drop(keyed.get(&"ann"));
    assert!(format!("{keyed:?}").starts_with(r#"{"ann": RateLimiter("#));
}
