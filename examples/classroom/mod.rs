//! Shared by the lessons and the exercises: the article's server on a simulated clock. The threads are real, the time is
//! not: twenty minutes take a fraction of a second, and the same program does the same each time.
//!
//! What the server saw is drawn by [`strip`]; the exercises' judge is in [`judge`].

#![allow(dead_code)] // Each lesson is a crate of its own, and none of them uses everything.

pub(crate) mod judge;
pub(crate) mod strip;

use std::collections::VecDeque;
use std::ops::Range;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use paceline::clock::{Clock, SimClock};
use parking_lot::{Mutex, MutexGuard};

use strip::Seen;

/// The article's worker threads.
pub(crate) const WORKERS: usize = 4;

/// The article's topics.
pub(crate) const TOPICS: usize = 200;

/// The article's limit, evenly spaced: a call every 6 seconds.
pub(crate) const CALLS_A_MINUTE: u32 = 10;

/// More calls than any honest program makes here: stops a program that calls without end.
const TOO_MANY_CALLS: usize = 20_000;

/// The interval that the server insists on.
const STRICT_INTERVAL: Duration = Duration::from_secs(60 / CALLS_A_MINUTE as u64);

/// The same for callers, with a margin of 2 %: the calls should not arrive a moment early.
pub(crate) const INTERVAL: Duration = Duration::from_millis(6_120);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A call that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    /// The error's code, as in an API's error body.
    pub(crate) code: &'static str,
    /// How long to wait, where the server says it.
    pub(crate) retry_after: Option<Duration>,
}

/// What the server is like: plain data.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    /// How long an article takes.
    pub(crate) answer_takes: Duration,
    /// How long a 429 takes, for the first such call, the second and so on; the last one repeats.
    pub(crate) refusal_takes: Vec<Duration>,
    /// Each call with a number that is a multiple of this is answered 503.
    pub(crate) fails_every: Option<usize>,
    /// Another program with the same key makes one call at this time.
    pub(crate) stranger_at: Option<Duration>,
    /// From then till then, each call is answered 429.
    pub(crate) overloaded: Range<Duration>,
    /// This topic is never answered: 400.
    pub(crate) bad_topic: Option<&'static str>,
    /// Articles until the credit is used up: 429, but waiting does not help.
    pub(crate) credit: usize,
    /// Whether a 429 says how long to wait.
    pub(crate) states_wait: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            answer_takes: 2 * SECOND,
            refusal_takes: vec![SECOND / 10],
            fails_every: None,
            stranger_at: None,
            overloaded: Duration::ZERO..Duration::ZERO,
            bad_topic: None,
            credit: usize::MAX,
            states_wait: true,
        }
    }
}

/// The server, and the clock that it shares with its callers.
pub(crate) struct Classroom {
    pub(crate) clock: SimClock,
    server: Mutex<SimulatedApi>,
}

struct SimulatedApi {
    behaviour: Behaviour,
    started: Instant,
    /// The limit accepts no call before this.
    free_at: Instant,
    /// The threads that have called, in order of their first calls.
    threads: Vec<ThreadId>,
    refused: usize,
    seen: Vec<Seen>,
}

impl Classroom {
    /// The article's server.
    pub(crate) fn open() -> Self {
        Classroom::with(Behaviour::default())
    }

    pub(crate) fn with(behaviour: Behaviour) -> Self {
        let clock = SimClock::new();
        let started = clock.now();
        let server = SimulatedApi {
            behaviour,
            started,
            free_at: started,
            threads: Vec::new(),
            refused: 0,
            seen: Vec::new(),
        };
        Classroom {
            clock,
            server: Mutex::new(server),
        }
    }

    /// Runs four threads to their end, each with its quarter of the topics.
    pub(crate) fn four_threads(&self, work: impl Fn(&[String]) + Sync) {
        let topics = topics();
        let quarters: Vec<_> = topics.chunks(TOPICS / WORKERS).collect();
        self.clock.run(WORKERS, |n| work(quarters[n]));
    }

    /// Asks for an article; an error is a status.
    pub(crate) fn call_api(&self, topic: &str) -> Result<String, u16> {
        self.call(topic).map_err(|failure| failure.status)
    }

    /// The same, with what the server says about waiting.
    pub(crate) fn call(&self, topic: &str) -> Result<String, Failure> {
        let now = self.clock.now();
        let reply = self.server.lock().decide(topic, now);
        self.clock.sleep_until(now + reply.takes);
        match reply.failure {
            None => Ok(format!("An article about {topic}")),
            Some(failure) => Err(failure),
        }
    }

    pub(crate) fn sleep(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time);
    }

    /// Every call that the server saw, in order of arrival.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.server.lock().seen.clone()
    }
}

/// What becomes of a call.
struct SimulatedReply {
    failure: Option<Failure>,
    takes: Duration,
}

impl SimulatedApi {
    /// Accepts a call that arrives now, or refuses it; notes it in either case.
    fn decide(&mut self, topic: &str, now: Instant) -> SimulatedReply {
        let number = self.seen.len() + 1;
        assert!(
            number <= TOO_MANY_CALLS,
            "the server saw {TOO_MANY_CALLS} calls, and no end"
        );
        let wait = self.too_early(now);
        let (mark, failure) = self.judge(topic, number, wait);
        let takes = match wait {
            Some(_) => self.refusal_takes(),
            None => self.behaviour.answer_takes,
        };
        let (at, row) = (now - self.started, self.row());
        self.seen.push(Seen { at, row, mark });
        SimulatedReply { failure, takes }
    }

    fn judge(&self, topic: &str, number: usize, wait: Option<Duration>) -> (char, Option<Failure>) {
        let failure = |status, code, retry_after| {
            Some(Failure {
                status,
                code,
                retry_after,
            })
        };
        let behaviour = &self.behaviour;
        let answered = self.seen.iter().filter(|call| call.mark == '.').count();
        if wait.is_some() {
            let stated = wait.filter(|_| behaviour.states_wait);
            ('#', failure(429, "rate_limit_exceeded", stated))
        } else if answered >= behaviour.credit {
            ('$', failure(429, "insufficient_quota", None))
        } else if behaviour.bad_topic == Some(topic) {
            ('!', failure(400, "invalid_request", None))
        } else if behaviour
            .fails_every
            .is_some_and(|every| number % every == 0)
        {
            ('x', failure(503, "unavailable", None))
        } else {
            ('.', None)
        }
    }

    /// How long the call should have waited. A call in time counts against the limit.
    fn too_early(&mut self, now: Instant) -> Option<Duration> {
        let at = now - self.started;
        let stranger = self.behaviour.stranger_at.take_if(|due| *due <= at);
        if stranger.is_some() {
            self.free_at = self.free_at.max(now) + STRICT_INTERVAL;
        }
        if self.behaviour.overloaded.contains(&at) {
            return Some(self.behaviour.overloaded.end - at);
        }
        if self.free_at > now {
            return Some(self.free_at - now);
        }
        self.free_at = now + STRICT_INTERVAL;
        None
    }

    fn refusal_takes(&mut self) -> Duration {
        let times = &self.behaviour.refusal_takes;
        let takes = times[self.refused.min(times.len() - 1)];
        self.refused += 1;
        takes
    }

    /// The strip's row for the calling thread.
    fn row(&mut self) -> usize {
        let this = thread::current().id();
        let known = self.threads.iter().position(|thread| *thread == this);
        known.unwrap_or_else(|| {
            self.threads.push(this);
            self.threads.len() - 1
        })
    }
}

/// "topic 1" to "topic 200".
pub(crate) fn topics() -> Vec<String> {
    (1..=TOPICS).map(|n| format!("topic {n}")).collect()
}

/// A topic's own seed, so that chance is the same in each run.
pub(crate) fn seed(topic: &str) -> u64 {
    topic
        .bytes()
        .fold(0, |sum, byte| sum.wrapping_mul(31) + u64::from(byte))
}

/// A mutex on the simulated clock: a thread may sleep while it holds this one, and the others wait in simulated time.
/// (With an ordinary mutex they would wait in real time, and the simulated clock would stand still for ever.) Threads get
/// it in order of arrival.
pub(crate) struct Lock<T> {
    clock: SimClock,
    line: Mutex<VecDeque<ThreadId>>,
    value: Mutex<T>,
}

impl<T> Lock<T> {
    pub(crate) fn new(clock: &SimClock, value: T) -> Self {
        Lock {
            clock: clock.clone(),
            line: Mutex::default(),
            value: Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let this = thread::current().id();
        self.line.lock().push_back(this);
        let mut guard = None;
        self.clock.poll(&mut || {
            let is_first = self.line.lock().front() == Some(&this);
            guard = is_first.then(|| self.value.try_lock()).flatten();
            guard.is_some()
        });
        self.line.lock().pop_front();
        guard.unwrap_or_else(|| self.value.lock())
    }
}
