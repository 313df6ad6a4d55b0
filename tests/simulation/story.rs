//! The story of a seed: its server, its processes, and what must be true after each of them and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Counts;
use super::disk::DiskFault;
use super::process::{self, Fate, ProcessPlan, Ran};
use super::server::{ServedCall, ServerPlan, SimServer};
use crate::batch::Settings;
use crate::clock::{Clock, SimClock};
use crate::journal::{Durability, Record, Results};
use crate::limiter::Rate;
use crate::pacing::RateLimit;

const MS: Duration = Duration::from_millis(1);

/// Prompts, by their text.
type Prompts = BTreeSet<String>;

/// A whole story: plain data.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) prompts: u64,
    pub(super) server: ServerPlan,
    /// Their last one is followed by one that meets no faults.
    pub(super) processes: Vec<ProcessPlan>,
    pub(super) settings: Settings,
    pub(super) seed: u64,
    /// The pace never exceeds the server's limit: it must refuse no call for that.
    pub(super) is_within_limit: bool,
}

impl Story {
    /// The story of this seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let is_within_limit = chance.random_bool(0.5);
        let per_minute = *pick(&mut chance, &[30, 60, 240, 600, 6_000]);
        let settings = Settings {
            rate: if is_within_limit {
                RateLimit::Fixed(Rate::per_minute(per_minute).exact())
            } else {
                RateLimit::Adaptive
            },
            workers: NonZeroUsize::new(*pick(&mut chance, &[0, 0, 1, 3, 8])),
            timeout_retries: chance.random_range(0..3),
            keep_going: chance.random_bool(0.5),
            seed,
            ..Settings::default()
        };
        let server = server(&mut chance, per_minute, is_within_limit);
        let prompts = chance.random_range(1..40);
        let count = chance.random_range(0..5);
        let processes = (0..count)
            .map(|_| plan(&mut chance, prompts, settings))
            .collect();
        Story {
            prompts,
            processes,
            server,
            settings,
            seed,
            is_within_limit,
        }
    }

    /// Plays the story; returns what was counted. The error says what must be true and is not.
    pub(super) fn play(&self) -> Result<Counts, String> {
        let mut play = Play::new(self);
        for plan in &self.processes {
            play.process(*plan)?;
        }
        play.server.heal();
        // A batch may stop by itself, as a user's would: at the end of a long pause, say. So it gets several tries.
        for _ in 0..5 {
            if play
                .process(ProcessPlan::healthy(self.settings))?
                .summary
                .left
                == Some(0)
            {
                break;
            }
        }
        play.check_end()?;
        Ok(std::mem::take(&mut play.counts))
    }
}

fn pick<'a, T>(chance: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[chance.random_range(0..from.len())]
}

fn server(chance: &mut StdRng, per_minute: u32, is_within_limit: bool) -> ServerPlan {
    let shortest = *pick(chance, &[1, 20, 400]);
    let longest = shortest + *pick(chance, &[0, 100, 3_000, 20_000]);
    let mut limits = vec![(Duration::ZERO, per_minute)];
    if !is_within_limit {
        for _ in 0..chance.random_range(0..3) {
            let from = Duration::from_secs(chance.random_range(1..120));
            limits.push((from, *pick(chance, &[20, 60, 600, 3_000])));
        }
        limits.sort();
    }
    ServerPlan {
        latency: (MS * shortest, MS * longest),
        faults: *pick(chance, &[0, 20, 150, 500]),
        rejected: *pick(chance, &[0, 0, 50, 300]),
        limits,
        burst: if is_within_limit {
            1
        } else {
            *pick(chance, &[1, 5, 20])
        },
        states: chance.random_bool(0.5),
        connecting: MS
            * if is_within_limit {
                0
            } else {
                *pick(chance, &[0, 5, 80])
            },
    }
}

fn plan(chance: &mut StdRng, prompts: u64, settings: Settings) -> ProcessPlan {
    let at = chance.random_range(1..=2 * prompts); // a prompt without faults makes two events
    let write = chance.random_range(1..=prompts);
    let disk = *pick(chance, &DiskFault::all(write));
    ProcessPlan {
        fate: *pick(
            chance,
            &[
                Fate::Ends,
                Fate::Stopped(at),
                Fate::Killed(at),
                Fate::LosesPower(at),
            ],
        ),
        disk: if chance.random_bool(0.3) {
            disk
        } else {
            DiskFault::None
        },
        durability: *pick(
            chance,
            &[Durability::Always, Durability::Interval, Durability::Never],
        ),
        settings,
        seed: chance.random(),
    }
}

/// A story while it is played.
struct Play<'a> {
    story: &'a Story,
    clock: SimClock,
    server: Arc<SimServer>,
    path: PathBuf,
    counts: Counts,
}

impl Drop for Play<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl<'a> Play<'a> {
    fn new(story: &'a Story) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("paceline-simulation-{}-{number}.jsonl", std::process::id());
        let clock = SimClock::new();
        let plan = story.server.clone();
        Play {
            story,
            server: Arc::new(SimServer::new(clock.clone(), plan, story.seed)),
            clock,
            path: std::env::temp_dir().join(name),
            counts: Counts::new(),
        }
    }

    fn count(&mut self, name: &'static str, more: u64) {
        *self.counts.entry(name).or_default() += more;
    }

    /// Runs a process, and checks what it left.
    fn process(&mut self, plan: ProcessPlan) -> Result<Ran, String> {
        let within = |problem| format!("{problem}\n  in {plan:?}");
        let before = self.answered().map_err(within)?;
        let first = self.server.calls().len();
        let prompts = self.story.prompts;
        let ran = process::run(plan, &self.clock, &self.server, &self.path, prompts)
            .map_err(|error| within(error.to_string()))?;
        let calls = self.server.calls().split_off(first);
        let after = self.answered().map_err(within)?;
        self.check(plan, &ran, &calls, &before, &after)
            .map_err(within)?;
        self.tally(plan, &ran, &calls, &after);
        // A person needs longer than the server's interval to start the next one.
        let pause = Duration::from_secs(5);
        self.clock.sleep_until(self.clock.now() + pause);
        Ok(ran)
    }

    fn tally(&mut self, plan: ProcessPlan, ran: &Ran, calls: &[ServedCall], on_record: &Prompts) {
        let fell = ran.fell.is_some();
        let died = plan.fate.is_death() && fell;
        let lost = calls.iter().filter(|call| call.is_lost(on_record)).count();
        let refused = calls.iter().filter(|call| call.over_limit).count();
        self.count("processes", 1);
        self.count("events", ran.events);
        self.count("writes", ran.writes);
        self.count("falls", u64::from(fell));
        self.count("deaths", u64::from(died));
        self.count(
            "bad disks",
            u64::from(fell && !died && plan.disk != DiskFault::None),
        );
        self.count("lines cut off", u64::from(ran.torn > 0));
        self.count("calls", calls.len() as u64);
        self.count("answers lost in flight", lost as u64);
        self.count("calls above an unknown limit", refused as u64);
    }

    /// What must be true after a process, however it ended.
    fn check(
        &self,
        plan: ProcessPlan,
        ran: &Ran,
        calls: &[ServedCall],
        before: &Prompts,
        after: &Prompts,
    ) -> Result<(), String> {
        if let Some(gone) = before.difference(after).next() {
            return Err(format!("the answer to {gone} was on record, and is gone"));
        }
        let fell = ran.fell.unwrap_or(Duration::MAX);
        let mut answered = before.clone();
        for call in calls {
            if call.began > fell {
                return Err(format!("a call begins after the end at {fell:?}: {call:?}"));
            }
            if call.over_limit && self.story.is_within_limit {
                return Err(format!("a call is above the limit: {call:?}"));
            }
            if call.answered && !answered.insert(call.prompt.clone()) {
                return Err(format!("a prompt is answered twice: {call:?}"));
            }
        }
        let lost = calls.iter().filter(|call| call.is_lost(after));
        let is_lazy = plan.durability != Durability::Always;
        let may_lose_more = is_lazy && matches!(plan.fate, Fate::LosesPower(_));
        let may_lose = plan.fate.is_death() || plan.disk != DiskFault::None;
        for call in lost.filter(|_| !may_lose_more) {
            let was_in_flight = call.ended.is_none_or(|ended| ended >= fell);
            if !(may_lose && was_in_flight) {
                return Err(format!("an answer is lost, the end at {fell:?}: {call:?}"));
            }
        }
        Ok(())
    }

    /// What must be true at the end: each prompt has one record, and that is the right one.
    fn check_end(&self) -> Result<(), String> {
        let mut done: BTreeMap<String, bool> = BTreeMap::new();
        for record in self.records()? {
            let is_answer = record.text.is_some();
            if done.insert(record.prompt.clone(), is_answer) == Some(true) {
                return Err(format!("{} has two records", record.prompt));
            }
            if !is_answer && self.story.server.faults == 0 && !self.server.rejects(&record.prompt) {
                return Err(format!("a good prompt has failed: {record:?}"));
            }
        }
        let missing = (1..=self.story.prompts).find(|n| !done.contains_key(&n.to_string()));
        missing.map_or(Ok(()), |n| Err(format!("prompt {n} has no record")))
    }

    /// The prompts whose answers are on record. Each must be the right one.
    fn answered(&self) -> Result<Prompts, String> {
        let mut answered = Prompts::new();
        for record in self.records()? {
            match record.text {
                Some(text) if text == SimServer::text(&record.prompt) => {
                    answered.insert(record.prompt);
                }
                Some(text) => return Err(format!("{} has the answer {text:?}", record.prompt)),
                None => {}
            }
        }
        Ok(answered)
    }

    fn records(&self) -> Result<Vec<Record>, String> {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let records: Result<_, _> = Results::new(&bytes[..]).collect();
        records.map_err(|error| format!("the results cannot be read: {error}"))
    }
}
