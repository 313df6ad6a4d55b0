//! The turnstile's rules, for whatever rate, burst, lanes, threads, holds and cancellations: on simulated time.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use paceline::clock::SimClock;
use paceline::limiter::{Limits, Tempo, Turnstile};
use paceline::{CancelToken, Clock, Rate, RateLimiter};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Somebody says at `at` that everyone is held until `until`. Half milliseconds, so that it is never said at the very
/// instant of a turn.
#[derive(Clone, Copy, Debug)]
struct Hold {
    at: Duration,
    until: Duration,
}

#[derive(Clone, Debug)]
struct Case {
    rate: Rate,
    lanes: usize,
    /// How many turns each thread takes, and when it loses its patience.
    threads: Vec<(usize, Option<Duration>)>,
    /// In order of time.
    holds: Vec<Hold>,
}

/// What happened, from the start, in order of time.
#[derive(Debug, Default)]
struct Seen {
    /// Which thread came.
    arrivals: Vec<usize>,
    /// When which thread passed, and through which lane.
    turns: Vec<(Duration, usize, usize)>,
    cancelled: Vec<usize>,
}

fn half_ms(whole: u64) -> Duration {
    MS * whole as u32 + MS / 2
}

/// A hold never begins at the instant of a turn, where either might come first: turns are at whole milliseconds, and at
/// halves of them after a hold.
fn holds() -> impl Strategy<Value = Vec<Hold>> {
    let hold = (0u64..20_000, 0u64..5_000).prop_map(|(at, length)| Hold {
        at: half_ms(at) - MS / 4,
        until: half_ms(at + length),
    });
    proptest::collection::vec(hold, 0..4).prop_map(|mut holds| {
        holds.sort_by_key(|hold| hold.at);
        holds
    })
}

fn rates() -> impl Strategy<Value = Rate> {
    let guard = prop_oneof![Just(0u64), 1u64..50];
    (1u64..2_000, 1u32..6, guard).prop_map(|(interval, burst, guard)| {
        let rate =
            Rate::every(Duration::from_millis(interval)).with_guard(Duration::from_millis(guard));
        rate.with_burst(NonZeroU32::new(burst).unwrap())
    })
}

fn cases(lanes: std::ops::RangeInclusive<usize>, patient: bool) -> impl Strategy<Value = Case> {
    let patience = prop_oneof![
        Just(None),
        (0u64..10_000).prop_map(move |ms| (!patient).then(|| half_ms(ms)))
    ];
    let threads = proptest::collection::vec((1usize..6, patience), 1..8);
    (rates(), lanes, threads, holds()).prop_map(|(rate, lanes, threads, holds)| Case {
        rate,
        lanes,
        threads,
        holds,
    })
}

/// Runs a case in real threads on a simulated clock.
fn play(case: &Case) -> Seen {
    let clock = SimClock::new();
    let start = clock.now();
    let limits = vec![
        Limits {
            pace: Tempo::Kept(case.rate),
            tokens: None
        };
        case.lanes
    ];
    let limiter = RateLimiter::with_lanes(Arc::new(clock.clone()), limits);
    let seen = Mutex::new(Seen::default());
    let tokens: Vec<_> = case
        .threads
        .iter()
        .map(|_| CancelToken::on(clock.clone()))
        .collect();
    let seats: Vec<_> = (0..case.threads.len() + 2)
        .map(|_| clock.enlist())
        .collect();
    thread::scope(|scope| {
        let mut seats = seats.into_iter();
        let (clock, limiter, seen, tokens) = (&clock, &limiter, &seen, &tokens);
        for (n, (turns, _)) in case.threads.iter().enumerate() {
            let seat = seats.next().unwrap();
            scope.spawn(move || {
                let _seat = seat.join();
                for _ in 0..*turns {
                    seen.lock().unwrap().arrivals.push(n);
                    let Ok(turn) = limiter.wait_unless(&tokens[n]) else {
                        return seen.lock().unwrap().cancelled.push(n);
                    };
                    seen.lock()
                        .unwrap()
                        .turns
                        .push((turn.at - start, n, turn.lane));
                }
            });
        }
        let (holding, impatient) = (seats.next().unwrap(), seats.next().unwrap());
        scope.spawn(move || {
            let _seat = holding.join();
            for hold in &case.holds {
                clock.sleep_until(start + hold.at);
                limiter.hold_until(start + hold.until);
            }
        });
        scope.spawn(move || {
            let _seat = impatient.join();
            let mut ends: Vec<_> = case
                .threads
                .iter()
                .zip(tokens)
                .filter_map(|((_, at), token)| Some(((*at)?, token)))
                .collect();
            ends.sort_by_key(|(at, _)| *at);
            for (at, token) in ends {
                clock.sleep_until(start + at);
                token.cancel();
            }
        });
    });
    assert_eq!(limiter.waiting(), 0);
    seen.into_inner().unwrap()
}

/// When a single lane's turns are due if somebody always waits for the next: the pure decision, played by itself.
fn due(case: &Case, count: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut turnstile = Turnstile::new(case.rate, start);
    let (mut holds, mut now) = (case.holds.iter().peekable(), start);
    let mut pass = |_| {
        while let Some(hold) = holds.next_if(|hold| start + hold.at < turnstile.due(1).max(now)) {
            turnstile.hold_until(start + hold.until);
        }
        now = turnstile.due(1).max(now);
        turnstile.take(now, 1);
        now - start
    };
    (0..count).map(&mut pass).collect()
}

/// A server that counts: in no window of any length are there more turns than the burst and what the rate brings.
fn is_within_the_limit(times: &[Duration], rate: Rate) -> bool {
    let burst = rate.burst.get() as usize;
    let fits = |first: usize, last: usize| {
        let brought = (times[last] - times[first]).as_nanos() / rate.interval.as_nanos();
        last - first < burst + brought as usize
    };
    (0..times.len()).all(|first| (first..times.len()).all(|last| fits(first, last)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_has_more_turns_than_the_burst_and_what_the_rate_brings(case in cases(1..=3, false)) {
        let seen = play(&case);
        for lane in 0..case.lanes {
            let times: Vec<_> = seen.turns.iter().filter(|turn| turn.2 == lane).map(|turn| turn.0).collect();
            prop_assert!(is_within_the_limit(&times, case.rate), "lane {lane}: {times:?}");
        }
    }

    #[test]
    fn first_come_first_served_but_for_those_who_give_up(case in cases(1..=3, false)) {
        let Seen { mut arrivals, turns, cancelled } = play(&case);
        for gone in cancelled {
            // Its last arrival led to nothing.
            let last = arrivals.iter().rposition(|thread| *thread == gone).unwrap();
            arrivals.remove(last);
        }
        let passed: Vec<_> = turns.iter().map(|turn| turn.1).collect();
        prop_assert_eq!(passed, arrivals);
    }

    #[test]
    fn a_hold_binds_every_thread_in_every_lane(case in cases(1..=3, false)) {
        let seen = play(&case);
        for hold in &case.holds {
            let early = seen.turns.iter().find(|(at, ..)| (hold.at..hold.until).contains(at));
            prop_assert!(early.is_none(), "{early:?} in {hold:?}");
        }
    }

    #[test]
    fn no_wake_up_is_lost_so_every_turn_is_taken_the_instant_it_is_due(case in cases(1..=1, true)) {
        let seen = play(&case);
        let times: Vec<_> = seen.turns.iter().map(|turn| turn.0).collect();
        prop_assert_eq!(times.len(), case.threads.iter().map(|(turns, _)| turns).sum::<usize>());
        prop_assert_eq!(&times, &due(&case, times.len()));
    }

    #[test]
    fn who_gives_up_takes_no_turn_and_lets_nobody_wait_for_ever(case in cases(1..=2, false)) {
        let seen = play(&case);
        for (n, (turns, patience)) in case.threads.iter().enumerate() {
            let taken: Vec<_> = seen.turns.iter().filter(|turn| turn.1 == n).collect();
            let gave_up = seen.cancelled.contains(&n);
            prop_assert!(gave_up && patience.is_some() && taken.len() < *turns || !gave_up && taken.len() == *turns);
            prop_assert!(patience.is_none_or(|end| taken.iter().all(|turn| turn.0 <= end)));
        }
    }
}
