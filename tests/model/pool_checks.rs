//! The pool's work and its end: nothing is lost, nothing is done twice, and nobody waits for ever.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pool::{self, Crew, Size};
use crate::sync::thread;
use crate::time::ModelClock;
use crate::{Check, check};

pub(crate) const CHECKS: &[Check] = &[
    check(
        "a pool of two: every input comes out once, and then no more",
        4,
        1,
        || every_input(2, 3),
    ),
    check(
        "where only panics come out, the rest is done all the same",
        4,
        0,
        aside,
    ),
    check(
        "outputs that are dropped at once end the pool",
        4,
        1,
        || dropped_after(0),
    ),
    check(
        "outputs that are dropped after one end it, and what was begun is finished",
        4,
        0,
        || {
            dropped_after(1);
        },
    ),
    check(
        "a task that panics costs its own item and no other",
        4,
        0,
        a_panic,
    ),
    check(
        "a crew that grows while the pool ends ends with it",
        4,
        1,
        hiring_at_the_end,
    ),
];

fn size(start: usize, most: usize) -> Size {
    let count = |n| NonZeroUsize::new(n).unwrap();
    Size {
        start: count(start),
        most: count(most),
        queue: count(start),
    }
}

fn every_input(workers: usize, inputs: usize) {
    let clock = Arc::new(ModelClock::new());
    thread::scope(|scope| {
        let work = |input: &usize, _: &Crew<'_>| input * 10;
        let outputs = pool::run_on(clock, scope, size(workers, workers), 0..inputs, work);
        let mut outputs: Vec<_> = outputs
            .map(|(input, output)| (input, output.unwrap()))
            .collect();
        outputs.sort_unstable();
        let expected: Vec<_> = (0..inputs).map(|input| (input, input * 10)).collect();
        assert_eq!(outputs, expected);
    });
}

fn aside() {
    let clock = Arc::new(ModelClock::new());
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = |input: &usize, _: &Crew<'_>| {
            if *input == 1 {
                std::panic::resume_unwind(Box::new("expected"))
            }
            sum.fetch_add(*input, Ordering::SeqCst);
        };
        let outputs = pool::run_aside(clock, scope, size(2, 2), 0..4, work);
        assert_eq!(
            outputs.map(|(input, _)| input).collect::<Vec<_>>(),
            [1],
            "only the one that panicked"
        );
    });
    assert_eq!(sum.into_inner(), 5);
}

fn dropped_after(taken: usize) {
    let clock = Arc::new(ModelClock::new());
    let (begun, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let work = |_: &usize, _: &Crew<'_>| {
            begun.fetch_add(1, Ordering::SeqCst);
            shuttle::thread::yield_now();
            finished.fetch_add(1, Ordering::SeqCst);
        };
        let mut outputs = pool::run_on(clock, scope, size(2, 2), 0..6, work);
        (0..taken).for_each(|_| outputs.next().unwrap().1.unwrap());
        drop(outputs);
        let done = finished.load(Ordering::SeqCst);
        assert_eq!(
            begun.load(Ordering::SeqCst),
            done,
            "when the drop returns, nothing is running"
        );
        assert!(
            (taken..=taken + 4).contains(&done),
            "two may lie in the outputs, two be in the workers' hands"
        );
    });
    assert_eq!(
        begun.into_inner(),
        finished.into_inner(),
        "and nothing was begun after it"
    );
}

fn a_panic() {
    let clock = Arc::new(ModelClock::new());
    thread::scope(|scope| {
        // Without the hook, which would print each of some thousand panics.
        let work = |input: &usize, _: &Crew<'_>| {
            if *input == 1 {
                std::panic::resume_unwind(Box::new("expected"))
            }
        };
        let outputs = pool::run_on(clock, scope, size(2, 2), 0..3, work);
        let mut outputs: Vec<_> = outputs
            .map(|(input, output)| (input, output.is_ok()))
            .collect();
        outputs.sort_unstable();
        assert_eq!(outputs, [(0, true), (1, false), (2, true)]);
    });
}

fn hiring_at_the_end() {
    let clock = Arc::new(ModelClock::new());
    let hired = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = |_: &usize, crew: &Crew<'_>| {
            _ = hired.fetch_add(usize::from(crew.hire()), Ordering::SeqCst)
        };
        let mut outputs = pool::run_on(clock, scope, size(1, 2), 0..3, work);
        outputs.next().unwrap().1.unwrap();
        drop(outputs);
    });
    assert!(hired.into_inner() <= 1);
}
