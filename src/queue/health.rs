//! The health of a process's connections to Redis, and the calls that are repeated while Redis is away.
//!
//! Redis counts as away as long as one of the connections waits for it. Its calls must bear being done twice, because a
//! lost reply cannot be told from a lost request.

use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use super::QueueError;
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::retry::{GaveUp, Retry, RetryError, Verdict};
use crate::store::{RedisUrl, StoreError};

/// What a connection is for. A worker has one connection for each role, and uses each on one thread at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Reading from the queue.
    Take,
    /// Storing records.
    Store,
    /// Sending heartbeats.
    Beat,
}

/// Whether Redis answers the connections of this process.
#[derive(Debug)]
pub(crate) struct ConnectionHealth {
    url: RedisUrl,
    patience: Duration,
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    /// When Redis first failed to answer.
    away_since: Option<Instant>,
    /// Whether it is away, by role.
    away: [bool; 3],
}

impl ConnectionHealth {
    /// The delay between attempts, with jitter: a thousand machines must not come back together. The longest delay is how
    /// late a worker notices that Redis is back.
    const BACKOFF: Backoff = Backoff::new()
        .base(Duration::from_millis(200))
        .max(Duration::from_secs(5))
        .jitter(Jitter::Equal);

    /// Calls give up when Redis has been away for `patience`.
    pub(crate) fn new(url: RedisUrl, patience: Duration) -> Self {
        ConnectionHealth {
            url,
            patience,
            state: Mutex::default(),
        }
    }

    /// Whether a connection waits for Redis.
    pub(super) fn is_away(&self) -> bool {
        self.state.lock().away.contains(&true)
    }

    /// Calls `op`, and calls it again while Redis is away, with backoff on the token's clock. Logs a warning at the first
    /// failure and another when Redis is back. Holds no lock during a call or a wait.
    ///
    /// # Errors
    /// [`StoreError::Away`] when Redis has been away for the patience; [`StoreError::Cancelled`]; any other error of `op`
    /// at once.
    pub(crate) fn call<T>(
        &self,
        role: Role,
        cancel: &CancelToken,
        mut op: impl FnMut() -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let now = || cancel.clock().now();
        let judge = |error: &QueueError| self.on_error(role, now(), error);
        let retry = Retry::new().backoff(Self::BACKOFF);
        let retry = retry.patience(self.patience.saturating_sub(self.away_for(now())));
        match retry.call(judge, |_| op()).cancel(cancel).run() {
            Ok(answer) => {
                self.on_answer(role, now());
                Ok(answer)
            }
            Err(failed) => Err(self.give_up(role, now(), failed)),
        }
    }

    /// Retries an error that may pass by itself, until the patience ends.
    fn on_error(&self, role: Role, now: Instant, error: &QueueError) -> Verdict {
        let QueueError::Store(error) = error else {
            return Verdict::Stop; // Redis has answered
        };
        let mut state = self.state.lock();
        state.away[role as usize] = true;
        if !error.is_passing() {
            return Verdict::Stop;
        }
        if state.away_since.is_none() {
            warn!("{error}: waiting until it is back");
        }
        let since = *state.away_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.patience {
            Verdict::RateLimited(None) // until the patience ends
        } else {
            Verdict::Stop // another role has waited for longer
        }
    }

    /// How long Redis has been away; zero if it is not.
    fn away_for(&self, now: Instant) -> Duration {
        let since = self.state.lock().away_since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    fn on_answer(&self, role: Role, now: Instant) {
        let mut state = self.state.lock();
        state.away[role as usize] = false;
        if state.away.contains(&true) {
            return;
        }
        if let Some(since) = state.away_since.take() {
            let away = now.saturating_duration_since(since).as_secs_f64();
            warn!(
                "Redis at {} is back after {away:.1} s: continuing",
                self.url
            );
        }
    }

    /// The error of a call that is not repeated any more.
    fn give_up(&self, role: Role, now: Instant, failed: RetryError<QueueError>) -> QueueError {
        match (failed.why, failed.last) {
            (GaveUp::Stopped | GaveUp::RateLimited, Some(QueueError::Store(error)))
                if error.is_passing() =>
            {
                let since = self.state.lock().away_since.unwrap_or(now);
                let waited = now.saturating_duration_since(since);
                let source = Box::new(error);
                StoreError::Away { waited, source }.into()
            }
            (GaveUp::Stopped, Some(QueueError::Store(error))) => error.into(),
            (GaveUp::Stopped, Some(error)) => {
                self.on_answer(role, now);
                error
            }
            _ => {
                self.state.lock().away[role as usize] = false;
                StoreError::Cancelled.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SimClock};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn health() -> ConnectionHealth {
        ConnectionHealth::new(RedisUrl::parse("redis://h", None).unwrap(), PATIENCE)
    }

    fn away() -> QueueError {
        let url = RedisUrl::parse("redis://h", None).unwrap();
        let why = "refused".into();
        StoreError::Unreachable(url, why).into()
    }

    #[test]
    fn redis_is_away_until_it_has_answered_every_role_that_found_it_away() {
        let health = health();
        let start = Instant::now();
        assert!(!health.is_away());
        let verdict = health.on_error(Role::Take, start, &away());
        assert!(verdict == Verdict::RateLimited(None) && health.is_away());
        health.on_error(Role::Store, start, &away());
        health.on_answer(Role::Take, start);
        health.on_answer(Role::Beat, start);
        assert!(health.is_away(), "nothing can be stored yet");
        health.on_answer(Role::Store, start);
        assert!(!health.is_away());
    }

    #[test]
    fn patience_counts_from_the_first_failure_of_any_role() {
        let health = health();
        let start = Instant::now();
        health.on_error(Role::Take, start, &away());
        let later = start + Duration::from_secs(61);
        let verdict = health.on_error(Role::Store, later, &away());
        assert_eq!(verdict, Verdict::Stop);
    }

    #[test]
    fn calls_are_repeated_less_and_less_often_until_the_patience_ends() {
        let clock = SimClock::new();
        let start = clock.now();
        let mut tries = 0;
        let called = health().call(Role::Take, &CancelToken::on(clock.clone()), || {
            tries += 1;
            Err::<(), _>(away())
        });
        let gone = clock.now() - start;
        assert!((12..40).contains(&tries), "{tries} tries in a minute");
        assert_eq!(gone, PATIENCE);
        assert!(
            matches!(called, Err(QueueError::Store(StoreError::Away { waited, .. })) if waited == gone),
            "{called:?}"
        );
    }

    #[test]
    fn a_call_is_repeated_until_redis_is_back() {
        let health = health();
        let mut tries = 0;
        let called = health.call(Role::Take, &CancelToken::on(SimClock::new()), || {
            tries += 1;
            assert!(
                health.state.try_lock().is_some(),
                "no lock is held over a call"
            );
            if tries < 4 { Err(away()) } else { Ok(tries) }
        });
        assert_eq!(called.unwrap(), 4);
        assert!(!health.is_away());
    }

    #[test]
    fn an_error_that_does_not_pass_is_not_waited_for() {
        let clock = SimClock::new();
        let start = clock.now();
        let called = health().call(Role::Take, &CancelToken::on(clock.clone()), || {
            let url = RedisUrl::parse("redis://h", None).unwrap();
            let why = "WRONGPASS".into();
            Err::<(), _>(QueueError::Store(StoreError::LockedOut(url, why)))
        });
        assert!(matches!(
            called,
            Err(QueueError::Store(StoreError::LockedOut(..)))
        ));
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn a_wait_for_redis_can_be_cancelled() {
        let health = health();
        let cancel = CancelToken::on(SimClock::new());
        let called = health.call(Role::Take, &cancel, || {
            cancel.cancel();
            Err::<(), _>(away())
        });
        assert!(matches!(
            called,
            Err(QueueError::Store(StoreError::Cancelled))
        ));
        assert!(!health.is_away(), "nobody waits any more");
    }
}
