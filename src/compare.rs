//! The usual ways of living with a rate limit, side by side: the same prompts, the same server, the same seed, in
//! simulated time.
//!
//! A sleep of five seconds, of thirty, a backoff, a backoff with jitter, and the paced pool. All run with the library's
//! own [`pool`](crate::pool) and [`Retry`](crate::Retry) against the practice server's own limit; they differ in their
//! figures alone, and in that the paced pool takes its turns at a [`RateLimiter`](crate::RateLimiter). Threads on a
//! [`SimClock`](crate::clock::SimClock) do the same each time, so the same options give the same table.

mod course;
mod notice;
mod picture;
mod server;
mod strategy;
mod table;

#[cfg(test)]
mod tests;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::practice::Latency;

pub use course::{Arrival, Course, WAVE};
use strategy::Strategy;

/// What is compared: plain data.
///
/// # Default
/// 200 prompts, 10 calls a minute, a burst of 1, answers in 2 s, 10 workers, seed 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How many prompts are to be answered.
    pub prompts: NonZeroU32,
    /// Calls a minute that the server allows, evenly spaced.
    pub rpm: NonZeroU32,
    /// How many calls the server lets through at once after a quiet time.
    pub burst: NonZeroU32,
    /// How long an answer takes: the same for the same prompt, whoever asks. A refusal comes at once.
    pub latency: Latency,
    /// How many threads each strategy has, but for the one that has one.
    pub workers: NonZeroUsize,
    /// For everything that is left to chance.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let (prompts, rpm, workers) = (
            NonZeroU32::new(200),
            NonZeroU32::new(10),
            NonZeroUsize::new(10),
        );
        Options {
            prompts: prompts.expect("200 is not 0"),
            rpm: rpm.expect("10 is not 0"),
            burst: NonZeroU32::MIN,
            latency: Latency::Constant(Duration::from_secs(2)),
            workers: workers.expect("10 is not 0"),
            seed: 0,
        }
    }
}

impl Options {
    /// From one call to the next, as the server allows it.
    fn interval(&self) -> Duration {
        Duration::from_secs(60) / self.rpm.get()
    }

    /// When the server lets the last prompt in at the earliest: the limit alone takes so long.
    fn last_call_at_best(&self) -> Duration {
        self.interval() * self.prompts.get().saturating_sub(self.burst.get())
    }

    /// How many calls the server lets through within a [`WAVE`], at most.
    fn allowed_together(&self) -> u64 {
        let after_the_first = (WAVE.as_nanos() - 1) / self.interval().as_nanos().max(1);
        u64::from(self.burst.get()) + after_the_first as u64
    }
}

/// What came of each strategy. It is shown as a table of 80 columns, and what to notice in it.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was compared.
    pub options: Options,
    /// The strategies in the order of the story; the paced pool comes last.
    pub courses: Vec<Course>,
}

impl Comparison {
    /// Plays each strategy to its end, until every prompt is answered.
    ///
    /// # Panics
    /// If the operating system gives no threads.
    #[must_use]
    pub fn of(options: Options) -> Self {
        let courses = Strategy::all(&options)
            .iter()
            .map(|strategy| strategy.play(&options))
            .collect();
        Comparison { options, courses }
    }

    /// The strategy that all others are measured by.
    fn pool(&self) -> &Course {
        self.courses.last().expect("there are strategies")
    }

    /// How many times as long as the paced pool it took.
    fn times_the_pool(&self, course: &Course) -> f64 {
        course.time.as_secs_f64() / self.pool().time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
