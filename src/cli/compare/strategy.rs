//! The strategies, and the server that they call: the practice server's own limit on a simulated clock.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Scenario;
use super::result::{ServedCall, StrategyResult};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::cli::setup;
use crate::clock::{Clock, SimClock};
use crate::limiter::{Rate, RateLimiter};
use crate::pool::{self, Size};
use crate::practice::{Admission, Latency, Limits};
use crate::retry::{Retry, Verdict};

/// How many threads call, how long they wait after a 429, and whether they take permits.
#[derive(Clone, Debug)]
pub(super) struct Strategy {
    name: String,
    threads: NonZeroUsize,
    backoff: Backoff,
    /// The rate of the permits; `None`: every thread calls when it likes.
    rate: Option<Rate>,
}

impl Strategy {
    /// The story in order: from the first naive loop to the paced pool.
    pub(super) fn all(scenario: &Scenario) -> Vec<Strategy> {
        let workers = scenario.workers;
        let one = NonZeroUsize::MIN;
        let sleep = |seconds| {
            let wait = Duration::from_secs(seconds);
            Backoff {
                base: wait,
                max: wait,
                jitter: Jitter::None,
            }
        };
        let plain = Backoff {
            jitter: Jitter::None,
            ..Backoff::default()
        };
        let pool = Strategy {
            name: "paced pool".to_owned(),
            threads: workers,
            backoff: Backoff::default(),
            rate: Some(setup::rate(scenario.rpm, scenario.burst)),
        };
        vec![
            Strategy::unpaced("5 s sleep", one, sleep(5)),
            Strategy::unpaced("5 s sleep", workers, sleep(5)),
            Strategy::unpaced("30 s sleep", workers, sleep(30)),
            Strategy::unpaced("backoff", workers, plain),
            Strategy::unpaced("jitter", workers, Backoff::default()),
            pool,
        ]
    }

    fn unpaced(wait: &str, threads: NonZeroUsize, backoff: Backoff) -> Self {
        let plural = if threads.get() == 1 { "" } else { "s" };
        Strategy {
            name: format!("{threads} thread{plural}, {wait}"),
            threads,
            backoff,
            rate: None,
        }
    }

    /// Runs the strategy until every prompt is answered. It does the same each time.
    pub(super) fn run(&self, scenario: &Scenario) -> StrategyResult {
        let clock = SimClock::new();
        let server = SimulatedServer::new(scenario, clock.clone());
        let client = StrategyClient {
            server: &server,
            limiter: self
                .rate
                .map(|rate| RateLimiter::on(Arc::new(clock.clone()), rate)),
            retry: Retry {
                backoff: self.backoff,
                ..Retry::default()
            },
            cancel: CancelToken::on(clock.clone()),
            seed: scenario.seed,
        };
        thread::scope(|scope| {
            let ask = |prompt: &u32, _: &pool::Crew<'_>| client.ask(*prompt);
            let size = Size::fixed(self.threads);
            let clock = Arc::new(clock.clone());
            pool::run_on(clock, scope, size, 0..scenario.prompts.get(), ask).for_each(drop);
        });
        let time = clock.elapsed();
        StrategyResult {
            name: self.name.clone(),
            threads: self.threads,
            time,
            calls: server.calls.into_inner(),
        }
    }
}

/// What the threads of a strategy share.
struct StrategyClient<'a> {
    server: &'a SimulatedServer,
    limiter: Option<RateLimiter>,
    retry: Retry,
    cancel: CancelToken,
    seed: u64,
}

impl StrategyClient<'_> {
    /// Asks until there is an answer: a 429 spends no retry, so that every strategy answers every prompt.
    fn ask(&self, prompt: u32) {
        // Knuth's multiplicative constant: neighbouring prompts get unrelated seeds.
        let seed = self
            .seed
            .wrapping_add(u64::from(prompt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Only the paced pool listens to the server: the others sleep as their loop says.
        let judge = |too_many: &TooManyRequests| {
            Verdict::Throttled(self.limiter.as_ref().map(|_| too_many.retry_after))
        };
        let outcome = self
            .retry
            .trace(&self.cancel, seed, judge, |_| {}, |_| self.call(prompt));
        debug_assert!(
            outcome.result.is_ok(),
            "nobody cancels, and no 429 is final"
        );
    }

    fn call(&self, prompt: u32) -> Result<(), TooManyRequests> {
        let Some(limiter) = &self.limiter else {
            return self.server.call(prompt);
        };
        let turn = limiter.wait();
        let answer = self.server.call(prompt);
        match &answer {
            Ok(()) => limiter.answered(turn),
            Err(too_many) => {
                let until = self.cancel.clock().now() + too_many.retry_after;
                limiter.refused(turn, Some(until));
            }
        }
        answer
    }
}

/// Accepts or refuses calls, and records them.
#[derive(Debug)]
struct SimulatedServer {
    clock: SimClock,
    started: Instant,
    admission: Mutex<Admission>,
    calls: Mutex<Vec<ServedCall>>,
    latency: Latency,
    seed: u64,
}

/// Status 429, with its Retry-After.
#[derive(Clone, Copy, Debug)]
struct TooManyRequests {
    retry_after: Duration,
}

impl SimulatedServer {
    fn new(scenario: &Scenario, clock: SimClock) -> Self {
        let started = clock.now();
        let limits = Limits {
            rpm: Some(scenario.rpm),
            burst: scenario.burst,
            ..Limits::default()
        };
        SimulatedServer {
            clock,
            started,
            admission: Mutex::new(Admission::new(limits, started)),
            calls: Mutex::default(),
            latency: scenario.latency,
            seed: scenario.seed,
        }
    }

    /// Asks for one prompt; returns when the answer is there.
    fn call(&self, prompt: u32) -> Result<(), TooManyRequests> {
        let now = self.clock.now();
        let admitted = {
            let mut admission = self.admission.lock();
            let key = admission.key("");
            admission.admit(key, 0, now)
        };
        self.calls.lock().push(ServedCall {
            at: now - self.started,
            prompt,
            accepted: admitted.is_ok(),
        });
        admitted.map_err(|over| TooManyRequests {
            retry_after: over.wait().unwrap_or_default(),
        })?;
        let latency = self.latency.draw(self.seed, prompt.into());
        self.clock.sleep_until(now + latency);
        self.admission.lock().leave();
        Ok(())
    }
}
