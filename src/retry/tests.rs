//! The rules of the retry, one test each, in simulated time.

use std::cell::RefCell;

use super::*;
use crate::backoff::Jitter;
use crate::clock::{Clock, SimClock};
use crate::limiter::Rate;

const SECOND: Duration = Duration::from_secs(1);

type Played = (Result<u32, RetryError<Verdict>>, Duration);

/// Plays a list of verdicts, one for each attempt, and then success; returns how the call ended and the simulated time
/// it took.
fn play(retry: Retry, verdicts: &[Verdict]) -> Played {
    let clock = SimClock::new();
    let cancel = CancelToken::on(clock.clone());
    let op = |attempt: &Attempt<'_>| {
        let verdict = verdicts.get(attempt.number() as usize - 1).copied();
        verdict.map_or(Ok(attempt.number()), Err)
    };
    let ended = retry
        .call(|verdict| *verdict, op)
        .cancel(&cancel)
        .seed(1)
        .run();
    (ended, clock.elapsed())
}

fn plain(retries: u32) -> Retry {
    Retry::new()
        .retries(retries)
        .backoff(Backoff::new().jitter(Jitter::None))
}

/// A limiter at one call a second, in simulated time.
fn limiter(clock: &SimClock) -> RateLimiter {
    let rate = Rate::per_second(1).exact();
    RateLimiter::builder()
        .rate(rate)
        .clock(clock.clone())
        .build()
}

#[test]
fn a_success_at_once_takes_no_time() {
    let (ended, took) = play(plain(5), &[]);
    assert_eq!((ended.unwrap(), took), (1, Duration::ZERO));
}

#[test]
fn faults_are_retried_after_growing_delays() {
    let (ended, took) = play(plain(5), &[Verdict::Retry; 5]);
    assert_eq!((ended.unwrap(), took), (6, SECOND * (1 + 2 + 4 + 8 + 16)));
}

#[test]
fn when_the_retries_are_spent_the_last_error_comes_out_with_the_count_and_the_time() {
    let (ended, took) = play(plain(2), &[Verdict::Retry; 9]);
    let error = ended.unwrap_err();
    assert_eq!(
        (error.why, error.last),
        (GaveUp::RetriesSpent, Some(Verdict::Retry))
    );
    assert_eq!(
        (error.attempts, error.elapsed, took),
        (3, SECOND * 3, SECOND * 3)
    );
    assert_eq!(
        error.to_string(),
        "gave up at attempt 3 after 3.0s: all retries are spent"
    );
}

#[test]
fn the_source_of_the_error_is_the_last_failure() {
    let failing = |_: &Attempt<'_>| "x".parse::<u32>();
    let error = plain(0).call(|_| Verdict::Stop, failing).run().unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "invalid digit found in string"
    );
}

#[test]
fn what_the_server_says_wins_and_is_never_shortened() {
    let (ended, took) = play(plain(5), &[Verdict::RetryAfter(SECOND * 10)]);
    assert_eq!(ended.unwrap(), 2);
    assert!(took >= SECOND * 10 && took <= SECOND * 11, "{took:?}");
}

#[test]
fn a_rate_limit_spends_no_retry() {
    let (ended, _) = play(plain(0), &[Verdict::RateLimited(Some(SECOND)); 20]);
    assert_eq!(ended.unwrap(), 21);
    let (ended, took) = play(plain(0), &[Verdict::RateLimited(None); 3]);
    assert_eq!((ended.unwrap(), took), (4, SECOND * 7));
    let (ended, _) = play(plain(0), &[Verdict::RateLimited(None), Verdict::Retry]);
    assert_eq!(ended.unwrap_err().why, GaveUp::RetriesSpent);
}

#[test]
fn a_rate_limit_behind_a_limiter_does_not_lengthen_the_next_backoff() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let mut attempts = Vec::new();
    let op = |attempt: &Attempt<'_>| {
        attempts.push(clock.elapsed().as_secs());
        match attempt.number() {
            1..=2 => Err(Verdict::RateLimited(None)),
            3 => Err(Verdict::Retry),
            _ => Ok(()),
        }
    };
    plain(1)
        .call(|verdict| *verdict, op)
        .limiter(&limiter)
        .run()
        .unwrap();
    assert_eq!(
        attempts,
        [0, 1, 3, 4],
        "pauses of 1 s and 2 s, and a backoff of 1 s"
    );
}

#[test]
fn a_retry_after_of_nothing_is_no_invitation_to_try_again_at_once() {
    let now = SystemTime::now();
    assert_eq!(
        Verdict::of_http(429, Some("0"), now),
        Verdict::RateLimited(None)
    );
    assert_eq!(Verdict::of_http(503, Some("0"), now), Verdict::Retry);
}

#[test]
fn stop_means_stop() {
    let (ended, took) = play(plain(5), &[Verdict::Retry, Verdict::Stop]);
    let error = ended.unwrap_err();
    assert_eq!(
        (error.why, error.attempts, took),
        (GaveUp::Stopped, 2, SECOND)
    );
}

#[test]
fn no_wait_is_begun_that_would_end_too_late() {
    let hurried = plain(9).within(SECOND * 7);
    let (ended, took) = play(hurried, &[Verdict::Retry; 9]);
    assert_eq!(
        (ended.unwrap_err().why, took),
        (GaveUp::OutOfTime, SECOND * 3)
    );
    let (ended, took) = play(hurried, &[Verdict::RateLimited(Some(SECOND * 8))]);
    assert_eq!(
        (ended.unwrap_err().why, took),
        (GaveUp::OutOfTime, Duration::ZERO)
    );
}

#[test]
fn the_time_given_binds_the_wait_in_line() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let ends = clock.run(5, |_| {
        let call = Retry::new()
            .within(SECOND * 2)
            .call(|()| Verdict::Stop, |_| Ok(()));
        call.limiter(&limiter)
            .run()
            .map_err(|error| (error.why, error.attempts, error.last))
    });
    assert_eq!(ends[..2], [Ok(()); 2]);
    assert_eq!(ends[2..], [Err((GaveUp::OutOfTime, 0, None)); 3]);
    assert_eq!(clock.elapsed(), SECOND);
    assert_eq!(limiter.stats().timed_out, 3);
}

#[test]
fn the_time_given_binds_a_pause_too() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let op = |attempt: &Attempt<'_>| {
        assert_eq!(
            attempt.remaining(),
            Some(SECOND * 30),
            "one attempt, at the beginning"
        );
        Err::<(), _>(Verdict::RateLimited(Some(SECOND * 40)))
    };
    let call = Retry::new()
        .within(SECOND * 30)
        .call(|verdict| *verdict, op);
    assert_eq!(
        call.limiter(&limiter).run().unwrap_err().why,
        GaveUp::OutOfTime
    );
    assert_eq!(clock.elapsed(), Duration::ZERO, "it is known at once");
}

#[test]
fn an_endless_rate_limit_ends_with_the_patience() {
    for ordered in [None, Some(SECOND)] {
        let clock = SimClock::new();
        let limiter = limiter(&clock);
        let always = |_: &Attempt<'_>| Err::<(), _>(Verdict::RateLimited(ordered));
        let call = Retry::new().call(|verdict| *verdict, always);
        let error = call.limiter(&limiter).seed(7).run().unwrap_err();
        assert_eq!(error.why, GaveUp::RateLimited);
        assert!(error.elapsed <= SECOND * 15 * 60 && error.elapsed > SECOND * 13 * 60);
    }
    let hours = play(plain(5), &[Verdict::RateLimited(Some(SECOND * 3600))]);
    assert_eq!(
        (hours.0.unwrap_err().why, hours.1),
        (GaveUp::RateLimited, Duration::ZERO)
    );
}

#[test]
fn the_last_attempt_is_made_as_the_patience_ends_where_the_wait_is_our_own() {
    let patience = plain(0).patience(SECOND * 30);
    let (ended, took) = play(patience, &[Verdict::RateLimited(None); 99]);
    let error = ended.unwrap_err();
    assert_eq!((error.why, took), (GaveUp::RateLimited, SECOND * 30));
    assert_eq!(error.attempts, 6, "at 0, 1, 3, 7, 15 and 30 s");
    let (ended, took) = play(patience, &[Verdict::RateLimited(None); 5]);
    assert_eq!((ended.unwrap(), took), (6, SECOND * 30), "it may succeed");
    let ordered = [
        Verdict::RateLimited(None),
        Verdict::RateLimited(Some(SECOND * 29)),
    ];
    let (ended, took) = play(patience, &[ordered[0], ordered[0], ordered[1]]);
    let error = ended.unwrap_err();
    assert_eq!(
        (error.attempts, took),
        (3, SECOND * 3),
        "the server's is not cut short"
    );
}

#[test]
fn any_other_outcome_renews_the_patience() {
    let patience = plain(1).patience(SECOND * 2);
    let limited = Verdict::RateLimited(None);
    let verdicts = [limited, Verdict::Retry, limited];
    let (ended, took) = play(patience, &verdicts);
    assert_eq!((ended.unwrap(), took), (4, SECOND * (1 + 2 + 2)));
}

#[test]
fn the_wait_in_line_before_the_first_rate_limit_costs_no_patience() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    limiter.pause(SECOND * 60);
    let op = |attempt: &Attempt<'_>| match attempt.number() {
        1..=3 => Err(Verdict::RateLimited(Some(SECOND))),
        _ => Ok(clock.elapsed()),
    };
    let call = plain(0).patience(SECOND * 3).call(|verdict| *verdict, op);
    assert_eq!(call.limiter(&limiter).run().unwrap(), SECOND * 63);
}

#[test]
fn an_absurd_retry_after_does_not_panic() {
    let absurd = Verdict::of_http(429, Some("18446744073709551615"), SystemTime::now());
    for limited in [false, true] {
        let clock = SimClock::new();
        let (limiter, cancel) = (limiter(&clock), CancelToken::on(clock.clone()));
        let retry = Retry::new().patience(Duration::MAX).within(SECOND * 60);
        let call = retry
            .call(|verdict| *verdict, |_| Err::<(), _>(absurd))
            .cancel(&cancel);
        let call = if limited {
            call.limiter(&limiter)
        } else {
            call
        };
        assert_eq!(call.run().unwrap_err().why, GaveUp::OutOfTime);
    }
}

#[test]
fn a_cancelled_backoff_ends_at_once() {
    let clock = SimClock::new();
    let cancel = CancelToken::on(clock.clone());
    let op = |attempt: &Attempt<'_>| {
        if attempt.number() == 3 {
            cancel.cancel();
        }
        Err::<(), _>(attempt.number())
    };
    let error = plain(5)
        .call(|_| Verdict::Retry, op)
        .cancel(&cancel)
        .run()
        .unwrap_err();
    assert_eq!((error.why, error.attempts), (GaveUp::Cancelled, 3));
    assert_eq!(clock.elapsed(), SECOND * 3);
}

#[test]
fn a_token_on_another_clock_ends_the_call_as_well() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let cancel = CancelToken::new(); // on the system's clock
    let ends = clock.run(2, |n| {
        if n == 1 {
            clock.sleep_until(clock.now() + SECOND * 2);
            cancel.cancel();
            return None;
        }
        let op = |_: &Attempt<'_>| Err::<(), _>(Verdict::RateLimited(Some(SECOND * 60)));
        let call = Retry::new()
            .call(|verdict| *verdict, op)
            .limiter(&limiter)
            .cancel(&cancel);
        Some((call.run().unwrap_err().why, clock.elapsed()))
    });
    assert_eq!(ends, [Some((GaveUp::Cancelled, SECOND * 2)), None]);
}

#[test]
fn behind_a_limiter_a_rate_limit_pauses_everyone_and_each_attempt_takes_a_permit() {
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let mut attempts = Vec::new();
    let op = |attempt: &Attempt<'_>| {
        attempts.push(clock.elapsed().as_secs());
        match attempt.number() {
            1 => Err(Verdict::RateLimited(Some(SECOND * 10))),
            2 => Err(Verdict::Retry),
            _ => Ok(attempt.permit().is_some()),
        }
    };
    let call = plain(1).call(|verdict| *verdict, op).limiter(&limiter);
    assert!(call.run().unwrap());
    assert_eq!(attempts, [0, 10, 11]);
    let stats = limiter.stats();
    assert_eq!((stats.granted, stats.rate_limited), (3, 1));
}

#[test]
fn each_failure_is_told_before_its_wait() {
    let seen = RefCell::new(Vec::new());
    let verdicts = [
        Verdict::Retry,
        Verdict::RateLimited(Some(SECOND * 2)),
        Verdict::Stop,
    ];
    let clock = SimClock::new();
    let limiter = limiter(&clock);
    let op = |attempt: &Attempt<'_>| Err::<(), _>(verdicts[attempt.number() as usize - 1]);
    let call = plain(5).call(|verdict| *verdict, op).limiter(&limiter);
    let told = call.on_retry(|failed| {
        seen.borrow_mut()
            .push((failed.attempt, *failed.error, failed.wait, clock.elapsed()));
    });
    assert_eq!(told.run().unwrap_err().attempts, 3);
    let expected = [
        (1, verdicts[0], SECOND, Duration::ZERO),
        (2, verdicts[1], SECOND * 2, SECOND),
    ];
    assert_eq!(seen.into_inner(), expected, "and none for the last");
}

#[test]
fn the_same_seed_waits_the_same() {
    let wait = |seed| {
        let clock = SimClock::new();
        let cancel = CancelToken::on(clock.clone());
        let op = |attempt: &Attempt<'_>| {
            if attempt.number() < 4 {
                Err(())
            } else {
                Ok(())
            }
        };
        let call = Retry::new().call(|()| Verdict::Retry, op).cancel(&cancel);
        call.seed(seed).run().unwrap();
        clock.elapsed()
    };
    assert_eq!(wait(7), wait(7));
    assert_ne!(wait(7), wait(8));
}

#[test]
fn a_status_with_a_time_is_waited_for_as_the_server_says() {
    let of = |status, wait| Verdict::of_http(status, wait, std::time::SystemTime::UNIX_EPOCH);
    let five = Duration::from_secs(5);
    assert_eq!(of(503, Some("5")), Verdict::RateLimited(Some(five)));
    assert_eq!(of(502, Some("5")), Verdict::RetryAfter(five));
    assert_eq!(of(503, Some("0")), Verdict::Retry);
    assert_eq!(of(404, Some("5")), Verdict::Stop);
}
