//! Embedding 4: one limiter for several pools, because the server counts all calls of a key together.
//!
//! A pool of two workers writes summaries, another of five translates. Whoever comes first has the next turn, from
//! whatever pool; together they keep one pace.
//!
//! `cargo run --example embed_pools`

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use paceline::{Rate, RateLimiter, pool};

const INTERVAL: Duration = Duration::from_millis(20);

fn main() {
    let limiter = RateLimiter::new(Rate::every(INTERVAL)); // share it by reference, or in an `Arc`
    let turns: Mutex<Vec<(Instant, &str)>> = Mutex::default();
    let call = |pool: &'static str| {
        let turn = limiter.wait();
        turns.lock().unwrap().push((turn.at, pool));
    };
    let workers = |n| NonZeroUsize::new(n).unwrap();
    thread::scope(|scope| {
        // Each pool in a thread that takes what it makes.
        scope.spawn(|| {
            thread::scope(|scope| {
                pool::run(scope, workers(2), 0..10, |_| call("summaries")).count()
            })
        });
        scope.spawn(|| {
            thread::scope(|scope| {
                pool::run(scope, workers(5), 0..10, |_| call("translations")).count()
            })
        });
    });
    let mut turns = turns.into_inner().unwrap();
    turns.sort();
    let smallest = turns.windows(2).map(|pair| pair[1].0 - pair[0].0).min();
    for pool in ["summaries", "translations"] {
        println!(
            "turns for {pool}: {}",
            turns.iter().filter(|(_, whose)| *whose == pool).count()
        );
    }
    println!(
        "never closer than 20 ms: {}",
        smallest.is_some_and(|gap| gap >= INTERVAL)
    );
    println!("notice: two pools, seven workers, one pace.");
}
