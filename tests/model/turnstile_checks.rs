//! The turnstile, the numbering of holds and the calling off of waits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::limiter::{Limits, NoTurn, Rate, RateLimiter, Tempo, Turn};
use crate::time::ModelClock;
use crate::{Check, check};

pub(crate) const CHECKS: &[Check] = &[
    check(
        "two threads pass in order of arrival, one interval apart",
        2,
        3,
        || passing(2, 1, 1),
    ),
    check(
        "three threads pass in order of arrival, one interval apart",
        3,
        2,
        || passing(3, 1, 1),
    ),
    check(
        "three threads at two lanes: in order, and each lane keeps its pace",
        3,
        1,
        || {
            passing(3, 2, 2);
        },
    ),
    check(
        "a hold binds whoever has not passed, also the sleeper at the front",
        2,
        3,
        || holding(1),
    ),
    check(
        "a hold binds everyone in the line, and no herd follows",
        4,
        1,
        || holding(3),
    ),
    check(
        "two refusals of one burst begin one hold, up to the later of the two",
        2,
        3,
        refused_together,
    ),
    check(
        "two refusals beside two who wait: they pass after it, an interval apart",
        4,
        1,
        refused_beside,
    ),
    check(
        "a refusal that comes when its hold is over begins no other",
        2,
        3,
        refused_late,
    ),
    check(
        "refused without a word: one call probes, and its answer wakes the others",
        3,
        2,
        probing,
    ),
    check(
        "a corrected cost wakes the call that waits for room",
        2,
        3,
        corrected,
    ),
    check(
        "a cancelled wait ends at once and takes no turn",
        2,
        3,
        || cancelled(0),
    ),
    check(
        "a wait cancelled in the middle of the line: those behind move up",
        4,
        1,
        || cancelled(2),
    ),
    check("a retired lane lets go of the one who waits", 2, 3, || {
        retiring(1)
    }),
    check("a retired lane lets go of everyone who waits", 4, 1, || {
        retiring(3)
    }),
];

const SECOND: Duration = Duration::from_secs(1);

/// One turn a second, exactly.
fn each_second() -> Limits {
    Limits {
        pace: Tempo::Kept(Rate::every(SECOND)),
        tokens: None,
    }
}

fn burst_of(turns: u32) -> Limits {
    Limits {
        pace: Tempo::Kept(Rate::every(SECOND).with_burst(NonZeroU32::new(turns).unwrap())),
        tokens: None,
    }
}

/// What one thread does.
type Body = Box<dyn FnOnce() + Send>;

/// What the threads of a case share.
#[derive(Clone)]
struct Case {
    clock: ModelClock,
    limiter: Arc<RateLimiter>,
    start: Instant,
    /// The turns that were granted, and by whom, as they were noted down.
    turns: Arc<Mutex<Vec<Turn>>>,
    bodies: Arc<Mutex<Vec<Body>>>,
}

impl Case {
    fn of(lanes: impl IntoIterator<Item = Limits>) -> Self {
        let clock = ModelClock::new();
        let limiter = Arc::new(RateLimiter::with_lanes(Arc::new(clock.clone()), lanes));
        let start = clock.now();
        Case {
            clock,
            limiter,
            start,
            turns: Arc::default(),
            bodies: Arc::default(),
        }
    }

    /// Adds a thread.
    fn with(&self, body: impl FnOnce(&Case) + Send + 'static) -> &Self {
        let case = self.clone();
        self.bodies.lock().push(Box::new(move || body(&case)));
        self
    }

    /// Adds a thread that takes so many turns.
    fn with_turns(&self, turns: usize) -> &Self {
        self.with(move |case| (0..turns).for_each(|_| _ = case.take()))
    }

    fn take(&self) -> Turn {
        let turn = self.limiter.wait();
        self.turns.lock().push(turn);
        turn
    }

    /// Runs the threads to their end. Returns the turns in order of arrival.
    fn run(&self) -> Vec<Turn> {
        let bodies = std::mem::take(&mut *self.bodies.lock());
        self.clock.run(bodies);
        assert_eq!(self.limiter.waiting(), 0);
        let mut turns = std::mem::take(&mut *self.turns.lock());
        turns.sort_by_key(ticket);
        turns
    }

    /// The same in whole seconds from the start.
    fn seconds(&self) -> Vec<u64> {
        self.run()
            .iter()
            .map(|turn| (turn.at - self.start).as_secs())
            .collect()
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + SECOND * seconds as u32
    }

    fn sleep_until(&self, seconds: u64) {
        self.clock.sleep_until(self.at(seconds));
    }
}

/// Tickets are numbered in order of arrival. They are nobody's business but the line's, so they are read where they are
/// shown.
fn ticket(turn: &Turn) -> u64 {
    number(turn, "ticket: ")
}

/// How many holds had begun when the turn was granted.
fn holds(turn: &Turn) -> u64 {
    number(turn, "holds: ")
}

fn number(turn: &Turn, name: &str) -> u64 {
    let shown = format!("{turn:?}");
    let rest = shown.split(name).nth(1).expect("a turn shows it");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn passing(threads: usize, turns: usize, lanes: usize) {
    let case = Case::of(vec![each_second(); lanes]);
    (0..threads).for_each(|_| _ = case.with_turns(turns));
    let expected: Vec<_> = (0..threads * turns).map(|n| (n / lanes) as u64).collect();
    assert_eq!(case.seconds(), expected);
}

fn holding(waiting: usize) {
    let case = Case::of([each_second()]);
    (0..waiting).for_each(|_| _ = case.with_turns(1));
    case.with(|case| case.limiter.hold_until(case.at(10)));
    let turns = case.run();
    let before = turns.iter().filter(|turn| holds(turn) == 0).count();
    assert!(before <= 1, "one may have been quicker");
    for (n, turn) in turns.iter().enumerate() {
        let expected = if n < before { 0 } else { 10 + n - before };
        assert_eq!(turn.at, case.at(expected as u64));
    }
}

fn refused_together() {
    let case = Case::of([burst_of(2)]);
    let begun = refuse_two(&case);
    case.run();
    assert_eq!(begun.lock().iter().filter(|begun| **begun).count(), 1);
    case.with_turns(2);
    assert_eq!(case.seconds(), [6, 7]);
}

fn refused_beside() {
    let case = Case::of([burst_of(2)]);
    let begun = refuse_two(&case);
    case.with_turns(1).with_turns(1);
    let turns = case.run();
    assert_eq!(begun.lock().iter().filter(|begun| **begun).count(), 1);
    let held: Vec<_> = turns
        .iter()
        .map(|turn| (turn.at - case.start).as_secs())
        .collect();
    assert_eq!(held, [6, 7]);
}

/// Two calls are under way, and two threads learn that they were refused. Which of them began a hold?
fn refuse_two(case: &Case) -> Arc<Mutex<Vec<bool>>> {
    let begun: Arc<Mutex<Vec<bool>>> = Arc::default();
    for (turn, until) in [(case.limiter.wait(), 5), (case.limiter.wait(), 6)] {
        let begun = begun.clone();
        case.with(move |case| {
            let is_new = case.limiter.refused(turn, Some(case.at(until))).is_some();
            begun.lock().push(is_new);
        });
    }
    begun
}

fn refused_late() {
    let case = Case::of([burst_of(2)]);
    let (first, late) = (case.limiter.wait(), case.limiter.wait());
    assert!(case.limiter.refused(first, Some(case.at(5))).is_some());
    case.with_turns(2).with(move |case| {
        case.sleep_until(5);
        assert!(case.limiter.refused(late, Some(case.at(60))).is_none());
    });
    assert_eq!(case.seconds(), [5, 6]);
}

fn probing() {
    let case = Case::of([each_second()]);
    let refused = case.limiter.wait();
    let answering = |case: &Case| {
        let turn = case.take();
        case.limiter.answered(turn);
    };
    case.with(move |case| _ = case.limiter.refused(refused, None))
        .with(answering)
        .with(answering);
    // A hold is at least two intervals and at most 0.95 s, but one interval after the turn there was; whichever thread
    // passes then, its answer lets the other pass an interval later, and not after three seconds.
    assert_eq!(case.seconds(), [1, 2]);
}

fn corrected() {
    let tokens = NonZeroU32::new(60);
    let case = Case::of([Limits {
        pace: Tempo::Kept(Rate::unlimited()),
        tokens,
    }]);
    let nobody = CancelToken::on(case.clock.clone());
    let first = case.limiter.wait_for(60, &nobody).unwrap();
    case.with(move |case| {
        let turn = case.limiter.wait_for(10, &nobody).unwrap();
        case.turns.lock().push(turn);
    });
    case.with(move |case| {
        case.sleep_until(3);
        case.limiter.correct(first, 20);
    });
    assert_eq!(case.seconds(), [20]);
}

fn cancelled(beside: usize) {
    let case = Case::of([each_second()]);
    case.limiter.hold_until(case.at(10));
    let token = CancelToken::on(case.clock.clone());
    (0..beside).for_each(|_| _ = case.with_turns(1));
    let impatient = token.clone();
    case.with(move |case| {
        assert_eq!(
            case.limiter.wait_unless(&impatient).err(),
            Some(NoTurn::Cancelled)
        );
        assert_eq!(case.clock.elapsed(), Duration::ZERO);
    });
    case.with(move |_| token.cancel());
    assert_eq!(case.seconds(), [10, 11][..beside]);
}

fn retiring(waiting: usize) {
    let case = Case::of([each_second()]);
    case.limiter.hold_until(case.at(10));
    let nobody = CancelToken::on(case.clock.clone());
    for _ in 0..waiting {
        let nobody = nobody.clone();
        case.with(move |case| {
            assert_eq!(
                case.limiter.wait_unless(&nobody).err(),
                Some(NoTurn::Retired)
            );
            assert_eq!(case.clock.elapsed(), Duration::ZERO);
        });
    }
    case.with(|case| assert_eq!(case.limiter.retire(0), 0));
    case.run();
}
