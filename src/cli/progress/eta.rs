//! The time to the end: what is left, at the rate that calls leave now and not at the average so far. Pure.

use std::time::Duration;

use crate::batch::{Allowed, Snapshot};

/// The time to the end; `None` while too little is known.
pub(super) fn to_go(now: &Snapshot) -> Option<Duration> {
    let left = now.left()?;
    if left == 0 {
        return Some(Duration::ZERO);
    }
    let rate = calls_a_minute(now).filter(|rate| *rate > 0.0)?;
    let under_way = now.in_flight.min(left) as f64;
    let to_send = left as f64 * calls_a_prompt(now) - under_way;
    let hold = now.pause.map_or(Duration::ZERO, |hold| hold.left);
    let sending = Duration::try_from_secs_f64(to_send.max(0.0) * 60.0 / rate).ok()?;
    sending
        .checked_add(hold)?
        .checked_add(now.latency.unwrap_or_default())
}

/// After a fault comes another call, unless it was the prompt's last. A call may be for several prompts.
fn calls_a_prompt(now: &Snapshot) -> f64 {
    let done = now.answered + now.failed;
    match done {
        0 => 1.0,
        _ if (1..done).contains(&now.calls) => now.calls as f64 / done as f64,
        _ => 1.0 + now.faults.saturating_sub(now.failed) as f64 / done as f64,
    }
}

/// Calls a minute, from here to the end.
fn calls_a_minute(now: &Snapshot) -> Option<f64> {
    /// Before this, and before this many calls, the measured rate says little.
    const SETTLED_TIME: Duration = Duration::from_secs(15);
    const SETTLED_CALLS: u64 = 30;
    let allowed = match now.allowed {
        Allowed::Fixed(rate) | Allowed::Stated(rate) => rate,
        // It grows beyond the last limit that was found.
        Allowed::Found(rate) => rate.max(now.rate),
        _ => return (now.rate > 0.0).then_some(now.rate),
    };
    let all_busy = now.workers > 0 && now.in_flight >= now.workers;
    let by_latency = now.latency.filter(|_| all_busy);
    let workers = by_latency.map(|latency| now.workers as f64 * 60.0 / latency.as_secs_f64());
    // Workers that wait although the limit allows more calls wait for tokens, or this machine is too slow.
    let settled = now.elapsed >= SETTLED_TIME && now.calls >= SETTLED_CALLS;
    let for_tokens = settled && now.waiting > 0 && now.pause.is_none() && now.rate_limited == 0;
    let tokens = Some(now.rate).filter(|rate| for_tokens && *rate > 0.0 && *rate < allowed * 0.8);
    Some(allowed)
        .into_iter()
        .chain(workers)
        .chain(tokens)
        .chain(let_in(now))
        .reduce(f64::min)
}

/// A server that answers many calls with 429 allows less than we think: the rate that gets through.
fn let_in(now: &Snapshot) -> Option<f64> {
    // While the limit is being found, 429s are expected.
    let is_finding = matches!(now.allowed, Allowed::Found(_));
    let many = now.rate_limited.saturating_mul(10) > now.calls && now.rate > 0.0 && !is_finding;
    many.then(|| now.rate * (1.0 - now.rate_limited as f64 / now.calls as f64))
        .filter(|rate| *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Pause, PauseReason};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(pace: f64, left: u64) -> Snapshot {
        Snapshot {
            allowed: Allowed::Fixed(pace),
            workers: 9,
            waiting: 1,
            total: Some(left),
            keys: 1,
            ..Snapshot::default()
        }
    }

    #[test]
    fn it_is_what_is_left_at_the_pace_and_not_at_the_average() {
        let slow_start = Snapshot {
            elapsed: SECOND * 50,
            rate: 10.0,
            ..at(600.0, 1200)
        };
        assert_eq!(to_go(&slow_start), Some(SECOND * 120));
    }

    #[test]
    fn the_rest_of_a_hold_and_the_last_answer_come_on_top() {
        let pause = Some(Pause {
            left: SECOND * 12,
            length: SECOND * 20,
            why: PauseReason::Ordered,
        });
        let held = Snapshot {
            pause,
            latency: Some(SECOND * 3),
            ..at(600.0, 100)
        };
        assert_eq!(to_go(&held), Some(SECOND * (10 + 12 + 3)));
    }

    #[test]
    fn where_all_workers_are_busy_they_are_the_limit() {
        let few = Snapshot {
            workers: 2,
            in_flight: 2,
            waiting: 0,
            latency: Some(SECOND * 4),
            ..at(600.0, 100)
        };
        assert_eq!(
            to_go(&few),
            Some(SECOND * (98 * 2 + 4)),
            "half a call a second"
        );
    }

    #[test]
    fn where_tokens_are_the_limit_it_is_what_they_let_through() {
        let short = Snapshot {
            elapsed: SECOND * 90,
            calls: 90,
            rate: 60.0,
            ..at(600.0, 100)
        };
        assert_eq!(to_go(&short), Some(SECOND * 100));
    }

    #[test]
    fn where_the_limit_is_not_what_we_were_told_it_is_what_gets_through() {
        let wrong = Snapshot {
            calls: 100,
            rate_limited: 50,
            rate: 120.0,
            ..at(600.0, 100)
        };
        assert_eq!(to_go(&wrong), Some(SECOND * 100));
    }

    #[test]
    fn faults_cost_a_call_more_each_unless_they_were_the_last() {
        let faulty = Snapshot {
            answered: 50,
            failed: 50,
            faults: 60,
            ..at(600.0, 200)
        };
        assert_eq!(
            to_go(&faulty),
            Some(SECOND * 11),
            "100 prompts, 1.1 calls each"
        );
    }

    #[test]
    fn without_a_limit_it_is_the_pace_of_the_last_seconds() {
        let free = Snapshot {
            allowed: Allowed::Unknown,
            rate: 300.0,
            ..at(0.0, 100)
        };
        assert_eq!(to_go(&free), Some(SECOND * 20));
        assert_eq!(
            to_go(&Snapshot {
                rate: 0.0,
                ..free.clone()
            }),
            None,
            "nothing is known yet"
        );
        assert_eq!(
            to_go(&Snapshot {
                total: None,
                ..free.clone()
            }),
            None,
            "nobody knows how many"
        );
        assert_eq!(
            to_go(&Snapshot {
                answered: 100,
                ..free.clone()
            }),
            Some(Duration::ZERO)
        );
    }
}
