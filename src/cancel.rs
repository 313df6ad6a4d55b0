//! One argument for Ctrl-C and for time: a token that ends every wait at once.
//!
//! Go calls this a context, C++ a stop token. A thread that sleeps registers with the token; cancelling wakes all that
//! are registered. Work in progress is not touched: it finishes, and meets the token at its next wait. A deadline needs
//! no thread of its own: a wait simply ends there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock, after};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, Thread};

/// A switch that ends waits, and optionally a deadline. Clones are the same switch; it is never switched back.
///
/// ```
/// use paceline::{CancelToken, WaitError};
/// use std::time::Duration;
///
/// let token = CancelToken::new();
/// let for_ctrl_c = token.clone(); // give this to a signal handler
/// std::thread::spawn(move || for_ctrl_c.cancel());
/// assert_eq!(token.sleep(Duration::from_secs(3600)), Err(WaitError::Cancelled));
/// ```
#[derive(Clone, Debug)]
pub struct CancelToken(Arc<Node>);

#[derive(Debug)]
struct Node {
    clock: Arc<dyn Clock>,
    cancelled: AtomicBool,
    /// The earlier of this token's deadline and its parent's.
    deadline: Option<Instant>,
    parent: Option<CancelToken>,
    /// The threads to wake, by number.
    sleepers: Mutex<BTreeMap<u64, Sleeper>>,
}

/// A thread, and the clock that it is parked on: that may be another than the token's.
type Sleeper = (Thread, Arc<dyn Clock>);

/// Why a wait ended early.
///
/// ```
/// use paceline::{CancelToken, WaitError};
/// use std::time::Duration;
///
/// let token = CancelToken::new().within(Duration::ZERO);
/// assert_eq!(token.check(), Err(WaitError::OutOfTime));
/// token.cancel();
/// assert_eq!(token.check(), Err(WaitError::Cancelled)); // whatever the time
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// [`CancelToken::cancel`] was called.
    Cancelled,
    /// The time given is over, or would be before the wait is.
    OutOfTime,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::Cancelled => "the wait was cancelled",
            WaitError::OutOfTime => "the wait ran out of time",
        })
    }
}

impl std::error::Error for WaitError {}

impl Default for CancelToken {
    fn default() -> Self {
        CancelToken::new()
    }
}

impl CancelToken {
    /// A token for waits in real time, without a deadline.
    #[must_use]
    pub fn new() -> Self {
        CancelToken::on(SystemClock)
    }

    /// A token whose deadlines and sleeps are on this clock.
    ///
    /// ```
    /// use paceline::{CancelToken, clock::SimClock};
    /// use std::time::Duration;
    ///
    /// let clock = SimClock::new();
    /// let token = CancelToken::on(clock.clone());
    /// token.sleep(Duration::from_secs(3600)).unwrap(); // simulated: returns at once
    /// assert_eq!(clock.elapsed(), Duration::from_secs(3600));
    /// ```
    #[must_use]
    pub fn on(clock: impl Into<Arc<dyn Clock>>) -> Self {
        CancelToken::node(clock.into(), None, None)
    }

    fn node(clock: Arc<dyn Clock>, deadline: Option<Instant>, parent: Option<Self>) -> Self {
        CancelToken(Arc::new(Node {
            clock,
            cancelled: AtomicBool::new(false),
            deadline,
            parent,
            sleepers: Mutex::default(),
        }))
    }

    /// A token that ends with this one, and can be cancelled alone.
    ///
    /// ```
    /// use paceline::CancelToken;
    ///
    /// let program = CancelToken::new();
    /// let (one_job, another) = (program.child(), program.child());
    /// one_job.cancel();
    /// assert!(!another.is_cancelled());
    /// program.cancel();
    /// assert!(another.is_cancelled());
    /// ```
    #[must_use]
    pub fn child(&self) -> Self {
        CancelToken::node(self.0.clock.clone(), self.0.deadline, Some(self.clone()))
    }

    /// A [`child`](CancelToken::child) that ends `time` from now at the latest.
    ///
    /// ```
    /// use paceline::{CancelToken, WaitError, clock::SimClock};
    /// use std::time::Duration;
    ///
    /// let page = CancelToken::on(SimClock::new()).within(Duration::from_secs(30));
    /// assert_eq!(page.sleep(Duration::from_secs(3600)), Err(WaitError::OutOfTime));
    /// ```
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        self.until(after(self.0.clock.now(), time))
    }

    /// A [`child`](CancelToken::child) that ends at this instant of the token's clock at the latest. A child never ends
    /// later than its parent.
    ///
    /// ```
    /// use paceline::{CancelToken, clock::{Clock, SimClock}};
    /// use std::time::Duration;
    ///
    /// let clock = SimClock::new();
    /// let hour = |n| clock.now() + Duration::from_secs(3600) * n;
    /// let night = CancelToken::on(clock.clone()).until(hour(8));
    /// assert_eq!(night.until(hour(9)).remaining(), night.remaining());
    /// ```
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let deadline = earlier(self.0.deadline, Some(deadline));
        CancelToken::node(self.0.clock.clone(), deadline, Some(self.clone()))
    }

    /// A token for a task on a clock: a [`child`](CancelToken::child) of this token that has the same time there, and no more
    /// than `time`. The clock is the token's by default, or else the system's.
    pub(crate) fn for_task(
        token: Option<&Self>,
        clock: Option<&Arc<dyn Clock>>,
        time: Option<Duration>,
    ) -> Self {
        let clock = clock.or(token.map(CancelToken::clock)).cloned();
        let clock = clock.unwrap_or_else(|| SystemClock.into());
        let time = earlier(token.and_then(CancelToken::remaining), time);
        let deadline = time.map(|time| after(clock.now(), time));
        CancelToken::node(clock, deadline, token.cloned())
    }

    /// The clock that deadlines and sleeps are on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Ends every wait on this token and its children, now and later.
    ///
    /// ```
    /// use paceline::{CancelToken, WaitError};
    /// use std::time::Duration;
    ///
    /// let token = CancelToken::new();
    /// let sleeper = std::thread::spawn({
    ///     let token = token.clone();
    ///     move || token.sleep(Duration::from_secs(3600))
    /// });
    /// token.cancel();
    /// assert_eq!(sleeper.join().unwrap(), Err(WaitError::Cancelled)); // at once
    /// ```
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        for (thread, clock) in self.0.sleepers.lock().values() {
            clock.unpark(thread);
        }
    }

    /// Whether the token has ended: cancelled, itself or a parent, or past its deadline.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.check().is_err()
    }

    /// Fails if the token has ended: for loops that should end with it.
    ///
    /// # Errors
    /// [`WaitError`], which says how.
    ///
    /// ```
    /// use paceline::{CancelToken, WaitError};
    ///
    /// fn add_up(numbers: &[u64], token: &CancelToken) -> Result<u64, WaitError> {
    ///     numbers.iter().map(|number| token.check().map(|()| number)).sum()
    /// }
    /// assert_eq!(add_up(&[1, 2], &CancelToken::new()), Ok(3));
    /// ```
    pub fn check(&self) -> Result<(), WaitError> {
        if self.is_switched() {
            return Err(WaitError::Cancelled);
        }
        match self.0.deadline {
            Some(deadline) if self.0.clock.now() >= deadline => Err(WaitError::OutOfTime),
            _ => Ok(()),
        }
    }

    fn is_switched(&self) -> bool {
        let parent = self.0.parent.as_ref();
        self.0.cancelled.load(Ordering::SeqCst) || parent.is_some_and(CancelToken::is_switched)
    }

    /// The time until the deadline, zero after it; `None` without a deadline. Give it to a client as its own time-out.
    ///
    /// ```
    /// use paceline::{CancelToken, clock::SimClock};
    /// use std::time::Duration;
    ///
    /// let call = CancelToken::on(SimClock::new()).within(Duration::from_secs(30));
    /// call.sleep(Duration::from_secs(20))?; // a wait for a permit, or a backoff
    /// assert_eq!(call.remaining(), Some(Duration::from_secs(10)));
    /// # Ok::<_, paceline::WaitError>(())
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.0.deadline?;
        Some(deadline.saturating_duration_since(self.0.clock.now()))
    }

    /// Sleeps for `time` on the token's clock.
    ///
    /// # Errors
    /// [`WaitError`], at once, when the token ends first.
    pub fn sleep(&self, time: Duration) -> Result<(), WaitError> {
        self.sleep_until(after(self.0.clock.now(), time))
    }

    /// Sleeps until this instant of the token's clock.
    ///
    /// # Errors
    /// [`WaitError`], at once, when the token ends first.
    pub fn sleep_until(&self, instant: Instant) -> Result<(), WaitError> {
        let _registered = self.wake_on_cancel(&self.0.clock);
        loop {
            self.check()?;
            if self.0.clock.now() >= instant {
                return Ok(());
            }
            let ends = earlier(self.0.deadline, Some(instant));
            self.0.clock.park_until(ends);
        }
    }

    /// Until the guard is dropped, cancelling unparks the calling thread, which parks on `clock`. For loops that park
    /// by themselves: call this first, then check the token, then park.
    pub(crate) fn wake_on_cancel(&self, clock: &Arc<dyn Clock>) -> WakeOnCancel<'_> {
        let mut sleepers = self.0.sleepers.lock();
        let number = sleepers.last_key_value().map_or(0, |(last, _)| last + 1);
        sleepers.insert(number, (thread::current(), clock.clone()));
        drop(sleepers);
        let parent = self.0.parent.as_ref();
        WakeOnCancel {
            token: self,
            number,
            _parent: parent.map(|parent| Box::new(parent.wake_on_cancel(clock))),
        }
    }
}

/// The earlier of two instants, or the shorter of two times, that may be missing.
pub(crate) fn earlier<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.into_iter().chain(b).min()
}

/// Keeps the calling thread among those that cancelling wakes.
pub(crate) struct WakeOnCancel<'a> {
    token: &'a CancelToken,
    number: u64,
    _parent: Option<Box<WakeOnCancel<'a>>>,
}

impl Drop for WakeOnCancel<'_> {
    fn drop(&mut self) {
        self.token.0.sleepers.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sleep_that_nobody_cancels_ends_at_its_deadline() {
        let clock = SimClock::new();
        let token = CancelToken::on(clock.clone());
        assert_eq!(token.sleep(SECOND * 5), Ok(()));
        assert_eq!(clock.elapsed(), SECOND * 5);
    }

    #[test]
    fn cancelling_wakes_every_sleeper_at_that_instant() {
        let clock = SimClock::new();
        let token = CancelToken::on(clock.clone());
        clock.run(100, |n| {
            if n == 99 {
                clock.sleep_until(clock.now() + SECOND * 3);
                token.cancel();
            } else {
                assert_eq!(token.sleep(SECOND * 60), Err(WaitError::Cancelled));
            }
            assert_eq!(clock.elapsed(), SECOND * 3);
        });
    }

    #[test]
    fn a_cancelled_token_ends_later_sleeps_at_once() {
        let clock = SimClock::new();
        let token = CancelToken::on(clock.clone());
        token.cancel();
        assert_eq!(token.sleep(SECOND * 5), Err(WaitError::Cancelled));
        assert_eq!(token.sleep(Duration::ZERO), Err(WaitError::Cancelled));
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_child_wakes_with_its_parent_and_not_the_other_way_round() {
        let clock = SimClock::new();
        let parent = CancelToken::on(clock.clone());
        let child = parent.child().within(SECOND * 50);
        clock.run(2, |n| {
            if n == 0 {
                assert_eq!(child.sleep(SECOND * 60), Err(WaitError::Cancelled));
                assert_eq!(clock.elapsed(), SECOND * 3);
            } else {
                clock.sleep_until(clock.now() + SECOND * 3);
                parent.cancel();
            }
        });
        let parent = CancelToken::new();
        parent.child().cancel();
        assert_eq!(parent.check(), Ok(()));
    }

    #[test]
    fn a_deadline_ends_a_sleep_and_a_child_has_no_more_time_than_its_parent() {
        let clock = SimClock::new();
        let parent = CancelToken::on(clock.clone()).within(SECOND * 2);
        let child = parent.within(SECOND * 9);
        assert_eq!(child.remaining(), Some(SECOND * 2));
        assert_eq!(child.sleep(SECOND), Ok(()));
        assert_eq!(child.remaining(), Some(SECOND));
        assert_eq!(child.sleep(SECOND * 5), Err(WaitError::OutOfTime));
        assert_eq!(clock.elapsed(), SECOND * 2);
        assert_eq!(child.check(), Err(WaitError::OutOfTime));
        assert_eq!(child.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn a_wait_that_is_over_leaves_no_thread_to_wake() {
        let token = CancelToken::on(SimClock::new());
        token.child().sleep(SECOND).unwrap();
        assert!(token.0.sleepers.lock().is_empty());
    }

    #[test]
    fn an_error_says_how_the_wait_ended() {
        assert_eq!(WaitError::Cancelled.to_string(), "the wait was cancelled");
        assert_eq!(WaitError::OutOfTime.to_string(), "the wait ran out of time");
    }

    #[test]
    fn an_absurd_time_is_no_overflow() {
        let token = CancelToken::new()
            .within(Duration::MAX)
            .within(Duration::MAX);
        assert_eq!(token.check(), Ok(()));
    }

    #[test]
    fn a_thread_that_sleeps_on_another_clock_is_woken_too() {
        let clock = SimClock::new();
        let token = CancelToken::new(); // on the system's clock
        clock.run(2, |n| {
            if n == 0 {
                let here: Arc<dyn Clock> = clock.clone().into();
                let task = CancelToken::for_task(Some(&token), Some(&here), None);
                assert_eq!(task.sleep(SECOND * 60), Err(WaitError::Cancelled));
                assert_eq!(clock.elapsed(), SECOND * 3);
            } else {
                clock.sleep_until(clock.now() + SECOND * 3);
                token.cancel();
            }
        });
    }
}
