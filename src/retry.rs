//! The blocking retry: call a closure until it succeeds, or until there is a reason to give up.
//!
//! The caller judges each failure with a [`Verdict`]; there is no default, because "retry on everything" is a trap.
//! Behind a [limiter](Call::limiter) each attempt takes a permit first, and a 429 pauses everyone. Mind the layers: a
//! client that retries by itself inside this loop multiplies the calls. Use one layer.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::backoff::{Backoff, Delays};
use crate::cancel::{CancelToken, WaitError};
use crate::limiter::{Permit, RateLimiter};

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
    /// Called too fast, or the server is busy or away, which is no fault of this call: spends no retry, but
    /// [patience](Retry::patience). Waits as long as the server says, or else by the backoff; behind a limiter, everyone
    /// waits there.
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

    /// Sets the time for the whole call: waits in line, pauses and backoffs included. Bound an attempt itself with
    /// [`Attempt::remaining`].
    ///
    /// No attempt begins at its end or later, and the call fails at once where the next wait would not end before it. A
    /// shorter wait would help nobody: the last attempt would have no time left for its answer.
    ///
    /// ```
    /// use paceline::{CancelToken, Retry, Verdict, clock::SimClock, retry::GaveUp};
    /// use std::time::Duration;
    ///
    /// let time = Duration::from_secs(20);
    /// let call = Retry::new().within(time).call(|_| Verdict::Retry, |_| Err::<(), _>(503));
    /// let failed = call.cancel(&CancelToken::on(SimClock::new())).run().unwrap_err();
    /// assert_eq!(failed.why, GaveUp::OutOfTime);
    /// assert!(failed.elapsed < time); // a wait that would end too late is not begun
    /// ```
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Sets how long a call may be rate limited, without any other outcome, before it gives up. It counts from the first
    /// rate limit on; the wait in line before that is the rate's, and no refusal. [`within`](Retry::within) bounds both.
    ///
    /// With a patience of ten minutes, a backoff that would end after twelve is cut short, and a last attempt is made after
    /// ten. A wait of twelve minutes that the server or the limiter orders is not cut short: the call gives up at once.
    ///
    /// ```
    /// use paceline::{CancelToken, Retry, Verdict, clock::SimClock, retry::GaveUp};
    /// use std::time::Duration;
    ///
    /// let retry = Retry::new().patience(Duration::from_secs(3600));
    /// let call = retry.call(|_| Verdict::RateLimited(None), |_| Err::<(), _>(429));
    /// let failed = call.cancel(&CancelToken::on(SimClock::new())).run().unwrap_err();
    /// assert_eq!((failed.why, failed.elapsed.as_secs()), (GaveUp::RateLimited, 3600));
    /// ```
    #[must_use]
    pub const fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
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

type Notify<'a, E> = Box<dyn FnMut(&Retrying<'_, E>) + 'a>;

/// One attempt, as the closure sees it.
///
/// ```
/// use paceline::{CancelToken, Retry, Verdict, clock::SimClock, retry::Attempt};
///
/// let third_time_lucky = |attempt: &Attempt<'_>| match attempt.number() {
///     3 => Ok("done"),
///     _ => Err("busy"),
/// };
/// let call = Retry::new().call(|_| Verdict::Retry, third_time_lucky);
/// assert_eq!(call.cancel(&CancelToken::on(SimClock::new())).run().unwrap(), "done");
/// ```
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

impl From<WaitError> for GaveUp {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Cancelled => GaveUp::Cancelled,
            WaitError::OutOfTime => GaveUp::OutOfTime,
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
        let (why, n, time) = (self.why, self.attempts, self.elapsed);
        write!(f, "gave up at attempt {n} after {time:.1?}: {why}")
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
    pub fn limiter(mut self, limiter: &'a RateLimiter) -> Self {
        self.limiter = Some(limiter);
        self
    }

    /// Ends the call's waits when this token ends. An attempt that is in progress is not interrupted.
    ///
    /// ```
    /// use paceline::{CancelToken, Retry, Verdict, retry::GaveUp};
    ///
    /// let cancel = CancelToken::new();
    /// cancel.cancel();
    /// let call = Retry::new().call(|_| Verdict::Retry, |_| Err::<(), _>(503));
    /// let failed = call.cancel(&cancel).run().unwrap_err();
    /// assert_eq!((failed.why, failed.attempts), (GaveUp::Cancelled, 0));
    /// ```
    pub fn cancel(mut self, token: &'a CancelToken) -> Self {
        self.cancel = Some(token);
        self
    }

    /// Draws the jitter from this seed: the same seed, the same waits. The default is a random one.
    ///
    /// ```
    /// use paceline::{CancelToken, Retry, Verdict, clock::SimClock};
    ///
    /// let time = |seed| {
    ///     let call = Retry::new().call(|_| Verdict::Retry, |_| Err::<(), _>(503));
    ///     let ended = call.cancel(&CancelToken::on(SimClock::new())).seed(seed).run();
    ///     ended.unwrap_err().elapsed
    /// };
    /// assert_eq!(time(7), time(7));
    /// assert_ne!(time(7), time(8));
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
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
    pub fn on_retry(mut self, notify: impl FnMut(&Retrying<'_, E>) + 'a) -> Self {
        self.on_retry = Some(Box::new(notify));
        self
    }

    /// Calls the closure until it succeeds, or until the judge, the policy or the token says stop.
    ///
    /// # Errors
    /// [`RetryError`], with the error of the last attempt.
    pub fn run<T>(mut self) -> Result<T, RetryError<E>>
    where
        F: FnMut(&Attempt<'_>) -> Result<T, E>,
    {
        let clock = self.limiter.map(RateLimiter::clock);
        let token = &CancelToken::for_task(self.cancel, clock, self.retry.within);
        let started = token.clock().now();
        let seed = self.seed.unwrap_or_else(rand::random);
        let mut progress = Progress {
            retry: self.retry,
            delays: self.retry.backoff.delays(seed),
            attempts: 0,
            rate_limited_since: None,
        };
        let mut last = None;
        let why = loop {
            let permit = match self.permit(token) {
                Ok(permit) => permit,
                Err(ended) => break ended.into(),
            };
            progress.attempts += 1;
            let attempt = Attempt {
                number: progress.attempts,
                permit: permit.as_ref(),
                token,
            };
            let error = match (self.op)(&attempt) {
                Ok(success) => return Ok(success),
                Err(error) => last.insert(error),
            };
            if let Err(why) = self.wait(&mut progress, error, permit, token) {
                break why;
            }
        };
        Err(RetryError {
            why,
            last,
            attempts: progress.attempts,
            elapsed: token.clock().now() - started,
        })
    }

    fn permit(&self, token: &CancelToken) -> Result<Option<Permit>, WaitError> {
        match self.limiter {
            Some(limiter) => limiter.acquire_or_cancel(token).map(Some),
            None => token.check().map(|()| None),
        }
    }

    /// Judges a failure, and waits until the next attempt. While the limiter pauses everyone, this call waits there.
    fn wait(
        &mut self,
        progress: &mut Progress,
        error: &E,
        permit: Option<Permit>,
        token: &CancelToken,
    ) -> Result<(), GaveUp> {
        let verdict = (self.judge)(error);
        let paused = match (verdict, permit) {
            (Verdict::RateLimited(ordered), Some(permit)) => {
                permit.rate_limited(ordered);
                self.limiter.map(|limiter| limiter.stats().paused_for)
            }
            _ => None,
        };
        let wait = progress.wait_after(verdict, paused, token.clock().now())?;
        if token.remaining().is_some_and(|left| left <= wait) {
            return Err(GaveUp::OutOfTime);
        }
        if let Some(notify) = &mut self.on_retry {
            notify(&Retrying {
                error,
                attempt: progress.attempts,
                wait,
            });
        }
        match paused {
            Some(_) => Ok(()), // the limiter keeps the next attempt until its pause ends
            None => Ok(token.sleep(wait)?),
        }
    }
}

/// What a call has come to, and the pure decision: how long until the next attempt?
struct Progress {
    /// The policy, with the retries that are left.
    retry: Retry,
    delays: Delays,
    attempts: u32,
    /// Since when the call has been rate limited, with no other outcome.
    rate_limited_since: Option<Instant>,
}

impl Progress {
    /// `paused` is how long the limiter pauses everyone for this failure.
    fn wait_after(
        &mut self,
        verdict: Verdict,
        paused: Option<Duration>,
        now: Instant,
    ) -> Result<Duration, GaveUp> {
        let ordered = match verdict {
            Verdict::Stop => return Err(GaveUp::Stopped),
            Verdict::Retry => None,
            Verdict::RetryAfter(ordered) => Some(ordered),
            Verdict::RateLimited(ordered) => ordered,
        };
        if !matches!(verdict, Verdict::RateLimited(_)) {
            self.rate_limited_since = None;
            let left = self.retry.retries.checked_sub(1);
            self.retry.retries = left.ok_or(GaveUp::RetriesSpent)?;
            return Ok(self.delays.wait(ordered));
        }
        let since = *self.rate_limited_since.get_or_insert(now);
        let left = self.retry.patience.saturating_sub(now - since);
        let wait = paused.unwrap_or_else(|| self.delays.wait(ordered));
        match paused.or(ordered) {
            None if !left.is_zero() => Ok(wait.min(left)), // only a wait of our own is cut short
            Some(_) if wait <= left => Ok(wait),
            _ => Err(GaveUp::RateLimited),
        }
    }
}

#[cfg(test)]
mod tests;
