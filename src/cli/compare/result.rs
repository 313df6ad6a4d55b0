//! What became of one strategy: the calls that reached the server, and what they add up to.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;

use crate::cli::statistics::busiest;
use crate::text::millis;

/// Calls within this time of each other come together.
pub(super) const WAVE: Duration = Duration::from_millis(100);

/// Simulated times are far below 500 years.
pub(super) fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// The retries after which a usual retry loop gives up.
pub(super) const USUAL_RETRIES: usize = 5;

/// A call that reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServedCall {
    /// Since the start.
    pub(in crate::cli) at: Duration,
    /// Its thread, in order of the first calls, counted from 0.
    pub(in crate::cli) thread: usize,
    /// Its prompt, counted from 0.
    pub(in crate::cli) prompt: u32,
    /// 200, 429 if it was not accepted, or 503.
    pub(in crate::cli) status: u16,
    /// How long the answer took.
    pub(in crate::cli) took: Duration,
}

impl ServedCall {
    pub(super) fn is_accepted(&self) -> bool {
        self.status != 429
    }
}

/// The calls of one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct StrategyResult {
    pub(super) name: String,
    pub(super) threads: NonZeroUsize,
    /// From the start to the last answer.
    pub(super) time: Duration,
    /// Every call, in order of arrival.
    pub(in crate::cli) calls: Vec<ServedCall>,
}

/// What the calls of a strategy add up to. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct StrategyFigures {
    pub(super) name: String,
    pub(super) time_ms: u64,
    last_call_ms: u64,
    pub(super) call_count: usize,
    /// Calls that were answered with 429.
    pub(super) rate_limited: usize,
    pub(super) largest_wave: usize,
    /// The most 429s that one prompt got.
    most_for_a_prompt: usize,
    /// Prompts that got more 429s than a usual retry loop bears.
    given_up: usize,
}

impl StrategyResult {
    /// The calls that were answered with this status.
    pub(in crate::cli) fn count(&self, status: u16) -> usize {
        let calls = self.calls.iter();
        calls.filter(|call| call.status == status).count()
    }

    pub(in crate::cli) fn figures(&self) -> StrategyFigures {
        let mut by_prompt = HashMap::<u32, usize>::new();
        for call in self.calls.iter().filter(|call| !call.is_accepted()) {
            *by_prompt.entry(call.prompt).or_default() += 1;
        }
        let given_up = by_prompt.values().filter(|count| **count > USUAL_RETRIES);
        StrategyFigures {
            name: self.name.clone(),
            time_ms: millis(self.time),
            last_call_ms: self.calls.last().map_or(0, |call| millis(call.at)),
            call_count: self.calls.len(),
            rate_limited: self.count(429),
            largest_wave: self.largest_wave(),
            most_for_a_prompt: by_prompt.values().max().copied().unwrap_or(0),
            given_up: given_up.count(),
        }
    }

    /// The most calls that reached the server within a [`WAVE`], without the first call of each thread: those come
    /// together because the program starts.
    fn largest_wave(&self) -> usize {
        let calls = self.calls.get(self.threads.get()..).unwrap_or_default();
        busiest(calls, nanos(WAVE), |call| nanos(call.at)).len()
    }
}
