//! The turnstile that grants turns: threads pass one at a time, in order of arrival, at one steady pace.
//!
//! Two layers. The decisions are pure arithmetic on instants that come in as arguments: when is the next turn due
//! ([`Turnstile`], [`TokenWindow`]), how fast can the server be called that does not say so ([`Adaptive`]), and until
//! when is everyone held? [`RateLimiter`] is the shell around them: a lock, a queue of waiting threads, a clock. Several
//! keys are several lanes behind one line: whoever is at its front takes the lane that is free first. What a batch needs of
//! all that is a [`Pace`], which may be brought from elsewhere.

mod adaptive;
mod lane;
mod pace;
mod roster;
mod shared;
mod tokens;
mod turnstile;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread};

pub use adaptive::Adaptive;
use lane::Lane;
pub use lane::{Limits, Tempo};
pub use pace::{NoTurn, Pace, Turn};
pub use roster::{Ask, Claim, Reply, Roster, Want};
pub use shared::{Board, BoardError, Shared};
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

/// What the lock guards: the lanes, and who stands before them.
#[derive(Debug)]
struct Line {
    lanes: Vec<Lane>,
    /// In order of arrival, so the tickets ascend.
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
}

/// A thread in the line.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    /// What its call is thought to cost.
    tokens: u32,
    thread: Thread,
}

impl RateLimiter {
    /// A limiter at this rate, on the system's clock. The first turn is due at once.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        RateLimiter::on(Arc::new(SystemClock), rate)
    }

    /// So many turns a minute, evenly spaced, with the usual guard: see [`Rate::spaced`].
    #[must_use]
    pub fn per_minute(turns: NonZeroU32) -> Self {
        RateLimiter::new(Rate::per_minute(turns))
    }

    /// A limiter at this rate, on this clock.
    #[must_use]
    pub fn on(clock: Arc<dyn Clock>, rate: Rate) -> Self {
        RateLimiter::with_lanes(
            clock,
            [Limits {
                pace: Tempo::Kept(rate),
                tokens: None,
            }],
        )
    }

    /// A limiter with a lane for each of several keys, on this clock. Lanes are numbered from 0; with none, it is as if all
    /// were retired.
    #[must_use]
    pub fn with_lanes(clock: Arc<dyn Clock>, lanes: impl IntoIterator<Item = Limits>) -> Self {
        let start = clock.now();
        let lanes = lanes
            .into_iter()
            .map(|limits| Lane::new(limits, start))
            .collect();
        RateLimiter {
            clock,
            line: Mutex::new(Line {
                lanes,
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
        }
    }

    /// The clock that turns are granted on.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Waits for a turn, and takes it.
    ///
    /// # Panics
    /// If every lane is retired.
    pub fn wait(&self) -> Turn {
        let place = match self.arrive(1) {
            Arrival::Turn(turn) => return turn,
            Arrival::Place(place) => place,
        };
        loop {
            match place.look() {
                Look::Turn(turn) => return turn,
                Look::Again(due) => self.clock.park_until(due),
                Look::Retired => panic!("every lane is retired: there are no turns to wait for"),
            }
        }
    }

    /// Waits for a turn, unless the token is cancelled before it comes. The token's clock must be the limiter's.
    ///
    /// # Errors
    /// [`NoTurn`]: no turn was taken, and those behind have moved up.
    pub fn wait_unless(&self, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        self.wait_for(1, cancel)
    }

    /// The same for a call that is thought to cost so many tokens.
    ///
    /// # Errors
    /// [`NoTurn`]
    pub fn wait_for(&self, tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        if cancel.is_cancelled() {
            return Err(NoTurn::Cancelled);
        }
        let place = match self.arrive(tokens) {
            Arrival::Turn(turn) => return Ok(turn),
            Arrival::Place(place) => place,
        };
        let _listening = cancel.wake_on_cancel(&self.clock);
        while !cancel.is_cancelled() {
            match place.look() {
                Look::Turn(turn) => return Ok(turn),
                Look::Again(due) => self.clock.park_until(due),
                Look::Retired => return Err(NoTurn::Retired),
            }
        }
        Err(NoTurn::Cancelled)
    }

    /// A call that has its turn leaves only now, because a connection had to be made first: the next turn keeps its
    /// distance from this one as the server will see it.
    ///
    /// # Panics
    /// If the turn is of a lane that is not there: one of another limiter.
    pub fn departed(&self, turn: Turn) {
        self.line.lock().lanes[turn.lane].departed(self.clock.now());
    }

    /// The call that was sent at `turn` was answered. A lane that finds its own pace lives on such news, and so does one
    /// that was refused without being told until when.
    ///
    /// # Panics
    /// If the turn is of a lane that is not there: one of another limiter.
    pub fn answered(&self, turn: Turn) {
        self.tell(|line, now| line.lanes[turn.lane].answered(now, turn.holds));
    }

    /// The call that was sent at `turn` failed, but not for coming too fast.
    ///
    /// # Panics
    /// If the turn is of a lane that is not there: one of another limiter.
    pub fn failed(&self, turn: Turn) {
        self.tell(|line, _| line.lanes[turn.lane].failed(turn.holds));
    }

    /// Nobody passes before `until`, in any lane, also not the thread already asleep at the front.
    ///
    /// A hold that ends sooner than the one in force changes nothing.
    pub fn hold_until(&self, until: Instant) {
        self.line
            .lock()
            .lanes
            .iter_mut()
            .for_each(|lane| lane.hold_until(until));
    }

    /// The call that was sent at `turn` was refused for coming too fast, until `until` or without saying: holds everyone
    /// in its lane. Returns until when, if this began a new hold.
    ///
    /// Holds are numbered, because refusals come late. One that answers a call sent before the present hold began can
    /// lengthen that hold up to what it says itself, but once the hold is over it does not start another.
    ///
    /// Where the server does not say until when, the hold grows with each round of refusals, from a tenth of a second to a
    /// minute; and after it one call passes alone, and the others wait until it is known what became of it.
    ///
    /// # Panics
    /// If the turn is of a lane that is not there: one of another limiter.
    pub fn refused(&self, turn: Turn, until: Option<Instant>) -> Option<Instant> {
        self.tell(|line, now| line.lanes[turn.lane].refused(now, turn.at, turn.holds, until))
    }

    /// The server has said at which rate this lane may go.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn keep(&self, lane: usize, rate: Rate) {
        self.tell(|line, _| line.lanes[lane].keep(rate));
    }

    /// The server has said how many tokens a minute this lane may use.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn keep_tokens(&self, lane: usize, limit: NonZeroU32) {
        self.tell(|line, now| line.lanes[lane].keep_tokens(limit, now));
    }

    /// The call that was sent at `turn` has cost so many tokens, whatever was thought: none, if it was not counted.
    ///
    /// # Panics
    /// If the turn is of a lane that is not there: one of another limiter.
    pub fn correct(&self, turn: Turn, tokens: u32) {
        self.tell(|line, _| line.lanes[turn.lane].correct(turn.ticket, tokens));
    }

    /// Nobody passes through this lane any more. Returns how many lanes are left.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn retire(&self, lane: usize) -> usize {
        self.tell(|line, _| {
            line.lanes[lane].retired = true;
            line.lanes.iter().filter(|lane| !lane.retired).count()
        })
    }

    /// Calls a minute that the server is thought to allow in this lane, if that had to be found out and was.
    ///
    /// # Panics
    /// If there is no such lane.
    #[must_use]
    pub fn found(&self, lane: usize) -> Option<f64> {
        self.line.lock().lanes[lane].found()
    }

    /// How many threads are waiting for a turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.lock().waiting.len()
    }

    /// Nobody passes through this lane before `until`.
    fn hold_lane(&self, lane: usize, until: Instant) {
        self.tell(|line, _| line.lanes[lane].hold_until(until));
    }

    /// Until when this lane is held, or was.
    fn held_until(&self, lane: usize) -> Instant {
        self.line.lock().lanes[lane].held_until()
    }

    /// In this lane a turn is reserved elsewhere, which is due then; or none is.
    fn reserve(&self, lane: usize, due: Option<Instant>) {
        self.line.lock().lanes[lane].reserved = due;
    }

    /// Changes what the front of the line is waiting for, and wakes it to look again.
    fn tell<T>(&self, news: impl FnOnce(&mut Line, Instant) -> T) -> T {
        let now = self.clock.now();
        let mut line = self.line.lock();
        let before = line.front_is_due();
        let told = news(&mut line, now);
        let changed = line.front_is_due() != before;
        let front = line
            .waiting
            .front()
            .filter(|_| changed)
            .map(|front| front.thread.clone());
        drop(line);
        if let Some(front) = front {
            self.clock.unpark(&front);
        }
        told
    }

    /// Takes the turn that is due if nobody is in line for it, and else a place in the line.
    fn arrive(&self, tokens: u32) -> Arrival<'_> {
        let mut line = self.line.lock();
        let now = self.clock.now();
        let free = line
            .first(tokens)
            .filter(|(_, due)| line.waiting.is_empty() && *due <= now);
        match free {
            Some((lane, _)) => {
                let ticket = line.draw_ticket();
                Arrival::Turn(line.take(now, lane, ticket, tokens, 0))
            }
            None => Arrival::Place(self.place_in(&mut line, tokens)),
        }
    }

    fn queue_up(&self, tokens: u32) -> Place<'_> {
        self.place_in(&mut self.line.lock(), tokens)
    }

    fn place_in(&self, line: &mut Line, tokens: u32) -> Place<'_> {
        let ticket = line.draw_ticket();
        line.waiting.push_back(Waiting {
            ticket,
            tokens,
            thread: thread::current(),
        });
        Place {
            limiter: self,
            ticket,
            tokens,
        }
    }
}

impl Line {
    fn draw_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    fn take(&mut self, now: Instant, lane: usize, ticket: u64, tokens: u32, serial: u64) -> Turn {
        self.lanes[lane].take(now, ticket, tokens);
        Turn {
            at: now,
            lane,
            ticket,
            holds: self.lanes[lane].holds,
            serial,
        }
    }

    /// The lane that is free first for a call of so many tokens, and when that is. None: all are retired.
    fn first(&self, tokens: u32) -> Option<(usize, Instant)> {
        let open = self
            .lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| !lane.retired);
        open.map(|(number, lane)| (number, lane.due(tokens)))
            .min_by_key(|(_, due)| *due)
    }

    /// When whoever is at the front may pass. None: nobody is, or never.
    fn front_is_due(&self) -> Option<Instant> {
        self.first(self.waiting.front()?.tokens).map(|(_, due)| due)
    }
}

/// A thread's place in the line. Dropping it, with or without a turn, lets the next move up.
struct Place<'a> {
    limiter: &'a RateLimiter,
    ticket: u64,
    tokens: u32,
}

/// What there is for whoever comes.
enum Arrival<'a> {
    /// Nobody is in line, and a turn is due.
    Turn(Turn),
    /// A place in the line.
    Place(Place<'a>),
}

/// What there is to see from a place.
enum Look {
    /// It is this place's turn.
    Turn(Turn),
    /// Not yet: look again then, or when unparked.
    Again(Option<Instant>),
    /// Never.
    Retired,
}

/// What there is to see from a place of a line that shares its turns with others.
enum Peek {
    /// As far as this line is concerned, it may pass in this lane.
    Due(usize),
    /// Not yet: look again then, or when unparked.
    Again(Option<Instant>),
    /// Never.
    Retired,
}

impl Place<'_> {
    /// Takes the turn if it is this place's.
    fn look(&self) -> Look {
        let mut line = self.limiter.line.lock();
        match self.seen(&line) {
            Peek::Due(lane) => Look::Turn(self.take(&mut line, lane, 0)),
            Peek::Again(due) => Look::Again(due),
            Peek::Retired => Look::Retired,
        }
    }

    fn peek(&self) -> Peek {
        self.seen(&self.limiter.line.lock())
    }

    /// Takes the turn in this lane, which others have granted.
    fn pass(&self, lane: usize, serial: u64) -> Turn {
        self.take(&mut self.limiter.line.lock(), lane, serial)
    }

    fn seen(&self, line: &Line) -> Peek {
        let Some((lane, due)) = line.first(self.tokens) else {
            return Peek::Retired;
        };
        if line
            .waiting
            .front()
            .is_some_and(|front| front.ticket != self.ticket)
        {
            return Peek::Again(None);
        }
        if self.limiter.clock.now() < due {
            Peek::Again(Some(due))
        } else {
            Peek::Due(lane)
        }
    }

    fn take(&self, line: &mut Line, lane: usize, serial: u64) -> Turn {
        line.take(
            self.limiter.clock.now(),
            lane,
            self.ticket,
            self.tokens,
            serial,
        )
    }

    /// Leaves the line. Returns the thread that is at the front because of it.
    fn leave(&self) -> Option<Thread> {
        let mut line = self.limiter.line.lock();
        let position = line
            .waiting
            .binary_search_by_key(&self.ticket, |waiting| waiting.ticket)
            .ok()?;
        line.waiting.remove(position);
        let front = line.waiting.front().filter(|_| position == 0)?;
        Some(front.thread.clone())
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
