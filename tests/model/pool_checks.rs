//! The pool's work and its end: nothing is lost, nothing is done twice, and nobody waits for ever.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cancel::CancelToken;
use crate::pool::{AddWorker, Pool};
use crate::sync::thread;
use crate::time::ModelClock;
use crate::{Check, check};

pub(crate) const CHECKS: &[Check] = &[
    check(
        "a pool of two: every input comes out once, and then no more",
        4,
        1,
        every_input,
    ),
    check("outputs in order of input, each once", 4, 1, in_order),
    check(
        "a worker begins no other input before an output was dealt with",
        4,
        0,
        one_at_a_time,
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
        1,
        || dropped_after(1),
    ),
    check("a caller that breaks off ends the pool", 4, 1, breaking_off),
    check(
        "ordered outputs that are dropped after one end the pool",
        4,
        1,
        dropped_in_order,
    ),
    check(
        "a cancelled pool ends, and what was begun comes out",
        4,
        1,
        cancelled,
    ),
    check(
        "a task that panics costs its own output and no other",
        4,
        1,
        a_panic,
    ),
    check(
        "a pool that grows while it ends, ends",
        4,
        2,
        growing_at_the_end,
    ),
];

fn pool(workers: usize) -> Pool {
    Pool::new(workers).clock(ModelClock::new())
}

fn every_input() {
    thread::scope(|scope| {
        let outputs = pool(2).map(scope, 0..3, |input| input * 10);
        let mut outputs: Vec<_> = outputs
            .map(|(number, output)| (number, output.unwrap()))
            .collect();
        outputs.sort_unstable();
        assert_eq!(outputs, [(0, 0), (1, 10), (2, 20)]);
    });
}

fn in_order() {
    thread::scope(|scope| {
        let outputs = pool(2)
            .queue(1)
            .map_in_order(scope, 0..3, |input| input * 10);
        let outputs: Vec<_> = outputs
            .map(|(number, output)| (number, output.unwrap()))
            .collect();
        assert_eq!(outputs, [(0, 0), (1, 10), (2, 20)]);
    });
}

/// What the workers have begun and finished.
#[derive(Default)]
struct Progress {
    begun: AtomicUsize,
    finished: AtomicUsize,
}

impl Progress {
    fn work(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        shuttle::thread::yield_now();
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }
}

fn one_at_a_time() {
    let progress = Progress::default();
    let mut handed_over = 0;
    let ended = pool(2).for_each(
        0..4,
        |_| progress.work(),
        |_, _| {
            handed_over += 1;
            for _ in 0..2 {
                assert!(
                    progress.begun() <= handed_over + 1,
                    "each worker waits until an output is dealt with"
                );
                shuttle::thread::yield_now();
            }
            ControlFlow::<()>::Continue(())
        },
    );
    assert_eq!((ended, handed_over), (ControlFlow::Continue(()), 4));
}

fn dropped_after(taken: usize) {
    let progress = Progress::default();
    thread::scope(|scope| {
        let mut outputs = pool(2).map(scope, 0..6, |_: usize| progress.work());
        (0..taken).for_each(|_| outputs.next().unwrap().1.unwrap());
        drop(outputs);
        assert_ended(&progress, taken);
    });
    assert_ended(&progress, taken);
}

/// Nothing is running, and no more was begun than can have been: an output is handed over, and each of two workers has
/// another.
fn assert_ended(progress: &Progress, taken: usize) {
    let done = progress.finished();
    assert_eq!(progress.begun(), done);
    assert!((taken..=3).contains(&done), "{done} were begun");
}

fn breaking_off() {
    let progress = Progress::default();
    let ended = pool(2).for_each(
        0..6,
        |_| progress.work(),
        |number, _| ControlFlow::Break(number),
    );
    assert!(ended.is_break());
    assert_ended(&progress, 1);
}

fn dropped_in_order() {
    let progress = Progress::default();
    thread::scope(|scope| {
        let mut outputs = pool(2)
            .queue(1)
            .map_in_order(scope, 0..6, |_| progress.work());
        let (first, _) = outputs.next().unwrap();
        assert_eq!(first, 0);
        drop(outputs);
        assert_eq!(progress.begun(), progress.finished());
    });
    assert!(
        progress.begun() <= 4,
        "workers + queue are ahead of the first"
    );
}

fn cancelled() {
    let progress = Progress::default();
    let token = CancelToken::on(ModelClock::new());
    thread::scope(|scope| {
        let outputs = pool(1).cancel(&token).map(scope, 0..3, |_| progress.work());
        scope.spawn(|| token.cancel());
        let numbers: Vec<_> = outputs.map(|(number, _)| number).collect();
        let begun: Vec<_> = (0..progress.begun()).collect();
        assert_eq!(numbers, begun);
    });
    assert_eq!(progress.begun(), progress.finished());
}

fn a_panic() {
    thread::scope(|scope| {
        // Without the hook, which would print each of some thousand panics.
        let work = |input: usize| {
            if input == 1 {
                std::panic::resume_unwind(Box::new("expected"))
            }
        };
        let outputs = pool(2).map(scope, 0..3, work);
        let mut outputs: Vec<_> = outputs
            .map(|(number, output)| (number, output.is_ok()))
            .collect();
        outputs.sort_unstable();
        assert_eq!(outputs, [(0, true), (1, false), (2, true)]);
    });
}

fn growing_at_the_end() {
    let added = AtomicUsize::new(0);
    let work = |_, add: &AddWorker<'_>| {
        added.fetch_add(usize::from(add()), Ordering::SeqCst);
    };
    thread::scope(|scope| {
        let outputs = pool(1).start(scope, 2, 0..3, work, false);
        assert!(outputs.take(1).all(|(_, output)| output.is_ok()));
    });
    assert!(added.into_inner() <= 1);
}
