//! The rate limiter: one interval, one lock, first come first served, and a pause that binds everyone.
//!
//! The decision is arithmetic on instants that come in as arguments (`gcra`). [`RateLimiter`] is the shell around it:
//! a lock, a line of waiting threads, a clock. A call takes a [`Permit`] before it goes, and tells it when the server
//! answered 429; nothing else needs to be reported.

mod gcra;
mod keyed;
mod line;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{CancelToken, WaitError};
use crate::clock::{Clock, SystemClock, after};

pub(crate) use gcra::Gcra;
pub use gcra::Rate;
pub use keyed::Keyed;
pub(crate) use line::{Line, Schedule};

/// Grants permits to threads, one interval apart, in order of arrival. Clones are the same limiter.
///
/// ```
/// use paceline::{Rate, RateLimiter};
///
/// let limiter = RateLimiter::new(Rate::per_minute(60_000));
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let permit = limiter.acquire(); // one each, a millisecond apart
///             // call the server; if it says 429: permit.rate_limited(retry_after)
///             # drop(permit);
///         });
///     }
/// });
/// assert_eq!(limiter.stats().granted, 4);
/// ```
#[derive(Clone, Debug)]
pub struct RateLimiter(Arc<Line<Ledger>>);

/// The schedule, with what it has counted.
#[derive(Debug)]
struct Ledger {
    gcra: Gcra,
    /// How many pauses have begun: tells a late 429 from a new one.
    pauses: u64,
    /// The length of the last pause for a 429 that named no time, and its end.
    silent: Option<(Duration, Instant)>,
    stats: Stats,
}

/// What a limiter has done so far. All counts and times are since it was made.
///
/// ```
/// use paceline::{Rate, RateLimiter};
///
/// let limiter = RateLimiter::new(Rate::unlimited());
/// limiter.acquire().rate_limited(None);
/// let stats = limiter.stats();
/// assert_eq!((stats.granted, stats.rate_limited), (1, 1));
/// assert!(!stats.paused_for.is_zero());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Permits granted.
    pub granted: u64,
    /// Permits whose call was answered 429, as reported.
    pub rate_limited: u64,
    /// Waits that ran out of time.
    pub timed_out: u64,
    /// The time that threads have waited for the permits they got, in sum.
    pub waited: Duration,
    /// The longest that a thread has waited for a permit it got.
    pub longest_wait: Duration,
    /// Threads in line now.
    pub waiting: usize,
    /// How much longer everyone is paused; zero if nobody is.
    pub paused_for: Duration,
}

/// No permit is free now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotYet {
    /// When the limit allows the next call. It may lie in the past while others are in line: then wait as they do.
    pub due: Instant,
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no permit is free yet")
    }
}

impl std::error::Error for NotYet {}

/// Makes a [`RateLimiter`] that is not the default: see [`RateLimiter::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RateLimiterBuilder {
    rate: Rate,
    clock: Arc<dyn Clock>,
}

impl RateLimiterBuilder {
    /// Sets the rate. The default is [`Rate::unlimited`].
    pub fn rate(self, rate: Rate) -> Self {
        RateLimiterBuilder { rate, ..self }
    }

    /// Sets the clock, for tests in simulated time. The default is the [`SystemClock`].
    pub fn clock(mut self, clock: impl Into<Arc<dyn Clock>>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Makes the limiter. Its first permit is due at once.
    #[must_use]
    pub fn build(self) -> RateLimiter {
        let ledger = Ledger {
            gcra: Gcra::new(self.rate, self.clock.now()),
            pauses: 0,
            silent: None,
            stats: Stats::default(),
        };
        RateLimiter(Arc::new(Line::new(self.clock, ledger)))
    }
}

impl RateLimiter {
    /// A limiter at this rate, in real time. The first permit is due at once.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        RateLimiter::builder().rate(rate).build()
    }

    /// A limiter with another clock.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter, clock::SimClock};
    ///
    /// let clock = SimClock::new();
    /// let limiter = RateLimiter::builder()
    ///     .rate(Rate::per_second(1).exact())
    ///     .clock(clock.clone())
    ///     .build();
    /// clock.run(5, |_| drop(limiter.acquire())); // five permits in simulated time
    /// assert_eq!(clock.elapsed().as_secs(), 4);
    /// ```
    pub fn builder() -> RateLimiterBuilder {
        let rate = Rate::unlimited();
        let clock = SystemClock.into();
        RateLimiterBuilder { rate, clock }
    }

    /// The clock that permits are granted on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Waits in line for a permit. Threads are served in order of arrival.
    #[must_use = "a permit is for one call"]
    pub fn acquire(&self) -> Permit {
        self.take(None).expect("only a token ends a wait")
    }

    /// Takes a permit if one is free now. It never overtakes the threads in line.
    ///
    /// # Errors
    /// [`NotYet`]
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Rate::per_minute(1));
    /// assert!(limiter.try_acquire().is_ok());
    /// let not_yet = limiter.try_acquire().unwrap_err();
    /// assert!(not_yet.due > std::time::Instant::now()); // in a minute
    /// ```
    pub fn try_acquire(&self) -> Result<Permit, NotYet> {
        let granted = self.0.try_take(()).map_err(|due| NotYet {
            due: due.expect("a limiter never closes"),
        });
        granted.map(|granted| self.permit(granted))
    }

    /// Waits for a permit for less than `time`. At the front of the line it gives up at once if none is due by then.
    ///
    /// # Errors
    /// [`WaitError::OutOfTime`]: nothing was taken, and those behind in line have moved up.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter, WaitError};
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::new(Rate::per_minute(1));
    /// let permit = limiter.acquire_timeout(Duration::from_millis(200))?;
    /// let second = limiter.acquire_timeout(Duration::from_millis(200)); // due in a minute
    /// assert_eq!(second.err(), Some(WaitError::OutOfTime));
    /// # drop(permit);
    /// # Ok::<_, WaitError>(())
    /// ```
    pub fn acquire_timeout(&self, time: Duration) -> Result<Permit, WaitError> {
        let token = || CancelToken::on(self.clock().clone()).within(time);
        self.try_acquire()
            .or_else(|_| self.acquire_or_cancel(&token()))
    }

    /// Waits for a permit until the token ends: cancelled, or out of time. The token may be on another clock.
    ///
    /// # Errors
    /// [`WaitError`]: nothing was taken, and those behind in line have moved up.
    ///
    /// ```
    /// use paceline::{CancelToken, Rate, RateLimiter, WaitError};
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::new(Rate::unlimited());
    /// limiter.pause(Duration::from_secs(3600));
    /// let token = CancelToken::new();
    /// let on_ctrl_c = token.clone();
    /// std::thread::spawn(move || on_ctrl_c.cancel());
    /// assert_eq!(limiter.acquire_or_cancel(&token).err(), Some(WaitError::Cancelled));
    /// ```
    pub fn acquire_or_cancel(&self, token: &CancelToken) -> Result<Permit, WaitError> {
        let permit = self.take(Some(token));
        if matches!(permit, Err(WaitError::OutOfTime)) {
            self.0.update(|ledger, _| ledger.stats.timed_out += 1);
        }
        permit
    }

    fn take(&self, token: Option<&CancelToken>) -> Result<Permit, WaitError> {
        let granted = self.0.take((), token)?.expect("a limiter never closes");
        Ok(self.permit(granted))
    }

    fn permit(&self, granted: PermitFacts) -> Permit {
        let limiter = self.clone();
        Permit { limiter, granted }
    }

    /// Lets nobody through for `time` from now, the threads in line included. Afterwards calls go one interval apart.
    /// A pause that ends before the present one changes nothing.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter};
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::new(Rate::per_second(10));
    /// limiter.pause(Duration::from_secs(20)); // the maintenance page says so
    /// assert!(limiter.try_acquire().is_err());
    /// ```
    pub fn pause(&self, time: Duration) {
        self.0.update(|ledger, now| {
            let until = after(now, time);
            if until > now.max(ledger.gcra.paused_until) {
                ledger.pause_until(until);
            }
        });
    }

    /// Changes the rate. The next permit is due as it was, those after it at the new rate.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Rate::per_minute(60));
    /// limiter.set_rate(Rate::per_minute(600)); // as a response header states
    /// assert_eq!(limiter.rate(), Rate::per_minute(600));
    /// ```
    pub fn set_rate(&self, rate: Rate) {
        self.0.update(|ledger, _| ledger.gcra.set_rate(rate));
    }

    /// The rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.0.look(|ledger, _| ledger.gcra.rate)
    }

    /// What the limiter has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let waiting = self.0.waiting();
        self.0.look(|ledger, now| Stats {
            waiting,
            paused_for: ledger.gcra.paused_until.saturating_duration_since(now),
            ..ledger.stats
        })
    }

    /// Whether a new limiter at the same rate would do the same: nobody is in line, the whole burst is available, no pause
    /// is in force.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Rate::per_minute(1));
    /// assert!(limiter.is_idle());
    /// drop(limiter.acquire());
    /// assert!(!limiter.is_idle()); // for a minute
    /// ```
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.waiting() == 0 && self.0.look(|ledger, now| ledger.gcra.is_full(now))
    }
}

/// What the line knows of a permit: all but its limiter.
#[derive(Debug)]
struct PermitFacts {
    at: Instant,
    waited: Duration,
    pauses: u64,
}

impl Ledger {
    /// The first pause for a 429 that names no time: the article's shortest delay.
    const SILENT_FIRST: Duration = Duration::from_secs(1);
    /// The longest such pause: the article's longest delay.
    const SILENT_MOST: Duration = Duration::from_secs(60);

    fn pause_until(&mut self, until: Instant) {
        self.pauses += 1;
        self.gcra.pause_until(until);
    }

    /// A call whose permit was granted when `pauses` had begun was answered 429.
    fn rate_limited(&mut self, now: Instant, pauses: u64, retry_after: Option<Duration>) {
        self.stats.rate_limited += 1;
        let until = retry_after.map(|wait| after(now, wait));
        if pauses == self.pauses {
            let until = until.unwrap_or_else(|| self.silent_pause(now));
            self.pause_until(until);
        } else if let Some(until) = until.filter(|_| now < self.gcra.paused_until) {
            self.gcra.pause_until(until); // a call of the same burst that was told a longer wait
        }
    }

    fn silent_pause(&mut self, now: Instant) -> Instant {
        let length = match self.silent {
            Some((length, end)) if now <= after(end, length) => (length * 2).min(Self::SILENT_MOST),
            _ => Self::SILENT_FIRST,
        };
        let until = after(now, length);
        self.silent = Some((length, until));
        until
    }
}

impl Schedule for Ledger {
    type Want = ();
    type Grant = PermitFacts;

    fn due(&self, (): ()) -> Option<Instant> {
        Some(self.gcra.due(1))
    }

    fn take(&mut self, now: Instant, (): (), waited: Duration) -> PermitFacts {
        self.gcra.take(now, 1);
        self.stats.granted += 1;
        self.stats.waited += waited;
        self.stats.longest_wait = self.stats.longest_wait.max(waited);
        PermitFacts {
            at: now,
            waited,
            pauses: self.pauses,
        }
    }
}

/// The right to make one call, now.
///
/// It knows its limiter, and how many pauses had begun when it was granted: a late 429 does no harm. Dropping it
/// reports nothing.
///
/// ```
/// use paceline::{Rate, RateLimiter};
/// use std::time::Duration;
///
/// let limiter = RateLimiter::new(Rate::per_second(1_000).burst(2));
/// let (first, second) = (limiter.acquire(), limiter.acquire());
/// first.rate_limited(Some(Duration::from_secs(20))); // everyone pauses for 20 s
/// second.rate_limited(Some(Duration::from_secs(5))); // of the same burst: no second pause
/// assert!(limiter.stats().paused_for > Duration::from_secs(19));
/// ```
#[derive(Debug)]
#[must_use = "a permit is for one call"]
pub struct Permit {
    limiter: RateLimiter,
    granted: PermitFacts,
}

impl Permit {
    /// When it was granted, on the limiter's clock.
    #[must_use]
    pub fn granted_at(&self) -> Instant {
        self.granted.at
    }

    /// How long the call waited for it.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.granted.waited
    }

    /// The call was answered 429: pauses everyone, for as long as the server says (its `Retry-After`), or else for 1 s.
    /// That doubles, up to 60 s, while another such answer comes within the length of the last pause after its end.
    ///
    /// Pauses are numbered, because answers come late. A 429 to a call that was sent before the present pause began does not
    /// begin another: it moves the end of the present one, if it names a later time. After that pause it does nothing.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter, clock::SimClock};
    ///
    /// let clock = SimClock::new();
    /// let limiter = RateLimiter::builder().rate(Rate::unlimited()).clock(clock.clone()).build();
    /// limiter.acquire().rate_limited(None);
    /// limiter.acquire().rate_limited(None); // granted after 1 s, and refused as well
    /// drop(limiter.acquire()); // granted 2 s later
    /// assert_eq!(clock.elapsed().as_secs(), 3);
    /// ```
    pub fn rate_limited(self, retry_after: Option<Duration>) {
        let line = &self.limiter.0;
        line.update(|ledger, now| ledger.rate_limited(now, self.granted.pauses, retry_after));
    }
}

#[cfg(test)]
mod tests;
