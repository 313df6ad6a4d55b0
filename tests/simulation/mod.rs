//! Whole batches on simulated time: the real batch and the real journal, with an API and a disk that fail.
//!
//! One seed makes one story: a server with faults and changing limits, and several processes one after the other, each of
//! which is killed, stopped, loses power, or finds a bad disk at some point. The last one meets no faults. Then all must
//! be there. `cargo test --lib simulation` plays a thousand seeds, and each point of a small run;
//! `cargo run --release --features simulate --example simulate -- --seeds 100000` plays as many as you like.
//! `PACELINE_SEED=17` plays that one alone, and `PACELINE_SEEDS=100000` more than a thousand in the test.

mod disk;
mod process;
mod server;
mod story;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use story::Story;

/// What was counted, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Totals {
    /// Processes, deaths, calls and so on.
    pub counts: Counts,
    /// The seeds that failed, and what was wrong.
    pub failures: Vec<(u64, String)>,
}

/// Plays the stories of these seeds, on as many threads as there are processors. A failure is printed when it is found.
pub fn play(seeds: std::ops::Range<u64>) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(Totals::default());
    let work = || {
        let current = AtomicU64::new(0);
        let began = Mutex::new(Instant::now());
        let is_over = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = scope.spawn(|| watch(&current, &began, &is_over));
            loop {
                let seed = next.fetch_add(1, Ordering::SeqCst);
                if seed >= seeds.end {
                    break;
                }
                current.store(seed, Ordering::SeqCst);
                *began.lock() = Instant::now();
                let played = play_one(seed);
                add(&mut totals.lock(), seed, played);
            }
            is_over.store(true, Ordering::SeqCst);
            watch.thread().unpark();
        });
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    totals.into_inner()
}

/// Plays the story of one seed. The error says what is wrong.
fn play_one(seed: u64) -> Result<Counts, String> {
    let story = AssertUnwindSafe(|| Story::of(seed).play());
    catch_unwind(story).unwrap_or_else(|panic| Err(words(&*panic)))
}

fn add(totals: &mut Totals, seed: u64, played: Result<Counts, String>) {
    match played {
        Ok(counts) => {
            for (name, count) in counts {
                *totals.counts.entry(name).or_default() += count;
            }
            *totals.counts.entry("seeds").or_default() += 1;
        }
        Err(problem) => {
            eprintln!("seed {seed}: {problem}\n  play it again with PACELINE_SEED={seed}");
            totals.failures.push((seed, problem));
        }
    }
}

/// Ends the program when a seed takes a minute of real time: a thread waits for something that is not on the clock.
fn watch(seed: &AtomicU64, began: &Mutex<Instant>, is_over: &std::sync::atomic::AtomicBool) {
    const TOO_LONG: Duration = Duration::from_secs(60);
    while !is_over.load(Ordering::SeqCst) {
        thread::park_timeout(Duration::from_secs(1));
        if began.lock().elapsed() > TOO_LONG {
            let seed = seed.load(Ordering::SeqCst);
            eprintln!("seed {seed} stands still: play it again with PACELINE_SEED={seed}");
            std::process::exit(101);
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or(fixed).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests;
