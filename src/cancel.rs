//! Calling off waits: one token, shared by all threads of a job, that ends every sleep at once.
//!
//! Go calls this a context, C++ a stop token. A thread that sleeps listens to the token; cancelling wakes all who
//! listen. Work in progress is not touched: it finishes, and looks at the token when it next wants to wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, Thread};

/// A switch that ends waits, with the clock they are on. Clones are the same switch; it is thrown once and for all.
///
/// ```
/// use paceline::CancelToken;
/// use std::time::{Duration, Instant};
///
/// let token = CancelToken::default();
/// let from_outside = token.clone();
/// std::thread::spawn(move || from_outside.cancel());
/// assert!(token.sleep_until(Instant::now() + Duration::from_secs(3600)).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct CancelToken(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    cancelled: AtomicBool,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    next: u64,
    threads: HashMap<u64, Thread>,
}

/// The wait was called off before it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

impl Default for CancelToken {
    /// A token for waits on the system's clock.
    fn default() -> Self {
        CancelToken::new(Arc::new(SystemClock))
    }
}

impl CancelToken {
    /// A token for waits on `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (cancelled, listeners) = (AtomicBool::new(false), Mutex::default());
        CancelToken(Arc::new(Shared {
            clock,
            cancelled,
            listeners,
        }))
    }

    /// The clock that the waits are on.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Ends every wait that listens to this token, and every later one.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        for thread in self.0.listeners.lock().threads.values() {
            self.0.clock.unpark(thread);
        }
    }

    /// Whether [`cancel`](CancelToken::cancel) has been called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Sleeps until `deadline`.
    ///
    /// # Errors
    /// [`Cancelled`], at once, when the token is cancelled before that.
    pub fn sleep_until(&self, deadline: Instant) -> Result<(), Cancelled> {
        let _listening = self.listen();
        while !self.is_cancelled() {
            if self.clock().now() >= deadline {
                return Ok(());
            }
            self.clock().park_until(Some(deadline));
        }
        Err(Cancelled)
    }

    /// From now until the guard is dropped, cancelling unparks the calling thread. For loops that park by themselves:
    /// listen first, then look at [`is_cancelled`](CancelToken::is_cancelled), then park.
    pub(crate) fn listen(&self) -> Listening<'_> {
        let mut listeners = self.0.listeners.lock();
        let number = listeners.next;
        listeners.next += 1;
        listeners.threads.insert(number, thread::current());
        Listening {
            token: self,
            number,
        }
    }
}

/// Keeps the calling thread on the list of those whom a cancel wakes.
pub(crate) struct Listening<'a> {
    token: &'a CancelToken,
    number: u64,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.token.0.listeners.lock().threads.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use std::time::Duration;

    #[test]
    fn a_sleep_that_nobody_cancels_ends_at_its_deadline() {
        let clock = SimClock::new();
        let token = CancelToken::new(Arc::new(clock.clone()));
        assert_eq!(
            token.sleep_until(clock.now() + Duration::from_secs(5)),
            Ok(())
        );
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn cancelling_wakes_every_sleeper_at_that_instant() {
        let clock = SimClock::new();
        let token = CancelToken::new(Arc::new(clock.clone()));
        let seats: Vec<_> = (0..100).map(|_| clock.enlist()).collect();
        thread::scope(|scope| {
            for (n, seat) in seats.into_iter().enumerate() {
                let (token, clock) = (&token, &clock);
                scope.spawn(move || {
                    let _seat = seat.claim();
                    if n == 99 {
                        clock.sleep_until(clock.now() + Duration::from_secs(3));
                        token.cancel();
                    } else {
                        assert_eq!(
                            token.sleep_until(clock.now() + Duration::from_secs(60)),
                            Err(Cancelled)
                        );
                    }
                    assert_eq!(clock.elapsed(), Duration::from_secs(3));
                });
            }
        });
    }

    #[test]
    fn a_cancelled_token_ends_later_sleeps_at_once() {
        let clock = SimClock::new();
        let token = CancelToken::new(Arc::new(clock.clone()));
        token.cancel();
        assert_eq!(
            token.sleep_until(clock.now() + Duration::from_secs(5)),
            Err(Cancelled)
        );
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }
}
