//! Tracks the latency of calls, to tell whether the server can take more calls at once. If more calls only make each of
//! them slower, it cannot.

use std::time::Duration;

/// The smoothed latency and its lowest value so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyTracker {
    /// Smoothed latency in seconds; `None` before the first answer.
    now: Option<f64>,
    lowest: f64,
}

impl LatencyTracker {
    /// Weight of the latest answer: a change shows after ten answers.
    const WEIGHT: f64 = 0.1;
    /// Up to this multiple of the lowest latency the server has headroom: queueing at least doubles it.
    const HEADROOM: f64 = 2.0;

    /// Notes the latency of an answer.
    pub(super) fn note(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let before = self.now.unwrap_or(seconds);
        let now = before + Self::WEIGHT * (seconds - before);
        self.lowest = if self.now.is_none() {
            now
        } else {
            self.lowest.min(now)
        };
        self.now = Some(now);
    }

    /// Whether the server can take more calls. False before the first answer.
    pub(super) fn has_headroom(&self) -> bool {
        self.now
            .is_some_and(|now| now <= Self::HEADROOM * self.lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_latency_has_doubled_has_no_headroom() {
        let mut tracker = LatencyTracker::default();
        assert!(!tracker.has_headroom(), "nothing is known");
        let note = |tracker: &mut LatencyTracker, ms, times| {
            (0..times).for_each(|_| tracker.note(Duration::from_millis(ms)));
            tracker.has_headroom()
        };
        assert!(note(&mut tracker, 400, 10) && note(&mut tracker, 500, 100));
        assert!(!note(&mut tracker, 900, 100));
        assert!(note(&mut tracker, 450, 100));
    }
}
