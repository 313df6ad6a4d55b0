//! Somebody whom everything needs is away, such as a server that many processes share.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Delays, Jitter};

/// Since when somebody has been away, and when it is worth asking again.
#[derive(Debug, Default)]
pub(super) struct AwayTime {
    begun: Option<(Instant, Delays)>,
}

impl AwayTime {
    /// From one try to the next, with jitter: a thousand machines do not come back together.
    const BACKOFF: Backoff = Backoff::new()
        .base(Duration::from_millis(200))
        .max(Duration::from_secs(5))
        .jitter(Jitter::Equal);

    /// Whether it has begun: if not, this is the time to say so.
    #[must_use]
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// There was no answer at `now`. Returns when to ask again, no later than `patience` ends; the same for the same seed.
    ///
    /// # Errors
    /// For how long it has lasted, if that is as long as `patience`.
    ///
    pub(super) fn put_off(
        &mut self,
        now: Instant,
        patience: Duration,
        seed: u64,
    ) -> Result<Instant, Duration> {
        let (since, delays) = self
            .begun
            .get_or_insert_with(|| (now, Self::BACKOFF.delays(seed)));
        let waited = now.saturating_duration_since(*since);
        match patience.saturating_sub(waited) {
            Duration::ZERO => Err(waited),
            left => Ok(now + delays.next().unwrap_or(Self::BACKOFF.max).min(left)),
        }
    }

    /// There was an answer. Returns for how long it was away, if it was.
    pub(super) fn end(&mut self, now: Instant) -> Option<Duration> {
        self.begun
            .take()
            .map(|(since, _)| now.saturating_duration_since(since))
    }
}
