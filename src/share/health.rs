//! Calls to a place that several processes share, repeated while the place is away.
//!
//! The place counts as away as long as one of the calls waits for it. A call must bear being done twice, because a lost
//! reply cannot be told from a lost request. Which errors pass by themselves is left to the caller.

use std::fmt::Display;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::retry::{GaveUp, Retry, Verdict};

/// Whether a place answers the threads of this process.
#[derive(Debug)]
pub(crate) struct PlaceHealth {
    /// What is away, for people.
    place: String,
    patience: Duration,
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    /// When a call first found the place away.
    since: Option<Instant>,
    /// How many calls wait for it, or have given up.
    waiting: usize,
}

/// Why a call is not repeated any more.
#[derive(Debug)]
pub(crate) enum AwayError<E> {
    /// The place has been away for this long, which is more than the patience.
    TooLong(Duration, E),
    /// An error that does not pass.
    Final(E),
    /// The wait was cancelled.
    Cancelled,
}

impl PlaceHealth {
    /// The delay between attempts, with jitter: a thousand machines must not come back at the same instant. The longest
    /// delay is how late a process notices that the place is back.
    const BACKOFF: Backoff = Backoff::new()
        .base(Duration::from_millis(200))
        .max(Duration::from_secs(5))
        .jitter(Jitter::Equal);

    /// Calls give up when the place has been away for `patience`.
    pub(crate) fn new(place: String, patience: Duration) -> Self {
        PlaceHealth {
            place,
            patience,
            state: Mutex::default(),
        }
    }

    /// Whether a call waits for the place.
    pub(crate) fn is_away(&self) -> bool {
        self.state.lock().waiting > 0
    }

    /// Calls `op`, and calls it again after an error that is passing, with backoff on the token's clock. Logs a warning when
    /// an outage begins and another when it is over. Holds no lock during a call or a wait.
    ///
    /// # Errors
    /// [`AwayError`]
    pub(crate) fn call<T, E: Display>(
        &self,
        cancel: &CancelToken,
        is_passing: impl Fn(&E) -> bool,
        mut op: impl FnMut() -> Result<T, E>,
    ) -> Result<T, AwayError<E>> {
        let now = || cancel.clock().now();
        let judge = |error: &E| match is_passing(error) {
            true => Verdict::RateLimited(None), // until the patience ends
            false => Verdict::Stop,
        };
        let mut is_waiting = false;
        let left = self.patience.saturating_sub(self.lasted(now()));
        let retry = Retry::new().backoff(Self::BACKOFF).patience(left);
        let call = retry.call(judge, |_| op()).cancel(cancel);
        let called = call.on_retry(|failed| {
            if !is_waiting {
                is_waiting = true;
                self.wait(failed.error, now());
            }
        });
        let called = called.run().map_err(|error| (error.why, error.last));
        match called {
            Ok(answer) => {
                if let Some(since) = self.end_wait(is_waiting) {
                    let (place, away) = (&self.place, (now() - since).as_secs_f64());
                    warn!("{place} is back after {away:.1} s: continuing");
                }
                Ok(answer)
            }
            Err((GaveUp::Stopped, Some(error))) => Err(AwayError::Final(error)),
            Err((GaveUp::RateLimited, Some(error))) => {
                Err(AwayError::TooLong(self.lasted(now()), error))
            }
            Err(_) => {
                self.end_wait(is_waiting);
                Err(AwayError::Cancelled)
            }
        }
    }

    /// How long the place has been away; zero if it is not.
    fn lasted(&self, now: Instant) -> Duration {
        let since = self.state.lock().since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    fn wait(&self, error: &impl Display, now: Instant) {
        let mut state = self.state.lock();
        state.waiting += 1;
        if state.since.is_none() {
            state.since = Some(now);
            warn!("{error}: waiting until it is back");
        }
    }

    /// Returns since when the place was away, if this was the last call that waited for it.
    fn end_wait(&self, was_waiting: bool) -> Option<Instant> {
        let mut state = self.state.lock();
        state.waiting -= usize::from(was_waiting);
        match state.waiting {
            0 => state.since.take(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::{Clock, SimClock};

    const PATIENCE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn outage() -> PlaceHealth {
        PlaceHealth::new("the place".to_owned(), PATIENCE)
    }

    fn call<T>(
        outage: &PlaceHealth,
        cancel: &CancelToken,
        op: impl FnMut() -> Result<T, &'static str>,
    ) -> Result<T, AwayError<&'static str>> {
        outage.call(cancel, |error| *error == "away", op)
    }

    #[test]
    fn a_place_is_away_until_it_has_answered_every_call_that_found_it_away() {
        let (outage, clock) = (outage(), SimClock::new());
        assert!(!outage.is_away());
        let away_until = |end: Duration| {
            let op = || match clock.elapsed() < end {
                true => Err("away"),
                false => Ok(()),
            };
            call(&outage, &CancelToken::on(clock.clone()), op).unwrap();
        };
        clock.run(3, |n| match n {
            0 => away_until(SECOND * 10),
            1 => away_until(SECOND * 30),
            _ => {
                clock.sleep_until(clock.now() + SECOND * 25);
                call(&outage, &CancelToken::on(clock.clone()), || Ok(())).unwrap();
                assert!(outage.is_away(), "one call still waits");
            }
        });
        assert!(!outage.is_away());
    }

    #[test]
    fn patience_counts_from_the_first_failure_of_any_call() {
        let (outage, clock) = (outage(), SimClock::new());
        let ends = clock.run(2, |n| {
            clock.sleep_until(clock.now() + SECOND * 30 * n as u32);
            let cancel = CancelToken::on(clock.clone());
            let called = call(&outage, &cancel, || Err::<(), _>("away"));
            (
                matches!(called, Err(AwayError::TooLong(PATIENCE, _))),
                clock.elapsed(),
            )
        });
        assert_eq!(ends, [(true, PATIENCE); 2]);
        assert!(outage.is_away(), "nobody begins what needs the place");
    }

    #[test]
    fn calls_are_repeated_less_and_less_often_until_the_patience_ends() {
        let clock = SimClock::new();
        let mut tries = 0;
        let called = call(&outage(), &CancelToken::on(clock.clone()), || {
            tries += 1;
            Err::<(), _>("away")
        });
        assert!((12..40).contains(&tries), "{tries} tries in a minute");
        assert_eq!(clock.elapsed(), PATIENCE);
        assert!(matches!(called, Err(AwayError::TooLong(PATIENCE, "away"))));
    }

    #[test]
    fn a_call_is_repeated_until_the_place_is_back() {
        let (outage, tries) = (outage(), Cell::new(0));
        let called = call(&outage, &CancelToken::on(SimClock::new()), || {
            tries.set(tries.get() + 1);
            let is_free = outage.state.try_lock().is_some();
            assert!(is_free, "no lock is held over a call");
            if tries.get() < 4 {
                Err("away")
            } else {
                Ok(tries.get())
            }
        });
        assert_eq!(called.unwrap(), 4);
        assert!(!outage.is_away());
    }

    #[test]
    fn an_error_that_does_not_pass_is_not_waited_for() {
        let clock = SimClock::new();
        let cancel = CancelToken::on(clock.clone());
        let called = call(&outage(), &cancel, || Err::<(), _>("wrong password"));
        assert!(matches!(called, Err(AwayError::Final("wrong password"))));
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_wait_for_the_place_can_be_cancelled() {
        let outage = outage();
        let cancel = CancelToken::on(SimClock::new());
        let called = call(&outage, &cancel, || {
            cancel.cancel();
            Err::<(), _>("away")
        });
        assert!(matches!(called, Err(AwayError::Cancelled)));
        assert!(!outage.is_away(), "nobody waits any more");
    }
}
