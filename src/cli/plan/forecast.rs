//! How long a batch will take, what limits it, and how many workers to use.
//!
//! Nothing is calculated that can be tried: the batch itself, with the code of a real run, runs on the simulated clock
//! against a server that is a distribution of latencies. Of a large batch a sample runs, long enough for its beginning,
//! its end and a steady part between; the steady part is extended to the rest.

use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;

use super::earlier::CallStatistics;
use super::workload::Workload;
use super::{simulation, workers};
use crate::batch::{Settings, workers_for};
use crate::pacing::RateLimit;

/// What is known before a run.
#[derive(Clone, Debug)]
pub(super) struct PlanInputs {
    pub(super) settings: Settings,
    pub(super) keys: usize,
    pub(super) load: Workload,
    pub(super) known: CallStatistics,
    /// A call that takes longer fails.
    pub(super) timeout: Duration,
}

/// What limits a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Bottleneck {
    /// The limit in calls.
    Rate,
    /// The limit in tokens.
    Tokens,
    /// There are too few workers.
    Workers,
    /// There are so few calls that the time of one counts.
    Latency,
}

/// What a batch will take.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Forecast {
    /// From the start to the end.
    pub(super) took: Duration,
    /// Calls, with retries.
    pub(super) calls: f64,
    /// The most calls in flight at once.
    pub(super) busiest: usize,
    /// Prompts that were simulated; the steady part stands for the others.
    pub(super) simulated: usize,
    /// How long each limit alone would let it take, the longest first: that one is the bottleneck.
    pub(super) alone: Vec<(Bottleneck, Duration)>,
    /// How long other numbers of workers would take, in ascending order.
    pub(super) choices: Vec<WorkerChoice>,
    /// The fewest workers that take hardly longer than any number would; `None` without a limit to keep up with.
    pub(super) enough: Option<usize>,
    /// Whether the batch comes to its end: too many faults stop it.
    pub(super) ends: bool,
}

/// A number of workers, and what the batch takes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkerChoice {
    pub(super) workers: usize,
    pub(super) took: Duration,
}

impl Forecast {
    /// Runs the batch on the simulated clock, and again with other numbers of workers. It takes a second or two.
    pub(super) fn of(inputs: &PlanInputs) -> Self {
        let count = inputs.sample();
        let run = simulation::run(inputs, inputs.settings, count);
        let calls = inputs.load.count() as f64 * run.calls as f64 / count.max(1) as f64;
        let choices = workers::choices(inputs, count, calls);
        Forecast {
            took: run.took,
            calls,
            busiest: run.busiest,
            simulated: count,
            alone: inputs.alone(calls),
            enough: workers::enough(inputs, &choices),
            choices,
            ends: run.ended,
        }
    }

    #[cfg(test)]
    pub(super) fn bottleneck(&self) -> Option<Bottleneck> {
        self.alone.first().map(|(bottleneck, _)| *bottleneck)
    }
}

impl PlanInputs {
    /// How many prompts are simulated. Where tokens matter, requests are made at their size, and fewer large ones do.
    fn sample(&self) -> usize {
        /// Simulated in about a second, with room for the start, the end and a steady part.
        const MOST: u64 = 2000;
        const LEAST: u64 = 200;
        /// The requests of a sample, together.
        const BYTES: f64 = 32e6;
        let fitting = (BYTES / self.load.mean_bytes().max(1.0)) as u64;
        let most = match self.settings.tokens {
            Some(_) => fitting.clamp(LEAST, MOST),
            None => MOST,
        };
        self.load.count().min(most) as usize
    }

    /// How long this many calls would take if there were one limit only, for each limit, the longest first.
    fn alone(&self, calls: f64) -> Vec<(Bottleneck, Duration)> {
        let latency = self.known.latency.mean();
        let wanted = self.settings.workers.map(NonZeroUsize::get);
        let workers = wanted.unwrap_or_else(|| self.most_workers()) as f64;
        let limits = [
            (Bottleneck::Rate, self.by_rate(calls)),
            (Bottleneck::Tokens, self.by_tokens(calls)),
            (Bottleneck::Workers, Some(latency.mul_f64(calls / workers))),
            (Bottleneck::Latency, Some(latency).filter(|_| calls > 0.0)),
        ];
        let known = limits
            .into_iter()
            .filter_map(|(limit, took)| Some((limit, took?)));
        let mut alone: Vec<_> = known.collect();
        alone.sort_by_key(|(_, took)| Reverse(*took));
        alone
    }

    /// The most workers that a run would use by itself.
    pub(super) fn most_workers(&self) -> usize {
        *workers_for(&self.settings.rate, self.keys).end()
    }

    /// What this many calls take at the rate alone; `None` without one.
    pub(super) fn by_rate(&self, calls: f64) -> Option<Duration> {
        match self.settings.rate {
            RateLimit::Fixed(rate) if !rate.interval().is_zero() => {
                let intervals = (calls - 1.0).max(0.0) / self.keys as f64;
                Some(rate.step().mul_f64(intervals))
            }
            _ => None,
        }
    }

    /// What this many calls take at the limit in tokens alone; `None` without one.
    pub(super) fn by_tokens(&self, calls: f64) -> Option<Duration> {
        let tokens = f64::from(self.settings.tokens?.get()) * self.keys as f64;
        let each = self.load.mean_counted()?;
        let minutes = (calls - 1.0).max(0.0) * each / tokens;
        Some(Duration::from_secs_f64(minutes * 60.0))
    }
}

#[cfg(test)]
mod tests;
