//! Several processes with one rate, in simulated time.

use super::*;
use crate::clock::SimClock;
use crate::share::rate::SharedRate;

const MS: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_millis(50);

/// A rate in memory that cannot be reached between two times.
#[derive(Debug)]
struct InMemory {
    clock: SimClock,
    rate: Mutex<SharedRate>,
    away: Option<(Duration, Duration)>,
    /// Between these times, replies are slow.
    slow: Option<(Duration, Duration)>,
}

impl InMemory {
    fn new(clock: &SimClock) -> Self {
        InMemory {
            clock: clock.clone(),
            rate: Mutex::new(SharedRate::after_loss(1, 0)),
            away: None,
            slow: None,
        }
    }
}

impl RateStore for InMemory {
    fn exchange(&self, _key: usize, request: &RateRequest) -> Result<RateReply, ShareError> {
        let now = self.clock.elapsed();
        match self.away {
            Some((from, to)) if (from..to).contains(&now) => {
                Err(ShareError::Away("no answer".into()))
            }
            _ => {
                let reply = self
                    .rate
                    .lock()
                    .exchange(now.as_micros() as u64 + 1, request);
                if self
                    .slow
                    .is_some_and(|(from, to)| (from..to).contains(&now))
                {
                    self.clock.sleep_until(self.clock.now() + MS * 7);
                }
                Ok(reply)
            }
        }
    }
}

fn shared(clock: &SimClock, store: Arc<dyn RateStore>, patience: Duration) -> SharedLimiter {
    let options = ShareOptions {
        place: String::new(),
        password: None,
        names: vec!["key".to_owned()],
        rate: Rate::every(INTERVAL).exact(),
        tokens: None,
        patience,
    };
    SharedLimiter::with(store, options, clock.clone())
}

/// Runs two threads for each limiter, which make calls until an end. Returns which one called when.
fn run(
    clock: &SimClock,
    limiters: &[SharedLimiter],
    until: Duration,
    call: impl Fn(&SharedLimiter, usize, KeyPermit) + Sync,
) -> Vec<(Duration, usize)> {
    let calls = Mutex::new(Vec::new());
    let cancel = CancelToken::on(clock.clone());
    clock.run(2 * limiters.len(), |n| {
        let who = n / 2;
        while clock.elapsed() < until {
            let Ok(permit) = limiters[who].acquire(0, &cancel) else {
                return;
            };
            calls.lock().push((clock.elapsed(), who));
            call(&limiters[who], who, permit);
        }
    });
    calls.into_inner()
}

/// Reports a 429 with a wait until `until`. Returns the end of the pause that it began, if it began one.
fn rate_limited(limiter: &SharedLimiter, permit: &KeyPermit, until: Instant) -> Option<Instant> {
    let report = CallReport::from(PermitOutcome::RateLimited(Some(until)));
    limiter.report(permit, &report).paused_until
}

fn gaps(calls: &[(Duration, usize)]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

#[test]
fn four_processes_share_one_rate_evenly() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory::new(&clock));
    let limiters: Vec<_> = (0..4).map(|_| shared(&clock, store.clone(), MS)).collect();
    let calls = run(&clock, &limiters, MS * 10_000, |_, _, _| {});
    let gaps = gaps(&calls);
    assert!(gaps.iter().all(|gap| *gap >= INTERVAL), "{gaps:?}");
    assert!(calls.len() >= 200, "{}", calls.len());
    for who in 0..4 {
        let share = calls.iter().filter(|(_, called)| *called == who).count();
        assert!(
            (45..=57).contains(&share),
            "{share} of {} calls for line {who}",
            calls.len()
        );
    }
}

#[test]
fn a_permit_with_a_slow_reply_keeps_the_next_at_its_distance() {
    // Until then both the reply with the permit and the reply to the report that it was late are slow.
    for (slow_until, departs) in [(MS * 1_055, MS * 1_057), (MS * 1_060, MS * 1_064)] {
        let clock = SimClock::new();
        let store = InMemory {
            slow: Some((MS * 1_040, slow_until)),
            ..InMemory::new(&clock)
        };
        let store = Arc::new(store);
        let limiters: Vec<_> = (0..2).map(|_| shared(&clock, store.clone(), MS)).collect();
        let sent = Mutex::new(Vec::new());
        run(&clock, &limiters, MS * 1_100, |limiter, who, permit| {
            limiter.sent(&permit);
            sent.lock().push((clock.elapsed(), who));
        });
        let mut calls = sent.into_inner();
        calls.sort();
        let late = calls.iter().find(|(at, _)| *at > MS * 1_040).unwrap();
        assert_eq!(late.0, departs, "granted at 1,050 ms, and heard of later");
        let next = calls.iter().find(|(at, _)| *at > late.0).unwrap();
        assert!(next.0 >= late.0 + INTERVAL, "{calls:?}");
    }
}

#[test]
fn the_round_trip_to_the_store_costs_no_permit() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory {
        slow: Some((Duration::ZERO, MS * 10_000)),
        ..InMemory::new(&clock)
    });
    let calls = run(
        &clock,
        &[shared(&clock, store.clone(), MS)],
        MS * 5_000,
        |_, _, _| {},
    );
    assert!(gaps(&calls).iter().all(|gap| *gap >= INTERVAL), "{calls:?}");
    assert!(calls.len() >= 98, "{} of 100", calls.len());
}

#[test]
fn a_pause_of_one_process_binds_all_at_once_and_they_resume_one_by_one() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory::new(&clock));
    let limiters: Vec<_> = (0..4).map(|_| shared(&clock, store.clone(), MS)).collect();
    let met = Mutex::new(None);
    let calls = run(&clock, &limiters, MS * 6_000, |limiter, _, permit| {
        let now = clock.elapsed();
        if now >= MS * 2_000 && met.lock().is_none() {
            *met.lock() = Some(now);
            assert!(
                rate_limited(limiter, &permit, clock.now() + MS * 3_000).is_some(),
                "it is news"
            );
        }
    });
    let met = met.into_inner().unwrap();
    let after: Vec<_> = calls.iter().filter(|(at, _)| *at > met).copied().collect();
    assert!(
        after[0].0 >= met + MS * 3_000 && after[0].0 <= met + MS * 3_001,
        "{:?}",
        after[0]
    );
    assert!(
        gaps(&after).iter().all(|gap| *gap >= INTERVAL) && after.len() > 15,
        "no herd: {after:?}"
    );
}

#[test]
fn a_late_429_of_a_pause_that_another_process_reported_begins_no_pause() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory::new(&clock));
    let one = shared(&clock, store.clone(), MS);
    let other = shared(&clock, store.clone(), MS);
    let cancel = CancelToken::on(clock.clone());
    let mine = one.acquire(0, &cancel).unwrap();
    let its = other.acquire(0, &cancel).unwrap();
    assert!(rate_limited(&one, &mine, clock.now() + MS * 100).is_some());
    clock.sleep_until(clock.now() + MS * 500); // the pause is over
    assert_eq!(rate_limited(&other, &its, clock.now() + MS * 100), None);
    let asked = clock.now();
    drop(other.acquire(0, &cancel).unwrap());
    assert_eq!(clock.now(), asked, "and no new pause begins");
}

#[test]
fn while_the_store_is_unreachable_no_call_leaves_and_then_they_resume_one_by_one() {
    let clock = SimClock::new();
    let store = InMemory {
        away: Some((MS * 1_000, MS * 9_000)),
        ..InMemory::new(&clock)
    };
    let store = Arc::new(store);
    let limiters: Vec<_> = (0..4)
        .map(|_| shared(&clock, store.clone(), MS * 60_000))
        .collect();
    let calls = run(&clock, &limiters, MS * 30_000, |_, _, _| {});
    assert!(
        calls
            .iter()
            .all(|(at, _)| *at < MS * 1_000 || *at >= MS * 9_000)
    );
    let microsecond = Duration::from_micros(1);
    assert!(
        gaps(&calls)
            .iter()
            .all(|gap| *gap + microsecond >= INTERVAL),
        "no race after it"
    );
    assert!(calls.len() > 300, "{}", calls.len());
}

#[test]
fn after_the_patience_an_unreachable_store_ends_the_waits() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory {
        away: Some((Duration::ZERO, MS * 3_600_000)),
        ..InMemory::new(&clock)
    });
    let limiter = shared(&clock, store.clone(), MS * 30_000);
    let look = limiter.exchange(0, Purpose::Look, None);
    assert!(matches!(look, Err(ShareError::Away(_))));
    let none = limiter
        .acquire(0, &CancelToken::on(clock.clone()))
        .unwrap_err();
    assert!(
        matches!(&none, NoKeyPermit::Unreachable(why) if why.contains("could not be reached for 30s")),
        "{none}"
    );
    assert_eq!(clock.elapsed(), MS * 30_000);
}

#[test]
fn a_reserved_permit_that_is_cancelled_goes_to_the_next_process() {
    let clock = SimClock::new();
    let store = Arc::new(InMemory::new(&clock));
    let one = shared(&clock, store.clone(), MS);
    let other = shared(&clock, store.clone(), MS);
    let cancel = CancelToken::on(clock.clone());
    drop(one.acquire(0, &cancel).unwrap());
    let called_off = CancelToken::on(clock.clone());
    clock.run(2, |n| {
        if n == 0 {
            assert!(one.acquire(0, &called_off).is_err());
        } else {
            clock.sleep_until(clock.now() + MS * 10);
            called_off.cancel();
        }
    });
    drop(other.acquire(0, &cancel).unwrap());
    assert_eq!(clock.elapsed(), INTERVAL);
}

/// A store that looks whether the limiter holds a lock while it waits for the reply.
#[derive(Debug, Default)]
struct LockWatch {
    limiter: std::sync::OnceLock<std::sync::Weak<SharedLimiter>>,
    rate: Mutex<SharedRate>,
    exchanges: std::sync::atomic::AtomicU32,
}

impl RateStore for LockWatch {
    fn exchange(&self, _key: usize, request: &RateRequest) -> Result<RateReply, ShareError> {
        let limiter = self
            .limiter
            .get()
            .and_then(std::sync::Weak::upgrade)
            .unwrap();
        assert!(limiter.keys.iter().all(|key| key.try_lock().is_some()));
        let before = self
            .exchanges
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match before % 5 {
            4 => Err(ShareError::Away("no answer".into())),
            _ => Ok(self.rate.lock().exchange(1, request)),
        }
    }
}

#[test]
fn no_lock_is_held_while_a_reply_is_waited_for() {
    let clock = SimClock::new();
    let store = Arc::new(LockWatch::default());
    let limiter = Arc::new(shared(&clock, store.clone(), MS * 60_000));
    store.limiter.set(Arc::downgrade(&limiter)).unwrap();
    let cancel = CancelToken::on(clock.clone());
    let permit = limiter.acquire(0, &cancel).unwrap();
    clock.sleep_until(clock.now() + MS * 20);
    limiter.sent(&permit);
    for _ in 0..5 {
        rate_limited(&limiter, &permit, clock.now() + MS * 100);
    }
    limiter.give_back();
    let exchanges = store.exchanges.load(std::sync::atomic::Ordering::Relaxed);
    assert!(exchanges > 5, "{exchanges}");
}
