//! The fair line: threads wait in order of arrival for what a [`Schedule`] decides.
//!
//! The front of the line sleeps until its permit is due; those behind it sleep until they are the front. So a permit
//! costs two wake-ups however many threads wait, and a pause binds everyone the moment it begins, the sleeper at the
//! front included: it looks again before it goes. The lock is held for arithmetic only, never over a sleep.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{CancelToken, Cancelled, earlier};
use crate::clock::{Clock, after};
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread};

/// A pure decision: when is a permit due, and what is it? `now` comes in as an argument.
pub(crate) trait Schedule {
    /// What a caller wants a permit for.
    type Want: Copy;
    /// What is granted.
    type Grant;

    /// When a permit is due: it may lie in the past. `None` if there will be none, ever.
    fn due(&self, want: Self::Want) -> Option<Instant>;

    /// Takes the permit that is due. `waited` is the time that the caller was in line for it.
    fn take(&mut self, now: Instant, want: Self::Want, waited: Duration) -> Self::Grant;
}

/// Threads in line for a schedule's permits.
pub(crate) struct Line<S: Schedule> {
    clock: Arc<dyn Clock>,
    state: Mutex<LineState<S>>,
}

struct LineState<S: Schedule> {
    schedule: S,
    /// In order of arrival, so the tickets ascend.
    waiting: VecDeque<Waiting<S::Want>>,
    next_ticket: u64,
}

struct Waiting<W> {
    ticket: u64,
    want: W,
    thread: Thread,
}

/// Why a wait in line ended without a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftLine {
    Cancelled(Cancelled),
    /// The schedule will grant none, ever.
    Closed,
}

impl From<Cancelled> for LeftLine {
    fn from(cancelled: Cancelled) -> Self {
        LeftLine::Cancelled(cancelled)
    }
}

impl<S: Schedule> Line<S> {
    pub(crate) fn new(clock: Arc<dyn Clock>, schedule: S) -> Self {
        let state = LineState {
            schedule,
            waiting: VecDeque::new(),
            next_ticket: 0,
        };
        Line {
            clock,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How many threads are in line.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Looks at the schedule.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&S, Instant) -> T) -> T {
        let state = self.state.lock();
        at(&state.schedule, self.clock.now())
    }

    /// Changes the schedule; if the front of the line may go sooner because of it, wakes it.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut S, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.front_is_due();
        let result = change(&mut state.schedule, self.clock.now());
        let after = state.front_is_due();
        let is_sooner = after.is_none() || after < before;
        let front = state
            .waiting
            .front()
            .filter(|_| is_sooner)
            .map(|front| front.thread.clone());
        drop(state);
        if let Some(front) = front {
            self.clock.unpark(&front);
        }
        result
    }

    /// Takes a permit if one is due and nobody is in line.
    ///
    /// # Errors
    /// When to expect one: an estimate while others are in line. `None` if there will be none, ever.
    pub(crate) fn try_take(&self, want: S::Want) -> Result<S::Grant, Option<Instant>> {
        let mut state = self.state.lock();
        let now = self.clock.now();
        match state.schedule.due(want) {
            Some(due) if due <= now && state.waiting.is_empty() => {
                Ok(state.schedule.take(now, want, Duration::ZERO))
            }
            due => Err(due),
        }
    }

    /// Waits in line for a permit, until the token ends.
    ///
    /// It leaves the line as soon as it knows that the token's deadline comes first.
    pub(crate) fn take(
        &self,
        want: S::Want,
        cancel: Option<&CancelToken>,
    ) -> Result<S::Grant, LeftLine> {
        if let Some(cancel) = cancel {
            cancel.check()?;
        }
        let mut state = self.state.lock();
        let now = self.clock.now(); // once: reading it costs a third of a permit that is free
        let is_due = |due| due <= now;
        if state.waiting.is_empty() && state.schedule.due(want).is_some_and(is_due) {
            return Ok(state.schedule.take(now, want, Duration::ZERO));
        }
        let place = self.arrive(&mut state, want, now);
        drop(state);
        place.wait(cancel, |place| {
            Ok(place.look(|schedule, now| schedule.take(now, want, now - place.came)))
        })
    }

    /// The same, where somebody else must agree to each permit. `agree` is called, without the lock, when a permit is due
    /// at the front of the line; after `false` the schedule must know when to ask again.
    #[cfg_attr(
        not(feature = "batch"),
        expect(dead_code, reason = "for a rate that processes share")
    )]
    pub(crate) fn take_if<E: From<LeftLine>>(
        &self,
        want: S::Want,
        cancel: &CancelToken,
        agree: impl Fn() -> Result<bool, E>,
    ) -> Result<S::Grant, E> {
        let place = self.arrive(&mut self.state.lock(), want, self.clock.now());
        place.wait(Some(cancel), |place| match place.look(|_, now| now) {
            Step::Granted(_) if agree()? => {
                let mut state = self.state.lock();
                let now = self.clock.now();
                let grant = state.schedule.take(now, want, now - place.came);
                Ok(Step::Granted(grant))
            }
            Step::Granted(now) => Ok(Step::Wait(Some(now))),
            Step::Wait(due) => Ok(Step::Wait(due)),
            Step::Closed => Ok(Step::Closed),
        })
    }

    fn arrive(&self, state: &mut LineState<S>, want: S::Want, came: Instant) -> Place<'_, S> {
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let thread = thread::current();
        state.waiting.push_back(Waiting {
            ticket,
            want,
            thread,
        });
        Place {
            line: self,
            ticket,
            want,
            came,
        }
    }
}

impl<S: Schedule> fmt::Debug for Line<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl<S: Schedule> LineState<S> {
    /// When the front of the line may go. `None` if nobody is in line, or never.
    fn front_is_due(&self) -> Option<Instant> {
        self.schedule.due(self.waiting.front()?.want)
    }
}

/// A thread's place in line. Dropping it, with or without a permit, lets the next move up.
struct Place<'a, S: Schedule> {
    line: &'a Line<S>,
    ticket: u64,
    want: S::Want,
    came: Instant,
}

/// What the thread in a place finds.
enum Step<G> {
    /// Sleep until this instant, or until it is unparked.
    Wait(Option<Instant>),
    Granted(G),
    /// Leave: there will be no permit.
    Closed,
}

impl<S: Schedule> Place<'_, S> {
    /// Steps until there is a permit, the token ends, or there will be none.
    fn wait<E: From<LeftLine>>(
        &self,
        cancel: Option<&CancelToken>,
        step: impl Fn(&Self) -> Result<Step<S::Grant>, E>,
    ) -> Result<S::Grant, E> {
        let clock = &self.line.clock;
        let _woken = cancel.map(|cancel| cancel.wake_on_cancel(clock));
        let remaining = cancel.and_then(CancelToken::remaining);
        let deadline = remaining.map(|left| after(clock.now(), left));
        loop {
            if let Some(cancel) = cancel {
                cancel.check().map_err(LeftLine::from)?;
            }
            match step(self)? {
                Step::Granted(grant) => return Ok(grant),
                Step::Closed => return Err(LeftLine::Closed.into()),
                Step::Wait(Some(due)) if deadline.is_some_and(|deadline| due >= deadline) => {
                    return Err(LeftLine::Cancelled(Cancelled::OutOfTime).into());
                }
                Step::Wait(due) => clock.park_until(earlier(due, deadline)),
            }
        }
    }

    /// Finds out whether this place is at the front and its permit due; if so, does `at_front` under the same lock.
    fn look<T>(&self, at_front: impl FnOnce(&mut S, Instant) -> T) -> Step<T> {
        let mut state = self.line.state.lock();
        let Some(due) = state.schedule.due(self.want) else {
            return Step::Closed;
        };
        if state.waiting.front().map(|front| front.ticket) != Some(self.ticket) {
            return Step::Wait(None);
        }
        let now = self.line.clock.now();
        if now < due {
            Step::Wait(Some(due))
        } else {
            Step::Granted(at_front(&mut state.schedule, now))
        }
    }

    /// Leaves the line. Returns the thread that is at the front because of it.
    fn leave(&self) -> Option<Thread> {
        let mut state = self.line.state.lock();
        let position = state
            .waiting
            .binary_search_by_key(&self.ticket, |waiting| waiting.ticket)
            .ok()?;
        state.waiting.remove(position);
        let front = state.waiting.front().filter(|_| position == 0)?;
        Some(front.thread.clone())
    }
}

impl<S: Schedule> Drop for Place<'_, S> {
    fn drop(&mut self) {
        if let Some(front) = self.leave() {
            self.line.clock.unpark(&front);
        }
    }
}
