//! What a strategy came to: who reached the server when, and what that adds up to.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

/// A call that reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Since the start.
    pub at: Duration,
    /// For which prompt, from 0.
    pub prompt: u32,
    /// Whether it was let in: if not, the answer was a 429.
    pub accepted: bool,
}

/// Calls that come within so short a time have come together.
pub const WAVE: Duration = Duration::from_millis(100);

/// The course of one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// What it is called in the table.
    pub name: String,
    /// How many threads call.
    pub threads: NonZeroUsize,
    /// From the start to the last answer.
    pub time: Duration,
    /// Every call, in order of arrival.
    pub arrivals: Vec<Arrival>,
}

impl Course {
    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.arrivals.len()
    }

    /// How many of them were refused.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.arrivals
            .iter()
            .filter(|arrival| !arrival.accepted)
            .count()
    }

    /// The most calls that reached the server within a [`WAVE`]. The first call of each thread is left out: it is the
    /// start of the program that brings those together.
    #[must_use]
    pub fn largest_wave(&self) -> usize {
        let arrivals = self.arrivals.get(self.threads.get()..).unwrap_or_default();
        let mut first = 0;
        let within = |(last, arrival): (usize, &Arrival)| {
            while arrival.at - arrivals[first].at >= WAVE {
                first += 1;
            }
            last - first + 1
        };
        arrivals.iter().enumerate().map(within).max().unwrap_or(0)
    }

    /// How often the prompt was refused that was refused most.
    #[must_use]
    pub fn most_refusals_of_a_prompt(&self) -> usize {
        self.refusals_by_prompt().into_values().max().unwrap_or(0)
    }

    /// How many prompts were refused more often than this: so many would be lost to who gives up after so many retries.
    #[must_use]
    pub fn refused_more_than(&self, times: usize) -> usize {
        self.refusals_by_prompt()
            .values()
            .filter(|refusals| **refusals > times)
            .count()
    }

    fn refusals_by_prompt(&self) -> HashMap<u32, usize> {
        let mut counts = HashMap::new();
        for arrival in self.arrivals.iter().filter(|arrival| !arrival.accepted) {
            *counts.entry(arrival.prompt).or_default() += 1;
        }
        counts
    }
}
