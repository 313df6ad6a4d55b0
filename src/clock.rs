//! Time as an argument: what time is it, and put this thread to sleep until then.
//!
//! Everything that waits in this crate waits on a [`Clock`], with the two verbs of [`std::thread`]: park and unpark.
//! On a [`SystemClock`] they are just those. On a [`SimClock`] the same threads run in simulated time, so that a batch
//! of twenty minutes is tested in milliseconds.
//!
//! One rule makes that sound: **no thread sleeps while it holds a lock**, or anything else another thread waits for.

mod sim;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::sync::thread::{self, Thread};

pub use sim::{Participant, SimClock};

/// A source of time on which threads can sleep.
///
/// Parking works as in [`std::thread::park`]: an [`unpark`](Clock::unpark) that comes before the park is not lost, it
/// makes the park return at once. A park may also return for no reason, so check again what you wait for.
///
/// ```
/// use paceline::clock::{Clock, SimClock};
/// use std::time::Duration;
///
/// let clock = SimClock::new();
/// let start = clock.now();
/// clock.sleep_until(start + Duration::from_secs(3600)); // returns at once
/// assert_eq!(clock.now() - start, Duration::from_secs(3600));
/// ```
pub trait Clock: Send + Sync + Debug {
    /// The time for measuring: it never goes back.
    fn now(&self) -> Instant;

    /// The time of the calendar, for people and for records.
    fn wall(&self) -> SystemTime;

    /// Puts the calling thread to sleep until `deadline`, or, without one, until it is unparked.
    fn park_until(&self, deadline: Option<Instant>);

    /// Wakes a thread that is parked on this clock, or makes its next park return at once.
    fn unpark(&self, thread: &Thread);

    /// Puts the calling thread to sleep until `deadline`; an unpark does not end it.
    fn sleep_until(&self, deadline: Instant) {
        while self.now() < deadline {
            self.park_until(Some(deadline));
        }
    }

    /// Announces a thread that is about to be spawned. On a real clock this does nothing.
    ///
    /// A simulated clock moves only when it knows which threads to wait for. Call this for all threads before the
    /// first of them is spawned; each thread then [joins](Participant::join).
    fn enlist(&self) -> Participant {
        Participant::default()
    }

    /// Waits in simulated time until `ready` returns true, for a wait that is not on the clock, such as on a channel: it asks
    /// again whenever another thread has run.
    ///
    /// On a real clock this returns at once, without asking, and the caller blocks on the channel itself.
    #[expect(unused_variables)]
    fn poll(&self, ready: &mut dyn FnMut() -> bool) {}
}

/// The computer's own clock: real time, real sleep.
///
/// ```
/// use paceline::clock::{Clock, SystemClock};
/// use std::time::Duration;
///
/// let deadline = SystemClock.now() + Duration::from_millis(1);
/// SystemClock.sleep_until(deadline);
/// assert!(SystemClock.now() >= deadline); // never early
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn park_until(&self, deadline: Option<Instant>) {
        match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => {}
            Some(left) => {
                // Without it, Linux ends a sleep up to 50 us late, so as to end several at once.
                #[cfg(all(target_os = "linux", feature = "batch"))]
                let _ = nix::sys::prctl::set_timerslack(1);
                thread::park_timeout(left);
            }
        }
    }

    fn unpark(&self, thread: &Thread) {
        thread.unpark();
    }
}

impl From<SystemClock> for Arc<dyn Clock> {
    fn from(clock: SystemClock) -> Self {
        Arc::new(clock)
    }
}

impl From<SimClock> for Arc<dyn Clock> {
    fn from(clock: SimClock) -> Self {
        Arc::new(clock)
    }
}

/// `wait` after `now`. A wait of more than a hundred years counts as a hundred: adding it to an [`Instant`] as it is
/// would panic, and a server may say anything.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now + wait.min(CENTURY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_wakes_early() {
        let clock = SystemClock;
        let deadline = clock.now() + Duration::from_millis(2);
        clock.unpark(&thread::current());
        clock.sleep_until(deadline);
        assert!(clock.now() >= deadline);
    }

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        let clock = SystemClock;
        clock.unpark(&thread::current());
        clock.park_until(None);
    }

    #[test]
    fn an_absurd_wait_does_not_overflow() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > now + Duration::from_secs(1_000_000_000));
    }
}
