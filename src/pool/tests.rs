//! The pool's rules, one test each; on simulated time where time matters.

use super::*;
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::clock::SimClock;
use crate::limiter::{Rate, RateLimiter};
use crate::retry::{Retry, Verdict};
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn nz(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// Runs the work on simulated time in a fixed crew; returns what came out, in order, and when, in seconds.
fn simulate<T: Send>(
    workers: usize,
    inputs: usize,
    work: impl Fn(&usize, &SimClock) -> T + Send + Sync,
) -> Vec<(f64, usize, T)> {
    let clock = SimClock::new();
    thread::scope(|scope| {
        let on = clock.clone();
        let task = move |input: &usize, _: &Crew<'_>| work(input, &on);
        let outputs = run_on(
            Arc::new(clock.clone()),
            scope,
            Size::fixed(nz(workers)),
            0..inputs,
            task,
        );
        outputs
            .map(|(input, output)| (clock.elapsed().as_secs_f64(), input, output.unwrap()))
            .collect()
    })
}

#[test]
fn every_input_comes_out_once_in_order_of_completion() {
    let outputs = simulate(3, 6, |&n, clock| {
        clock.sleep_until(clock.now() + SECOND * (6 - n as u32))
    });
    let order: Vec<_> = outputs.iter().map(|&(at, input, ())| (at, input)).collect();
    assert_eq!(
        order,
        [(4.0, 2), (5.0, 1), (6.0, 0), (7.0, 3), (7.0, 4), (7.0, 5)]
    );
}

#[test]
fn a_panicking_task_is_an_error_of_that_item_alone() {
    let outputs: Vec<_> = thread::scope(|scope| {
        let work = |n: &usize| {
            if *n == 3 {
                panic!("expected by the test: {n}")
            } else {
                *n
            }
        };
        let mut outputs: Vec<_> = run(scope, nz(2), 0..10, work).collect();
        outputs.sort_by_key(|(input, _)| *input);
        outputs
    });
    let failed: Vec<_> = outputs
        .iter()
        .filter(|(_, output)| output.is_err())
        .collect();
    let message = "expected by the test: 3".to_owned();
    assert_eq!(outputs.len(), 10);
    assert_eq!(failed, [&(3, Err(Panicked { message }))]);
}

#[test]
fn inputs_are_pulled_only_as_they_are_needed() {
    let pulled = AtomicUsize::new(0);
    thread::scope(|scope| {
        let inputs = (0..1_000_000).inspect(|_| _ = pulled.fetch_add(1, Ordering::SeqCst));
        let mut outputs = run(scope, nz(2), inputs, |_| ());
        for _ in 0..10 {
            outputs.next().unwrap().1.unwrap();
        }
    });
    // Ten taken; two in the outputs, two with the workers, two in the queue, one with the feeder; and as many again may
    // have been pulled while the pool wound down.
    let pulled = pulled.load(Ordering::SeqCst);
    assert!((10..=30).contains(&pulled), "{pulled}");
}

#[test]
fn no_more_inputs_are_pulled_than_the_queue_has_room_for() {
    let pulled = AtomicUsize::new(0);
    let clock = SimClock::new();
    thread::scope(|scope| {
        let work = |_: &u32, _: &Crew<'_>| clock.sleep_until(clock.now() + SECOND);
        let inputs = (0..100).inspect(|_| _ = pulled.fetch_add(1, Ordering::SeqCst));
        let size = Size {
            queue: nz(10),
            ..Size::fixed(nz(2))
        };
        let mut outputs = run_on(Arc::new(clock.clone()), scope, size, inputs, work);
        clock.sleep_until(clock.now() + SECOND / 2);
        // Two with the workers, one with the feeder, and in the queue eight, if it was full before they took theirs, to ten.
        let pulled = pulled.load(Ordering::SeqCst);
        assert!((11..=13).contains(&pulled), "{pulled}");
        assert_eq!(outputs.by_ref().count(), 100);
    });
}

#[test]
fn a_slow_consumer_holds_the_workers_and_the_feeder_back() {
    let begun = AtomicUsize::new(0);
    let clock = SimClock::new();
    thread::scope(|scope| {
        let work = |_: &u32, _: &Crew<'_>| _ = begun.fetch_add(1, Ordering::SeqCst);
        let mut outputs = run_on(
            Arc::new(clock.clone()),
            scope,
            Size::fixed(nz(2)),
            0..100,
            work,
        );
        for taken in 1..=20 {
            outputs.next().unwrap().1.unwrap();
            clock.sleep_until(clock.now() + SECOND);
            assert!(
                begun.load(Ordering::SeqCst) <= taken + 4,
                "two done and two with the workers"
            );
        }
    });
    assert_eq!(clock.elapsed(), SECOND * 20);
}

#[test]
fn dropping_the_outputs_stops_the_pool_after_the_running_tasks() {
    let clock = SimClock::new();
    let finished = AtomicU32::new(0);
    thread::scope(|scope| {
        let work = |_: &u32, _: &Crew<'_>| {
            clock.sleep_until(clock.now() + SECOND);
            finished.fetch_add(1, Ordering::SeqCst);
        };
        let mut outputs = run_on(
            Arc::new(clock.clone()),
            scope,
            Size::fixed(nz(4)),
            0..,
            work,
        );
        outputs.next().unwrap().1.unwrap();
    });
    assert_eq!(clock.elapsed(), SECOND * 2);
    let expected = 5; // the one taken out, the three beside it, and what its worker had begun since
    assert_eq!(finished.load(Ordering::SeqCst), expected);
}

#[test]
fn a_caller_that_lives_on_the_clock_already_may_drop_the_outputs_early() {
    let clock = SimClock::new();
    let _seat = clock.enlist().join();
    thread::scope(|scope| {
        let work = |_: &u32, _: &Crew<'_>| clock.sleep_until(clock.now() + SECOND);
        drop(run_on(
            Arc::new(clock.clone()),
            scope,
            Size::fixed(nz(4)),
            0..,
            work,
        ));
    });
    assert!(clock.elapsed() <= SECOND);
}

#[test]
fn no_inputs_no_outputs() {
    assert!(simulate(4, 0, |_, _| ()).is_empty());
}

#[test]
fn a_crew_grows_when_told_but_not_beyond_its_bound() {
    let clock = SimClock::new();
    let hired = AtomicUsize::new(0);
    let took = thread::scope(|scope| {
        let work = |_: &u32, crew: &Crew<'_>| {
            hired.fetch_add(usize::from(crew.hire()), Ordering::SeqCst);
            clock.sleep_until(clock.now() + SECOND);
        };
        let size = Size {
            most: nz(8),
            ..Size::fixed(nz(1))
        };
        let outputs = run_on(Arc::new(clock.clone()), scope, size, 0..80, work);
        assert_eq!(outputs.count(), 80);
        clock.elapsed()
    });
    assert_eq!(hired.load(Ordering::SeqCst), 7);
    assert_eq!(took, SECOND * 10);
}

/// The article's job, in simulated time: 200 topics at 10 calls a minute, by four workers.
fn articles_job(seed: u64) -> (Vec<(Duration, usize)>, Duration) {
    let clock = SimClock::new();
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let rate = Rate::per_minute(NonZeroU32::new(10).unwrap()).with_guard(Duration::ZERO);
    let (limiter, cancel) = (
        RateLimiter::on(on.clone(), rate),
        CancelToken::on(on.clone()),
    );
    let backoff = Backoff {
        base: SECOND * 20,
        jitter: Jitter::Full,
        ..Backoff::default()
    };
    let retry = Retry {
        backoff,
        ..Retry::default()
    };
    let answers = thread::scope(|scope| {
        let work = |&topic: &usize, _: &Crew<'_>| {
            let call = |n| {
                limiter.wait();
                clock.sleep_until(clock.now() + SECOND * 2);
                if topic % 10 == 0 && n == 1 {
                    Err(503)
                } else {
                    Ok(())
                }
            };
            retry
                .trace(
                    &cancel,
                    seed + topic as u64,
                    |_| Verdict::Retry,
                    |_| {},
                    call,
                )
                .into_result()
        };
        let outputs = run_on(on.clone(), scope, Size::fixed(nz(4)), 0..200, work);
        let answered = |(topic, answer): (usize, Result<Result<(), u16>, Panicked>)| {
            answer.unwrap().unwrap();
            (clock.elapsed(), topic)
        };
        outputs.map(answered).collect()
    });
    (answers, clock.elapsed())
}

#[test]
fn the_articles_twenty_minutes_pass_in_an_instant_and_the_same_each_time() {
    let (answers, took) = articles_job(1);
    assert_eq!(answers.len(), 200);
    assert_eq!(
        took,
        SECOND * (219 * 6 + 2),
        "200 calls and 20 retries, one every six seconds"
    );
    for _ in 0..3 {
        assert_eq!(articles_job(1), (answers.clone(), took));
    }
    assert!(articles_job(2).0 != answers, "another seed, other backoffs");
}
