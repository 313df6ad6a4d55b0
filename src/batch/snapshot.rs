//! The state of a batch at one instant, for display, and the last one, as its result: plain data.

use std::ops::Deref;
use std::time::Duration;

use super::Stop;
use super::event::PauseReason;
use super::tally::{Causes, FailureCause, Flag, Flags};
use crate::api::Usage;
use crate::journal::Record;

/// The server's rate limit for all keys together, in calls per minute, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Allowed {
    /// The settings give no limit.
    Any,
    /// The limit in the settings.
    Fixed(f64),
    /// The limit that the server states.
    Stated(f64),
    /// It is being found, and is not known yet.
    #[default]
    Unknown,
    /// The limit that was found, approximately.
    Found(f64),
}

/// A pause of all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// Time left.
    pub left: Duration,
    /// From when every key was paused to the end of the pause.
    pub length: Duration,
    /// Its cause.
    pub why: PauseReason,
}

/// The state of a batch at one instant: plain data.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Time since the start.
    pub elapsed: Duration,
    /// All prompts, including those of earlier runs; `None` if their number is not known.
    pub total: Option<u64>,
    /// Prompts that earlier runs have finished.
    pub before: u64,
    /// Those of them that failed.
    pub failed_before: u64,
    /// Prompts with an answer on record.
    pub answered: u64,
    /// Prompts with a failure on record.
    pub failed: u64,
    /// Why those prompts failed.
    pub(crate) failed_prompts: Causes,
    /// Answers that need a look.
    pub(crate) flags: Flags,
    /// Calls that have ended.
    pub calls: u64,
    /// Calls that were rate limited.
    pub rate_limited: u64,
    /// Calls that failed otherwise.
    pub faults: u64,
    /// Calls that were a retry.
    pub retried: u64,
    /// Calls without an answer that may have been billed.
    pub maybe_billed: u64,
    /// Why calls failed.
    pub(crate) failed_calls: Causes,
    /// How long ago the latest call failed; `None` if none has.
    pub since_failure: Option<Duration>,
    /// Calls per minute, over the last seconds.
    pub rate: f64,
    /// Calls per minute, from the first call to the last; `None` if there was no second between them.
    pub calls_a_minute: Option<f64>,
    /// The server's rate limit.
    pub(crate) allowed: Allowed,
    /// Worker threads.
    pub workers: u64,
    /// Workers with a call in flight.
    pub in_flight: u64,
    /// The most calls that may be in flight, as found from their latency; `None` before the first call has ended, and if
    /// the settings give the number of workers.
    pub in_flight_limit: Option<u64>,
    /// Workers that wait for a permit.
    pub waiting: u64,
    /// The median latency of the answered calls, within 3 %; `None` before the first.
    pub latency: Option<Duration>,
    /// The latency that 95 % of the answered calls kept below, within 3 %.
    pub latency_p95: Option<Duration>,
    /// The pause that everyone waits for, if every key is paused.
    pub(crate) pause: Option<Pause>,
    /// How long every key was paused, in all.
    pub paused: Duration,
    /// Keys that are not retired.
    pub keys: usize,
    /// Tokens of the calls that report their usage.
    pub tokens: Usage,
    /// Tokens of earlier runs, as the results say.
    pub earlier_tokens: Usage,
    /// Answers that do not report their usage.
    pub unmetered: u64,
}

impl Snapshot {
    /// Counts a record that has been written.
    pub(super) fn written(&mut self, record: &Record) {
        let Some(text) = &record.text else {
            self.failed += 1;
            let response = record.response.as_ref();
            let status = response.map(|response| response.status_code);
            let error = record.error.as_ref();
            let cause = FailureCause::of_prompt(&record.attempts, status, error);
            return self.failed_prompts.count(&record.custom_id, cause);
        };
        self.answered += 1;
        if let Some(flag) = Flag::of(text, record.finish_reason.as_deref()) {
            self.flags.count(flag);
        }
    }

    /// Prompts still to do; `None` if the total is not known.
    pub(crate) fn left(&self) -> Option<u64> {
        let done = self.before + self.answered + self.failed;
        Some(self.total?.saturating_sub(done))
    }
}

/// The result of a batch: its last [`Snapshot`], whose fields it has, too, and why it stopped early, if it did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The state of the batch at its end.
    pub end: Snapshot,
    /// Calls per minute that the server was found to allow; `None` if the limit was known, or was not found.
    pub found: Option<f64>,
    /// Prompts still to do; `None` if their number is not known.
    pub left: Option<u64>,
    /// Why it stopped early, if it did.
    pub stop: Option<Stop>,
}

impl Deref for Summary {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.end
    }
}
