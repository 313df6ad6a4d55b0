//! What a permit costs: `cargo bench --bench turns`.
//!
//! The limiter against `governor` (used as its documentation says for threads: check, and sleep until the time that it
//! names) and against a mutex that is held while sleeping; how late permits are granted, against the lateness of the
//! system's own sleep; and what the retry loop adds to a call. Everything in one run; read the ratios, not the figures.

mod common;

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Spread, p50_and_p99, sleeps};
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter as Governor};
use paceline::{CancelToken, Rate, RateLimiter, Retry, Verdict};

const ROUNDS: usize = 5;

/// A thousand threads take a while to come and to go, which counts for less in a longer time.
fn round(threads: usize) -> Duration {
    Duration::from_millis(if threads > 100 { 3_000 } else { 400 })
}

/// A limiter, as threads use it.
trait Gate: Sync {
    /// Takes a permit; false if the wait was cancelled.
    fn pass(&self) -> bool;
    fn stop(&self) {}
}

struct Ours(RateLimiter, CancelToken);

impl Gate for Ours {
    fn pass(&self) -> bool {
        self.0.acquire_or_cancel(&self.1).is_ok()
    }

    fn stop(&self) {
        self.1.cancel();
    }
}

struct Governors(
    Governor<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Instant>>,
    AtomicBool,
);

impl Gate for Governors {
    fn pass(&self) -> bool {
        while !self.1.load(Ordering::Relaxed) {
            match self.0.check() {
                Ok(()) => return true,
                Err(not_until) => thread::sleep(not_until.wait_time_from(MonotonicClock.now())),
            }
        }
        false
    }

    fn stop(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// The limiter that everybody writes first: the thread that has the lock sleeps with it.
struct MutexAndSleep(Mutex<Instant>, Duration, AtomicBool);

impl Gate for MutexAndSleep {
    fn pass(&self) -> bool {
        let mut next = self.0.lock().unwrap();
        if self.2.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
        *next = Instant::now() + self.1;
        true
    }

    fn stop(&self) {
        self.2.store(true, Ordering::Relaxed);
    }
}

fn gates(interval: Duration) -> [(&'static str, Box<dyn Gate>); 3] {
    let quota = Quota::with_period(interval)
        .unwrap()
        .allow_burst(NonZeroU32::MIN);
    [
        (
            "paceline",
            Box::new(Ours(
                RateLimiter::new(Rate::every(interval).exact()),
                CancelToken::new(),
            )),
        ),
        (
            "governor",
            Box::new(Governors(
                Governor::direct_with_clock(quota, MonotonicClock),
                AtomicBool::new(false),
            )),
        ),
        (
            "mutex and sleep",
            Box::new(MutexAndSleep(
                Mutex::new(Instant::now()),
                interval,
                AtomicBool::new(false),
            )),
        ),
    ]
}

/// What threads at a limiter came to.
#[derive(Clone, Copy)]
struct Crowd {
    permits_a_second: f64,
    /// How often a thread went to sleep for each permit.
    wake_ups: f64,
}

/// This many threads take permits for a while.
fn crowd(gate: &dyn Gate, threads: usize) -> Crowd {
    let permits = AtomicU64::new(0);
    let slept = AtomicU64::new(0);
    let ready = Barrier::new(threads + 1);
    let mut took = Duration::ZERO;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                ready.wait();
                let before = sleeps();
                while gate.pass() {
                    permits.fetch_add(1, Ordering::Relaxed);
                }
                slept.fetch_add(sleeps() - before, Ordering::Relaxed);
            });
        }
        ready.wait();
        let began = Instant::now();
        thread::sleep(round(threads));
        gate.stop();
        took = began.elapsed();
    });
    let permits = permits.into_inner().max(1) as f64;
    Crowd {
        permits_a_second: permits / took.as_secs_f64(),
        wake_ups: slept.into_inner() as f64 / permits,
    }
}

fn crowds(title: &str, interval: Duration, crowds: &[usize]) {
    println!("\n{title}");
    println!(
        "{:<15} {:>7} {:>30} {:>30}",
        "", "threads", "permits a second", "wake-ups a permit"
    );
    for &threads in crowds {
        let measured: Vec<_> = (0..ROUNDS)
            .map(|_| gates(interval).map(|(name, gate)| (name, crowd(&*gate, threads))))
            .collect();
        for contender in 0..3 {
            let of = |figure: fn(&Crowd) -> f64| -> Spread {
                measured
                    .iter()
                    .map(|round| figure(&round[contender].1))
                    .collect()
            };
            let name = measured[0][contender].0;
            println!(
                "{name:<15} {threads:>7} {:>30} {:>30}",
                of(|crowd| crowd.permits_a_second),
                of(|crowd| crowd.wake_ups)
            );
        }
    }
}

/// Microseconds by which gaps were longer than they had to be: the half and the hundredth worst.
fn late_permits(interval: Duration, permits: usize) -> (f64, f64) {
    let limiter = RateLimiter::new(Rate::every(interval).exact());
    let granted = Mutex::new(Vec::new());
    let threads = 4;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..permits / threads {
                    let at = limiter.acquire().granted_at();
                    granted.lock().unwrap().push(at);
                }
            });
        }
    });
    let mut granted = granted.into_inner().unwrap();
    granted.sort();
    p50_and_p99(
        granted
            .windows(2)
            .map(|pair| (pair[1] - pair[0] - interval).as_secs_f64() * 1e6)
            .collect(),
    )
}

fn late_sleeps(interval: Duration, sleeps: usize) -> (f64, f64) {
    let sleep = |_| {
        let began = Instant::now();
        thread::sleep(interval);
        (began.elapsed() - interval).as_secs_f64() * 1e6
    };
    p50_and_p99((0..sleeps).map(sleep).collect())
}

fn grants() {
    println!(
        "\nLateness of grants with four threads in line, in microseconds; beside it that of the system's sleep"
    );
    println!(
        "{:>9} {:>30} {:>30} {:>30}",
        "rpm", "p50", "p99", "sleep's own p99"
    );
    for (rpm, permits) in [(600, 24), (6_000, 240), (60_000, 2_400)] {
        let interval = Duration::from_secs(60) / rpm;
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                (
                    late_permits(interval, permits),
                    late_sleeps(interval, permits / 2),
                )
            })
            .collect();
        let p50: Spread = rounds.iter().map(|(ours, _)| ours.0).collect();
        let p99: Spread = rounds.iter().map(|(ours, _)| ours.1).collect();
        let own: Spread = rounds.iter().map(|(_, sleep)| sleep.1).collect();
        println!("{rpm:>9} {p50:>30} {p99:>30} {own:>30}");
    }
}

/// Nanoseconds a call.
fn each(mut call: impl FnMut(u64)) -> f64 {
    const CALLS: u64 = 200_000;
    let began = Instant::now();
    (0..CALLS).for_each(&mut call);
    began.elapsed().as_secs_f64() * 1e9 / CALLS as f64
}

fn retries() {
    println!("\nWhat the retry loop adds to a call that succeeds, in nanoseconds");
    let retry = Retry::new();
    let limiter = RateLimiter::new(Rate::unlimited());
    let token = CancelToken::new();
    let op = |n: u64| black_box(if n == u64::MAX { Err(n) } else { Ok(n) });
    let judge = |_: &u64| Verdict::Stop;
    let bare = Spread::of(ROUNDS, || each(|n| _ = black_box(op(black_box(n)))));
    let call = Spread::of(ROUNDS, || {
        each(|n| _ = black_box(retry.call(judge, |_| op(black_box(n))).run()))
    });
    let cancellable = Spread::of(ROUNDS, || {
        each(|n| {
            let call = retry.call(judge, |_| op(black_box(n)));
            _ = black_box(call.cancel(&token).seed(n).on_retry(|_| {}).run());
        })
    });
    let limited = Spread::of(ROUNDS, || {
        each(|n| {
            let call = retry.call(judge, |_| op(black_box(n)));
            _ = black_box(call.limiter(&limiter).cancel(&token).seed(n).run());
        })
    });
    for (name, cost) in [
        ("bare", bare),
        ("Retry::call", call),
        ("with a token", cancellable),
        ("with a limiter", limited),
    ] {
        println!("{name:<15} {cost:>30}");
    }
}

fn main() {
    crowds(
        "At a thousand permits a second",
        Duration::from_millis(1),
        &[1, 16, 1000],
    );
    crowds("As fast as it goes", Duration::from_nanos(1), &[1, 16]);
    grants();
    retries();
}
