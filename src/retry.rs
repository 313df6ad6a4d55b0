//! The blocking retry: call a closure until it succeeds, or until trying again is no use.
//!
//! The caller judges each failure with a [`Verdict`]; there is no default, because "retry on everything" is a trap.
//! [`Retry::paced`] joins it to a limiter: a turn before each try, and a hold for everyone when one is refused.
//! Mind the layers: a client that retries by itself inside this loop multiplies the calls. Use one layer.

use std::fmt;
use std::time::Duration;

use crate::backoff::{Backoff, Delays};
use crate::cancel::CancelToken;
use crate::limiter::RateLimiter;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A passing fault: try again after the backoff. Spends a retry.
    Retry,
    /// A passing fault, and the server says how long to wait: not earlier, and slightly jittered. Spends a retry.
    RetryAfter(Duration),
    /// Refused for calling too fast, which is no fault of this request: spends no retry. Waits as long as the server
    /// says, or else by the backoff.
    Throttled(Option<Duration>),
    /// Trying again is no use.
    Stop,
}

/// How often to try again: plain data.
///
/// # Default
/// * `max_retries`: 5
/// * `backoff`: [`Backoff::default`]
/// * `deadline`: none
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many faults are forgiven: 0 tries once. Being throttled is not a fault.
    pub max_retries: u32,
    /// How long to wait before each retry.
    pub backoff: Backoff,
    /// No retry is begun later than this after the first try began.
    pub deadline: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            max_retries: 5,
            backoff: Backoff::default(),
            deadline: None,
        }
    }
}

/// How a retried call ended, and every failure on the way.
#[derive(Debug)]
pub struct Outcome<T, E> {
    /// The success, or why there was no further try. In that case the last of the `failures` says what happened.
    pub result: Result<T, GaveUp>,
    /// The failures in order.
    pub failures: Vec<Failure<E>>,
}

/// One try that failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure<E> {
    /// What went wrong.
    pub error: E,
    /// How long the next try was put off because of it; `None` if there was to be no next try.
    pub backoff: Option<Duration>,
}

/// Why there was no further try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The verdict was [`Verdict::Stop`].
    Stopped,
    /// All retries are spent.
    RetriesSpent,
    /// The next retry would begin after the deadline.
    Deadline,
    /// The wait for the next try was called off.
    Cancelled,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GaveUp::Stopped => "another try is no use",
            GaveUp::RetriesSpent => "all retries are spent",
            GaveUp::Deadline => "the next try would begin after the deadline",
            GaveUp::Cancelled => "the wait for the next try was called off",
        })
    }
}

impl std::error::Error for GaveUp {}

impl<T, E> Outcome<T, E> {
    /// The success, or the last error.
    ///
    /// # Errors
    /// The error of the last try.
    pub fn into_result(mut self) -> Result<T, E> {
        self.result.map_err(|_| {
            self.failures
                .pop()
                .expect("whoever gives up has failed")
                .error
        })
    }
}

impl Retry {
    /// Calls `op` until it succeeds or `judge` or the policy says stop, sleeping on the system's clock in between.
    /// `op` gets the number of the try, from 1.
    ///
    /// ```
    /// use paceline::{Retry, Verdict};
    ///
    /// let judge = |status: &u16| if *status >= 500 { Verdict::Retry } else { Verdict::Stop };
    /// let answer = Retry::default().call(judge, |n| if n < 1 { Err(503) } else { Ok("hello") });
    /// assert_eq!(answer, Ok("hello"));
    /// ```
    ///
    /// # Errors
    /// The error of the last try.
    pub fn call<T, E>(
        &self,
        judge: impl Fn(&E) -> Verdict,
        op: impl FnMut(u32) -> Result<T, E>,
    ) -> Result<T, E> {
        self.trace(&CancelToken::default(), rand::random(), judge, |_| {}, op)
            .into_result()
    }

    /// The same behind a limiter: each try takes a turn first, and the limiter hears what came of it. So a
    /// [`Verdict::Throttled`] holds everyone who takes turns there, and not only this call.
    ///
    /// ```
    /// use paceline::{RateLimiter, Retry, Verdict};
    /// use std::num::NonZeroU32;
    ///
    /// let limiter = RateLimiter::per_minute(NonZeroU32::new(6_000).unwrap());
    /// let judge = |status: &u16| if *status == 429 { Verdict::Throttled(None) } else { Verdict::Stop };
    /// let answer = Retry::default().paced(&limiter, judge, |n| if n == 1 { Err(429) } else { Ok("hello") });
    /// assert_eq!(answer, Ok("hello"));
    /// ```
    ///
    /// # Errors
    /// The error of the last try.
    ///
    /// # Panics
    /// If every lane of the limiter is retired.
    pub fn paced<T, E>(
        &self,
        limiter: &RateLimiter,
        judge: impl Fn(&E) -> Verdict,
        mut op: impl FnMut(u32) -> Result<T, E>,
    ) -> Result<T, E> {
        let clock = limiter.clock();
        let judged = |n| {
            let turn = limiter.wait();
            let result = op(n).map_err(|error| (judge(&error), error));
            match &result {
                Ok(_) => limiter.answered(turn),
                Err((Verdict::Throttled(wait), _)) => {
                    _ = limiter.refused(turn, wait.map(|wait| clock.now() + wait))
                }
                Err(_) => limiter.failed(turn),
            }
            result
        };
        // Whom the limiter holds need not wait twice.
        let heard = |(verdict, _): &(Verdict, E)| match verdict {
            Verdict::Throttled(_) => Verdict::Throttled(Some(Duration::ZERO)),
            other => *other,
        };
        let cancel = CancelToken::on(clock.clone());
        let outcome = self.trace(&cancel, rand::random(), heard, |_| {}, judged);
        outcome.into_result().map_err(|(_, error)| error)
    }

    /// The same, with everything that [`call`](Retry::call) takes for granted as an argument, and with the history of
    /// the tries: sleeps on the token's clock until the token is cancelled, draws its jitter from the seed, and tells
    /// `notify` of each failure before it sleeps.
    pub fn trace<T, E>(
        &self,
        cancel: &CancelToken,
        seed: u64,
        judge: impl Fn(&E) -> Verdict,
        mut notify: impl FnMut(&Failure<E>),
        mut op: impl FnMut(u32) -> Result<T, E>,
    ) -> Outcome<T, E> {
        let started = cancel.clock().now();
        let mut course = Course {
            retry: self,
            delays: self.backoff.delays(seed),
            retries: 0,
        };
        let mut failures = Vec::new();
        for n in 1.. {
            let error = match op(n) {
                Ok(success) => {
                    return Outcome {
                        result: Ok(success),
                        failures,
                    };
                }
                Err(error) => error,
            };
            let now = cancel.clock().now();
            let wait = course.wait_after(judge(&error), now - started);
            let failure = Failure {
                error,
                backoff: wait.ok(),
            };
            notify(&failure);
            failures.push(failure);
            let slept = wait.and_then(|wait| {
                cancel
                    .sleep_until(now + wait)
                    .map_err(|_| GaveUp::Cancelled)
            });
            if let Err(reason) = slept {
                return Outcome {
                    result: Err(reason),
                    failures,
                };
            }
        }
        unreachable!("a call is not tried four billion times")
    }
}

/// The pure decision: how long until the next try of this call.
struct Course<'a> {
    retry: &'a Retry,
    delays: Delays,
    /// Retries spent.
    retries: u32,
}

impl Course<'_> {
    fn wait_after(&mut self, verdict: Verdict, elapsed: Duration) -> Result<Duration, GaveUp> {
        match verdict {
            Verdict::Stop => return Err(GaveUp::Stopped),
            Verdict::Throttled(_) => {}
            Verdict::Retry | Verdict::RetryAfter(_) if self.retries == self.retry.max_retries => {
                return Err(GaveUp::RetriesSpent);
            }
            Verdict::Retry | Verdict::RetryAfter(_) => self.retries += 1,
        }
        let wait = self.wait(verdict);
        match self.retry.deadline {
            Some(deadline) if elapsed.saturating_add(wait) > deadline => Err(GaveUp::Deadline),
            _ => Ok(wait),
        }
    }

    /// What the server says wins over the formula.
    fn wait(&mut self, verdict: Verdict) -> Duration {
        match verdict {
            Verdict::RetryAfter(ordered) | Verdict::Throttled(Some(ordered)) => {
                self.delays.not_before(ordered)
            }
            _ => self.delays.next().unwrap_or(self.retry.backoff.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;
    use crate::clock::{Clock, SimClock};
    use crate::limiter::Rate;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays a list of verdicts, one a try, and then success; returns the outcome and the simulated time it took.
    fn play(retry: Retry, verdicts: &[Verdict]) -> (Outcome<u32, Verdict>, Duration) {
        let clock = SimClock::new();
        let cancel = CancelToken::on(clock.clone());
        let op = |n: u32| verdicts.get(n as usize - 1).copied().map_or(Ok(n), Err);
        (
            retry.trace(&cancel, 1, |verdict| *verdict, |_| {}, op),
            clock.elapsed(),
        )
    }

    fn plain(max_retries: u32) -> Retry {
        let backoff = Backoff {
            jitter: Jitter::None,
            ..Backoff::default()
        };
        Retry {
            max_retries,
            backoff,
            deadline: None,
        }
    }

    #[test]
    fn a_success_at_once_takes_no_time() {
        let (outcome, took) = play(plain(5), &[]);
        assert_eq!(
            (outcome.result, outcome.failures.len(), took),
            (Ok(1), 0, Duration::ZERO)
        );
    }

    #[test]
    fn faults_are_retried_after_growing_delays() {
        let (outcome, took) = play(plain(5), &[Verdict::Retry; 5]);
        assert_eq!(outcome.result, Ok(6));
        assert_eq!(took, SECOND * (1 + 2 + 4 + 8 + 16));
        let waits: Vec<_> = outcome
            .failures
            .iter()
            .map(|failure| failure.backoff.unwrap().as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn when_the_retries_are_spent_the_last_error_comes_out_with_the_history() {
        let (outcome, took) = play(plain(2), &[Verdict::Retry; 9]);
        assert_eq!(outcome.result, Err(GaveUp::RetriesSpent));
        assert_eq!(outcome.failures.len(), 3, "one try and two retries");
        assert_eq!(outcome.failures[2].backoff, None);
        assert_eq!(took, SECOND * 3);
    }

    #[test]
    fn what_the_server_says_wins_and_is_never_shortened() {
        let (outcome, took) = play(plain(5), &[Verdict::RetryAfter(SECOND * 10)]);
        assert_eq!(outcome.result, Ok(2));
        assert!(took >= SECOND * 10 && took <= SECOND * 11, "{took:?}");
    }

    #[test]
    fn being_throttled_spends_no_retry() {
        let throttled = [Verdict::Throttled(Some(SECOND)); 20];
        let (outcome, _) = play(plain(0), &throttled);
        assert_eq!(outcome.result, Ok(21));
        let (outcome, took) = play(plain(0), &[Verdict::Throttled(None); 3]);
        assert_eq!((outcome.result, took), (Ok(4), SECOND * 7));
        let (outcome, _) = play(plain(0), &[Verdict::Throttled(None), Verdict::Retry]);
        assert_eq!(outcome.result, Err(GaveUp::RetriesSpent));
    }

    #[test]
    fn stop_means_stop() {
        let (outcome, took) = play(plain(5), &[Verdict::Retry, Verdict::Stop]);
        assert_eq!(
            (outcome.result, outcome.failures.len(), took),
            (Err(GaveUp::Stopped), 2, SECOND)
        );
    }

    #[test]
    fn no_retry_is_begun_after_the_deadline() {
        let hurried = Retry {
            deadline: Some(SECOND * 7),
            ..plain(9)
        };
        let (outcome, took) = play(hurried, &[Verdict::Retry; 9]);
        assert_eq!((outcome.result, took), (Err(GaveUp::Deadline), SECOND * 7));
        let (outcome, took) = play(hurried, &[Verdict::Throttled(Some(SECOND * 8))]);
        assert_eq!(
            (outcome.result, took),
            (Err(GaveUp::Deadline), Duration::ZERO)
        );
    }

    #[test]
    fn a_cancelled_backoff_ends_at_once() {
        let clock = SimClock::new();
        let cancel = CancelToken::on(clock.clone());
        let outcome: Outcome<(), _> = plain(5).trace(
            &cancel,
            1,
            |_| Verdict::Retry,
            |_| {},
            |n| {
                if n == 3 {
                    cancel.cancel();
                }
                Err(n)
            },
        );
        assert_eq!(outcome.result, Err(GaveUp::Cancelled));
        assert_eq!((outcome.failures.len(), clock.elapsed()), (3, SECOND * 3));
    }

    #[test]
    fn behind_a_limiter_being_throttled_holds_everyone_and_each_try_takes_a_turn() {
        let clock = SimClock::new();
        let limiter = RateLimiter::on(Arc::new(clock.clone()), Rate::every(SECOND));
        let mut tries = Vec::new();
        let result = plain(1).paced(&limiter, Verdict::clone, |n| {
            tries.push(clock.elapsed().as_secs());
            match n {
                1 => Err(Verdict::Throttled(Some(SECOND * 10))),
                2 => Err(Verdict::Retry),
                _ => Ok(n),
            }
        });
        assert_eq!((result, tries), (Ok(3), vec![0, 10, 11]));
        let turn = limiter.wait();
        limiter.refused(turn, Some(turn.at + SECOND * 5));
        let held = clock.now();
        assert_eq!(plain(1).paced(&limiter, |()| Verdict::Stop, Ok), Ok(1));
        assert_eq!(
            clock.now() - held,
            SECOND * 5,
            "also whoever was not refused"
        );
    }

    #[test]
    fn call_returns_the_last_error() {
        assert_eq!(plain(5).call(|_| Verdict::Stop, Err::<(), _>), Err(1));
    }
}
