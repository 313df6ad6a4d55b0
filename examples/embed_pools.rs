//! Embedding 4: one limiter for several pools, because the server counts all calls of a key together.
//!
//! A pool of two workers writes summaries, another of five translates. The first to come gets the next permit, from
//! whichever pool; together they keep one rate.
//!
//! `cargo run --example embed_pools`

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use paceline::{Pool, Rate, RateLimiter};

const INTERVAL: Duration = Duration::from_millis(20);

fn main() {
    let limiter = RateLimiter::new(Rate::every(INTERVAL)); // clones are the same limiter
    let permits: Mutex<Vec<(Instant, &str)>> = Mutex::default();
    let run = |workers, name: &'static str| {
        let call = |_topic| {
            let permit = limiter.acquire();
            permits.lock().unwrap().push((permit.granted_at(), name));
        };
        let _ = Pool::new(workers).for_each(0..10, call, |_, _| ControlFlow::<()>::Continue(()));
    };
    thread::scope(|scope| {
        scope.spawn(|| run(2, "summaries"));
        scope.spawn(|| run(5, "translations"));
    });
    let mut permits = permits.into_inner().unwrap();
    permits.sort();
    for name in ["summaries", "translations"] {
        let count = permits.iter().filter(|(_, pool)| *pool == name).count();
        println!("permits for {name}: {count}");
    }
    let smallest = permits.windows(2).map(|pair| pair[1].0 - pair[0].0).min();
    let is_kept = smallest.is_some_and(|gap| gap >= INTERVAL);
    println!("never closer than 20 ms: {is_kept}");
    println!("notice: two pools, seven workers, one rate.");
}
