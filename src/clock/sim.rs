//! Simulated time: real threads, run one at a time; when all of them sleep, time jumps to the earliest wake-up.
//!
//! This is a discrete-event simulation whose processes are the program's own threads. One thread runs; when it parks,
//! the clock lets the next one run, in an order that depends only on what the threads did before. So the same program
//! with the same seed does the same thing at the same simulated instant, each time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Clock;
use crate::sync::channel::{Receiver, RecvTimeoutError, bounded};
use crate::sync::thread::{self, Thread, ThreadId};
use crate::sync::{Mutex, MutexGuard};

/// A clock on which real threads run in simulated time. Clones are the same clock.
///
/// [`run`](SimClock::run) is the way to test with it. A thread that did not enlist may use the clock too: it takes
/// part only while it sleeps. One such thread alone sees time jump at each sleep. Where there are several, all must
/// enlist, or time moves on without them.
///
/// ```
/// use paceline::clock::{Clock, SimClock};
/// use std::time::Duration;
///
/// let clock = SimClock::new();
/// let seconds = clock.run(3, |n| {
///     clock.sleep_until(clock.now() + Duration::from_secs(60 * n as u64));
///     clock.elapsed().as_secs()
/// });
/// assert_eq!(seconds, [0, 60, 120]); // side by side, in no time at all
/// ```
#[derive(Clone, Debug, Default)]
pub struct SimClock(Arc<Mutex<SimSchedule>>);

/// Which thread runs, and what the others wait for.
#[derive(Debug, Default)]
struct SimSchedule {
    /// The real instant that stands for the origin; only distances from it count.
    origin: Option<Instant>,
    /// Simulated time since the origin.
    elapsed: Duration,
    /// The one participant that may run now; none while all are parked without a deadline.
    running: Option<u64>,
    /// By number, in the order in which they were enlisted.
    participants: BTreeMap<u64, Entry>,
    by_thread: HashMap<ThreadId, u64>,
    /// Threads that were unparked while they were not parked: their next park returns at once.
    unparked: HashSet<ThreadId>,
    /// Counts the waits begun: the thread that has waited longest goes first.
    waits: u64,
    /// Counts the stretches of work done, so that a poller looks again only when something can have changed.
    work: u64,
    /// How many [`SimClock::run`] are in progress: then nobody from outside can wake a thread.
    closed: usize,
    /// Nobody can go on: what each thread waits for.
    stuck: Option<String>,
}

#[derive(Debug, Default)]
struct Entry {
    /// None until the spawned thread has joined.
    thread: Option<Thread>,
    /// What it waits for, or last waited for.
    wait: Wait,
    /// The number of that wait.
    since: u64,
}

#[derive(Debug, Default)]
enum Wait {
    /// For its turn to run.
    #[default]
    Ready,
    /// Until this time, if there is one, or an unpark.
    Parked(Option<Duration>),
    /// For something that is not on this clock, and was not there when this much work was done.
    Polling(u64),
}

impl SimClock {
    /// Real time without progress after which [`run`](SimClock::run) says so: longer than any step of a test takes on
    /// a busy machine.
    const STANDSTILL: Duration = Duration::from_secs(10);

    /// A clock at its origin: the calendar says 1 January 1970.
    #[must_use]
    pub fn new() -> Self {
        SimClock::default()
    }

    /// The simulated time that has passed since the clock was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.schedule().elapsed
    }

    fn schedule(&self) -> MutexGuard<'_, SimSchedule> {
        self.0.lock()
    }

    /// Runs `body` in `threads` threads, each with its number from 0, in simulated time; returns what they returned.
    ///
    /// If simulated time stands still for ten seconds of real time, because the thread that runs waits for something
    /// that is not on this clock, a line on standard error says which thread that is and what the others wait for.
    ///
    /// # Panics
    /// If a body panics. If all threads wait for each other: the message says what each of them waits for. If the calling
    /// thread takes part in simulated time itself.
    ///
    /// ```should_panic
    /// use paceline::clock::{Clock, SimClock};
    ///
    /// let clock = SimClock::new();
    /// clock.run(2, |_| clock.park_until(None)); // nobody is left to unpark: it says so instead of hanging
    /// ```
    pub fn run<T: Send>(&self, threads: usize, body: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut schedule = self.schedule();
        let takes_part = schedule.by_thread.contains_key(&thread::current().id());
        assert!(
            !takes_part,
            "a thread on a simulated clock would wait for itself"
        );
        schedule.closed += 1;
        drop(schedule);
        let participants: Vec<_> = (0..threads).map(|_| self.enlist()).collect();
        let (running, all_ended) = bounded(1);
        let body = &body;
        thread::scope(|scope| {
            let spawn = |(n, participant): (usize, Participant)| {
                let running = running.clone();
                let thread = thread::Builder::new().name(format!("sim-{n}"));
                let spawned = thread.spawn_scoped(scope, move || {
                    let _running = running;
                    let _participant = participant.join();
                    body(n)
                });
                spawned.expect("the operating system gives a thread")
            };
            let threads: Vec<_> = participants.into_iter().enumerate().map(spawn).collect();
            drop(running);
            self.watch(&all_ended);
            self.schedule().closed -= 1;
            let results = threads.into_iter().map(|thread| thread.join());
            results
                .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// Waits for the end of all threads, and says so when they stand still.
    fn watch(&self, all_ended: &Receiver<()>) {
        let mut seen = None;
        while all_ended.recv_timeout(Self::STANDSTILL) == Err(RecvTimeoutError::Timeout) {
            let schedule = self.schedule();
            let progress = Some((schedule.waits, schedule.work));
            if progress == seen {
                eprintln!("{}", schedule.report());
            }
            seen = progress;
        }
    }

    /// Waits, in real time, until this participant may run.
    fn await_run<'a>(&'a self, number: u64, mut schedule: MutexGuard<'a, SimSchedule>) {
        while schedule.running != Some(number) {
            if let Some(report) = schedule.stuck.clone() {
                drop(schedule);
                // A thread that unwinds already must not panic again in a destructor that waits.
                assert!(std::thread::panicking(), "{report}");
                return;
            }
            drop(schedule);
            thread::park();
            schedule = self.schedule();
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.schedule().now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.elapsed()
    }

    fn park_until(&self, deadline: Option<Instant>) {
        let thread = thread::current();
        let mut schedule = self.schedule();
        let (now, elapsed) = (schedule.now(), schedule.elapsed);
        let until = deadline.map(|at| elapsed + at.saturating_duration_since(now));
        let is_due = until.is_some_and(|at| at <= schedule.elapsed);
        if schedule.unparked.remove(&thread.id()) || is_due {
            return;
        }
        let member = schedule.by_thread.get(&thread.id()).copied();
        let number = member.unwrap_or_else(|| schedule.add(Some(thread)));
        schedule.work += 1;
        schedule.wait(number, Wait::Parked(until));
        self.await_run(number, schedule);
        if member.is_none() {
            self.schedule().leave(number);
        }
    }

    fn unpark(&self, thread: &Thread) {
        self.schedule().unpark(thread.id());
    }

    fn enlist(&self) -> Participant {
        let number = self.schedule().add(None);
        Participant(Some((self.clone(), number)))
    }

    fn poll(&self, ready: &mut dyn FnMut() -> bool) {
        let mut schedule = self.schedule();
        let Some(&number) = schedule.by_thread.get(&thread::current().id()) else {
            return;
        };
        schedule.work += 1;
        drop(schedule);
        while !ready() {
            let mut schedule = self.schedule();
            if schedule.stuck.is_some() && std::thread::panicking() {
                return;
            }
            let seen = schedule.work;
            schedule.wait(number, Wait::Polling(seen));
            self.await_run(number, schedule);
        }
    }
}

impl SimSchedule {
    fn now(&mut self) -> Instant {
        *self.origin.get_or_insert_with(Instant::now) + self.elapsed
    }

    /// Adds a participant that is ready to run.
    fn add(&mut self, thread: Option<Thread>) -> u64 {
        let last = self.participants.last_key_value();
        let number = last.map_or(0, |(last, _)| last + 1);
        self.participants.insert(number, Entry::default());
        if let Some(thread) = thread {
            self.join(number, thread);
        }
        self.wait(number, Wait::Ready);
        number
    }

    fn join(&mut self, number: u64, thread: Thread) {
        self.by_thread.insert(thread.id(), number);
        self.entry(number).thread = Some(thread);
    }

    fn entry(&mut self, number: u64) -> &mut Entry {
        let entry = self.participants.get_mut(&number);
        entry.expect("a participant is removed only by its own thread")
    }

    /// Stops running, in order to wait, and lets the next one run.
    fn wait(&mut self, number: u64, wait: Wait) {
        self.waits += 1;
        let since = self.waits;
        let entry = self.entry(number);
        entry.wait = wait;
        entry.since = since;
        self.run_next_after(number);
    }

    fn unpark(&mut self, thread: ThreadId) {
        let number = self.by_thread.get(&thread).copied();
        let parked = |number: &u64| matches!(self.participants[number].wait, Wait::Parked(_));
        match number.filter(parked) {
            Some(number) => self.wait(number, Wait::Ready),
            None => _ = self.unparked.insert(thread),
        }
    }

    fn leave(&mut self, number: u64) {
        let entry = self.participants.remove(&number);
        if let Some(thread) = entry.and_then(|entry| entry.thread) {
            self.by_thread.remove(&thread.id());
        }
        self.work += 1;
        self.run_next_after(number);
    }

    /// If nobody but this participant runs, lets the next one run.
    fn run_next_after(&mut self, number: u64) {
        self.running.take_if(|running| *running == number);
        if self.running.is_some() {
            return;
        }
        let Some((number, wakes_at)) = self.next() else {
            self.give_up_if_closed();
            return;
        };
        self.elapsed = self.elapsed.max(wakes_at);
        self.running = Some(number);
        let entry = self.entry(number);
        entry.wait = Wait::Ready;
        if let Some(thread) = &entry.thread {
            thread.unpark();
        }
    }

    /// Which participant runs next, and when: those that are ready before those that poll, and both before time moves.
    fn next(&self) -> Option<(u64, Duration)> {
        let key = |entry: &Entry| match entry.wait {
            Wait::Ready => Some((0, Duration::ZERO)),
            Wait::Polling(seen) if seen < self.work => Some((1, Duration::ZERO)),
            Wait::Parked(Some(until)) => Some((2, until)),
            _ => None,
        };
        let candidates = self.participants.iter().filter_map(|(&number, entry)| {
            key(entry).map(|(class, at)| (class, at, entry.since, number))
        });
        candidates.min().map(|(_, at, _, number)| (number, at))
    }

    /// All wait for each other, and nobody from outside can end it: wakes them, so that each panics with the report.
    fn give_up_if_closed(&mut self) {
        if self.closed == 0 || self.participants.is_empty() || self.stuck.is_some() {
            return;
        }
        self.stuck = Some(self.report());
        let entries = self.participants.values();
        let threads = entries.filter_map(|entry| entry.thread.as_ref());
        threads.for_each(Thread::unpark);
    }

    /// What each thread is doing.
    fn report(&self) -> String {
        let mut report = format!("simulated time stands still at {:?}:", self.elapsed);
        for (&number, entry) in &self.participants {
            report += &format!("\n  {}", self.doing(number, entry));
        }
        report
    }

    fn doing(&self, number: u64, entry: &Entry) -> String {
        let Some(thread) = &entry.thread else {
            return format!("participant {number} was enlisted and has not joined");
        };
        let name = thread.name().unwrap_or("a thread without a name");
        let doing = match entry.wait {
            Wait::Ready if self.running == Some(number) => {
                "runs, or waits for a lock or a thread that is not on this clock"
            }
            Wait::Ready => "is ready to run",
            Wait::Parked(Some(until)) => return format!("{name} sleeps until {until:?}"),
            Wait::Parked(None) => "is parked until somebody unparks it",
            Wait::Polling(_) => "waits for a channel",
        };
        format!("{name} {doing}")
    }
}

/// A thread's part in simulated time; on a real clock it is empty. Dropping it ends the part.
///
/// ```
/// use paceline::clock::{Clock, SimClock};
/// use std::time::Duration;
///
/// let clock = SimClock::new();
/// let participants = [clock.enlist(), clock.enlist()]; // all of them before the first thread
/// std::thread::scope(|scope| {
///     for participant in participants {
///         scope.spawn(|| {
///             let _participant = participant.join();
///             clock.sleep_until(clock.now() + Duration::from_secs(60));
///         });
///     }
/// });
/// assert_eq!(clock.elapsed(), Duration::from_secs(60));
/// ```
#[derive(Debug, Default)]
#[must_use = "a participant that is dropped takes no part"]
pub struct Participant(Option<(SimClock, u64)>);

impl Participant {
    /// Takes part from the calling thread, and waits until it may run.
    ///
    /// A thread takes part once: if it does already, this part ends at once.
    pub fn join(self) -> Self {
        let Some((clock, number)) = &self.0 else {
            return self;
        };
        let mut schedule = clock.schedule();
        let thread = thread::current();
        if schedule.by_thread.contains_key(&thread.id()) {
            drop(schedule);
            return Participant(None);
        }
        schedule.join(*number, thread);
        clock.await_run(*number, schedule);
        self
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if let Some((clock, number)) = self.0.take() {
            clock.schedule().leave(number);
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
                    let _seat = seat.join();
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
                let start = clock.now();
                for n in 1..=100 {
                    clock.sleep_until(start + SECOND * n);
                    send.try_send(()).unwrap();
                }
            });
            simulate(vec![consumer, producer]);
        }
    }

    #[test]
    fn run_returns_what_each_thread_returned() {
        let clock = SimClock::new();
        let sleep = |n: usize| {
            clock.sleep_until(clock.now() + SECOND * (10 - n as u32));
            (n, clock.elapsed())
        };
        let ended = clock.run(3, sleep);
        assert_eq!(ended, [(0, SECOND * 10), (1, SECOND * 9), (2, SECOND * 8)]);
    }

    /// The message of a panic.
    fn message(panics: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(panics).unwrap_err();
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn threads_that_wait_for_each_other_are_told_what_each_waits_for() {
        let said = message(|| {
            let clock = SimClock::new();
            clock.run(3, |n| match n {
                0 => clock.park_until(None),
                1 => clock.poll(&mut || false),
                _ => clock.sleep_until(clock.now() + SECOND),
            });
        });
        let expected = "simulated time stands still at 1s:\n  sim-0 is parked until somebody unparks it\n  \
                        sim-1 waits for a channel";
        assert_eq!(said, expected);
    }

    #[test]
    fn the_report_names_a_thread_that_blocks_outside_the_clock_and_one_that_never_joined() {
        let clock = SimClock::new();
        let reports = clock.run(1, |_| {
            let _never_joined = clock.enlist();
            clock.schedule().report()
        });
        let expected = "simulated time stands still at 0ns:\n  \
                        sim-0 runs, or waits for a lock or a thread that is not on this clock\n  \
                        participant 1 was enlisted and has not joined";
        assert_eq!(reports, [expected]);
    }

    #[test]
    fn a_panic_in_one_thread_comes_out_of_run() {
        let clock = SimClock::new();
        let panics = || clock.run(2, |n| assert_eq!(n, 0, "expected by the test"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    }

    #[test]
    fn a_panicking_thread_leaves_its_seat() {
        let clock = SimClock::new();
        let (seat, other) = (clock.enlist(), clock.enlist());
        thread::scope(|scope| {
            let panics = scope.spawn(move || {
                let _seat = seat.join();
                panic!("expected by the test");
            });
            scope.spawn(|| {
                let _seat = other.join();
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
