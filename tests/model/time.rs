//! Time in a model: it stands still while anybody can go on, and jumps to the earliest deadline when all are parked.
//!
//! So a wake-up that is lost shows: as a deadlock where nobody has a deadline, or as a permit that comes too late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread::{self, Thread, ThreadId};

use crate::clock::Clock;

/// Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct ModelClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: Instant,
    /// The checker does not see this lock: no thread stops while it holds it.
    state: Mutex<State>,
    /// The checker sees this: before each park and unpark another thread may go on.
    point: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    /// Threads that have not ended.
    alive: usize,
    parked: Vec<Parked>,
    /// Unparked before they parked.
    tokens: HashSet<ThreadId>,
}

#[derive(Debug)]
struct Parked {
    thread: ThreadId,
    until: Option<Duration>,
    /// Not the checker's own park, which may also return for no reason: then a lost wake-up would not show.
    wake: Arc<BatchSemaphore>,
}

impl ModelClock {
    pub(crate) fn new() -> Self {
        let state = Mutex::default();
        ModelClock(Arc::new(Shared {
            origin: Instant::now(),
            state,
            point: AtomicBool::new(false),
        }))
    }

    /// The time since the clock was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.state.lock().elapsed
    }

    /// Runs each body in a thread of its own, to the end of all.
    pub(crate) fn run(&self, bodies: Vec<Box<dyn FnOnce() + Send>>) {
        self.0.state.lock().alive = bodies.len();
        let threads: Vec<_> = bodies.into_iter().map(|body| self.spawn(body)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no body panics"));
    }

    fn spawn(&self, body: Box<dyn FnOnce() + Send>) -> thread::JoinHandle<()> {
        let clock = self.clone();
        thread::spawn(move || {
            body();
            let mut state = clock.0.state.lock();
            state.alive -= 1;
            let woken = state.move_on_if_all_are_parked();
            drop(state);
            wake(&woken);
        })
    }
}

impl From<ModelClock> for Arc<dyn Clock> {
    fn from(clock: ModelClock) -> Self {
        Arc::new(clock)
    }
}

impl State {
    /// Lets time jump; returns those whose deadline has come.
    fn move_on_if_all_are_parked(&mut self) -> Vec<Parked> {
        let earliest = self.parked.iter().filter_map(|parked| parked.until).min();
        let Some(now) = earliest.filter(|_| self.parked.len() == self.alive) else {
            return Vec::new();
        };
        self.elapsed = now;
        let parked = std::mem::take(&mut self.parked).into_iter();
        let (woken, parked) =
            parked.partition(|parked| parked.until.is_some_and(|until| until <= now));
        self.parked = parked;
        woken
    }
}

fn wake(parked: &[Parked]) {
    parked.iter().for_each(|parked| parked.wake.release(1));
}

impl Clock for ModelClock {
    fn now(&self) -> Instant {
        self.0.origin + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.elapsed()
    }

    fn park_until(&self, deadline: Option<Instant>) {
        self.0.point.load(Ordering::SeqCst);
        let until = deadline.map(|at| at.saturating_duration_since(self.0.origin));
        let thread = thread::current().id();
        let mut state = self.0.state.lock();
        if state.tokens.remove(&thread) || until.is_some_and(|until| until <= state.elapsed) {
            return;
        }
        let woken_by = Arc::new(BatchSemaphore::new(0, Fairness::StrictlyFair));
        state.parked.push(Parked {
            thread,
            until,
            wake: woken_by.clone(),
        });
        let woken = state.move_on_if_all_are_parked();
        drop(state);
        wake(&woken);
        woken_by.acquire_blocking(1).expect("nobody closes it");
    }

    fn unpark(&self, thread: &Thread) {
        self.0.point.load(Ordering::SeqCst);
        let mut state = self.0.state.lock();
        let Some(place) = state
            .parked
            .iter()
            .position(|parked| parked.thread == thread.id())
        else {
            state.tokens.insert(thread.id());
            return;
        };
        let woken = state.parked.swap_remove(place);
        drop(state);
        wake(&[woken]);
    }
}
