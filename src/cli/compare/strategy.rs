//! The strategies, and the server that they call: the practice server's own limit on a simulated clock.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::result::{ServedCall, StrategyResult};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::cli::args::Scenario;
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
        let cancel = CancelToken::on(clock.clone());
        let limiter = self.rate.map(|rate| {
            let limiter = RateLimiter::builder().rate(rate);
            limiter.clock(clock.clone()).build()
        });
        // A 429 spends no retry, so that every prompt is answered if there are no faults.
        let retry = Retry::new().backoff(self.backoff).patience(Duration::MAX);
        let judge = |refused: &Option<Duration>| match refused {
            _ if !self.retries => Verdict::Stop,
            // Only the paced pool listens to the server: the others sleep as their loop says.
            Some(wait) => Verdict::RateLimited(limiter.as_ref().map(|_| *wait)),
            None => Verdict::Retry,
        };
        let ask = |prompt: u32| {
            let call = retry.call(judge, |_| server.call(prompt, &cancel));
            let call = call.cancel(&cancel);
            let call = call.seed(seed_of(scenario.seed, prompt.into()));
            // Whether it was answered is in the calls that the server saw.
            let _ = match &limiter {
                Some(limiter) => call.limiter(limiter).run(),
                None => call.run(),
            };
        };
        let pool = Pool::new(self.threads.get()).clock(clock.clone());
        let go_on = |_, _| ControlFlow::<()>::Continue(());
        let prompts = 0..scenario.prompts.get();
        let _ = pool.cancel(&cancel).for_each(prompts, ask, go_on);
        StrategyResult {
            name: self.name.clone(),
            threads: self.threads,
            time: clock.elapsed(),
            calls: server.state.into_inner().calls,
        }
    }
}

/// Unrelated seeds for neighbouring numbers, with Knuth's multiplicative constant.
fn seed_of(seed: u64, number: u64) -> u64 {
    seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Accepts or refuses calls, and records them.
struct SimulatedServer {
    clock: SimClock,
    scenario: Scenario,
    state: Mutex<ServerState>,
}

struct ServerState {
    admission: Admission,
    calls: Vec<ServedCall>,
    /// In order of their first calls.
    threads: Vec<ThreadId>,
}

impl SimulatedServer {
    fn new(scenario: &Scenario, clock: SimClock) -> Self {
        let limits = Limits {
            rpm: Some(scenario.rpm),
            burst: scenario.burst,
            ..Limits::default()
        };
        let state = ServerState {
            admission: Admission::new(limits, clock.now()),
            calls: Vec::new(),
            threads: Vec::new(),
        };
        SimulatedServer {
            clock,
            scenario: *scenario,
            state: Mutex::new(state),
        }
    }

    /// Asks for one prompt; returns when the answer is there. The last call that is allowed cancels the strategy.
    ///
    /// # Errors
    /// The Retry-After of a 429; `None` for a 503.
    fn call(&self, prompt: u32, cancel: &CancelToken) -> Result<(), Option<Duration>> {
        let scenario = &self.scenario;
        let now = self.clock.now();
        let mut state = self.state.lock();
        let key = state.admission.key("");
        let admitted = state.admission.admit(key, 0, now);
        let status = match admitted {
            Err(_) => 429,
            Ok(()) if state.fails(scenario) => 503,
            Ok(()) => 200,
        };
        let took = match status {
            429 => scenario.refusal,
            _ => scenario.latency.draw(scenario.seed, prompt.into()),
        };
        let call = ServedCall {
            at: self.clock.elapsed(),
            thread: state.thread(),
            prompt,
            status,
            took,
        };
        state.calls.push(call);
        let is_last = state.calls.len() >= scenario.most_calls;
        drop(state);
        if is_last {
            cancel.cancel();
        }
        self.clock.sleep_until(now + took);
        admitted.map_err(|over| Some(over.wait().unwrap_or_default()))?;
        self.state.lock().admission.leave();
        (status == 200).then_some(()).ok_or(None)
    }
}

impl ServerState {
    /// Whether the next call fails.
    fn fails(&self, scenario: &Scenario) -> bool {
        let number = self.calls.len() as u64;
        let mut chance = StdRng::seed_from_u64(seed_of(scenario.seed, number));
        chance.random_bool(scenario.faults)
    }

    /// The number of the calling thread.
    fn thread(&mut self) -> usize {
        let this = thread::current().id();
        let known = self.threads.iter().position(|thread| *thread == this);
        known.unwrap_or_else(|| {
            self.threads.push(this);
            self.threads.len() - 1
        })
    }
}
