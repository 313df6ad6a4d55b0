//! The strategies, and the server that they call: the practice server's own limit on a simulated clock.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Scenario;
use super::result::{ServedCall, StrategyResult};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::cli::setup;
use crate::clock::{Clock, SimClock};
use crate::limiter::{Rate, RateLimiter};
use crate::pool::Pool;
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
            Backoff::new().base(wait).max(wait).jitter(Jitter::None)
        };
        let plain = Backoff::new().jitter(Jitter::None);
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
        let limiter = self.rate.map(|rate| {
            let limiter = RateLimiter::builder().rate(rate);
            limiter.clock(clock.clone()).build()
        });
        let client = StrategyClient {
            server: &server,
            limiter,
            retry: Retry::new().backoff(self.backoff).patience(Duration::MAX),
            cancel: CancelToken::on(clock.clone()),
            seed: scenario.seed,
        };
        let prompts = 0..scenario.prompts.get();
        let pool = Pool::new(self.threads.get()).clock(clock.clone());
        let _ = pool.for_each(
            prompts,
            |prompt| client.ask(prompt),
            |_, _| ControlFlow::<()>::Continue(()),
        );
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
        let listens = self.limiter.is_some();
        let judge = |too_many: &TooManyRequests| {
            Verdict::RateLimited(listens.then_some(too_many.retry_after))
        };
        let call = self.retry.call(judge, |_| self.server.call(prompt));
        let call = call.cancel(&self.cancel).seed(seed);
        let ended = match &self.limiter {
            Some(limiter) => call.limiter(limiter).run(),
            None => call.run(),
        };
        debug_assert!(ended.is_ok(), "no 429 is final");
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
