//! The fair line: threads wait in order of arrival for what a [`Schedule`] decides.
//!
//! The front of the line sleeps until its permit is due; those behind it sleep until they are the front. So a permit
//! costs two wake-ups however many threads wait, and a pause binds everyone the moment it begins, the sleeper at the
//! front included: it looks again before it goes. The lock is held for arithmetic only, never over a sleep.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::{CancelToken, WaitError, earlier};
use crate::clock::{Clock, after};
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread, ThreadId};

/// A pure decision: when is a permit due, and what is it? `now` comes in as an argument.
pub(crate) trait Schedule {
    /// What a caller wants a permit for.
    type Want: Copy + Debug;
    /// What is granted.
    type Grant;

    /// When a permit is due: it may lie in the past. `None` if there will be none, ever: the schedule is closed.
    fn due(&self, want: Self::Want) -> Option<Instant>;

    /// Whether the instant is known. If not, the front of the line waits for an update.
    fn knows_due(&self) -> bool {
        true
    }

    /// Whether the caller lets all go first who do not.
    fn goes_last(_want: Self::Want) -> bool {
        false
    }

    /// Takes the permit that is due. `waited` is the time that the caller was in line for it.
    fn take(&mut self, now: Instant, want: Self::Want, waited: Duration) -> Self::Grant;
}

/// Threads in line for a schedule's permits.
///
/// Aligned so that the lock does not share a cache line with the count of the `Arc` around it, which each permit
/// changes twice.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Line<S: Schedule> {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: Mutex<LineState<S>>,
}

#[derive(Debug)]
pub(crate) struct LineState<S: Schedule> {
    schedule: S,
    /// In order of arrival, with those who go last behind all others.
    waiting: VecDeque<Waiting<S::Want>>,
}

#[derive(Debug)]
struct Waiting<W> {
    want: W,
    thread: Thread,
}

impl<S: Schedule> Line<S> {
    pub(crate) fn new(clock: Arc<dyn Clock>, schedule: S) -> Self {
        let waiting = VecDeque::new();
        let state = Mutex::new(LineState { schedule, waiting });
        Line { clock, state }
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
        let is_sooner = state.front_is_due() < before; // never, when the schedule was closed, is the soonest
        let woken = state.front(is_sooner);
        drop(state);
        self.wake(woken);
        result
    }

    fn wake(&self, thread: Option<Thread>) {
        if let Some(thread) = thread {
            self.clock.unpark(&thread);
        }
    }

    /// Takes a permit if one is due and nobody is in line.
    ///
    /// # Errors
    /// When to expect one: an estimate while others are in line. `None` if the schedule is closed.
    pub(crate) fn try_take(&self, want: S::Want) -> Result<S::Grant, Option<Instant>> {
        let mut state = self.state.lock();
        state.take_if_free(self.clock.now(), want)
    }

    /// Waits in line for a permit, until the token ends. `None` if the schedule is closed.
    ///
    /// It leaves the line as soon as it knows that the token's deadline comes first.
    pub(crate) fn take(
        &self,
        want: S::Want,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<S::Grant>, WaitError> {
        cancel.map_or(Ok(()), CancelToken::check)?;
        let mut state = self.state.lock();
        let now = self.clock.now(); // once: reading it costs a third of a permit that is free
        if let Ok(grant) = state.take_if_free(now, want) {
            return Ok(Some(grant));
        }
        let place = self.arrive(&mut state, want, now);
        drop(state);
        place.wait(cancel, |schedule, now| {
            schedule.take(now, want, now - place.came)
        })
    }

    /// Goes to the end of the line, or to the end of those who do not go last.
    pub(crate) fn arrive(
        &self,
        state: &mut LineState<S>,
        want: S::Want,
        came: Instant,
    ) -> Place<'_, S> {
        let goes_last = S::goes_last(want);
        let is_before = |other: &Waiting<S::Want>| goes_last || !S::goes_last(other.want);
        let behind = state.waiting.partition_point(is_before);
        let thread = thread::current();
        let place = Place {
            line: self,
            thread: thread.id(),
            want,
            came,
        };
        state.waiting.insert(behind, Waiting { want, thread });
        place
    }
}

impl<S: Schedule> LineState<S> {
    fn take_if_free(&mut self, now: Instant, want: S::Want) -> Result<S::Grant, Option<Instant>> {
        match self.schedule.due(want) {
            Some(due) if due <= now && self.waiting.is_empty() => {
                Ok(self.schedule.take(now, want, Duration::ZERO))
            }
            due => Err(due),
        }
    }

    /// When the front of the line may go. `None` if nobody is in line, or never.
    fn front_is_due(&self) -> Option<Instant> {
        self.schedule.due(self.waiting.front()?.want)
    }

    /// The thread at the front, if it is wanted.
    fn front(&self, wanted: bool) -> Option<Thread> {
        let front = self.waiting.front().filter(|_| wanted)?;
        Some(front.thread.clone())
    }
}

/// A thread's place in line: it has one at most. Dropping it, with or without a permit, lets the next move up.
pub(crate) struct Place<'a, S: Schedule> {
    line: &'a Line<S>,
    thread: ThreadId,
    want: S::Want,
    pub(crate) came: Instant,
}

impl<S: Schedule> Place<'_, S> {
    /// Waits at the front until a permit is due, and does `at_front` under the lock; until the token ends; or until the
    /// schedule is closed, which is `None`.
    pub(crate) fn wait<T>(
        &self,
        cancel: Option<&CancelToken>,
        at_front: impl Fn(&mut S, Instant) -> T,
    ) -> Result<Option<T>, WaitError> {
        let clock = &self.line.clock;
        let _woken = cancel.map(|cancel| cancel.wake_on_cancel(clock));
        let remaining = cancel.and_then(CancelToken::remaining);
        let deadline = remaining.map(|left| after(clock.now(), left));
        loop {
            cancel.map_or(Ok(()), CancelToken::check)?;
            let mut state = self.line.state.lock();
            let Some(due) = state.schedule.due(self.want) else {
                return Ok(None);
            };
            let front = state.waiting.front();
            let is_front = front.is_some_and(|front| front.thread.id() == self.thread);
            let now = clock.now();
            if is_front && due <= now {
                return Ok(Some(at_front(&mut state.schedule, now)));
            }
            // Others are woken when they are the front, or when the instant is known.
            let due = (is_front && state.schedule.knows_due()).then_some(due);
            drop(state);
            if due.zip(deadline).is_some_and(|(due, end)| due >= end) {
                return Err(WaitError::OutOfTime);
            }
            clock.park_until(earlier(due, deadline));
        }
    }
}

impl<S: Schedule> Drop for Place<'_, S> {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        let mut waiting = state.waiting.iter();
        let place = waiting.position(|waiting| waiting.thread.id() == self.thread);
        let _ = place.and_then(|place| state.waiting.remove(place));
        let next = state.front(place == Some(0));
        drop(state);
        self.line.wake(next);
    }
}
