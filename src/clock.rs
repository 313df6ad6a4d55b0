//! Time as an argument: what time is it, and put this thread to sleep until then.
//!
//! Everything that waits in this crate waits on a [`Clock`], with the two verbs of [`std::thread`]: park and unpark. On
//! a [`SystemClock`] they are just those. On a [`SimClock`] the same threads run in simulated time, so that a batch of
//! twenty minutes is tested in milliseconds.
//!
//! One rule makes that sound: **no thread sleeps while it holds a lock**, or anything else another thread waits for.

mod sim;

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime};

use crate::sync::thread::{self, Thread};

pub use sim::{Seat, SimClock};

/// What time is it, and sleep until then.
///
/// Parking works as in [`std::thread::park`]: an [`unpark`](Clock::unpark) that comes before the park is not lost, it
/// makes the park return at once; and a park may return for no reason, so the caller looks again at what it waits for.
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
    /// The time now, for measuring: it never goes back.
    fn now(&self) -> Instant;

    /// The time now by the calendar, for people and for records.
    fn wall(&self) -> SystemTime;

    /// Puts the calling thread to sleep until `deadline`, or, without one, until it is unparked.
    fn park_until(&self, deadline: Option<Instant>);

    /// Wakes a thread that is parked on this clock, or makes its next park return at once.
    fn unpark(&self, thread: &Thread);

    /// Puts the calling thread to sleep until `deadline`, whoever unparks it in between.
    fn sleep_until(&self, deadline: Instant) {
        while self.now() < deadline {
            self.park_until(Some(deadline));
        }
    }

    /// Reserves a place in simulated time for a thread that is about to be spawned. On a real clock: nothing.
    ///
    /// A simulated clock can jump only when it knows which threads it must wait for, so reserve the seats of all
    /// threads before the first of them is spawned, and let each [`claim`](Seat::claim) its own.
    fn enlist(&self) -> Seat {
        Seat::default()
    }

    /// Waits in simulated time until `ready` says true: for waits that are not on the clock, such as on a channel. On a
    /// real clock it does nothing: the caller then blocks on the channel itself.
    fn poll(&self, ready: &mut dyn FnMut() -> bool) {
        let _ = ready;
    }
}

/// The computer's own clock: real time, real sleep.
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
        match deadline {
            None => thread::park(),
            Some(deadline) => match deadline.saturating_duration_since(Instant::now()) {
                Duration::ZERO => {}
                left => thread::park_timeout(left),
            },
        }
    }

    fn unpark(&self, thread: &Thread) {
        thread.unpark();
    }
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
}
