//! The pool's rules, one test each; in simulated time where time matters.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::*;
use crate::backoff::{Backoff, Jitter};
use crate::clock::SimClock;
use crate::limiter::{Rate, RateLimiter};
use crate::retry::{Attempt, Retry, Verdict};

const SECOND: Duration = Duration::from_secs(1);

/// Runs the work on simulated time; returns what came out, in order, and when, in seconds.
fn simulate<T: Send>(
    workers: usize,
    inputs: usize,
    work: impl Fn(usize, &SimClock) -> T + Send + Sync,
) -> Vec<(f64, usize, T)> {
    let clock = SimClock::new();
    let mut seen = Vec::new();
    let pool = Pool::new(workers).clock(clock.clone());
    let ended = pool.for_each(
        0..inputs,
        |input| work(input, &clock),
        |number, output| {
            seen.push((clock.elapsed().as_secs_f64(), number, output.unwrap()));
            ControlFlow::<()>::Continue(())
        },
    );
    assert_eq!(ended, ControlFlow::Continue(()));
    seen
}

#[test]
fn every_input_comes_out_once_in_order_of_completion() {
    let outputs = simulate(3, 6, |n, clock| {
        clock.sleep_until(clock.now() + SECOND * (6 - n as u32))
    });
    let order: Vec<_> = outputs
        .iter()
        .map(|&(at, number, ())| (at, number))
        .collect();
    assert_eq!(
        order,
        [(4.0, 2), (5.0, 1), (6.0, 0), (7.0, 3), (7.0, 4), (7.0, 5)]
    );
}

#[test]
fn in_order_of_input_an_early_output_waits_for_those_before_it() {
    let clock = SimClock::new();
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = |n: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            clock.sleep_until(clock.now() + SECOND * if n == 0 { 60 } else { 1 });
            n * 10
        };
        let pool = Pool::new(3).queue(2).clock(clock.clone());
        let mut outputs = pool.map_in_order(scope, 0..100, work);
        assert_eq!(
            outputs.next().map(|(n, output)| (n, output.unwrap())),
            Some((0, 0))
        );
        assert_eq!(clock.elapsed(), SECOND * 60);
        assert_eq!(
            begun.load(Ordering::SeqCst),
            5,
            "workers + queue, and not all hundred"
        );
        let rest: Vec<_> = outputs.map(|(n, output)| (n, output.unwrap())).collect();
        assert_eq!(rest, (1..100).map(|n| (n, n * 10)).collect::<Vec<_>>());
    });
}

#[test]
fn an_ordered_pool_that_is_cancelled_yields_what_was_finished_and_ends() {
    let clock = SimClock::new();
    let token = CancelToken::on(clock.clone());
    thread::scope(|scope| {
        let work = |n: usize| {
            let time = SECOND * if n == 0 { 60 } else { 1 };
            token.sleep(time).is_ok()
        };
        let pool = Pool::new(3).cancel(&token);
        let outputs = pool.map_in_order(scope, 0.., work);
        scope.spawn({
            let participant = clock.enlist();
            let (token, clock) = (&token, &clock);
            move || {
                let _participant = participant.join();
                clock.sleep_until(clock.now() + SECOND * 10);
                token.cancel();
            }
        });
        let finished = outputs
            .filter(|(_, output)| *output.as_ref().unwrap())
            .count();
        assert_eq!(
            finished, 5,
            "all that may be ahead of the first, which was cancelled"
        );
    });
    assert_eq!(clock.elapsed(), SECOND * 10);
}

#[test]
fn a_panicking_task_is_an_error_of_that_input_alone() {
    let mut failed = Vec::new();
    let work = |n: usize| assert!(n != 3, "expected by the test: {n}");
    let _ = Pool::new(2).for_each(0..10, work, |number, output| {
        failed.extend(
            output
                .err()
                .map(|panicked| (number, panicked.message().to_owned())),
        );
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(failed, [(3, "expected by the test: 3".to_owned())]);
    let resumed = catch_unwind(|| Panicked(Box::new(7)).resume());
    assert_eq!(resumed.unwrap_err().downcast_ref(), Some(&7));
}

#[test]
fn inputs_are_pulled_only_as_they_are_needed() {
    let pulled = AtomicUsize::new(0);
    thread::scope(|scope| {
        let inputs = (0..1_000_000).inspect(|_| _ = pulled.fetch_add(1, Ordering::SeqCst));
        let mut outputs = Pool::new(2).map(scope, inputs, |_| ());
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
        let work = |_: u32| clock.sleep_until(clock.now() + SECOND);
        let inputs = (0..100).inspect(|_| _ = pulled.fetch_add(1, Ordering::SeqCst));
        let pool = Pool::new(2).queue(10).clock(clock.clone());
        let mut outputs = pool.map(scope, inputs, work);
        clock.sleep_until(clock.now() + SECOND / 2);
        // Two with the workers, ten in the queue, one with the feeder.
        assert_eq!(pulled.load(Ordering::SeqCst), 13);
        assert_eq!(outputs.by_ref().count(), 100);
    });
}

#[test]
fn a_slow_consumer_holds_the_workers_and_the_feeder_back() {
    let begun = AtomicUsize::new(0);
    let clock = SimClock::new();
    thread::scope(|scope| {
        let work = |_: u32| _ = begun.fetch_add(1, Ordering::SeqCst);
        let mut outputs = Pool::new(2).clock(clock.clone()).map(scope, 0..100, work);
        for taken in 1..=20 {
            outputs.next().unwrap().1.unwrap();
            clock.sleep_until(clock.now() + SECOND);
            let begun = begun.load(Ordering::SeqCst);
            assert!(begun <= taken + 2, "one with each worker");
        }
    });
    assert_eq!(clock.elapsed(), SECOND * 20);
}

#[test]
fn dropping_the_outputs_stops_the_pool_after_the_running_tasks() {
    let clock = SimClock::new();
    let finished = AtomicU32::new(0);
    thread::scope(|scope| {
        let work = |_: u32| {
            clock.sleep_until(clock.now() + SECOND);
            finished.fetch_add(1, Ordering::SeqCst);
        };
        let mut outputs = Pool::new(4).clock(clock.clone()).map(scope, 0.., work);
        outputs.next().unwrap().1.unwrap();
    });
    assert_eq!(clock.elapsed(), SECOND);
    let expected = 4; // the one taken out, and the three beside it
    assert_eq!(finished.load(Ordering::SeqCst), expected);
}

#[test]
fn breaking_off_returns_the_reason_and_stops_the_pool() {
    let clock = SimClock::new();
    let work = |n: u32| {
        clock.sleep_until(clock.now() + SECOND);
        n
    };
    let ended = Pool::new(1)
        .clock(clock.clone())
        .for_each(0.., work, |_, n| match n.unwrap() {
            2 => ControlFlow::Break("enough"),
            _ => ControlFlow::Continue(()),
        });
    assert_eq!(ended, ControlFlow::Break("enough"));
    assert!(clock.elapsed() <= SECOND * 4);
}

#[test]
fn a_cancelled_pool_drops_what_waits_and_ends_with_the_running_tasks() {
    let clock = SimClock::new();
    let token = CancelToken::on(clock.clone());
    let begun = AtomicU32::new(0);
    let work = |n: u32| {
        begun.fetch_add(1, Ordering::SeqCst);
        if n == 0 {
            clock.sleep_until(clock.now() + SECOND / 20);
            token.cancel();
        }
        token.sleep(SECOND * 10).is_ok()
    };
    let mut outputs = 0;
    let _ = Pool::new(2)
        .queue(50)
        .cancel(&token)
        .for_each(0..100, work, |_, finished| {
            outputs += 1;
            assert!(!finished.unwrap());
            ControlFlow::<()>::Continue(())
        });
    assert_eq!((outputs, begun.into_inner()), (2, 2));
    assert_eq!(clock.elapsed(), SECOND / 20);
}

#[test]
fn a_caller_that_takes_part_in_simulated_time_may_drop_the_outputs_early() {
    let clock = SimClock::new();
    let _participant = clock.enlist().join();
    thread::scope(|scope| {
        let work = |_: u32| clock.sleep_until(clock.now() + SECOND);
        drop(Pool::new(4).clock(clock.clone()).map(scope, 0.., work));
    });
    assert!(clock.elapsed() <= SECOND);
}

#[test]
fn no_inputs_no_outputs() {
    assert!(simulate(4, 0, |_, _| ()).is_empty());
}

#[test]
fn a_pool_grows_where_inputs_wait_but_not_beyond_its_bound() {
    let clock = SimClock::new();
    let added = AtomicUsize::new(0);
    let work = |_: u32, add: &AddWorker<'_>| {
        clock.sleep_until(clock.now() + SECOND / 2);
        added.fetch_add(usize::from(add()), Ordering::SeqCst);
        clock.sleep_until(clock.now() + SECOND / 2);
    };
    let pool = Pool::new(1).clock(clock.clone());
    thread::scope(|scope| {
        let outputs = pool.start(scope, 8, 0..80, work, false);
        assert_eq!(outputs.filter(|(_, output)| output.is_ok()).count(), 80);
    });
    assert_eq!(added.into_inner(), 7);
    assert!(clock.elapsed() <= SECOND * 14, "{:?}", clock.elapsed());
}

/// The article's job, in simulated time: 200 topics at 10 calls a minute, by four workers.
fn articles_job(seed: u64) -> (Vec<(Duration, usize)>, Duration) {
    let clock = SimClock::new();
    let rate = Rate::per_minute(10).exact();
    let limiter = RateLimiter::builder()
        .rate(rate)
        .clock(clock.clone())
        .build();
    let retry = Retry::new().backoff(Backoff::new().base(SECOND * 20).jitter(Jitter::Full));
    let work = |topic: usize| {
        let op = |attempt: &Attempt<'_>| {
            clock.sleep_until(clock.now() + SECOND * 2);
            if topic % 10 == 0 && attempt.number() == 1 {
                Err(503)
            } else {
                Ok(())
            }
        };
        let call = retry.call(|_| Verdict::Retry, op).limiter(&limiter);
        call.seed(seed + topic as u64).run().unwrap();
    };
    let mut answers = Vec::new();
    let _ = Pool::new(4)
        .clock(clock.clone())
        .for_each(0..200, work, |topic, answer| {
            answer.unwrap();
            answers.push((clock.elapsed(), topic));
            ControlFlow::<()>::Continue(())
        });
    (answers, clock.elapsed())
}

#[test]
fn the_articles_twenty_minutes_pass_in_an_instant_and_the_same_each_time() {
    let (answers, took) = articles_job(1);
    assert_eq!(answers.len(), 200);
    let calls = "200 calls and 20 retries, one every six seconds";
    assert_eq!(took, SECOND * (219 * 6 + 2), "{calls}");
    for _ in 0..3 {
        assert_eq!(articles_job(1), (answers.clone(), took));
    }
    assert!(articles_job(2).0 != answers, "another seed, other backoffs");
}

#[test]
fn a_panic_is_shown_by_its_message() {
    let panicked = Panicked(Box::new("no bread"));
    assert_eq!(panicked.to_string(), "the task panicked: no bread");
    assert_eq!(format!("{panicked:?}"), r#"Panicked("no bread")"#);
}
