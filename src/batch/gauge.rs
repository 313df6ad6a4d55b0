//! Is the server at ease? Its latency tells: where more calls at once only make each of them slower, no more are wanted.

use std::time::Duration;

/// The latency now, against the lowest that there was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    /// Smoothed, in seconds; none before the first answer.
    now: Option<f64>,
    lowest: f64,
}

impl Gauge {
    /// What one answer more counts.
    const WEIGHT: f64 = 0.1;
    /// So many times the lowest latency is still at ease.
    const EASE: f64 = 2.0;

    /// An answer took so long.
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

    pub(super) fn is_easy(&self) -> bool {
        self.now.is_some_and(|now| now <= Self::EASE * self.lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_latency_has_doubled_is_not_at_ease() {
        let mut gauge = Gauge::default();
        assert!(!gauge.is_easy(), "nothing is known");
        let note = |gauge: &mut Gauge, ms, times| {
            (0..times).for_each(|_| gauge.note(Duration::from_millis(ms)));
            gauge.is_easy()
        };
        assert!(note(&mut gauge, 400, 10) && note(&mut gauge, 500, 100));
        assert!(!note(&mut gauge, 900, 100));
        assert!(note(&mut gauge, 450, 100));
    }
}
