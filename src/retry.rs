//! The blocking retry: call a closure until it succeeds, or until there is a reason to give up.
//!
//! The caller judges each failure with a [`Verdict`]; there is no default, because "retry on everything" is a trap.
//! Behind a [limiter](Call::limiter) each attempt takes a permit first, and a 429 pauses everyone. Mind the layers: a
//! client that retries by itself inside this loop multiplies the calls. Use one layer.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::backoff::{Backoff, Delays};
use crate::cancel::{CancelToken, Cancelled};
use crate::clock::SystemClock;
use crate::limiter::{NoPermit, Permit, RateLimiter};

mod http;

/// What to do about a failure.
///
/// ```
/// use paceline::Verdict;
///
/// enum ApiError { Status(u16), NoCredit, Io(std::io::Error) }
///
/// fn judge(error: &ApiError) -> Verdict {
///     match error {
///         ApiError::NoCredit => Verdict::Stop, // a 429, too, but no wait will help
///         ApiError::Status(429) => Verdict::RateLimited(None),
///         ApiError::Status(500..) | ApiError::Io(_) => Verdict::Retry,
///         ApiError::Status(_) => Verdict::Stop,
///     }
/// }
/// # assert_eq!(judge(&ApiError::Status(429)), Verdict::RateLimited(None));
/// # assert_eq!(judge(&ApiError::NoCredit), Verdict::Stop);
/// # assert_eq!(judge(&ApiError::Io(std::io::ErrorKind::TimedOut.into())), Verdict::Retry);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// A passing fault: try again after the backoff. Spends a retry.
    Retry,
    /// A passing fault, and the server says how long to wait: not earlier, and slightly jittered. Spends a retry.
    RetryAfter(Duration),
    /// Called too fast, which is no fault of this call: spends no retry. Waits as long as the server says, or else by the
    /// backoff; behind a limiter, everyone waits there.
    RateLimited(Option<Duration>),
    /// Another attempt would fail as well.
    Stop,
}

impl Verdict {
    /// The usual verdict on an HTTP status: 429, 529, and 503 with `Retry-After`, are rate limits; 408, 409, 425 and
    /// other 5xx are faults; anything else stops. `retry_after` is the header's value, seconds or a date; `now` is the
    /// server's time (its `Date` header) or ours.
    ///
    /// It cannot see the body. Where an exhausted quota is a 429 as well (`insufficient_quota`), test for that first,
    /// or the call is repeated until its [patience](Retry::patience) ends.
    ///
    /// ```
    /// use paceline::Verdict;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let now = SystemTime::now();
    /// let wait = Some(Duration::from_secs(20));
    /// assert_eq!(Verdict::of_http(429, Some("20"), now), Verdict::RateLimited(wait));
    /// assert_eq!(Verdict::of_http(502, None, now), Verdict::Retry);
    /// assert_eq!(Verdict::of_http(404, None, now), Verdict::Stop);
    /// ```
    #[must_use]
    pub fn of_http(status: u16, retry_after: Option<&str>, now: SystemTime) -> Self {
        let wait = retry_after.and_then(|value| http::retry_after(value, now));
        let wait = wait.filter(|wait| !wait.is_zero()); // no invitation to a hot loop
        match (status, wait) {
            (429 | 529, wait) => Verdict::RateLimited(wait),
            (503, Some(wait)) => Verdict::RateLimited(Some(wait)),
            (408 | 409 | 425 | 500..=599, Some(wait)) => Verdict::RetryAfter(wait),
            (408 | 409 | 425 | 500..=599, None) => Verdict::Retry,
            _ => Verdict::Stop,
        }
    }
}

/// How often to try again: plain data.
///
/// # Default
/// `retries` 5, `backoff` [`Backoff::new`], no limit on the time (`within`), `patience` 15 minutes.
///
/// ```
/// use paceline::{Rate, RateLimiter, Retry, Verdict};
/// use std::time::Duration;
///
/// let limiter = RateLimiter::new(Rate::per_minute(6_000));
/// let judge = |status: &u16| if *status >= 500 { Verdict::Retry } else { Verdict::Stop };
/// let answer = Retry::new()
///     .within(Duration::from_secs(30))
///     .call(judge, |attempt| if attempt.number() == 1 { Err(503) } else { Ok("hello") })
///     .limiter(&limiter)
///     # .seed(0)
///     .run();
/// assert_eq!(answer.unwrap(), "hello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) within: Option<Duration>,
    pub(crate) patience: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry::new()
    }
}

impl Retry {
    /// The default policy.
    #[must_use]
    pub const fn new() -> Self {
        Retry {
            retries: 5,
            backoff: Backoff::new(),
            within: None,
            patience: Duration::from_secs(15 * 60),
        }
    }

    /// Sets how many faults a call survives: 0 tries once. A rate limit is not a fault.
    #[must_use]
    pub const fn retries(self, retries: u32) -> Self {
        Retry { retries, ..self }
    }

    /// Sets the delays between faults.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Retry { backoff, ..self }
    }

    /// Sets the time for the whole call: waits in line, pauses and backoffs included. No attempt begins at its end or
    /// later, and no pause or backoff is waited for that would not end before it. Bound an attempt itself with [`Attempt::remaining`].
    #[must_use]
    pub const fn within(self, time: Duration) -> Self {
        Retry {
            within: Some(time),
            ..self
        }
    }

    /// Sets how long a call may be rate limited, without any other outcome, before it gives up. It also gives up at once
    /// if a wait that the server orders would be longer.
    #[must_use]
    pub const fn patience(self, time: Duration) -> Self {
        Retry {
            patience: time,
            ..self
        }
    }

    /// A call of `op`, to be [run](Call::run): `judge` decides what to do about each failure.
    pub fn call<'a, T, E, J, F>(&self, judge: J, op: F) -> Call<'a, E, J, F>
    where
        J: Fn(&E) -> Verdict,
        F: FnMut(&Attempt<'_>) -> Result<T, E>,
    {
        Call {
            retry: *self,
            judge,
            op,
            limiter: None,
            cancel: None,
            seed: None,
            on_retry: None,
        }
    }
}

/// A call that has not been run yet: see [`Retry::call`].
#[must_use = "a call does nothing until it is run"]
pub struct Call<'a, E, J, F> {
    retry: Retry,
    judge: J,
    op: F,
    limiter: Option<&'a RateLimiter>,
    cancel: Option<&'a CancelToken>,
    seed: Option<u64>,
    on_retry: Option<Notify<'a, E>>,
}

/// The error, and the permit that is still to be reported on.
type FailedAttempt<E> = (E, Option<Permit>);

type Notify<'a, E> = Box<dyn FnMut(&Retrying<'_, E>) + 'a>;

impl<E, J, F> fmt::Debug for Call<'_, E, J, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// One attempt, as the closure sees it.
#[derive(Debug)]
pub struct Attempt<'a> {
    number: u32,
    permit: Option<&'a Permit>,
    token: &'a CancelToken,
}

impl Attempt<'_> {
    /// The number of the attempt, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The permit that it was granted; `None` without a limiter.
    #[must_use]
    pub fn permit(&self) -> Option<&Permit> {
        self.permit
    }

    /// The time that is left for the call, for the client's own time-out; `None` if it has no end.
    ///
    /// ```
    /// use paceline::{Retry, Verdict};
    /// use std::time::Duration;
    ///
    /// let fetch = |time: Option<Duration>| -> Result<Duration, ()> { Ok(time.unwrap()) };
    /// let retry = Retry::new().within(Duration::from_secs(30));
    /// let left = retry.call(|_| Verdict::Stop, |attempt| fetch(attempt.remaining())).run();
    /// assert!(left.unwrap() <= Duration::from_secs(30));
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.token.remaining()
    }
}

/// A failure that will be followed by another attempt: see [`Call::on_retry`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Retrying<'a, E> {
    /// What went wrong.
    pub error: &'a E,
    /// The number of the attempt that failed, from 1.
    pub attempt: u32,
    /// How long until the next one, at least: it may have to wait in line for longer.
    pub wait: Duration,
}

/// Why there was no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GaveUp {
    /// The verdict was [`Verdict::Stop`].
    Stopped,
    /// All retries are spent.
    RetriesSpent,
    /// The next attempt would begin after the time given, by [`Retry::within`] or the token's deadline.
    OutOfTime,
    /// The call was rate limited for longer than its [patience](Retry::patience).
    RateLimited,
    /// The token was cancelled.
    Cancelled,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GaveUp::Stopped => "another attempt would fail as well",
            GaveUp::RetriesSpent => "all retries are spent",
            GaveUp::OutOfTime => "the next attempt would begin too late",
            GaveUp::RateLimited => "rate limited for too long",
            GaveUp::Cancelled => "cancelled",
        })
    }
}

impl From<Cancelled> for GaveUp {
    fn from(cancelled: Cancelled) -> Self {
        match cancelled {
            Cancelled::Cancelled => GaveUp::Cancelled,
            Cancelled::OutOfTime => GaveUp::OutOfTime,
        }
    }
}

impl From<NoPermit> for GaveUp {
    fn from(none: NoPermit) -> Self {
        match none {
            NoPermit::Cancelled => GaveUp::Cancelled,
            NoPermit::OutOfTime | NoPermit::NotYet { .. } => GaveUp::OutOfTime,
        }
    }
}

/// A call that did not succeed.
///
/// ```
/// use paceline::{Retry, Verdict, retry::GaveUp};
///
/// let failed = Retry::new().call(|_| Verdict::Stop, |_| Err::<(), _>(404)).run().unwrap_err();
/// assert_eq!((failed.why, failed.last, failed.attempts), (GaveUp::Stopped, Some(404), 1));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct RetryError<E> {
    /// Why there was no further attempt.
    pub why: GaveUp,
    /// The error of the last attempt; `None` if there was none.
    pub last: Option<E>,
    /// How many attempts there were.
    pub attempts: u32,
    /// The time from the start of the call to its end.
    pub elapsed: Duration,
}

impl<E> fmt::Display for RetryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetryError {
            why,
            attempts,
            elapsed,
            ..
        } = self;
        let plural = if *attempts == 1 { "" } else { "s" };
        let seconds = elapsed.as_secs_f64();
        write!(
            f,
            "gave up after {attempts} attempt{plural} in {seconds:.1} s: {why}"
        )
    }
}

impl<E: Error + 'static> Error for RetryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.last.as_ref().map(|last| last as _)
    }
}

impl<'a, E, J: Fn(&E) -> Verdict, F> Call<'a, E, J, F> {
    /// Takes a permit of this limiter before each attempt, and reports each rate limit to it, so that everyone pauses.
    /// The call then runs on the limiter's clock.
    pub fn limiter(self, limiter: &'a RateLimiter) -> Self {
        Call {
            limiter: Some(limiter),
            ..self
        }
    }

    /// Ends the call's waits when this token ends. An attempt that is in progress is not interrupted.
    pub fn cancel(self, token: &'a CancelToken) -> Self {
        Call {
            cancel: Some(token),
            ..self
        }
    }

    /// Draws the jitter from this seed: the same seed, the same waits. The default is a random one.
    pub fn seed(self, seed: u64) -> Self {
        Call {
            seed: Some(seed),
            ..self
        }
    }

    /// Calls this after each failure that will be followed by another attempt, before the wait: for logs and counts.
    ///
    /// ```
    /// use paceline::{Backoff, Retry, Verdict};
    /// use std::time::Duration;
    ///
    /// let quick = Retry::new().backoff(Backoff::new().max(Duration::from_millis(1)));
    /// let mut seen = Vec::new();
    /// let op = |attempt: &paceline::retry::Attempt<'_>| match attempt.number() {
    ///     1 => Err(502),
    ///     _ => Ok(()),
    /// };
    /// let call = quick.call(|_| Verdict::Retry, op).on_retry(|failed| seen.push(*failed.error));
    /// call.run().unwrap();
    /// assert_eq!(seen, [502]);
    /// ```
    pub fn on_retry(self, notify: impl FnMut(&Retrying<'_, E>) + 'a) -> Self {
        Call {
            on_retry: Some(Box::new(notify)),
            ..self
        }
    }

    /// Calls the closure until it succeeds, or until the judge, the policy or the token says stop.
    ///
    /// # Errors
    /// [`RetryError`], with the error of the last attempt.
    pub fn run<T>(mut self) -> Result<T, RetryError<E>>
    where
        F: FnMut(&Attempt<'_>) -> Result<T, E>,
    {
        let token = self.token();
        let started = token.clock().now();
        let seed = self.seed.unwrap_or_else(rand::random);
        let mut state = RetryState::new(self.retry, seed);
        let mut attempts = 0;
        let mut last = None;
        loop {
            let next = match self.attempt(attempts + 1, &token) {
                Ok(Ok(success)) => return Ok(success),
                Ok(Err((error, permit))) => {
                    attempts += 1;
                    let next = self.next(&mut state, &error, permit, attempts, &token);
                    last = Some(error);
                    next
                }
                Err(why) => Err(why),
            };
            if let Err(why) = next {
                let elapsed = token.clock().now() - started;
                return Err(RetryError {
                    why,
                    last,
                    attempts,
                    elapsed,
                });
            }
        }
    }

    /// One attempt, with its permit; or no attempt, because there is no permit in time.
    fn attempt<T>(
        &mut self,
        number: u32,
        token: &CancelToken,
    ) -> Result<Result<T, FailedAttempt<E>>, GaveUp>
    where
        F: FnMut(&Attempt<'_>) -> Result<T, E>,
    {
        let permit = self.permit(token)?;
        let attempt = Attempt {
            number,
            permit: permit.as_ref(),
            token,
        };
        let result = (self.op)(&attempt);
        Ok(result.map_err(|error| (error, permit)))
    }

    /// Judges a failure, and waits until the next attempt.
    fn next(
        &mut self,
        state: &mut RetryState,
        error: &E,
        permit: Option<Permit>,
        attempt: u32,
        token: &CancelToken,
    ) -> Result<(), GaveUp> {
        let verdict = (self.judge)(error);
        let wait = self.wait_after(state, verdict, permit, token)?;
        if let Some(notify) = &mut self.on_retry {
            notify(&Retrying {
                error,
                attempt,
                wait,
            });
        }
        self.sleep(verdict, wait, token)
    }

    /// A token for this call: on the limiter's clock, ended by the caller's token and by the time given.
    fn token(&self) -> CancelToken {
        let token = match (self.cancel, self.limiter) {
            (Some(cancel), Some(limiter)) => cancel.child_on(limiter.clock()),
            (Some(cancel), None) => cancel.clone(),
            (None, Some(limiter)) => CancelToken::on(limiter.clock().clone()),
            (None, None) => CancelToken::on(SystemClock),
        };
        match self.retry.within {
            Some(time) => token.within(time),
            None => token,
        }
    }

    fn permit(&self, token: &CancelToken) -> Result<Option<Permit>, GaveUp> {
        match self.limiter {
            Some(limiter) => Ok(Some(limiter.acquire_or_cancel(token)?)),
            None => Ok(token.check().map(|()| None)?),
        }
    }

    /// How long until the next attempt; reports a rate limit to the limiter.
    fn wait_after(
        &self,
        state: &mut RetryState,
        verdict: Verdict,
        permit: Option<Permit>,
        token: &CancelToken,
    ) -> Result<Duration, GaveUp> {
        let wait = match (verdict, permit, self.limiter) {
            (Verdict::RateLimited(ordered), Some(permit), Some(limiter)) => {
                permit.rate_limited(ordered);
                limiter.stats().paused_for
            }
            _ => state.wait_after(verdict)?,
        };
        state.check_patience(verdict, token.clock().now(), wait)?;
        match token.remaining() {
            Some(left) if left <= wait => Err(GaveUp::OutOfTime),
            _ => Ok(wait),
        }
    }

    /// Waits before the next attempt. The limiter pauses everyone who is rate limited: this call, too, waits there.
    fn sleep(&self, verdict: Verdict, wait: Duration, token: &CancelToken) -> Result<(), GaveUp> {
        match (verdict, self.limiter) {
            (Verdict::RateLimited(_), Some(_)) => Ok(()),
            _ => Ok(token.sleep(wait)?),
        }
    }
}

/// The pure decision: how long until the next attempt of this call.
struct RetryState {
    retry: Retry,
    delays: Delays,
    /// Retries spent.
    retries: u32,
    /// Since when the call has been rate limited, with no other outcome.
    rate_limited_since: Option<Instant>,
}

impl RetryState {
    fn new(retry: Retry, seed: u64) -> Self {
        RetryState {
            retry,
            delays: retry.backoff.delays(seed),
            retries: 0,
            rate_limited_since: None,
        }
    }

    fn wait_after(&mut self, verdict: Verdict) -> Result<Duration, GaveUp> {
        match verdict {
            Verdict::Stop => Err(GaveUp::Stopped),
            Verdict::RateLimited(ordered) => Ok(self.wait(ordered)),
            Verdict::Retry | Verdict::RetryAfter(_) if self.retries == self.retry.retries => {
                Err(GaveUp::RetriesSpent)
            }
            Verdict::Retry => Ok(self.count_and_wait(None)),
            Verdict::RetryAfter(ordered) => Ok(self.count_and_wait(Some(ordered))),
        }
    }

    fn count_and_wait(&mut self, ordered: Option<Duration>) -> Duration {
        self.retries += 1;
        self.wait(ordered)
    }

    /// What the server says wins over the formula.
    fn wait(&mut self, ordered: Option<Duration>) -> Duration {
        match ordered {
            Some(ordered) => self.delays.not_before(ordered),
            None => self.delays.next().unwrap_or(self.retry.backoff.max),
        }
    }

    fn check_patience(
        &mut self,
        verdict: Verdict,
        now: Instant,
        wait: Duration,
    ) -> Result<(), GaveUp> {
        if !matches!(verdict, Verdict::RateLimited(_)) {
            self.rate_limited_since = None;
            return Ok(());
        }
        let since = *self.rate_limited_since.get_or_insert(now);
        let in_all = (now - since).saturating_add(wait);
        if in_all > self.retry.patience {
            Err(GaveUp::RateLimited)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
