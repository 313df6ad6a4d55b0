//! What has happened at the gate: counted once, for its page, its display and its end.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::GateService;
use crate::journal::millis;

/// The counts so far. The names are those of `/paceline/stats`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct GateCounts {
    /// Requests that came, without those that were refused at once.
    pub(crate) came: u64,
    /// Requests whose answer was passed back, whatever its status.
    pub(crate) answered: u64,
    /// Requests that got no answer from the API.
    pub(crate) failed: u64,
    /// Requests whose client went away before the answer.
    pub(crate) gone: u64,
    /// Requests that were refused at once.
    pub(crate) refused: u64,
    /// Calls that were made.
    pub(crate) calls: u64,
    /// Calls that the API rate limited: no client saw them.
    pub(crate) rate_limited: u64,
    pub(crate) in_flight: u64,
    pub(crate) waiting: usize,
    /// How long calls waited for their permits, in all.
    #[serde(rename = "waited_ms", serialize_with = "millis::serialize")]
    pub(crate) waited: Duration,
    /// Calls a minute that the API was found to allow.
    pub(crate) found_rpm: Option<f64>,
    /// How long nothing leaves yet.
    #[serde(rename = "paused_ms", serialize_with = "millis::serialize")]
    pub(crate) paused: Duration,
    /// Why, in the server's words.
    pub(crate) paused_because: Option<String>,
    #[serde(skip)]
    paused_until: Option<Instant>,
}

impl GateCounts {
    /// Requests that came and have not ended.
    pub(super) fn open(&self) -> u64 {
        self.came - self.answered - self.failed - self.gone
    }
}

impl GateService {
    pub(super) fn count(&self, change: impl FnOnce(&mut GateCounts)) {
        change(&mut self.counts.lock());
    }

    /// The API rate limited a call, which began a pause until then.
    pub(super) fn paused(&self, until: Option<Instant>, why: &str) {
        self.count(|counts| {
            counts.rate_limited += 1;
            if until.is_some() {
                counts.paused_until = until;
                counts.paused_because = Some(why.to_owned());
            }
        });
    }

    /// The counts now.
    pub(super) fn counts(&self) -> GateCounts {
        let counts = self.counts.lock().clone();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let paused = counts.paused_until.map(left).unwrap_or_default();
        GateCounts {
            waiting: self.keys.waiting(),
            found_rpm: self.keys.found(),
            paused,
            paused_because: counts.paused_because.filter(|_| !paused.is_zero()),
            ..counts
        }
    }
}
