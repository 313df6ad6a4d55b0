//! Simulated time: real threads, run one at a time; when all of them sleep, time jumps to the earliest wake-up.
//!
//! A discrete-event simulation whose processes are the program's own threads. Every enlisted thread has a seat. One
//! thread runs; when it parks, the clock hands the run to the next, in an order that depends on nothing but what the
//! threads did before. So the same program with the same seed does the same thing at the same simulated instant,
//! each time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Clock;
use crate::sync::thread::{self, Thread, ThreadId};
use crate::sync::{Mutex, MutexGuard};

/// A clock on which real threads run in simulated time. Clones are the same clock.
///
/// A thread that did not enlist may use it too: it takes part only while it sleeps. One such thread alone sees time
/// jump at each sleep; several, or one beside enlisted threads, should enlist, or time runs on without them.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: Instant,
    schedule: Mutex<Schedule>,
}

/// Who runs, who waits for what.
#[derive(Debug, Default)]
struct Schedule {
    /// Simulated time since the origin.
    elapsed: Duration,
    /// The one seat that may run now; none while all are parked for good.
    running: Option<u64>,
    seats: BTreeMap<u64, Occupant>,
    by_thread: HashMap<ThreadId, u64>,
    /// Threads that were unparked while they had no seat.
    unparked_guests: HashSet<ThreadId>,
    next_seat: u64,
    /// Counts the waits begun, so that who waits longest goes first.
    waits: u64,
    /// Counts the stretches of work done, so that a poller looks again only when something can have changed.
    work: u64,
}

#[derive(Debug)]
struct Occupant {
    /// None until the spawned thread has claimed its seat.
    thread: Option<Thread>,
    state: State,
    /// The number of the wait it is in.
    since: u64,
    /// Was unparked while it ran: its next park returns at once.
    unparked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Running,
    Ready,
    Parked { until: Option<Duration> },
    Polling { seen: u64 },
}

impl Default for SimClock {
    fn default() -> Self {
        SimClock::new()
    }
}

impl SimClock {
    /// A clock that stands at its origin: the calendar says 1 January 1970.
    #[must_use]
    pub fn new() -> Self {
        SimClock(Arc::new(Shared {
            origin: Instant::now(),
            schedule: Mutex::default(),
        }))
    }

    /// The simulated time that has passed since the clock was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.schedule.lock().elapsed
    }

    /// Waits, for real, until this seat may run.
    fn await_run<'a>(&'a self, seat: u64, mut schedule: MutexGuard<'a, Schedule>) {
        while schedule.running != Some(seat) {
            drop(schedule);
            thread::park();
            schedule = self.0.schedule.lock();
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.0.origin + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.elapsed()
    }

    fn park_until(&self, deadline: Option<Instant>) {
        let until = deadline.map(|at| at.saturating_duration_since(self.0.origin));
        let mut schedule = self.0.schedule.lock();
        let (seat, guest) = schedule.seat_of_this_thread();
        if schedule.park(seat, until) {
            self.await_run(seat, schedule);
            schedule = self.0.schedule.lock();
        }
        if guest {
            schedule.leave(seat);
        }
    }

    fn unpark(&self, thread: &Thread) {
        self.0.schedule.lock().unpark(thread.id());
    }

    fn enlist(&self) -> Seat {
        let mut schedule = self.0.schedule.lock();
        let number = schedule.add(None);
        schedule.run_next_if_idle();
        Seat(Some((self.clone(), number)))
    }

    fn poll(&self, ready: &mut dyn FnMut() -> bool) {
        let Some(&seat) = self
            .0
            .schedule
            .lock()
            .by_thread
            .get(&thread::current().id())
        else {
            return;
        };
        self.0.schedule.lock().work += 1;
        while !ready() {
            let mut schedule = self.0.schedule.lock();
            let seen = schedule.work;
            schedule.wait(seat, State::Polling { seen });
            self.await_run(seat, schedule);
        }
    }
}

impl Schedule {
    /// Adds a seat that is ready to run.
    fn add(&mut self, thread: Option<Thread>) -> u64 {
        let number = self.next_seat;
        self.next_seat += 1;
        self.waits += 1;
        let occupant = Occupant {
            thread,
            state: State::Ready,
            since: self.waits,
            unparked: false,
        };
        self.seats.insert(number, occupant);
        number
    }

    /// The calling thread's seat, and whether it is only a guest's, made for this one sleep.
    fn seat_of_this_thread(&mut self) -> (u64, bool) {
        let thread = thread::current();
        if let Some(&seat) = self.by_thread.get(&thread.id()) {
            return (seat, false);
        }
        let seat = self.add(Some(thread.clone()));
        self.by_thread.insert(thread.id(), seat);
        self.occupant(seat).unparked = self.unparked_guests.remove(&thread.id());
        (seat, true)
    }

    fn occupant(&mut self, seat: u64) -> &mut Occupant {
        self.seats
            .get_mut(&seat)
            .expect("a seat is removed only by its own thread")
    }

    /// Parks a seat and lets the next run. False: there is nothing to wait for.
    fn park(&mut self, seat: u64, until: Option<Duration>) -> bool {
        if std::mem::take(&mut self.occupant(seat).unparked)
            || until.is_some_and(|at| at <= self.elapsed)
        {
            return false;
        }
        self.work += 1;
        self.wait(seat, State::Parked { until });
        true
    }

    /// Lets go of the run, in the given state, and hands it on.
    fn wait(&mut self, seat: u64, state: State) {
        self.waits += 1;
        let since = self.waits;
        let occupant = self.occupant(seat);
        (occupant.state, occupant.since) = (state, since);
        if self.running == Some(seat) {
            self.running = None;
        }
        self.run_next_if_idle();
    }

    fn unpark(&mut self, thread: ThreadId) {
        let Some(&seat) = self.by_thread.get(&thread) else {
            self.unparked_guests.insert(thread);
            return;
        };
        let parked = matches!(self.occupant(seat).state, State::Parked { .. });
        if parked {
            self.wait(seat, State::Ready);
        } else {
            self.occupant(seat).unparked = true;
        }
    }

    fn leave(&mut self, seat: u64) {
        let Some(occupant) = self.seats.remove(&seat) else {
            return;
        };
        if let Some(thread) = occupant.thread {
            self.by_thread.remove(&thread.id());
        }
        self.work += 1;
        if self.running == Some(seat) {
            self.running = None;
        }
        self.run_next_if_idle();
    }

    fn run_next_if_idle(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some((seat, wakes_at)) = self.next() else {
            return;
        };
        self.elapsed = self.elapsed.max(wakes_at);
        self.running = Some(seat);
        let occupant = self.occupant(seat);
        occupant.state = State::Running;
        if let Some(thread) = &occupant.thread {
            thread.unpark();
        }
    }

    /// Whose run is next, and when: the ready before those who poll, and both before time moves.
    fn next(&self) -> Option<(u64, Duration)> {
        let key = |occupant: &Occupant| match occupant.state {
            State::Ready => Some((0, Duration::ZERO)),
            State::Polling { seen } if seen < self.work => Some((1, Duration::ZERO)),
            State::Parked { until: Some(until) } => Some((2, until)),
            _ => None,
        };
        let candidates = self
            .seats
            .iter()
            .filter_map(|(&seat, o)| key(o).map(|(class, at)| (class, at, o.since, seat)));
        candidates.min().map(|(_, at, _, seat)| (seat, at))
    }
}

/// A thread's place in simulated time; on a real clock it is empty. Dropping it leaves.
#[derive(Debug, Default)]
#[must_use = "a seat that is dropped is left"]
pub struct Seat(Option<(SimClock, u64)>);

impl Seat {
    /// Takes the seat for the calling thread, and waits until it may run. A thread has one seat: claiming another
    /// leaves that one empty.
    pub fn claim(self) -> Self {
        let Some((clock, seat)) = &self.0 else {
            return self;
        };
        let mut schedule = clock.0.schedule.lock();
        let thread = thread::current();
        if schedule.by_thread.contains_key(&thread.id()) {
            drop(schedule);
            return Seat(None);
        }
        schedule.by_thread.insert(thread.id(), *seat);
        let unparked = schedule.unparked_guests.remove(&thread.id());
        let occupant = schedule.occupant(*seat);
        (occupant.thread, occupant.unparked) = (Some(thread), unparked);
        clock.await_run(*seat, schedule);
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((clock, seat)) = self.0.take() {
            clock.0.schedule.lock().leave(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    type Body = Box<dyn FnOnce(&SimClock) + Send>;

    /// Runs each body in a thread of its own on one simulated clock; returns the simulated time they took.
    fn simulate(bodies: Vec<Body>) -> Duration {
        let clock = SimClock::new();
        let seats: Vec<_> = bodies.iter().map(|_| clock.enlist()).collect();
        thread::scope(|scope| {
            for (seat, body) in seats.into_iter().zip(bodies) {
                let clock = &clock;
                scope.spawn(move || {
                    let _seat = seat.claim();
                    body(clock);
                });
            }
        });
        clock.elapsed()
    }

    #[test]
    fn sleeps_run_side_by_side_and_the_longest_decides() {
        let sleeper = |seconds: u32| -> Body {
            Box::new(move |clock| clock.sleep_until(clock.now() + SECOND * seconds))
        };
        assert_eq!(
            simulate(vec![sleeper(1), sleeper(3600), sleeper(60)]),
            SECOND * 3600
        );
    }

    #[test]
    fn threads_wake_in_the_order_of_their_deadlines_and_ties_in_the_order_of_falling_asleep() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let body = |name: usize, seconds: u32| -> Body {
            let order = order.clone();
            Box::new(move |clock| {
                clock.sleep_until(clock.now() + SECOND * seconds);
                order.lock().push(name);
            })
        };
        for _ in 0..20 {
            order.lock().clear();
            simulate(vec![
                body(0, 5),
                body(1, 2),
                body(2, 2),
                body(3, 1),
                body(4, 5),
            ]);
            assert_eq!(*order.lock(), [3, 1, 2, 0, 4]);
        }
    }

    #[test]
    fn a_parked_thread_is_woken_by_unpark_at_the_simulated_instant() {
        let (send, receive) = crossbeam_channel::bounded(1);
        let woken = Box::new(move |clock: &SimClock| {
            send.send(thread::current()).unwrap();
            clock.park_until(None);
            assert_eq!(clock.elapsed(), SECOND * 7);
        });
        let waker = Box::new(move |clock: &SimClock| {
            clock.sleep_until(clock.now() + SECOND * 7);
            clock.unpark(&receive.recv().unwrap());
        });
        assert_eq!(simulate(vec![woken, waker]), SECOND * 7);
    }

    #[test]
    fn time_stands_still_while_a_message_waits_to_be_taken() {
        for _ in 0..50 {
            let (send, receive) = crossbeam_channel::bounded(1);
            let consumer = Box::new(move |clock: &SimClock| {
                for n in 1..=100 {
                    clock.poll(&mut || receive.try_recv().is_ok());
                    assert_eq!(
                        clock.elapsed(),
                        SECOND * n,
                        "taken at the instant it was sent"
                    );
                }
            });
            let producer = Box::new(move |clock: &SimClock| {
                for n in 1..=100 {
                    clock.sleep_until(clock.0.origin + SECOND * n);
                    send.try_send(()).unwrap();
                }
            });
            simulate(vec![consumer, producer]);
        }
    }

    #[test]
    fn a_panicking_thread_leaves_its_seat() {
        let clock = SimClock::new();
        let (seat, other) = (clock.enlist(), clock.enlist());
        thread::scope(|scope| {
            let panics = scope.spawn(move || {
                let _seat = seat.claim();
                panic!("expected by the test");
            });
            scope.spawn(|| {
                let _seat = other.claim();
                clock.sleep_until(clock.now() + SECOND);
            });
            assert!(panics.join().is_err());
        });
        assert_eq!(clock.elapsed(), SECOND);
    }

    #[test]
    fn the_calendar_moves_with_simulated_time() {
        let clock = SimClock::new();
        clock.sleep_until(clock.now() + SECOND * 90);
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + SECOND * 90);
    }
}
