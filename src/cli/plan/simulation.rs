//! The batch itself on the simulated clock, against a server that is a distribution of latencies.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::forecast::{FailureRates, PlanInputs};
use crate::api::{Answer, Ask, CallError, Class, Counting, Usage};
use crate::batch::{Batch, Density, RequestSize, Settings};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SimClock};
use crate::json::Json;
use crate::prompts::{Prompt, PromptError};

/// What became of a simulated batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SimulatedRun {
    /// From the start to the end of the whole batch.
    pub(super) took: Duration,
    /// Calls for the prompts that were simulated.
    pub(super) calls: u64,
    /// The most calls in flight at once.
    pub(super) busiest: usize,
    /// Whether the batch came to its end.
    pub(super) ended: bool,
}

/// Runs this many of the prompts, and adds for the others what a prompt takes in the steady part.
pub(super) fn run(inputs: &PlanInputs, settings: Settings, count: usize) -> SimulatedRun {
    let clock = SimClock::new();
    let api = SimulatedApi::new(inputs, count, clock.clone());
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let asks = (0..inputs.keys).map(|_| &api as &dyn Ask);
    let batch = Batch::new(settings, asks, on.clone(), CancelToken::on(on));
    let mut done = Vec::with_capacity(count);
    let summary = batch.run(prompts(inputs, count, settings.tokens.is_some()), |_| {
        done.push(clock.elapsed());
        Ok(())
    });
    let busiest = api.state.into_inner().busiest;
    let rest = inputs.load.count.saturating_sub(count as u64) as f64;
    SimulatedRun {
        took: summary.elapsed + steady(&done, busiest).mul_f64(rest),
        calls: summary.calls,
        busiest,
        ended: summary.stop.is_none(),
    }
}

/// What one prompt more takes, between the beginning, when the limit is found and workers are added, and the end, when
/// the last calls run out.
fn steady(done: &[Duration], busiest: usize) -> Duration {
    let first = done.len() / 5;
    let last = done
        .len()
        .saturating_sub(busiest + 1)
        .max(done.len() * 3 / 5);
    match (done.get(first), done.get(last)) {
        (Some(from), Some(to)) if last > first => (*to - *from).div_f64((last - first) as f64),
        _ => Duration::ZERO,
    }
}

/// Prompts with a body of the right size, where sizes matter.
fn prompts(
    inputs: &PlanInputs,
    count: usize,
    sized: bool,
) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send + '_ {
    (1..)
        .zip(inputs.load.sizes(count))
        .map(move |(line, size)| {
            Ok(Prompt {
                body: Some(if sized { body(size) } else { String::new() }),
                ..Prompt::new(line, "")
            })
        })
}

fn body(size: RequestSize) -> String {
    let fields = match size.most {
        Some(most) => format!("{{\"max_tokens\":{most}}}"),
        None => "{}".to_owned(),
    };
    format!("{fields:<width$}", width = size.bytes as usize)
}

/// Answers after a latency drawn from the distribution.
#[derive(Debug)]
struct SimulatedApi {
    clock: SimClock,
    latencies: Vec<Duration>,
    density: Density,
    counting: Counting,
    failures: FailureRates,
    timeout: Duration,
    state: Mutex<ApiState>,
}

#[derive(Debug)]
struct ApiState {
    calls: usize,
    in_flight: usize,
    busiest: usize,
    random: StdRng,
}

impl SimulatedApi {
    const SEED: u64 = 1;

    fn new(inputs: &PlanInputs, count: usize, clock: SimClock) -> Self {
        SimulatedApi {
            clock,
            latencies: inputs.latency.sample(count, Self::SEED),
            density: inputs.load.density,
            counting: inputs.load.counting,
            failures: inputs.failures,
            timeout: inputs.timeout,
            state: Mutex::new(ApiState {
                calls: 0,
                in_flight: 0,
                busiest: 0,
                random: StdRng::seed_from_u64(Self::SEED),
            }),
        }
    }

    /// A call arrives: how long it takes, and whether it fails.
    fn arrive(&self) -> (Duration, Option<CallError>) {
        let mut state = self.state.lock();
        let latency = self.latencies[state.calls % self.latencies.len()];
        state.calls += 1;
        state.in_flight += 1;
        state.busiest = state.busiest.max(state.in_flight);
        let draw: f64 = state.random.random();
        let FailureRates { faults, rejected } = self.failures;
        let error = if latency > self.timeout {
            Some(CallError {
                code: "timeout".to_owned(),
                maybe_billed: true,
                ..error(Class::Fault, None)
            })
        } else if draw < faults {
            Some(error(Class::Fault, Some(500)))
        } else if draw < faults + rejected {
            Some(error(Class::Rejected, Some(400)))
        } else {
            None
        };
        (latency.min(self.timeout), error)
    }

    fn answer(&self, request: &[u8]) -> Answer {
        let size = RequestSize::of(request);
        Answer {
            text: String::new(),
            finish_reason: None,
            status: 200,
            request_id: None,
            usage: Some(Usage {
                input: size.input(self.density).round() as u64,
                output: size.output(self.density).round() as u64,
                ..Usage::default()
            }),
            hints: Box::default(),
            body: Json::default(),
        }
    }
}

fn error(class: Class, status: Option<u16>) -> CallError {
    CallError {
        class,
        code: Default::default(),
        message: Default::default(),
        status,
        request_id: None,
        retry_after: None,
        hints: Box::default(),
        maybe_billed: false,
        body: None,
    }
}

impl Ask for SimulatedApi {
    fn request(&self, _prompt: &str) -> Vec<u8> {
        Vec::new() // every prompt brings its body
    }

    fn counting(&self) -> Counting {
        self.counting
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let (latency, error) = self.arrive();
        self.clock.sleep_until(self.clock.now() + latency);
        self.state.lock().in_flight -= 1;
        match error {
            Some(error) => Err(error),
            None => Ok(self.answer(request)),
        }
    }
}
