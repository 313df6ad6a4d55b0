//! The limit against simulated servers with a number of places and a queue, in simulated time.

use std::collections::VecDeque;

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A server that works on `places` calls at once; the others wait.
struct Trial {
    /// Places at a time, in seconds since the start.
    places: Places,
    /// Mean time that an answer takes, in seconds, at a time.
    takes: fn(f64) -> f64,
    /// Spread of the logarithm of that time.
    sigma: f64,
    /// The client's time-out, in seconds.
    timeout: f64,
    seed: u64,
    /// A call in so many is never answered.
    hangs: Option<u64>,
    /// Seconds between two calls at least: the interval of the rate.
    apart: f64,
    /// The first call takes this many times as long: it connects, and the server loads its model.
    cold: f64,
    /// Whether calls that leave at the same instant arrive in any order, because each makes a connection.
    races: bool,
}

#[derive(Debug)]
struct Ended {
    took: f64,
    timeouts: usize,
    /// Calls that waited for a place before they were answered.
    queued: usize,
    limit: usize,
}

#[derive(Clone, Copy)]
struct SimCall {
    number: u64,
    departure: Departure,
    sent: f64,
    takes: f64,
    /// When it is answered, once it has a place.
    ends: Option<f64>,
}

impl Trial {
    fn new(places: Places, takes: fn(f64) -> f64) -> Self {
        let timeout = takes(0.0) * 4.0;
        Trial {
            places,
            takes,
            sigma: 0.0,
            timeout,
            seed: 1,
            hangs: None,
            apart: 0.0,
            cold: 1.0,
            races: false,
        }
    }

    /// Runs until this many calls are answered. A fixed number of workers does not change.
    fn run(&self, prompts: usize, fixed: Option<usize>) -> Ended {
        let mut client = Concurrency::new();
        if let Some(workers) = fixed {
            client.limit = workers;
            client.base_answers = f64::INFINITY; // it never judges
            client.base = f64::INFINITY;
            client.patience = u32::MAX;
        }
        let mut random = SmallRng::seed_from_u64(self.seed);
        let (mut now, mut left, mut answered, mut timeouts) = (0.0, prompts, 0, 0);
        let mut calls: Vec<SimCall> = Vec::new();
        let mut queue: VecDeque<SimCall> = VecDeque::new();
        let (mut number, mut next, mut queued) = (0, 0.0, 0);
        while answered < prompts {
            while left > 0 && client.has_room() && now >= next {
                next = now + self.apart;
                client.enter();
                left -= 1;
                number += 1;
                let is_hung = self.hangs.is_some_and(|one_in| number % one_in == 0);
                let takes = if is_hung {
                    1e9
                } else {
                    let cold = if number == 1 { self.cold } else { 1.0 };
                    self.draw(&mut random, now) * cold
                };
                let together = queue.iter().rev().take_while(|call| call.sent == now);
                let overtakes = match self.races {
                    true => random.random_range(0..=together.count()),
                    false => 0,
                };
                let call = SimCall {
                    number,
                    departure: client.sent(),
                    sent: now,
                    takes,
                    ends: None,
                };
                queue.insert(queue.len() - overtakes, call);
            }
            while calls.len() < (self.places)(now)
                && let Some(call) = queue.pop_front()
            {
                calls.push(SimCall {
                    ends: Some(now + call.takes),
                    ..call
                });
            }
            let end = |call: &SimCall| call.ends.unwrap_or(f64::MAX).min(call.sent + self.timeout);
            let all = calls.iter().chain(&queue).copied();
            let first = all.min_by(|a, b| end(a).total_cmp(&end(b)));
            let may_send = left > 0 && client.has_room();
            let Some(call) = first.filter(|call| !may_send || end(call) <= next) else {
                now = next;
                continue;
            };
            now = end(&call);
            let is_same = |other: &SimCall| other.number == call.number;
            match calls.iter().position(is_same) {
                Some(index) => _ = calls.swap_remove(index),
                None => queue.retain(|other| !is_same(other)),
            }
            let is_answered = call.ends == Some(now);
            answered += usize::from(is_answered);
            timeouts += usize::from(!is_answered);
            queued += usize::from(is_answered && now - call.sent > call.takes * 1.01);
            left += usize::from(!is_answered);
            let end = if is_answered {
                CallOutcome::Answered
            } else {
                CallOutcome::Timeout
            };
            let latency = Duration::from_secs_f64(now - call.sent);
            match fixed {
                Some(_) => client.left(None, latency, CallOutcome::RateLimited),
                None => client.left(Some(call.departure), latency, end),
            }
        }
        Ended {
            took: now,
            timeouts,
            queued,
            limit: client.limit(),
        }
    }

    fn draw(&self, random: &mut SmallRng, now: f64) -> f64 {
        let (a, b): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (self.takes)(now) * (self.sigma * normal - self.sigma * self.sigma / 2.0).exp()
    }
}

/// The time of a batch that lasts `rounds` answers for each place, as a multiple of that with the best fixed number.
fn compared(trial: &Trial, places: usize, rounds: usize) -> (f64, Ended) {
    let prompts = places * rounds;
    let patient = Trial {
        timeout: 1e6,
        ..*trial
    };
    let fixed = [places, places + 1, places * 5 / 4]
        .map(|workers| patient.run(prompts, Some(workers)).took);
    let best = fixed.into_iter().min_by(f64::total_cmp).unwrap();
    let auto = trial.run(prompts, None);
    assert!(
        auto.timeouts * 100 <= prompts,
        "{places} places: {auto:?} of {prompts}"
    );
    (auto.took / best, auto)
}

type Places = fn(f64) -> usize;

const PLACES: [(usize, Places); 5] = [
    (1, |_| 1),
    (2, |_| 2),
    (4, |_| 4),
    (16, |_| 16),
    (64, |_| 64),
];

#[test]
fn a_server_of_any_size_is_filled_and_never_driven_into_timeouts() {
    for takes in [|_| 0.1, |_| 2.0, |_| 30.0] {
        for (places, at) in PLACES {
            let (times, auto) = compared(&Trial::new(at, takes), places, 30);
            assert!(times <= 1.15, "{places} places, {} s: {times}", takes(0.0));
            let fits = (places..=places * 2).contains(&auto.limit);
            assert!(fits, "{places} places: {auto:?}");
        }
    }
}

#[test]
fn answers_that_vary_cost_a_few_rounds() {
    for (sigma, rounds, most) in [(0.05, 30, 1.15), (0.3, 100, 1.16), (0.6, 100, 1.23)] {
        for (places, at) in PLACES {
            let times = (1..=20).map(|seed| {
                let trial = Trial::new(at, |_| 2.0);
                let trial = Trial {
                    sigma,
                    seed,
                    timeout: 20.0,
                    ..trial
                };
                compared(&trial, places, rounds).0
            });
            let mean = times.sum::<f64>() / 20.0;
            assert!(mean <= most, "{places} places, spread {sigma}: {mean}");
        }
    }
}

#[test]
fn a_rate_is_kept_from_its_first_calls_on_though_answers_vary() {
    let times = (1..=20).map(|seed| {
        let trial = Trial::new(|_| 1000, |_| 0.4);
        let trial = Trial {
            sigma: 0.3,
            apart: 0.1,
            seed,
            ..trial
        };
        trial.run(100, None).took
    });
    let mean = times.sum::<f64>() / 20.0;
    assert!(mean <= 10.3 * 1.15, "{mean} s for 100 calls, one in 0.1 s");
}

#[test]
fn a_server_that_grows_is_filled_in_fifteen_latencies() {
    let trial = Trial::new(|now| if now < 60.0 { 2 } else { 64 }, |_| 2.0);
    let auto = trial.run(60 + 64 * 30, None);
    assert!(auto.took <= 60.0 + 60.0 + 15.0 * 2.0, "{auto:?}");
    assert_eq!(auto.timeouts, 0);
}

#[test]
fn a_server_that_shrinks_is_relieved() {
    let trial = Trial::new(|now| if now < 60.0 { 64 } else { 4 }, |_| 2.0);
    let auto = trial.run(64 * 25 + 4 * 60, None);
    assert!(auto.limit <= 12, "{auto:?}");
    assert!(
        auto.timeouts <= 64 * 2,
        "those that were in flight, and as many again: {auto:?}"
    );
}

#[test]
fn answers_that_become_longer_are_no_queue() {
    let trial = Trial::new(|_| 1000, |now| if now < 60.0 { 2.0 } else { 5.0 });
    let auto = Trial {
        timeout: 60.0,
        ..trial
    }
    .run(20_000, None);
    assert!(auto.limit >= 256, "{auto:?}");
}

#[test]
fn a_call_in_a_hundred_that_hangs_does_not_close_a_large_server() {
    let trial = Trial::new(|_| 64, |_| 2.0);
    let auto = Trial {
        hangs: Some(100),
        timeout: 20.0,
        ..trial
    }
    .run(64 * 100, None);
    assert!(auto.took <= 200.0 * 1.5, "{auto:?}");
}

/// Each attempt to grow at a full server costs a queue for a round: without waiting rounds every second call would wait.
#[test]
fn a_server_with_one_place_is_tried_with_two_calls_only_now_and_then() {
    let auto = Trial::new(|_| 1, |_| 1.0).run(400, None);
    assert!(auto.queued * 3 <= 400, "{auto:?}");
}

#[test]
fn a_limit_that_is_not_needed_does_not_grow() {
    let mut client = Concurrency::new();
    for _ in 0..1000 {
        client.enter();
        let departure = client.sent();
        let second = Duration::from_secs(1);
        client.left(Some(departure), second, CallOutcome::Answered);
    }
    assert_eq!(client.limit(), 3, "the first call alone fills it");
}

/// The calls of a rate that is not known yet are spaced; a first call may be slow; time-outs are short.
#[test]
fn spaced_calls_and_a_slow_first_one_neither_time_out_nor_take_longer() {
    for (places, at) in PLACES {
        for (sigma, timeout) in [(0.0, 4.0), (0.1, 4.0), (0.3, 6.0)] {
            let prompts = places * 60; // a minute
            let (mut runs, mut timeouts, mut bad, mut times) = (0, 0, 0, 0.0);
            for (cold, apart) in colds_and_spacings() {
                for seed in 0..(16 / places).clamp(1, 8) as u64 {
                    let trial = Trial {
                        sigma,
                        timeout,
                        cold,
                        apart: apart / places as f64,
                        seed,
                        ..Trial::new(at, |_| 1.0)
                    };
                    let patient = Trial {
                        timeout: 1e6,
                        ..trial
                    };
                    let auto = trial.run(prompts, None);
                    runs += 1;
                    timeouts += auto.timeouts;
                    bad += usize::from(auto.timeouts * 100 > prompts);
                    times += auto.took / patient.run(prompts, Some(places + 1)).took;
                }
            }
            let (all, times) = (runs * prompts, times / runs as f64);
            let what = format!(
                "{places} places, {sigma}: {timeouts} of {all}, {bad} of {runs} runs, {times}"
            );
            assert!(timeouts * 500 <= all && bad * 20 <= runs, "{what}");
            assert!(times <= 1.15, "{what}");
        }
    }
}

fn colds_and_spacings() -> impl Iterator<Item = (f64, f64)> {
    let spacings = [0.0, 0.3, 0.5, 0.7, 0.9];
    let with = move |cold| spacings.into_iter().map(move |apart| (cold, apart));
    [1.0, 1.3, 2.0, 3.0].into_iter().flat_map(with)
}

/// Calls that leave at once make their connections side by side: the last to leave may be the first to arrive.
#[test]
fn calls_that_overtake_each_other_hide_no_queue() {
    for (places, at) in PLACES {
        for sigma in [0.0, 0.1] {
            for seed in 0..40 {
                let trial = Trial {
                    sigma,
                    seed,
                    timeout: 4.0,
                    races: true,
                    ..Trial::new(at, |_| 1.0)
                };
                let (times, auto) = compared(&trial, places, 60);
                assert!(
                    times <= 1.15,
                    "{places} places, seed {seed}: {times} {auto:?}"
                );
            }
        }
    }
}
