//! Several keys and tokens behind one line, in simulated time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::SystemTime;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::clock::SimClock;
use crate::limiter::Gcra;
use crate::outcome::CallOutcome;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_correction_wakes_a_large_call_even_if_a_small_one_would_wait_as_long() {
    let clock = SimClock::new();
    let start = clock.now();
    let limits = KeyLimits {
        rate: RateLimit::Fixed(Rate::every(SECOND * 55).exact()),
        tokens: NonZeroU32::new(6000),
    };
    let limiter = KeyLimiter::new(clock.clone(), [limits]);
    let cancel = CancelToken::on(clock.clone());
    let first = limiter.acquire(5000, &cancel).unwrap();
    clock.run(2, |n| {
        if n == 0 {
            let permit = limiter.acquire(2000, &cancel).unwrap();
            assert_eq!(permit.granted_at(), start + SECOND * 55);
            return;
        }
        clock.sleep_until(start + SECOND * 10);
        let cheaper = CallReport {
            tokens: Some(100),
            ..CallReport::from(PermitOutcome::Answered)
        };
        let _ = limiter.report(&first, &cheaper);
    });
}

#[test]
fn a_retired_key_grants_no_permit_and_without_keys_the_waits_end() {
    let clock = SimClock::new();
    let each_second = KeyLimits {
        rate: RateLimit::Fixed(Rate::per_second(1).exact()),
        tokens: None,
    };
    let limiter = KeyLimiter::new(clock.clone(), [each_second; 2]);
    let cancel = CancelToken::on(clock.clone());
    let useless = CallReport::from(PermitOutcome::Fatal);
    let first = limiter.acquire(0, &cancel).unwrap();
    assert_eq!(limiter.report(&first, &useless).keys_left, 1);
    let keys: Vec<_> = (0..3)
        .map(|_| limiter.acquire(0, &cancel).unwrap())
        .collect();
    assert!(keys.iter().all(|permit| permit.key() == 1));
    let ended = clock.run(2, |n| {
        if n == 1 {
            assert_eq!(limiter.report(&keys[0], &useless).keys_left, 0);
            return None;
        }
        limiter.acquire(0, &cancel).err()
    });
    assert_eq!(ended, [Some(NoKeyPermit::NoKeyLeft), None]);
}

/// Simulated time with the timer of a real machine: calls leave late, as measured in quiet, by 0.2 ms in the median, one in
/// a hundred by 0.8 ms, and one in 500 by 5 ms.
#[derive(Debug)]
struct LateTimer {
    clock: SimClock,
    random: Mutex<SmallRng>,
}

impl LateTimer {
    fn late(&self) -> Duration {
        let mut random = self.random.lock();
        let (a, b): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        let late = Duration::from_secs_f64(0.0002 * 4f64.powf(normal / 2.326));
        match random.random_ratio(1, 500) {
            true => late + Duration::from_millis(5),
            false => late,
        }
    }

    /// How long a call is on its way: up to 0.3 ms.
    fn way(&self) -> Duration {
        Duration::from_micros(self.random.lock().random_range(0..=300))
    }
}

impl Clock for LateTimer {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }

    fn park_until(&self, deadline: Option<Instant>) {
        let deadline = deadline.map(|at| at + self.late());
        self.clock.park_until(deadline);
    }

    fn unpark(&self, thread: &Thread) {
        self.clock.unpark(thread);
    }
}

#[derive(Debug)]
struct StrictServer {
    limit: Gcra,
    refused: u32,
    last: Instant,
}

/// Makes 2,000 calls at 600 a minute to a server that allows no burst and answers after `latency`. Returns the refusals, and
/// the time from the first arrival to the last.
fn at_a_strict_server(seed: u64, latency: Duration) -> (u32, Duration) {
    let clock = SimClock::new();
    let random = Mutex::new(SmallRng::seed_from_u64(seed));
    let timer = Arc::new(LateTimer {
        clock: clock.clone(),
        random,
    });
    let on_timer: Arc<dyn Clock> = timer.clone();
    let rate = RateLimit::Fixed(Rate::per_minute(600));
    let limiter = KeyLimiter::new(on_timer.clone(), [KeyLimits { rate, tokens: None }]);
    let in_flight = InFlight::new(on_timer.clone());
    let cancel = CancelToken::on(on_timer);
    let start = clock.now();
    let server = Mutex::new(StrictServer {
        limit: Gcra::new(Rate::per_minute(600).exact(), start),
        refused: 0,
        last: start,
    });
    let left = AtomicUsize::new(2000);
    clock.run(12, |_| {
        let one_less = |left: usize| left.checked_sub(1);
        while left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
        {
            let mut place = in_flight.enter(&cancel).unwrap();
            let permit = limiter.acquire(0, &cancel).unwrap();
            place.sent();
            limiter.sent(&permit);
            let arrived = clock.now() + timer.way();
            let mut at = server.lock();
            if arrived < at.limit.due(1) {
                at.refused += 1;
            } else {
                at.limit.take(arrived, 1);
            }
            at.last = arrived;
            drop(at);
            timer.sleep_until(clock.now() + latency);
            let _ = limiter.report(&permit, &PermitOutcome::Answered.into());
            place.ended(CallOutcome::Answered, clock.now() - permit.granted_at());
        }
    });
    let server = server.into_inner();
    (server.refused, server.last - start)
}

#[test]
fn a_strict_server_is_used_99_percent_and_refuses_nothing() {
    for seed in 0..20 {
        let latency = Duration::from_millis(100 + 20 * seed);
        let (refused, took) = at_a_strict_server(seed, latency);
        let ideal = Rate::per_minute(600).interval() * 1999;
        assert!(
            refused == 0 && took * 99 <= ideal * 100,
            "seed {seed}, {latency:?}: {refused} refused, {took:?}"
        );
    }
}
