//! What has happened at the gate: counted once, for its page, its display and its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

/// The counts, as they are kept.
#[derive(Debug, Default)]
pub(crate) struct GateStats {
    came: AtomicU64,
    answered: AtomicU64,
    calls: AtomicU64,
    rate_limited: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    gone: AtomicU64,
    /// Requests that came and have not ended.
    open: AtomicU64,
    in_flight: AtomicU64,
    /// Milliseconds that calls waited for their permits, in all.
    waited: AtomicU64,
    /// The latest pause: until when, and what the server said.
    pause: Mutex<Option<(Instant, String)>>,
}

/// The counts at one moment. The names are those of `/paceline/stats`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GateCounts {
    /// Requests that came, without those that were refused at once.
    pub(crate) came: u64,
    /// Requests whose answer was passed back, whatever its status.
    pub(crate) answered: u64,
    /// Calls that were made for them.
    pub(crate) calls: u64,
    /// Calls that the API rate limited: no client saw them.
    pub(crate) rate_limited: u64,
    /// Requests that got no answer from the API.
    pub(crate) failed: u64,
    /// Requests that were refused at once.
    pub(crate) refused: u64,
    /// Clients that went away before their answer.
    pub(crate) gone: u64,
    pub(crate) waiting: usize,
    pub(crate) in_flight: u64,
    pub(crate) waited_ms: u64,
    /// Calls a minute that the API was found to allow.
    pub(crate) found_rpm: Option<f64>,
    /// How long nothing leaves yet.
    pub(crate) paused_ms: u64,
    /// Why, in the server's words.
    pub(crate) paused_because: Option<String>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    Failed,
    Gone,
}

impl GateStats {
    pub(super) fn came(&self) {
        self.came.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A call leaves after this wait.
    pub(super) fn leaves(&self, waited: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.waited.fetch_add(millis, Ordering::Relaxed);
    }

    /// A call has come back.
    pub(super) fn is_back(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call was rate limited, and began a pause until then.
    pub(super) fn rate_limited(&self, pause: Option<Instant>, why: &str) {
        self.rate_limited.fetch_add(1, Ordering::Relaxed);
        if let Some(until) = pause {
            *self.pause.lock() = Some((until, why.to_owned()));
        }
    }

    pub(super) fn ended(&self, how: Ended) {
        let count = match how {
            Ended::Answered => &self.answered,
            Ended::Failed => &self.failed,
            Ended::Gone => &self.gone,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self, (waiting, found_rpm): (usize, Option<f64>)) -> GateCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let pause = self.pause.lock().clone();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let pause = pause.filter(|(until, _)| !left(*until).is_zero());
        let millis = |(until, _): &(Instant, String)| left(*until).as_millis();
        GateCounts {
            came: count(&self.came),
            answered: count(&self.answered),
            calls: count(&self.calls),
            rate_limited: count(&self.rate_limited),
            failed: count(&self.failed),
            refused: count(&self.refused),
            gone: count(&self.gone),
            waiting,
            in_flight: count(&self.in_flight),
            waited_ms: count(&self.waited),
            found_rpm,
            paused_ms: pause
                .as_ref()
                .map_or(0, millis)
                .try_into()
                .unwrap_or(u64::MAX),
            paused_because: pause.map(|(_, why)| why),
        }
    }
}
