//! What became of one strategy: the calls that reached the server, and what they add up to.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Calls within this time of each other come together.
pub(super) const WAVE: Duration = Duration::from_millis(100);

/// A call that reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServedCall {
    /// Since the start.
    pub(in crate::cli) at: Duration,
    /// Its thread, in order of the first calls, counted from 0.
    pub(in crate::cli) thread: usize,
    /// Its prompt, counted from 0.
    pub(in crate::cli) prompt: u32,
    /// Whether it was accepted; if not, the answer was a 429.
    pub(in crate::cli) accepted: bool,
    /// Whether it was accepted, and failed with a 503.
    pub(in crate::cli) failed: bool,
    /// How long the answer took.
    pub(in crate::cli) took: Duration,
}

/// The calls of one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct StrategyResult {
    pub(in crate::cli) name: String,
    pub(super) threads: NonZeroUsize,
    /// From the start to the last answer.
    pub(in crate::cli) time: Duration,
    /// Every call, in order of arrival.
    pub(in crate::cli) calls: Vec<ServedCall>,
}

impl StrategyResult {
    fn rate_limited_calls(&self) -> impl Iterator<Item = &ServedCall> {
        self.calls.iter().filter(|call| !call.accepted)
    }

    /// How many calls were answered with 429.
    pub(in crate::cli) fn rate_limited(&self) -> usize {
        self.rate_limited_calls().count()
    }

    /// The most calls that reached the server within a [`WAVE`], without the first call of each thread: those come
    /// together because the program starts.
    pub(in crate::cli) fn largest_wave(&self) -> usize {
        let calls = self.calls.get(self.threads.get()..).unwrap_or_default();
        let (mut largest, mut first) = (0, 0);
        for (last, call) in calls.iter().enumerate() {
            while call.at - calls[first].at >= WAVE {
                first += 1;
            }
            largest = largest.max(last - first + 1);
        }
        largest
    }

    /// The most 429s that one prompt got.
    pub(in crate::cli) fn most_for_a_prompt(&self) -> usize {
        self.by_prompt().into_values().max().unwrap_or(0)
    }

    /// How many prompts got more 429s than this: those that a loop with this many retries would give up.
    pub(super) fn prompts_with_more_than(&self, times: usize) -> usize {
        let counts = self.by_prompt();
        counts.values().filter(|count| **count > times).count()
    }

    fn by_prompt(&self) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        for call in self.rate_limited_calls() {
            *counts.entry(call.prompt).or_default() += 1;
        }
        counts
    }
}
