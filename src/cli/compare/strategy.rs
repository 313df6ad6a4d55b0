//! The strategies, and the server that they call: the practice server's own limit on a simulated clock.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Scenario;
use super::result::{ServedCall, StrategyResult};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::cli::setup;
use crate::clock::{Clock, SimClock};
use crate::limiter::{Rate, RateLimiter};
use crate::pool::Pool;
use crate::practice::{Admission, Limits};
use crate::retry::{Retry, Verdict};

/// How many threads call, how long they wait after a 429, and whether they take permits.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Strategy {
    name: String,
    threads: NonZeroUsize,
    backoff: Backoff,
    /// The rate of the permits; `None`: every thread calls when it likes.
    rate: Option<Rate>,
    /// Whether a call that fails is tried again.
    retries: bool,
}

impl Strategy {
    /// The story in order: from the first naive loop to the paced pool.
    pub(super) fn all(scenario: &Scenario) -> Vec<Strategy> {
        let workers = scenario.workers;
        let plain = Backoff::new().jitter(Jitter::None);
        vec![
            Strategy::sleep(5, NonZeroUsize::MIN),
            Strategy::sleep(5, workers),
            Strategy::sleep(30, workers),
            Strategy::unpaced("backoff", workers, plain),
            Strategy::unpaced("jitter", workers, Backoff::default()),
            Strategy::pool(scenario, Backoff::default()),
        ]
    }

    /// The strategy of this name, as the page of `learn` names them.
    pub(in crate::cli) fn named(
        name: &str,
        jitter: Jitter,
        scenario: &Scenario,
    ) -> Option<Strategy> {
        let (workers, backoff) = (scenario.workers, Backoff::new().jitter(jitter));
        Some(match name {
            "naive" => Strategy {
                retries: false,
                ..Strategy::unpaced("no retry", workers, backoff)
            },
            "sleep-5" => Strategy::sleep(5, workers),
            "sleep-30" => Strategy::sleep(30, workers),
            "backoff" => Strategy::unpaced("backoff", workers, backoff),
            "pool" => Strategy::pool(scenario, backoff),
            _ => return None,
        })
    }

    fn sleep(seconds: u64, threads: NonZeroUsize) -> Self {
        let wait = Duration::from_secs(seconds);
        let backoff = Backoff::new().base(wait).max(wait).jitter(Jitter::None);
        Strategy::unpaced(&format!("{seconds} s sleep"), threads, backoff)
    }

    fn pool(scenario: &Scenario, backoff: Backoff) -> Self {
        Strategy {
            name: "paced pool".to_owned(),
            rate: Some(setup::rate(scenario.rpm, scenario.burst)),
            ..Strategy::unpaced("", scenario.workers, backoff)
        }
    }

    fn unpaced(wait: &str, threads: NonZeroUsize, backoff: Backoff) -> Self {
        let plural = if threads.get() == 1 { "" } else { "s" };
        Strategy {
            name: format!("{threads} thread{plural}, {wait}"),
            threads,
            backoff,
            rate: None,
            retries: true,
        }
    }

    /// Runs the strategy until every prompt is answered or given up. It does the same each time.
    pub(in crate::cli) fn run(&self, scenario: &Scenario) -> StrategyResult {
        let clock = SimClock::new();
        let server = SimulatedServer::new(scenario, clock.clone());
        let limiter = self.rate.map(|rate| {
            let limiter = RateLimiter::builder().rate(rate);
            limiter.clock(clock.clone()).build()
        });
        let client = StrategyClient {
            server: &server,
            limiter,
            retry: self
                .retries
                .then(|| Retry::new().backoff(self.backoff).patience(Duration::MAX)),
            cancel: CancelToken::on(clock.clone()),
            scenario,
        };
        let prompts = 0..scenario.prompts.get();
        let pool = Pool::new(self.threads.get())
            .clock(clock.clone())
            .cancel(&client.cancel);
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
    /// `None` gives up at the first failure.
    retry: Option<Retry>,
    cancel: CancelToken,
    scenario: &'a Scenario,
}

impl StrategyClient<'_> {
    /// Asks until there is an answer: a 429 spends no retry, so that every prompt is answered if there are no faults.
    fn ask(&self, prompt: u32) {
        let seed = seed_of(self.scenario.seed, prompt.into());
        // Only the paced pool listens to the server: the others sleep as their loop says.
        let listens = self.limiter.is_some();
        let judge = |failure: &SimulatedFailure| match (self.retry, failure) {
            (None, _) => Verdict::Stop,
            (_, SimulatedFailure::TooMany { retry_after }) => {
                Verdict::RateLimited(listens.then_some(*retry_after))
            }
            (_, SimulatedFailure::Fault) => Verdict::Retry,
        };
        let retry = self.retry.unwrap_or_default();
        let call = retry.call(judge, |_| self.call(prompt));
        let call = call.cancel(&self.cancel).seed(seed);
        // Whether it was answered is in the calls that the server saw.
        let _ = match &self.limiter {
            Some(limiter) => call.limiter(limiter).run(),
            None => call.run(),
        };
    }

    fn call(&self, prompt: u32) -> Result<(), SimulatedFailure> {
        if self.server.calls.lock().len() + 1 >= self.scenario.most_calls {
            self.cancel.cancel();
        }
        self.server.call(prompt)
    }
}

/// Unrelated seeds for neighbouring numbers, with Knuth's multiplicative constant.
fn seed_of(seed: u64, number: u64) -> u64 {
    seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Accepts or refuses calls, and records them.
#[derive(Debug)]
struct SimulatedServer {
    clock: SimClock,
    started: Instant,
    admission: Mutex<Admission>,
    calls: Mutex<Vec<ServedCall>>,
    /// In order of their first calls.
    threads: Mutex<Vec<ThreadId>>,
    scenario: Scenario,
}

/// Why a call was not answered.
#[derive(Clone, Copy, Debug)]
enum SimulatedFailure {
    /// Status 429, with its Retry-After.
    TooMany { retry_after: Duration },
    /// Status 503.
    Fault,
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
            threads: Mutex::default(),
            scenario: *scenario,
        }
    }

    /// Asks for one prompt; returns when the answer is there.
    fn call(&self, prompt: u32) -> Result<(), SimulatedFailure> {
        let now = self.clock.now();
        let admitted = self.admit(now);
        let accepted = admitted.is_ok();
        let failed = accepted && self.fails();
        let took = match accepted {
            true => self
                .scenario
                .latency
                .draw(self.scenario.seed, prompt.into()),
            false => self.scenario.refusal,
        };
        self.calls.lock().push(ServedCall {
            at: now - self.started,
            thread: self.thread(),
            prompt,
            accepted,
            failed,
            took,
        });
        self.clock.sleep_until(now + took);
        admitted?;
        self.admission.lock().leave();
        match failed {
            true => Err(SimulatedFailure::Fault),
            false => Ok(()),
        }
    }

    fn admit(&self, now: Instant) -> Result<(), SimulatedFailure> {
        let mut admission = self.admission.lock();
        let key = admission.key("");
        let admitted = admission.admit(key, 0, now);
        admitted.map_err(|over| SimulatedFailure::TooMany {
            retry_after: over.wait().unwrap_or_default(),
        })
    }

    /// Whether the next call fails.
    fn fails(&self) -> bool {
        let number = self.calls.lock().len() as u64;
        let mut chance = StdRng::seed_from_u64(seed_of(self.scenario.seed, number));
        chance.random_bool(self.scenario.faults)
    }

    /// The number of the calling thread.
    fn thread(&self) -> usize {
        let this = thread::current().id();
        let mut threads = self.threads.lock();
        let known = threads.iter().position(|thread| *thread == this);
        known.unwrap_or_else(|| {
            threads.push(this);
            threads.len() - 1
        })
    }
}
