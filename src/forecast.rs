//! How long a batch will take, what holds it back, and how many workers to use: found out before anything is sent.
//!
//! Nothing is calculated that can be tried. The batch itself, the same code as in a real run, is run on the simulated
//! clock against a server that is a distribution of latencies. Of a large batch a sample is run, long enough for its
//! beginning, its end and a steady part between; the rest is as many times what a prompt takes in that part. The forecast
//! is plain data; as text it is meant for a terminal.

mod latencies;
mod load;
mod simulation;
pub(crate) mod text;
mod workers;

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::batch::{Settings, workers_for};
use crate::limiter::Tempo;

pub use latencies::Latencies;
pub use load::Load;

/// What is known before a run.
#[derive(Clone, Debug)]
pub struct Case {
    /// How it would be run.
    pub settings: Settings,
    /// With so many keys.
    pub keys: usize,
    /// What there is to send.
    pub load: Load,
    /// How long calls take.
    pub latency: Latencies,
    /// How often they fail.
    pub faults: Faults,
}

/// How often calls fail, from 0 to 1: plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// With a fault, after which the prompt is tried again.
    pub faults: f64,
    /// For good.
    pub rejected: f64,
}

/// What a batch is waiting for while it goes as fast as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bottleneck {
    /// The limit in calls.
    Pace,
    /// The limit in tokens.
    Tokens,
    /// There are too few workers.
    Workers,
    /// The few calls that there are, each as long as it takes.
    Latency,
}

/// What a batch will come to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// From the start to the end.
    pub took: Duration,
    /// Calls, with those that are made again after a fault.
    pub calls: f64,
    /// The most calls that are under way at once.
    pub busiest: usize,
    /// Prompts that were simulated; if there are more, the steady part is extended.
    pub simulated: usize,
    /// How long each limit alone would let it take, the longest first: that one is the bottleneck.
    pub alone: Vec<(Bottleneck, Duration)>,
    /// How long other numbers of workers would take, in ascending order.
    pub table: Vec<Row>,
    /// The fewest workers that take hardly longer than any number would; none if there is no limit to keep up with.
    pub enough: Option<usize>,
    /// Whether the batch comes to its end: a server that fails too often stops it.
    pub ends: bool,
}

/// One number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// So many.
    pub workers: usize,
    /// What the batch takes with them.
    pub took: Duration,
}

impl Forecast {
    /// Runs the batch on the simulated clock, and again with other numbers of workers. It takes a second or two.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let count = case.sample();
        let course = simulation::run(case, case.settings, count);
        let calls = case.load.count as f64 * course.calls as f64 / count.max(1) as f64;
        let (table, enough) = workers::compare(case, count, calls);
        let (took, busiest, ends) = (course.took, course.busiest, course.ended);
        Forecast {
            took,
            calls,
            busiest,
            simulated: count,
            alone: case.alone(calls),
            table,
            enough,
            ends,
        }
    }

    /// What holds it back; none of nothing.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        self.alone.first().map(|(bottleneck, _)| *bottleneck)
    }

    /// Calls a minute, on average.
    #[must_use]
    pub fn calls_a_minute(&self) -> f64 {
        self.calls * 60.0 / self.took.as_secs_f64().max(1e-3)
    }
}

impl Case {
    /// How many prompts are simulated: the beginning, in which workers are hired and tokens are learnt, the end and
    /// enough between. Where sizes matter, requests are made at that size, and a few large ones must do.
    fn sample(&self) -> usize {
        const MOST: u64 = 2000;
        const LEAST: u64 = 200;
        const BYTES: f64 = 32e6;
        let bytes =
            self.load.input / self.load.density.input.max(1e-9) / self.load.count.max(1) as f64;
        let weighed = (BYTES / bytes.max(1.0)) as u64;
        let most = if self.settings.tokens.is_some() {
            MOST.min(weighed).max(LEAST)
        } else {
            MOST
        };
        self.load.count.min(most) as usize
    }

    /// How long so many calls would take if there were but one limit, for each of them.
    fn alone(&self, calls: f64) -> Vec<(Bottleneck, Duration)> {
        let latency = self.latency.mean();
        let workers = self
            .settings
            .workers
            .map_or_else(|| self.most_workers(), NonZeroUsize::get);
        let limits = [
            (Bottleneck::Pace, self.paced(calls)),
            (Bottleneck::Tokens, self.metered(calls)),
            (
                Bottleneck::Workers,
                Some(latency.mul_f64(calls / workers as f64)),
            ),
            (Bottleneck::Latency, Some(latency).filter(|_| calls > 0.0)),
        ];
        let mut alone: Vec<_> = limits
            .into_iter()
            .filter_map(|(limit, took)| Some((limit, took?)))
            .collect();
        alone.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        alone
    }

    /// As many as may be hired.
    fn most_workers(&self) -> usize {
        workers_for(&self.settings.pace, self.keys).most.get()
    }

    /// What the pace alone lets so many calls take; none if there is none to keep.
    fn paced(&self, calls: f64) -> Option<Duration> {
        match self.settings.pace {
            Tempo::Kept(rate) if !rate.interval.is_zero() => Some(
                (rate.interval + rate.guard).mul_f64((calls - 1.0).max(0.0) / self.keys as f64),
            ),
            _ => None,
        }
    }

    /// What the limit in tokens alone lets so many calls take.
    fn metered(&self, calls: f64) -> Option<Duration> {
        let tokens = f64::from(self.settings.tokens?.get()) * self.keys as f64;
        let cost = self.load.mean_counted()?;
        Some(Duration::from_secs_f64(
            (calls - 1.0).max(0.0) * cost * 60.0 / tokens,
        ))
    }
}

#[cfg(test)]
mod tests;
