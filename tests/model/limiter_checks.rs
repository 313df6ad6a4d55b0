//! The limiter's rules: order of arrival, pauses, waits that end early. In the pattern, and with several keys.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cancel::{CancelToken, WaitError};
use crate::clock::Clock;
use crate::limiter::{NotYet, Permit, Rate, RateLimiter};
use crate::pacing::{
    CallLimiter, CallReport, KeyLimiter, KeyLimits, KeyPermit, NoKeyPermit, PermitOutcome,
    RateLimit,
};
use crate::sync::arriving;
use crate::time::ModelClock;
use crate::{Check, check};

pub(crate) const CHECKS: &[Check] = &[
    check(
        "two threads get permits in order of arrival, one interval apart",
        2,
        3,
        || in_order(&one_key(), 2, 1),
    ),
    check(
        "three threads get permits in order of arrival, one interval apart",
        3,
        2,
        || in_order(&one_key(), 3, 1),
    ),
    check(
        "three threads with two keys: in order, and each key keeps its rate",
        3,
        1,
        two_keys,
    ),
    check(
        "a try takes no permit while somebody is in line",
        2,
        3,
        trying,
    ),
    check(
        "a pause binds whoever has no permit yet, also the sleeper at the front",
        2,
        3,
        || pausing(1),
    ),
    check(
        "a pause binds everyone in line, and no herd follows",
        4,
        1,
        || pausing(3),
    ),
    check(
        "two 429s of one burst begin one pause, up to the later of the two",
        2,
        3,
        || limited_together(&burst_of_two()),
    ),
    check("the same with a key limiter", 2, 3, || {
        limited_together(&keys([fixed(burst_of(2))]))
    }),
    check(
        "two 429s beside two who wait: they go after it, an interval apart",
        4,
        1,
        limited_beside,
    ),
    check(
        "a 429 that comes when its pause is over begins no other",
        2,
        3,
        || limited_late(&burst_of_two()),
    ),
    check(
        "a late 429 with a key limiter begins no pause",
        2,
        3,
        || limited_late(&keys([fixed(burst_of(2))])),
    ),
    check(
        "a 429 without a time: one call probes, and its answer wakes the others",
        3,
        2,
        probing,
    ),
    check(
        "a corrected cost wakes the call that waits for room",
        2,
        3,
        corrected,
    ),
    check(
        "a cancelled wait ends at once and takes no permit",
        2,
        3,
        || cancelled(0, CancelToken::clone),
    ),
    check(
        "a wait cancelled in the middle of the line: those behind move up",
        4,
        1,
        || cancelled(2, CancelToken::clone),
    ),
    check(
        "a wait on a child token ends at once when the parent is cancelled",
        2,
        3,
        || cancelled(0, CancelToken::child),
    ),
    check(
        "a wait that runs out of time takes no permit: those behind move up",
        3,
        1,
        out_of_time,
    ),
    check(
        "a pause that outlasts the time of a wait ends it, and no permit is lost",
        3,
        1,
        paused_for_too_long,
    ),
    check("a retired key lets go of the one who waits", 2, 3, || {
        retiring(1)
    }),
    check("a retired key lets go of everyone who waits", 4, 1, || {
        retiring(3)
    }),
];

const SECOND: Duration = Duration::from_secs(1);

fn each_second() -> Rate {
    Rate::every(SECOND).exact()
}

fn burst_of(calls: u32) -> Rate {
    each_second().burst(calls)
}

fn fixed(rate: Rate) -> KeyLimits {
    KeyLimits {
        rate: RateLimit::Fixed(rate),
        tokens: None,
    }
}

fn one_key() -> Arc<Case<RateLimiter>> {
    limited(each_second())
}

fn burst_of_two() -> Arc<Case<RateLimiter>> {
    limited(burst_of(2))
}

fn limited(rate: Rate) -> Arc<Case<RateLimiter>> {
    Case::of(|clock| RateLimiter::builder().rate(rate).clock(clock).build())
}

fn keys(limits: impl IntoIterator<Item = KeyLimits>) -> Arc<Case<KeyLimiter>> {
    Case::of(|clock| KeyLimiter::new(clock, limits))
}

/// What both limiters can do.
trait Limiter: Send + Sync + 'static {
    type Permit: Debug + Send;

    fn acquire(&self, clock: &ModelClock) -> Self::Permit;
    fn granted_at(permit: &Self::Permit) -> Instant;
    fn rate_limited(&self, permit: Self::Permit, wait: Duration);
    fn in_line(&self) -> usize;
}

impl Limiter for RateLimiter {
    type Permit = Permit;

    fn acquire(&self, _clock: &ModelClock) -> Permit {
        self.acquire()
    }

    fn granted_at(permit: &Permit) -> Instant {
        permit.granted_at()
    }

    fn rate_limited(&self, permit: Permit, wait: Duration) {
        permit.rate_limited(Some(wait));
    }

    fn in_line(&self) -> usize {
        self.stats().waiting
    }
}

impl Limiter for KeyLimiter {
    type Permit = KeyPermit;

    fn acquire(&self, clock: &ModelClock) -> KeyPermit {
        let nobody = CancelToken::on(clock.clone());
        CallLimiter::acquire(self, 1, &nobody).expect("a permit")
    }

    fn granted_at(permit: &KeyPermit) -> Instant {
        permit.granted_at()
    }

    fn rate_limited(&self, permit: KeyPermit, wait: Duration) {
        let until = permit.granted_at() + wait; // in these cases no time has passed since
        let outcome = PermitOutcome::RateLimited(Some(until));
        self.report(&permit, &CallReport::from(outcome));
    }

    fn in_line(&self) -> usize {
        self.waiting()
    }
}

/// What one thread does.
type Body = Box<dyn FnOnce() + Send>;

/// What the threads of a case share.
struct Case<L: Limiter> {
    clock: ModelClock,
    limiter: L,
    start: Instant,
    /// The permits that were granted, each with the number of its thread's arrival in line.
    permits: Mutex<Vec<(u64, L::Permit)>>,
    bodies: Mutex<Vec<Body>>,
}

impl<L: Limiter> Case<L> {
    fn of(limiter: impl FnOnce(ModelClock) -> L) -> Arc<Self> {
        let clock = ModelClock::new();
        Arc::new(Case {
            limiter: limiter(clock.clone()),
            start: clock.now(),
            clock,
            permits: Mutex::default(),
            bodies: Mutex::default(),
        })
    }

    /// Adds a thread.
    fn with(self: &Arc<Self>, body: impl FnOnce(&Self) + Send + 'static) -> &Arc<Self> {
        let case = self.clone();
        self.bodies.lock().push(Box::new(move || body(&case)));
        self
    }

    /// Adds a thread that takes this many permits.
    fn with_permits(self: &Arc<Self>, count: usize) -> &Arc<Self> {
        self.with(move |case| (0..count).for_each(|_| case.take()))
    }

    /// Takes a permit, and keeps it for the end.
    fn take(&self) {
        let (arrival, permit) = arriving(|| self.acquire());
        self.permits.lock().push((arrival, permit));
    }

    fn acquire(&self) -> L::Permit {
        self.limiter.acquire(&self.clock)
    }

    /// Runs the threads to their end. Returns the permits in order of arrival.
    fn run(&self) -> Vec<L::Permit> {
        let bodies = std::mem::take(&mut *self.bodies.lock());
        self.clock.run(bodies);
        assert_eq!(self.limiter.in_line(), 0);
        let mut permits = std::mem::take(&mut *self.permits.lock());
        permits.sort_by_key(|(arrival, _)| *arrival);
        permits.into_iter().map(|(_, permit)| permit).collect()
    }

    /// The same in whole seconds from the start.
    fn seconds(&self) -> Vec<u64> {
        self.run()
            .iter()
            .map(|permit| self.second(permit))
            .collect()
    }

    fn second(&self, permit: &L::Permit) -> u64 {
        (L::granted_at(permit) - self.start).as_secs()
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + SECOND * seconds as u32
    }

    fn sleep_until(&self, seconds: u64) {
        self.clock.sleep_until(self.at(seconds));
    }
}

/// How many pauses had begun when the permit was granted. That is the limiter's own business, so it is read where it is
/// shown.
fn pauses(permit: &impl Debug) -> u64 {
    let shown = format!("{permit:?}");
    let rest = shown.split("pauses: ").nth(1).expect("a permit shows it");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn in_order<L: Limiter>(case: &Arc<Case<L>>, threads: usize, permits: usize) {
    (0..threads).for_each(|_| _ = case.with_permits(permits));
    let expected: Vec<_> = (0..threads * permits).map(|n| n as u64).collect();
    assert_eq!(case.seconds(), expected);
}

fn two_keys() {
    let case = keys([fixed(each_second()); 2]);
    (0..3).for_each(|_| _ = case.with_permits(2));
    let permits = case.run();
    let seconds: Vec<_> = permits.iter().map(|permit| case.second(permit)).collect();
    assert_eq!(seconds, [0, 0, 1, 1, 2, 2]);
    for key in 0..2 {
        let of_key = permits.iter().filter(|permit| permit.key() == key);
        let seconds: Vec<_> = of_key.map(|permit| case.second(permit)).collect();
        assert_eq!(seconds, [0, 1, 2]);
    }
}

fn trying() {
    let case = one_key();
    drop(case.acquire());
    case.with_permits(1).with(|case| {
        case.sleep_until(1);
        let tried = case.limiter.try_acquire();
        assert!(matches!(tried, Err(NotYet { .. })));
    });
    assert_eq!(case.seconds(), [1]);
}

fn pausing(waiting: usize) {
    let case = one_key();
    (0..waiting).for_each(|_| _ = case.with_permits(1));
    case.with(|case| case.limiter.pause(SECOND * 10));
    let permits = case.run();
    let before = permits.iter().filter(|permit| pauses(permit) == 0).count();
    assert!(before <= 1, "one may have been quicker");
    for (n, permit) in permits.iter().enumerate() {
        let expected = if n < before { 0 } else { 10 + n - before };
        assert_eq!(permit.granted_at(), case.at(expected as u64));
    }
}

fn limited_together<L: Limiter>(case: &Arc<Case<L>>) {
    report_two(case);
    case.run();
    case.with_permits(2);
    assert_one_pause_until_6(case);
}

fn limited_beside() {
    let case = burst_of_two();
    report_two(&case);
    case.with_permits(1).with_permits(1);
    assert_one_pause_until_6(&case);
}

/// Two calls are under way, and two threads learn that they were answered 429.
fn report_two<L: Limiter>(case: &Arc<Case<L>>) {
    for (permit, wait) in [(case.acquire(), 5), (case.acquire(), 6)] {
        case.with(move |case| case.limiter.rate_limited(permit, SECOND * wait));
    }
}

fn assert_one_pause_until_6<L: Limiter>(case: &Arc<Case<L>>) {
    let permits = case.run();
    let seen: Vec<_> = permits
        .iter()
        .map(|permit| (case.second(permit), pauses(permit)))
        .collect();
    assert_eq!(seen, [(6, 1), (7, 1)]);
}

fn limited_late<L: Limiter>(case: &Arc<Case<L>>) {
    let (first, late) = (case.acquire(), case.acquire());
    case.limiter.rate_limited(first, SECOND * 5);
    case.with_permits(2).with(move |case| {
        case.sleep_until(5);
        case.limiter.rate_limited(late, SECOND * 60);
    });
    assert_eq!(case.seconds(), [5, 6]);
    case.with_permits(1);
    assert_eq!(case.run().iter().map(pauses).collect::<Vec<_>>(), [1]);
}

fn probing() {
    let case = keys([fixed(each_second())]);
    let limited = case.acquire();
    let report = |limiter: &KeyLimiter, permit: &KeyPermit, outcome| {
        limiter.report(permit, &CallReport::from(outcome));
    };
    let answering = move |case: &Case<KeyLimiter>| {
        let (arrival, permit) = arriving(|| case.acquire());
        report(&case.limiter, &permit, PermitOutcome::Answered);
        case.permits.lock().push((arrival, permit));
    };
    case.with(move |case| report(&case.limiter, &limited, PermitOutcome::RateLimited(None)))
        .with(answering)
        .with(answering);
    // The pause would be two intervals, but at most 0.9 s, and the next permit is due one interval after the first. The
    // answer to the thread that gets it lets the other go an interval later, and not after three seconds.
    assert_eq!(case.seconds(), [1, 2]);
}

fn corrected() {
    let case = keys([KeyLimits {
        rate: RateLimit::default(),
        tokens: NonZeroU32::new(60),
    }]);
    let acquire = |case: &Case<KeyLimiter>, tokens| {
        let nobody = CancelToken::on(case.clock.clone());
        CallLimiter::acquire(&case.limiter, tokens, &nobody).expect("a permit")
    };
    let first = acquire(&case, 60);
    case.with(move |case| {
        let second = acquire(case, 10);
        case.permits.lock().push((0, second));
    });
    case.with(move |case| {
        case.sleep_until(3);
        let report = CallReport {
            tokens: Some(20),
            ..CallReport::from(PermitOutcome::Answered)
        };
        case.limiter.report(&first, &report);
    });
    assert_eq!(case.seconds(), [20]);
}

/// One thread waits on the token that `waits_on` makes of the cancelled one.
fn cancelled(beside: usize, waits_on: fn(&CancelToken) -> CancelToken) {
    let case = one_key();
    case.limiter.pause(SECOND * 10);
    let token = CancelToken::on(case.clock.clone());
    (0..beside).for_each(|_| _ = case.with_permits(1));
    let impatient = waits_on(&token);
    case.with(move |case| {
        assert_eq!(
            case.limiter.acquire_or_cancel(&impatient).err(),
            Some(WaitError::Cancelled)
        );
        assert_eq!(case.clock.elapsed(), Duration::ZERO);
    });
    case.with(move |_| token.cancel());
    assert_eq!(case.seconds(), [10, 11][..beside]);
}

fn out_of_time() {
    let case = one_key();
    case.limiter.pause(SECOND * 10);
    case.with_permits(1).with_permits(1).with(|case| {
        let waited = case.limiter.acquire_timeout(SECOND * 3);
        assert_eq!(waited.err(), Some(WaitError::OutOfTime));
        assert!(case.clock.elapsed() <= SECOND * 3);
    });
    assert_eq!(case.seconds(), [10, 11]);
}

fn paused_for_too_long() {
    let case = one_key();
    drop(case.acquire());
    case.with_permits(1)
        .with(|case| {
            let waited = case.limiter.acquire_timeout(SECOND * 3);
            assert_eq!(waited.err(), Some(WaitError::OutOfTime));
            assert!(case.clock.elapsed() <= SECOND * 3);
        })
        .with(|case| case.limiter.pause(SECOND * 10));
    assert_eq!(case.seconds(), [10]);
}

fn retiring(waiting: usize) {
    let case = keys([fixed(each_second())]);
    let until = case.at(10);
    case.limiter.update_key(0, |key| key.pause_until(until));
    for _ in 0..waiting {
        case.with(|case| {
            let nobody = CancelToken::on(case.clock.clone());
            assert_eq!(
                CallLimiter::acquire(&case.limiter, 1, &nobody).err(),
                Some(NoKeyPermit::NoKeyLeft)
            );
            assert_eq!(case.clock.elapsed(), Duration::ZERO);
        });
    }
    case.with(|case| {
        let permit = KeyPermit::new(case.start, 0);
        let report = CallReport::from(PermitOutcome::Fatal);
        assert_eq!(case.limiter.report(&permit, &report).keys_left, 0);
    });
    case.run();
}
