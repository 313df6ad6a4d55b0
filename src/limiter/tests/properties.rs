//! The limiter's rules for any rate, burst, number of keys and threads, pauses and cancelled waits: in simulated time.
//!
//! One key is a `RateLimiter` or the runner's `KeyLimiter`, several keys are the latter.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::SimClock;
use crate::{CancelToken, Clock, Rate, RateLimiter};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Somebody says at `at` that everyone is to pause until `until`. Half milliseconds, so that it is never said at the
/// very instant of a permit.
#[derive(Clone, Copy, Debug)]
struct Pause {
    at: Duration,
    until: Duration,
}

#[derive(Clone, Debug)]
struct Case {
    rate: Rate,
    burst: u32,
    margin: Duration,
    keys: Keys,
    threads: Vec<Caller>,
    /// In order of time.
    pauses: Vec<Pause>,
}

#[derive(Clone, Copy, Debug)]
enum Keys {
    /// A `RateLimiter`.
    Pattern,
    /// A `KeyLimiter` with this many keys.
    Runner(usize),
}

impl Keys {
    fn count(self) -> usize {
        match self {
            Keys::Pattern => 1,
            Keys::Runner(count) => count,
        }
    }
}

/// What one thread wants.
#[derive(Clone, Copy, Debug)]
struct Caller {
    permits: usize,
    /// When its token is cancelled, if it is.
    cancelled_at: Option<Duration>,
}

/// What happened, from the start, in order of time.
#[derive(Debug, Default)]
struct Seen {
    /// The threads that came.
    arrivals: Vec<usize>,
    permits: Vec<Granted>,
    cancelled: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Granted {
    at: Duration,
    thread: usize,
    key: usize,
}

fn half_ms(whole: u64) -> Duration {
    MS * whole as u32 + MS / 2
}

/// A pause never begins at the instant of a permit, where either might come first: permits are granted at whole
/// milliseconds, and at halves of them after a pause.
fn pauses() -> impl Strategy<Value = Vec<Pause>> {
    let pause = (0u64..20_000, 0u64..5_000).prop_map(|(at, length)| Pause {
        at: half_ms(at) - MS / 4,
        until: half_ms(at + length),
    });
    proptest::collection::vec(pause, 0..4).prop_map(|mut pauses| {
        pauses.sort_by_key(|pause| pause.at);
        pauses
    })
}

/// Each with its burst and its margin.
fn rates() -> impl Strategy<Value = (Rate, u32, Duration)> {
    let margin = prop_oneof![Just(0u64), 1u64..50];
    (1u64..2_000, 1u32..6, margin).prop_map(|(interval, burst, margin)| {
        let margin = MS * margin as u32;
        let rate = Rate::every(MS * interval as u32).margin(margin);
        (rate.burst(burst), burst, margin)
    })
}

fn keys(most: usize) -> impl Strategy<Value = Keys> {
    let runner = (1..=most).prop_map(Keys::Runner);
    let runner_or_pattern = prop_oneof![1 => Just(Keys::Pattern), most as u32 => runner];
    runner_or_pattern.prop_map(|keys| {
        if cfg!(feature = "batch") {
            keys
        } else {
            Keys::Pattern
        }
    })
}

fn cases(most_keys: usize, patient: bool) -> impl Strategy<Value = Case> {
    let cancelled_at = prop_oneof![
        Just(None),
        (0u64..10_000).prop_map(move |ms| (!patient).then(|| half_ms(ms)))
    ];
    let caller = (1usize..6, cancelled_at).prop_map(|(permits, cancelled_at)| Caller {
        permits,
        cancelled_at,
    });
    let threads = proptest::collection::vec(caller, 1..8);
    let parts = (rates(), keys(most_keys), threads, pauses());
    parts.prop_map(|((rate, burst, margin), keys, threads, pauses)| Case {
        rate,
        burst,
        margin,
        keys,
        threads,
        pauses,
    })
}

/// A limiter, as the threads of a case use it.
trait Limiter: Sync {
    /// Waits for a permit: when it was granted, and its key.
    fn acquire(&self, token: &CancelToken) -> Option<(Instant, usize)>;
    fn pause_until(&self, until: Instant);
    fn waiting(&self) -> usize;
}

impl Limiter for RateLimiter {
    fn acquire(&self, token: &CancelToken) -> Option<(Instant, usize)> {
        let permit = self.acquire_or_cancel(token).ok()?;
        Some((permit.granted_at(), 0))
    }

    fn pause_until(&self, until: Instant) {
        self.pause(until - self.clock().now());
    }

    fn waiting(&self) -> usize {
        self.stats().waiting
    }
}

#[cfg(feature = "batch")]
mod runner {
    use super::*;
    use crate::pacing::{CallLimiter, KeyLimiter, KeyLimits, RateLimit};

    /// A limiter with this many keys.
    pub(super) struct Runner(KeyLimiter, usize);

    impl Runner {
        pub(super) fn new(clock: &SimClock, rate: Rate, keys: usize) -> Self {
            let limits = KeyLimits {
                rate: RateLimit::Fixed(rate),
                tokens: None,
            };
            Runner(KeyLimiter::new(clock.clone(), vec![limits; keys]), keys)
        }
    }

    impl Limiter for Runner {
        fn acquire(&self, token: &CancelToken) -> Option<(Instant, usize)> {
            let permit = self.0.acquire(0, token).ok()?;
            Some((permit.granted_at(), permit.key()))
        }

        fn pause_until(&self, until: Instant) {
            (0..self.1).for_each(|key| self.0.update_key(key, |state| state.pause_until(until)));
        }

        fn waiting(&self) -> usize {
            self.0.waiting()
        }
    }
}

fn limiter(clock: &SimClock, case: &Case) -> Box<dyn Limiter> {
    #[cfg(feature = "batch")]
    if let Keys::Runner(keys) = case.keys {
        return Box::new(runner::Runner::new(clock, case.rate, keys));
    }
    let builder = RateLimiter::builder().rate(case.rate);
    Box::new(builder.clock(clock.clone()).build())
}

/// Runs a case in real threads in simulated time.
fn play(case: &Case) -> Seen {
    let clock = SimClock::new();
    let start = clock.now();
    let limiter = limiter(&clock, case);
    let seen = Mutex::new(Seen::default());
    let tokens: Vec<_> = case
        .threads
        .iter()
        .map(|_| CancelToken::on(clock.clone()))
        .collect();
    let note = |note: &dyn Fn(&mut Seen)| note(&mut seen.lock().unwrap());
    let call = |thread: usize, caller: &Caller| {
        for _ in 0..caller.permits {
            note(&|seen| seen.arrivals.push(thread));
            let Some((at, key)) = limiter.acquire(&tokens[thread]) else {
                return note(&|seen| seen.cancelled.push(thread));
            };
            let at = at - start;
            note(&|seen| seen.permits.push(Granted { at, thread, key }));
        }
    };
    let pause = || {
        for pause in &case.pauses {
            clock.sleep_until(start + pause.at);
            limiter.pause_until(start + pause.until);
        }
    };
    let cancel = || {
        let tokens = case.threads.iter().zip(&tokens);
        let mut ends: Vec<_> = tokens
            .filter_map(|(caller, token)| Some((caller.cancelled_at?, token)))
            .collect();
        ends.sort_by_key(|(at, _)| *at);
        for (at, token) in ends {
            clock.sleep_until(start + at);
            token.cancel();
        }
    };
    clock.run(case.threads.len() + 2, |n| match case.threads.get(n) {
        Some(caller) => call(n, caller),
        None if n == case.threads.len() => pause(),
        None => cancel(),
    });
    assert_eq!(limiter.waiting(), 0);
    seen.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// When the permits of a single key are due if somebody always waits for the next: a bucket that is refilled one call
/// at a time, and that a pause empties but for one.
fn due(case: &Case, count: usize) -> Vec<Duration> {
    let step = case.rate.interval() + case.margin;
    let mut pauses = case.pauses.iter().peekable();
    // When each call in the bucket was or will be there, the earliest first.
    let mut calls = vec![Duration::ZERO; case.burst as usize];
    let mut now = Duration::ZERO;
    let mut take = |_| {
        while let Some(pause) = pauses.next_if(|pause| pause.at < calls[0].max(now)) {
            for (n, call) in (0..).zip(&mut calls) {
                *call = (*call).max(pause.until + step * n);
            }
        }
        now = now.max(calls.remove(0));
        calls.push(calls.last().copied().unwrap_or(now) + step);
        now
    };
    (0..count).map(&mut take).collect()
}

/// A server that counts: no window of any length has more calls than the burst and what the rate brings.
fn is_within_the_limit(times: &[Duration], interval: Duration, burst: u32) -> bool {
    let fits = |first: usize, last: usize| {
        let brought = (times[last] - times[first]).as_nanos() / interval.as_nanos();
        last - first < burst as usize + brought as usize
    };
    (0..times.len()).all(|first| (first..times.len()).all(|last| fits(first, last)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_has_more_calls_than_the_burst_and_what_the_rate_brings(case in cases(3, false)) {
        let seen = play(&case);
        for key in 0..case.keys.count() {
            let of_key = seen.permits.iter().filter(|permit| permit.key == key);
            let times: Vec<_> = of_key.map(|permit| permit.at).collect();
            prop_assert!(
                is_within_the_limit(&times, case.rate.interval(), case.burst),
                "key {key}: {times:?}"
            );
        }
    }

    #[test]
    fn threads_are_served_in_order_of_arrival_but_for_those_who_give_up(case in cases(3, false)) {
        let Seen { mut arrivals, permits, cancelled } = play(&case);
        for gone in cancelled {
            // Its last arrival led to nothing.
            let last = arrivals.iter().rposition(|thread| *thread == gone).unwrap();
            arrivals.remove(last);
        }
        let served: Vec<_> = permits.iter().map(|permit| permit.thread).collect();
        prop_assert_eq!(served, arrivals);
    }

    #[test]
    fn a_pause_binds_every_thread_with_every_key(case in cases(3, false)) {
        let seen = play(&case);
        for pause in &case.pauses {
            let in_pause = |permit: &&Granted| (pause.at..pause.until).contains(&permit.at);
            let early = seen.permits.iter().find(in_pause);
            prop_assert!(early.is_none(), "{early:?} in {pause:?}");
        }
    }

    #[test]
    fn no_wake_up_is_lost_so_every_permit_is_granted_the_instant_it_is_due(case in cases(1, true)) {
        let seen = play(&case);
        let times: Vec<_> = seen.permits.iter().map(|permit| permit.at).collect();
        let wanted = case.threads.iter().map(|caller| caller.permits).sum::<usize>();
        prop_assert_eq!(times.len(), wanted);
        prop_assert_eq!(&times, &due(&case, times.len()));
    }

    #[test]
    fn a_thread_that_gives_up_takes_no_permit_and_lets_nobody_wait_for_ever(
        case in cases(2, false)
    ) {
        let seen = play(&case);
        for (thread, caller) in case.threads.iter().enumerate() {
            let of_thread = seen.permits.iter().filter(|permit| permit.thread == thread);
            let times: Vec<_> = of_thread.map(|permit| permit.at).collect();
            let gave_up = seen.cancelled.contains(&thread);
            let has_all = times.len() == caller.permits;
            prop_assert!(gave_up != has_all);
            prop_assert!(!gave_up || caller.cancelled_at.is_some());
            let is_too_late = |end: Duration| times.iter().any(|at| *at > end);
            prop_assert!(!caller.cancelled_at.is_some_and(is_too_late));
        }
    }
}
