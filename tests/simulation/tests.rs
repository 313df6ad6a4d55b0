//! The stories that every test run plays.

use super::disk::DiskFault;
use super::process::{Fate, ProcessPlan};
use super::server::ServerPlan;
use super::*;
use crate::batch::Settings;
use crate::journal::Durability;

/// A small run, in which each point is tried: six prompts, one of which is refused, three workers.
fn small(processes: Vec<ProcessPlan>) -> Story {
    let settings = Settings {
        workers: std::num::NonZeroUsize::new(3),
        ..Settings::default()
    };
    let processes = processes.into_iter();
    Story {
        prompts: 6,
        server: ServerPlan {
            latency: (Duration::from_millis(5), Duration::from_secs(2)),
            faults: 200,
            rejected: 150,
            ..ServerPlan::default()
        },
        processes: processes
            .map(|plan| ProcessPlan { settings, ..plan })
            .collect(),
        settings,
        seed: 5,
        is_within_limit: true,
    }
}

/// Plays a small run for each of these processes, which come twice, and with each durability. Returns how often one fell.
fn play_each(processes: impl IntoIterator<Item = ProcessPlan>) -> u64 {
    let mut falls = 0;
    for plan in processes {
        for durability in [Durability::Always, Durability::Interval, Durability::Never] {
            let plan = ProcessPlan { durability, ..plan };
            let story = small(vec![plan, plan]);
            let played = story.play();
            let counts = played.unwrap_or_else(|problem| panic!("{problem}\n{story:#?}"));
            falls += counts["falls"];
        }
    }
    falls
}

/// What a small run without a fall counts.
fn undisturbed() -> Counts {
    let counts = small(Vec::new()).play().unwrap();
    assert_eq!((counts["processes"], counts["writes"]), (1, 6));
    counts
}

#[test]
fn a_small_run_may_be_stopped_killed_or_lose_power_at_every_event() {
    let events = undisturbed()["events"];
    let fates = |at| [Fate::Stopped(at), Fate::Killed(at), Fate::LosesPower(at)];
    let plans = (1..=events).flat_map(fates).map(|fate| ProcessPlan {
        fate,
        ..ProcessPlan::healthy(Settings::default())
    });
    let falls = play_each(plans);
    assert!(falls >= events * 9, "{falls} falls, {events} events");
}

#[test]
fn a_small_run_may_meet_every_fault_of_the_disk_at_every_write() {
    let writes = undisturbed()["writes"];
    let plans = (1..=writes)
        .flat_map(DiskFault::all)
        .map(|disk| ProcessPlan {
            disk,
            ..ProcessPlan::healthy(Settings::default())
        });
    let falls = play_each(plans);
    assert!(falls >= writes * 15, "{falls} falls, {writes} writes"); // not each write is synced
}

#[test]
fn a_thousand_seeds_lose_nothing_and_make_nothing_twice() {
    let given = |name| std::env::var(name).map(|text| text.parse().expect("a number"));
    let seeds = match given("PACELINE_SEED") {
        Ok(seed) => seed..seed + 1,
        Err(_) => 0..given("PACELINE_SEEDS").unwrap_or(1000),
    };
    let totals = play(seeds);
    eprintln!("{:#?}", totals.counts);
    assert!(totals.failures.is_empty(), "{:#?}", totals.failures);
    let counts = totals.counts;
    if counts["seeds"] == 1000 {
        assert!(
            counts["deaths"] > 500 && counts["bad disks"] > 100,
            "{counts:?}"
        );
    }
}

#[test]
fn a_seed_plays_the_same_story_each_time() {
    for seed in 0..20 {
        assert_eq!(play_one(seed), play_one(seed), "{seed}");
    }
}

#[test]
fn a_pace_two_percent_above_the_limit_is_noticed() {
    let faster = crate::limiter::Rate::per_minute(102).exact();
    let mut story = small(Vec::new());
    story.server.limits = vec![(Duration::ZERO, 100)];
    story.server.faults = 0;
    story.settings.rate = crate::pacing::RateLimit::Fixed(faster);
    let problem = story.play().unwrap_err();
    assert!(
        problem.starts_with("a call is above the limit"),
        "{problem}"
    );
}
