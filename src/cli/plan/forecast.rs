//! How long a batch will take, what limits it, and how many workers to use.
//!
//! Every call of the batch is played in the order of departure, against a server that is a distribution of latencies. The
//! batch's own [`KeyState`] says when a call may leave, and its own [`Concurrency`] how many may be in flight. The time is
//! within 3 % of that of the batch itself on the simulated clock (see the tests).
//!
//! Not played: calls that are rate limited, and the finding of a limit that nobody states.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::{self, Peekable};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::known::CallStatistics;
use super::survey::Workload;
use crate::batch::{Settings, workers_for};
use crate::limiter::Rate;
use crate::outcome::CallOutcome;
use crate::pacing::{Concurrency, Departure, KeyLimits, KeyState, RateLimit};

/// A number of workers is enough if it takes at most 1 % longer than the best: more cannot be noticed.
const HARDLY_LONGER: f64 = 1.01;

/// What is known before a run.
#[derive(Clone, Debug)]
pub(super) struct PlanInputs {
    pub(super) settings: Settings,
    pub(super) keys: usize,
    pub(super) load: Workload,
    pub(super) known: CallStatistics,
    /// A call that takes longer fails.
    pub(super) timeout: Duration,
    /// The parts of the latencies in the order in which calls have them.
    pub(super) order: Vec<u32>,
}

/// As many equal parts as there are calls, but 250 at most, in random order.
pub(super) fn order(calls: usize) -> Vec<u32> {
    const MOST: u32 = 250;
    let parts = u32::try_from(calls).map_or(MOST, |calls| calls.clamp(1, MOST));
    let mut order: Vec<_> = (0..parts).collect();
    order.shuffle(&mut StdRng::seed_from_u64(0));
    order
}

/// What a batch will take.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Forecast {
    /// The batch with the workers that were asked for.
    pub(super) run: PlayedRun,
    /// How long each limit alone would let it take, the longest first: that one is the bottleneck.
    pub(super) alone: Vec<(&'static str, Duration)>,
    /// The batch with other numbers of workers, in ascending order.
    pub(super) choices: Vec<(usize, PlayedRun)>,
    /// The fewest workers that take hardly longer than any number would; `None` without a limit to keep up with.
    pub(super) enough: Option<usize>,
    /// Whether the batch comes to its end: too many faults stop it.
    pub(super) ends: bool,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PlayedRun {
    /// From the start to the end.
    pub(super) took: Duration,
    /// Calls, with retries.
    pub(super) calls: u64,
    /// The most calls in flight at once.
    pub(super) busiest: usize,
    /// Calls that failed with a fault, time-outs among them.
    faults: u64,
}

impl Forecast {
    #[cfg(test)]
    fn bottleneck(&self) -> Option<&str> {
        self.alone.first().map(|(bottleneck, _)| *bottleneck)
    }

    /// Plays the batch, and again with other numbers of workers. A million calls take a quarter of a second each
    /// time.
    pub(super) fn of(inputs: &PlanInputs) -> Self {
        /// Faults that a batch bears: ten, and one in ten calls, as its budget of retries has it.
        const FAULTS: u64 = 10;
        let wanted = inputs.settings.workers.map(NonZeroUsize::get);
        let run = inputs.play(wanted);
        let most = inputs.most_workers().min(inputs.load.count());
        let enough = inputs.enough(most);
        let numbers = match enough {
            Some(enough) => {
                let quarters = [1, 2, 3, 4, 6, 8].into_iter();
                let parts = quarters.map(|part| (enough * part).div_ceil(4));
                iter::once(1).chain(parts).collect()
            }
            None => (0..9).map(|power| 1 << power).collect::<Vec<_>>(),
        };
        let fitting = numbers.into_iter().map(|number| number.min(most));
        let numbers: BTreeSet<_> = fitting.chain(wanted).filter(|number| *number > 0).collect();
        let play = |number| (number, inputs.play(Some(number)));
        Forecast {
            run,
            alone: inputs.alone(run.calls),
            choices: numbers.into_iter().map(play).collect(),
            enough,
            ends: run.faults <= FAULTS + run.calls / FAULTS,
        }
    }
}

/// A prompt that a worker has at hand, and the failures that it met so far.
#[derive(Clone, Copy)]
struct PlayedPrompt {
    number: usize,
    faults: u32,
    timeouts: u32,
}

/// What happens next to a prompt.
enum NextStep {
    Leaves,
    Ends(Option<Departure>, Duration, CallOutcome),
    /// It may be sent again.
    IsReady,
}

/// A batch that is being played.
struct Play<'a> {
    inputs: &'a PlanInputs,
    keys: Vec<KeyState>,
    /// Finds how many calls may be in flight, if the number of workers is not given.
    found: Option<Concurrency>,
    /// Workers without a prompt.
    idle: usize,
    /// Prompts that no worker has taken yet.
    prompts: Peekable<Range<usize>>,
    /// Prompts that wait for a place among the calls in flight.
    ready: VecDeque<PlayedPrompt>,
    /// By their instants and prompts: a prompt has one at a time.
    events: BTreeMap<(Instant, usize), (PlayedPrompt, NextStep)>,
    in_flight: usize,
    run: PlayedRun,
}

impl Play<'_> {
    fn run(mut self, start: Instant) -> PlayedRun {
        let mut now = start;
        loop {
            self.take_places(now);
            let Some(((at, _), (prompt, event))) = self.events.pop_first() else {
                self.run.took = now - start;
                return self.run;
            };
            now = at;
            match event {
                NextStep::Leaves => self.leave(now, prompt),
                NextStep::Ends(departure, took, outcome) => {
                    self.end(now, prompt, departure, took, outcome)
                }
                NextStep::IsReady => self.ready.push_back(prompt),
            }
        }
    }

    fn add(&mut self, at: Instant, prompt: PlayedPrompt, event: NextStep) {
        self.events.insert((at, prompt.number), (prompt, event));
    }

    /// A prompt for a worker without one.
    fn next_prompt(&mut self) -> Option<PlayedPrompt> {
        let number = self.prompts.next_if(|_| self.idle > 0)?;
        self.idle -= 1;
        Some(PlayedPrompt {
            number,
            faults: 0,
            timeouts: 0,
        })
    }

    /// As many prompts as may be in flight take a permit each, of the key that has one first.
    fn take_places(&mut self, now: Instant) {
        while self.found.as_ref().is_none_or(Concurrency::has_room) {
            let retry = self.ready.pop_front();
            let Some(prompt) = retry.or_else(|| self.next_prompt()) else {
                return;
            };
            let tokens = self.inputs.load.counted(prompt.number) as u32;
            let key = self.keys.iter_mut().min_by_key(|key| key.due(tokens));
            let leaves = key.map_or(now, |key| {
                let leaves = now.max(key.due(tokens));
                key.take(leaves, 0, tokens);
                key.sent(leaves, leaves);
                leaves
            });
            self.found.iter_mut().for_each(Concurrency::enter);
            self.add(leaves, prompt, NextStep::Leaves);
        }
    }

    fn leave(&mut self, now: Instant, prompt: PlayedPrompt) {
        let departure = self.found.as_mut().map(Concurrency::sent);
        let (took, outcome) = self.inputs.call(self.run.calls);
        self.in_flight += 1;
        self.run.calls += 1;
        self.run.busiest = self.run.busiest.max(self.in_flight);
        self.add(now + took, prompt, NextStep::Ends(departure, took, outcome));
    }

    fn end(
        &mut self,
        now: Instant,
        mut prompt: PlayedPrompt,
        departure: Option<Departure>,
        took: Duration,
        outcome: CallOutcome,
    ) {
        if let Some(found) = &mut self.found {
            found.left(departure, took, outcome);
        }
        self.in_flight -= 1;
        self.run.faults += u64::from(outcome != CallOutcome::Answered);
        match self.inputs.retry(&mut prompt, outcome) {
            Some(wait) => self.add(now + wait, prompt, NextStep::IsReady),
            None => self.idle += 1,
        }
    }
}

impl PlanInputs {
    /// Plays the batch with this many workers, or with as many as it would add.
    fn play(&self, workers: Option<usize>) -> PlayedRun {
        let start = Instant::now();
        let rate = match self.settings.rate {
            RateLimit::Fixed(rate) => rate,
            RateLimit::Adaptive => Rate::unlimited(),
        };
        let limits = KeyLimits {
            rate: RateLimit::Fixed(rate),
            tokens: self.settings.tokens,
        };
        let key = || KeyState::new(limits, start);
        let play = Play {
            inputs: self,
            keys: iter::repeat_with(key).take(self.keys).collect(),
            found: workers.is_none().then(Concurrency::new),
            idle: workers.unwrap_or_else(|| self.most_workers()),
            prompts: (0..self.load.count()).peekable(),
            ready: VecDeque::new(),
            events: BTreeMap::new(),
            in_flight: 0,
            run: PlayedRun::default(),
        };
        play.run(start)
    }

    /// How long a call takes, and how it ends.
    fn call(&self, number: u64) -> (Duration, CallOutcome) {
        let block = self.order.len() as u64;
        let latency = self.part(number);
        let chance = self.part(number + number / block + block / 2); // unrelated to the latency
        let known = &self.known;
        let latency = known.quantile(latency);
        let outcome = match chance {
            _ if latency > self.timeout => CallOutcome::Timeout,
            _ if chance < known.faults => CallOutcome::ServerError,
            _ => CallOutcome::Answered,
        };
        (latency.min(self.timeout), outcome)
    }

    /// A number from 0 to 1. Of calls that follow each other, each has another of as many equal parts as the order has: so
    /// a few calls stand for all.
    fn part(&self, call: u64) -> f64 {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let block = self.order.len() as u64;
        let within = (0.5 + (call / block) as f64 * GOLDEN).fract();
        (f64::from(self.order[(call % block) as usize]) + within) / block as f64
    }

    /// How long the prompt waits for its next call, if there is one.
    fn retry(&self, prompt: &mut PlayedPrompt, outcome: CallOutcome) -> Option<Duration> {
        let settings = &self.settings;
        let (failures, most) = match outcome {
            CallOutcome::Answered => return None,
            CallOutcome::Timeout => (&mut prompt.timeouts, settings.timeout_retries),
            _ => (&mut prompt.faults, settings.retry.retries),
        };
        *failures += 1;
        let mut delays = settings.retry.backoff.delays(prompt.number as u64);
        let delay = delays.nth(*failures as usize - 1)?;
        (*failures <= most).then_some(delay)
    }

    /// The fewest workers that take hardly longer than `most` of them.
    fn enough(&self, most: usize) -> Option<usize> {
        let limit = self.by_rate(2).or_else(|| self.by_tokens(2));
        limit.filter(|_| most > 0)?;
        let longest = self.play(Some(most)).took.mul_f64(HARDLY_LONGER);
        let numbers: Vec<_> = (1..=most).collect();
        Some(1 + numbers.partition_point(|number| self.play(Some(*number)).took > longest))
    }

    /// How long this many calls would take if there were one limit only, for each limit, the longest first.
    fn alone(&self, calls: u64) -> Vec<(&'static str, Duration)> {
        let latency = self.known.mean_latency();
        let wanted = self.settings.workers.map(NonZeroUsize::get);
        let workers = wanted.unwrap_or_else(|| self.most_workers()) as f64;
        let by_workers = latency.mul_f64(calls as f64 / workers);
        let limits = [
            ("rate", self.by_rate(calls)),
            ("tokens", self.by_tokens(calls)),
            ("workers", Some(by_workers)),
            ("latency", Some(latency).filter(|_| calls > 0)), // so few calls that the time of one counts
        ];
        let known = limits.map(|(limit, took)| took.map(|took| (limit, took)));
        let mut alone: Vec<_> = known.into_iter().flatten().collect();
        alone.sort_by_key(|(_, took)| Reverse(*took));
        alone
    }

    /// The most workers that a run would use by itself.
    fn most_workers(&self) -> usize {
        *workers_for(&self.settings.rate, self.keys).end()
    }

    /// What this many calls take at the rate alone; `None` without one.
    fn by_rate(&self, calls: u64) -> Option<Duration> {
        match self.settings.rate {
            RateLimit::Fixed(rate) if !rate.interval().is_zero() => {
                let intervals = calls.saturating_sub(1) as f64 / self.keys as f64;
                Some(rate.step().mul_f64(intervals))
            }
            _ => None,
        }
    }

    /// What this many calls take at the limit in tokens alone; `None` without one.
    fn by_tokens(&self, calls: u64) -> Option<Duration> {
        let tokens = f64::from(self.settings.tokens?.get()) * self.keys as f64;
        let each = self.load.mean_counted()?;
        let minutes = calls.saturating_sub(1) as f64 * each / tokens;
        Some(Duration::from_secs_f64(minutes * 60.0))
    }
}

#[cfg(test)]
mod tests;
