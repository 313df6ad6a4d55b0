//! Several keys and tokens behind one line, in simulated time.

use super::*;
use crate::clock::SimClock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_correction_wakes_a_large_call_even_if_a_small_one_would_wait_as_long() {
    let clock = SimClock::new();
    let start = clock.now();
    let limits = KeyLimits {
        rate: RateLimit::Fixed(Rate::every(SECOND * 55).exact()),
        tokens: NonZeroU32::new(6000),
    };
    let limiter = KeyLimiter::new(clock.clone(), [limits]);
    let cancel = CancelToken::on(clock.clone());
    let first = limiter.acquire(5000, &cancel).unwrap();
    clock.run(2, |n| {
        if n == 0 {
            let permit = limiter.acquire(2000, &cancel).unwrap();
            assert_eq!(permit.granted_at(), start + SECOND * 55);
            return;
        }
        clock.sleep_until(start + SECOND * 10);
        let cheaper = CallReport {
            tokens: Some(100),
            ..CallReport::from(PermitOutcome::Answered)
        };
        let _ = limiter.report(&first, &cheaper);
    });
}

#[test]
fn a_retired_key_grants_no_permit_and_without_keys_the_waits_end() {
    let clock = SimClock::new();
    let each_second = KeyLimits {
        rate: RateLimit::Fixed(Rate::per_second(1).exact()),
        tokens: None,
    };
    let limiter = KeyLimiter::new(clock.clone(), [each_second; 2]);
    let cancel = CancelToken::on(clock.clone());
    let useless = CallReport::from(PermitOutcome::Fatal);
    let first = limiter.acquire(0, &cancel).unwrap();
    assert_eq!(limiter.report(&first, &useless).keys_left, 1);
    let keys: Vec<_> = (0..3)
        .map(|_| limiter.acquire(0, &cancel).unwrap())
        .collect();
    assert!(keys.iter().all(|permit| permit.key() == 1));
    let ended = clock.run(2, |n| {
        if n == 1 {
            assert_eq!(limiter.report(&keys[0], &useless).keys_left, 0);
            return None;
        }
        limiter.acquire(0, &cancel).err()
    });
    assert_eq!(ended, [Some(NoKeyPermit::NoKeyLeft), None]);
}
