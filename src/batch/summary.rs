//! What a batch came to, in numbers.

use std::time::{Duration, Instant};

use super::Stop;
use super::attempts::Course;
use crate::journal::Record;

/// What a batch came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Prompts whose answer has been written.
    pub answered: u64,
    /// Prompts whose failure has been written.
    pub failed: u64,
    /// Answers that are empty or did not end by themselves (`length`, `content_filter`).
    pub flagged: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls refused for calling too fast.
    pub throttled: u64,
    /// Calls that failed for another reason.
    pub faults: u64,
    /// From the start to the end.
    pub took: Duration,
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
    started: Instant,
    first_call: Option<Instant>,
    last_call: Option<Instant>,
}

impl Summary {
    pub(super) fn new(started: Instant) -> Self {
        let (answered, failed, flagged, calls, throttled, faults) = (0, 0, 0, 0, 0, 0);
        let (took, stop, first_call, last_call) = (Duration::ZERO, None, None, None);
        Summary {
            answered,
            failed,
            flagged,
            calls,
            throttled,
            faults,
            took,
            stop,
            started,
            first_call,
            last_call,
        }
    }

    /// Counts the calls of one prompt.
    pub(super) fn count(&mut self, course: &Course) {
        for attempt in &course.attempts {
            self.calls += 1;
            match attempt.outcome {
                "answered" => {}
                "rate_limited" => self.throttled += 1,
                _ => self.faults += 1,
            }
        }
        self.first_call = self.first_call.into_iter().chain(course.turns.iter().copied()).min();
        self.last_call = self.last_call.into_iter().chain(course.turns.iter().copied()).max();
    }

    /// Counts a record that has been written.
    pub(super) fn written(&mut self, record: &Record) {
        match &record.text {
            None => self.failed += 1,
            Some(text) => {
                self.answered += 1;
                let whole = matches!(record.finish_reason.as_deref(), None | Some("stop"));
                self.flagged += u64::from(text.is_empty() || !whole);
            }
        }
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.took = now - self.started;
    }

    /// The calls a minute, from the first call to the last; `None` for fewer than two.
    #[must_use]
    pub fn calls_a_minute(&self) -> Option<f64> {
        let span = self.last_call?.duration_since(self.first_call?).as_secs_f64();
        (self.calls > 1 && span > 0.0).then(|| (self.calls - 1) as f64 * 60.0 / span)
    }
}
