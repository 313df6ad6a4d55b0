//! The turnstile that grants turns: threads pass one at a time, in order of arrival, at one steady pace.
//!
//! Two layers. [`Turnstile`] is pure arithmetic on instants that come in as arguments: when is the next turn due, and
//! until when is everyone held? [`RateLimiter`] is the shell around it: a lock, a queue of waiting threads, a clock.

mod adaptive;
mod tokens;
mod turnstile;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Instant;

use parking_lot::Mutex;

use crate::cancel::{CancelToken, Cancelled};
use crate::clock::{Clock, SystemClock};

pub use adaptive::Adaptive;
pub use tokens::TokenWindow;
pub use turnstile::{Rate, Turnstile};

/// Grants turns to threads, one at a time, in order of arrival, at the pace of a [`Rate`].
///
/// The front of the line sleeps until its turn is due; those behind it sleep until they are the front. So a grant costs
/// two wake-ups however many threads wait, and a hold binds everyone the moment it is spoken.
///
/// ```
/// use paceline::RateLimiter;
/// use std::num::NonZeroU32;
///
/// let limiter = RateLimiter::per_minute(NonZeroU32::new(60_000).unwrap());
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| limiter.wait()); // a turn each, a millisecond apart
///     }
/// });
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
}

/// What the lock guards: the turnstile, and who stands before it.
#[derive(Debug)]
struct Line {
    turnstile: Turnstile,
    /// In order of arrival, so the tickets ascend.
    waiting: VecDeque<(u64, Thread)>,
    next_ticket: u64,
    /// How many holds have begun.
    holds: u64,
}

/// A turn that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// When it was granted.
    pub at: Instant,
    /// How many holds had begun by then: tells a late refusal from a new one.
    holds: u64,
}

impl RateLimiter {
    /// A limiter at this rate, on the system's clock. The first turn is due at once.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        RateLimiter::on(Arc::new(SystemClock), rate)
    }

    /// So many turns a minute, evenly spaced, with the usual guard.
    #[must_use]
    pub fn per_minute(turns: NonZeroU32) -> Self {
        RateLimiter::new(Rate::per_minute(turns))
    }

    /// A limiter at this rate, on this clock.
    #[must_use]
    pub fn on(clock: Arc<dyn Clock>, rate: Rate) -> Self {
        let turnstile = Turnstile::new(rate, clock.now());
        let line = Line { turnstile, waiting: VecDeque::new(), next_ticket: 0, holds: 0 };
        RateLimiter { clock, line: Mutex::new(line) }
    }

    /// Waits for a turn, and takes it.
    pub fn wait(&self) -> Turn {
        let place = self.queue_up();
        loop {
            match place.look() {
                Ok(turn) => return turn,
                Err(due) => self.clock.park_until(due),
            }
        }
    }

    /// Waits for a turn, unless the token is cancelled before it comes. The token's clock must be the limiter's.
    ///
    /// # Errors
    /// [`Cancelled`]: no turn was taken, and those behind have moved up.
    pub fn wait_unless(&self, cancel: &CancelToken) -> Result<Turn, Cancelled> {
        let place = self.queue_up();
        let _listening = cancel.listen();
        while !cancel.is_cancelled() {
            match place.look() {
                Ok(turn) => return Ok(turn),
                Err(due) => self.clock.park_until(due),
            }
        }
        Err(Cancelled)
    }

    /// A call that has its turn leaves only now, because a connection had to be made first: the next turn keeps its
    /// distance from this one as the server will see it.
    pub fn departed(&self) {
        self.line.lock().turnstile.departed(self.clock.now());
    }

    /// Nobody passes before `until`, also not the thread already asleep at the front: a server said so.
    ///
    /// A hold that ends sooner than the one in force changes nothing.
    pub fn hold_until(&self, until: Instant) {
        let mut line = self.line.lock();
        line.holds += 1;
        line.turnstile.hold_until(until);
    }

    /// A call sent at `turn` was refused until `until`: holds everyone. Returns whether this began a new hold.
    ///
    /// Holds are numbered, because refusals come late. One that answers a call sent before the present hold began can
    /// lengthen that hold up to what it says itself, but once the hold is over it does not start another.
    pub fn refused(&self, turn: Turn, until: Instant) -> bool {
        let mut line = self.line.lock();
        let new = turn.holds == line.holds;
        if new {
            line.holds += 1;
        }
        if new || line.turnstile.is_held(self.clock.now()) {
            line.turnstile.hold_until(until);
        }
        new
    }

    /// How many threads are waiting for a turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.lock().waiting.len()
    }

    fn queue_up(&self) -> Place<'_> {
        let mut line = self.line.lock();
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        line.waiting.push_back((ticket, thread::current()));
        Place { limiter: self, ticket }
    }
}

/// A thread's place in the line. Dropping it, with or without a turn, lets the next move up.
struct Place<'a> {
    limiter: &'a RateLimiter,
    ticket: u64,
}

impl Place<'_> {
    /// Takes the turn if it is this place's; else says when to look again (`None`: when unparked).
    fn look(&self) -> Result<Turn, Option<Instant>> {
        let mut line = self.limiter.line.lock();
        if line.waiting.front().is_some_and(|(front, _)| *front != self.ticket) {
            return Err(None);
        }
        let (now, due) = (self.limiter.clock.now(), line.turnstile.due(1));
        if now < due {
            return Err(Some(due));
        }
        line.turnstile.take(now, 1);
        Ok(Turn { at: now, holds: line.holds })
    }

    /// Leaves the line. Returns the thread that is at the front because of it.
    fn leave(&self) -> Option<Thread> {
        let mut line = self.limiter.line.lock();
        let position = line.waiting.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket).ok()?;
        line.waiting.remove(position);
        let front = line.waiting.front().filter(|_| position == 0)?;
        Some(front.1.clone())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(front) = self.leave() {
            self.limiter.clock.unpark(&front);
        }
    }
}

#[cfg(test)]
mod tests;
