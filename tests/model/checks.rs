//! The model checks: the pattern, and the runner's `pacing`, compiled a second time from the same files, on threads, locks
//! and channels that a model checker (`shuttle`) schedules. Run them with `cargo run --example model`.
//!
//! Each small case is run under *every* schedule that has at most so many preemptions, and besides under schedules drawn
//! at random, with any number of them. A rule that breaks, a panic or a deadlock under any of them ends the program with
//! the schedule that led there.

#![allow(dead_code, unreachable_pub, unused_imports, missing_docs)] // the rooms are whole, and no check uses everything

mod bounded;
mod channel;
mod limiter_checks;
mod pool_checks;
mod sync;
mod time;

#[path = "../../src"]
mod storeys {
    pub mod backoff;
    pub mod cancel;
    pub mod clock;
    pub mod limiter;
    pub mod names;
    pub mod outcome;
    pub mod pacing;
    pub mod pool;
    pub mod retry;
}
use storeys::{backoff, cancel, clock, limiter, names, outcome, pacing, pool, retry};

use std::time::Instant;

use bounded::Bounded;
use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner};

/// One rule in one small case.
struct Check {
    rule: &'static str,
    threads: usize,
    preemptions: usize,
    case: fn(),
}

/// No case has more schedules than this.
const MOST: usize = 200_000;
/// So many are drawn besides.
const DRAWN: usize = 2_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What was tried.
#[derive(Default)]
struct Tried {
    schedules: usize,
    drawn: usize,
    /// The steps of the longest schedule.
    steps: usize,
}

const fn check(rule: &'static str, threads: usize, preemptions: usize, case: fn()) -> Check {
    Check {
        rule,
        threads,
        preemptions,
        case,
    }
}

impl Check {
    fn run(&self) -> Tried {
        let bounded = Bounded::new(self.preemptions, MOST);
        let longest = bounded.longest.clone();
        let schedules = Runner::new(bounded, Config::default()).run(self.case);
        assert!(
            schedules < MOST,
            "{}: more than {MOST} schedules",
            self.rule
        );
        let random = RandomScheduler::new_from_seed(SEED, DRAWN);
        let drawn = Runner::new(random, Config::default()).run(self.case);
        Tried {
            schedules,
            drawn,
            steps: longest.get(),
        }
    }
}

fn main() {
    let began = Instant::now();
    let wanted = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<74} threads steps preemptions schedules (all)  drawn",
        "rule"
    );
    let mut total = 0;
    let checks = limiter_checks::CHECKS.iter().chain(pool_checks::CHECKS);
    for check in checks.filter(|check| check.rule.contains(&wanted)) {
        let Tried {
            schedules,
            drawn,
            steps,
        } = check.run();
        let Check {
            rule,
            threads,
            preemptions,
            ..
        } = check;
        println!(
            "{rule:<74} {threads:>7} {steps:>5} {:>11} {schedules:>15} {drawn:>6}",
            format!("<= {preemptions}")
        );
        total += schedules + drawn;
    }
    assert!(total > 0, "no rule has these words: {wanted}");
    println!(
        "{total} schedules in {:.1} s, and every rule held",
        began.elapsed().as_secs_f64()
    );
}
