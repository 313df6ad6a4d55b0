//! The batch itself on the simulated clock, against a server that is a distribution of latencies.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::earlier::CallStatistics;
use super::forecast::PlanInputs;
use crate::api::{Answer, Ask, CallError, Class, Counting, Usage};
use crate::batch::{Batch, RequestSize, Settings};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SimClock};
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
    let rest = inputs.load.count().saturating_sub(count as u64) as f64;
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
    let prompt = move |(line, size)| Prompt {
        body: Some(if sized { body(size) } else { String::new() }),
        ..Prompt::new(line, "")
    };
    (1..).zip(inputs.load.sizes(count)).map(prompt).map(Ok)
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
struct SimulatedApi<'a> {
    inputs: &'a PlanInputs,
    clock: SimClock,
    latencies: Vec<Duration>,
    state: Mutex<ApiState>,
}

#[derive(Debug)]
struct ApiState {
    calls: usize,
    in_flight: usize,
    busiest: usize,
    random: StdRng,
}

impl<'a> SimulatedApi<'a> {
    const SEED: u64 = 1;

    fn new(inputs: &'a PlanInputs, count: usize, clock: SimClock) -> Self {
        SimulatedApi {
            inputs,
            clock,
            latencies: inputs.known.latency.sample(count, Self::SEED),
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
        let CallStatistics {
            faults, rejected, ..
        } = self.inputs.known;
        let error = |class, status| CallError {
            status,
            maybe_billed: status.is_none(),
            ..CallError::new(class, "timeout", "")
        };
        let timeout = self.inputs.timeout;
        let error = match draw {
            _ if latency > timeout => Some(error(Class::Fault, None)),
            _ if draw < faults => Some(error(Class::Fault, Some(500))),
            _ if draw < faults + rejected => Some(error(Class::Rejected, Some(400))),
            _ => None,
        };
        (latency.min(timeout), error)
    }

    fn answer(&self, request: &[u8]) -> Answer {
        let size = RequestSize::of(request);
        let density = self.inputs.known.density;
        Answer {
            usage: Some(Usage {
                input: size.input(density).round() as u64,
                output: size.output(density).round() as u64,
                ..Usage::default()
            }),
            ..Answer::new("")
        }
    }
}

impl Ask for SimulatedApi<'_> {
    fn request(&self, _prompt: &str) -> Vec<u8> {
        Vec::new() // every prompt brings its body
    }

    fn counting(&self) -> Counting {
        self.inputs.load.counting
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let (latency, error) = self.arrive();
        self.clock.sleep_until(self.clock.now() + latency);
        self.state.lock().in_flight -= 1;
        error.map_or_else(|| Ok(self.answer(request)), Err)
    }
}
