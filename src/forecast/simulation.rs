//! The batch itself on the simulated clock, against a server that is a distribution: what it would take.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Case, Faults};
use crate::api::{Answer, Ask, CallError, Class, Counting, Usage};
use crate::batch::{Batch, Density, RequestSize, Settings};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SimClock};
use crate::json::Json;
use crate::prompts::{Prompt, PromptError};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Course {
    /// From the start to the end of the whole batch.
    pub(super) took: Duration,
    /// Calls that were made for the prompts that were simulated.
    pub(super) calls: u64,
    /// The most calls under way at once.
    pub(super) busiest: usize,
    /// Prompts that were simulated.
    pub(super) simulated: usize,
    /// Whether the batch came to its end, and did not stop early.
    pub(super) ended: bool,
}

/// Runs so many of the prompts, and adds for the rest what one prompt takes in the steady part.
pub(super) fn run(case: &Case, settings: Settings, count: usize) -> Course {
    let clock = SimClock::new();
    let server = Server::new(case, count, clock.clone());
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let asks = (0..case.keys).map(|_| &server as &dyn Ask);
    let batch = Batch::new(settings, asks, on.clone(), CancelToken::on(on));
    let weighs = settings.tokens.is_some();
    let mut done = Vec::with_capacity(count);
    let summary = batch.run(prompts(case, count, weighs), |_| {
        done.push(clock.elapsed());
        Ok(())
    });
    let busiest = server.calls.into_inner().busiest;
    let rest = case.load.count.saturating_sub(count as u64) as f64;
    let took = summary.took + steady(&done, busiest).mul_f64(rest);
    Course {
        took,
        calls: summary.calls,
        busiest,
        simulated: count,
        ended: summary.stop.is_none(),
    }
}

/// What one prompt more takes, between the beginning, when the pace is found and workers are hired, and the end, when
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

/// Prompts that are nothing but a size, and where sizes do not matter not even that.
fn prompts(
    case: &Case,
    count: usize,
    weighs: bool,
) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send + '_ {
    (1..).zip(case.load.sizes(count)).map(move |(line, size)| {
        let body = Some(if weighs { body(size) } else { String::new() });
        Ok(Prompt {
            line,
            custom_id: String::new(),
            text: String::new(),
            body,
        })
    })
}

/// A request of this size.
fn body(RequestSize { bytes, most }: RequestSize) -> String {
    let fields = most.map_or_else(
        || "{}".to_owned(),
        |most| format!("{{\"max_tokens\":{most}}}"),
    );
    format!("{fields:<width$}", width = bytes as usize)
}

/// Answers after a while drawn from a distribution.
#[derive(Debug)]
struct Server {
    clock: SimClock,
    latencies: Vec<Duration>,
    density: Density,
    counting: Counting,
    faults: Faults,
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct Calls {
    number: usize,
    under_way: usize,
    busiest: usize,
    chance: StdRng,
}

impl Server {
    const SEED: u64 = 1;

    fn new(case: &Case, count: usize, clock: SimClock) -> Self {
        let chance = StdRng::seed_from_u64(Self::SEED);
        let calls = Mutex::new(Calls {
            number: 0,
            under_way: 0,
            busiest: 0,
            chance,
        });
        let latencies = case.latency.sample(count, Self::SEED);
        Server {
            clock,
            latencies,
            density: case.load.density,
            counting: case.load.counting,
            faults: case.faults,
            calls,
        }
    }

    /// A call comes in: how long it takes, and whether it fails.
    fn enter(&self) -> (Duration, Option<CallError>) {
        let mut calls = self.calls.lock();
        calls.under_way += 1;
        calls.busiest = calls.busiest.max(calls.under_way);
        calls.number += 1;
        let latency = self.latencies[(calls.number - 1) % self.latencies.len()];
        let draw: f64 = calls.chance.random();
        let Faults { faults, rejected } = self.faults;
        let failure = match draw {
            _ if draw < faults => Some(error(Class::Fault, 500)),
            _ if draw < faults + rejected => Some(error(Class::Rejected, 400)),
            _ => None,
        };
        (latency, failure)
    }

    fn answer(&self, request: &[u8]) -> Answer {
        let size = RequestSize::of(request);
        let (input, output) = (size.input(self.density), size.output(self.density));
        Answer {
            text: String::new(),
            finish_reason: None,
            status: 200,
            request_id: None,
            usage: Some(Usage {
                input: input.round() as u32,
                output: output.round() as u32,
            }),
            hints: Box::default(),
            body: Json::default(),
        }
    }
}

fn error(class: Class, status: u16) -> CallError {
    let (code, message, request_id, retry_after, hints, body) = Default::default();
    CallError {
        class,
        code,
        message,
        status: Some(status),
        request_id,
        retry_after,
        hints,
        body,
    }
}

impl Ask for Server {
    fn request(&self, _prompt: &str) -> Vec<u8> {
        Vec::new() // every prompt brings its body
    }

    fn counting(&self) -> Counting {
        self.counting
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let (latency, failure) = self.enter();
        self.clock.sleep_until(self.clock.now() + latency);
        self.calls.lock().under_way -= 1;
        failure.map_or_else(|| Ok(self.answer(request)), Err)
    }
}
