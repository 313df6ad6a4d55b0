//! Lose nothing, pay for nothing twice: whatever ends a run, the same command again goes on from there.
//!
//! Each test here starts the real program on the same prompts, again and again, and ends it before its time: with
//! SIGKILL ([`killed`]), with signals that it may answer ([`signals`]), with a disk that is full ([`full_disk`]). When
//! it has ended by itself at last, the records must be as if nothing had happened, and the server's own count of good
//! answers says what that has cost: see [`Books`].

#![cfg(all(feature = "cli", unix))]

#[path = "../common/mod.rs"]
mod common;
mod full_disk;
mod killed;
mod signals;

use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::time::Duration;

use common::{BRISK, Cli};
use paceline::practice::{Faults, Latency, Server, ServerOptions};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

pub(crate) const PROMPTS: u64 = 500;
pub(crate) const WORKERS: u64 = 8;

/// Chance from a seed that is always the same, unless `PACELINE_TORTURE_SEED` says otherwise.
pub(crate) fn chance(salt: u64) -> StdRng {
    let seed = env::var("PACELINE_TORTURE_SEED")
        .map_or(1, |seed| seed.parse().expect("the seed is a number"));
    StdRng::seed_from_u64(seed ^ salt)
}

/// Prompts, a server, and what has been lost between them.
pub(crate) struct Books {
    pub(crate) cli: Cli,
    server: Server,
    /// The results when they were last looked at, in whole lines.
    results: String,
    /// The last record of each prompt there.
    records: HashMap<String, Value>,
    lost: u64,
    /// How many times a run was ended.
    pub(crate) ends: u64,
}

impl Books {
    /// A server that is slow enough for calls to be under way at any moment, and fails in every way that can be retried.
    pub(crate) fn open(faults: Faults) -> Self {
        let (latency, hints) = (
            Latency::Uniform(Duration::from_millis(1), Duration::from_millis(20)),
            false,
        );
        let server = Server::start_with(ServerOptions {
            latency,
            hints,
            faults,
            seed: 7,
            ..ServerOptions::default()
        })
        .unwrap();
        let cli = Cli::of_topics(PROMPTS as usize);
        Books {
            cli,
            server,
            results: String::new(),
            records: HashMap::new(),
            lost: 0,
            ends: 0,
        }
    }

    /// What to run: always the same.
    pub(crate) fn command<'a>(&self, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let retries = [
            "--base-delay",
            "1ms",
            "--max-delay",
            "5ms",
            "--jitter",
            "full",
            "--max-retries",
            "50",
            "--timeout-retries",
            "1000",
        ];
        [&["-w", "8", "--base-url", url], BRISK, &retries, more].concat()
    }

    pub(crate) fn url(&self) -> String {
        self.server.base_url()
    }

    /// To be called after each end of a run, whatever ended it: the earlier records are as they were, and of the answers
    /// that the server gave since the last end at most `most_lost` have no record.
    #[track_caller]
    pub(crate) fn balance(&mut self, most_lost: u64) {
        self.server.settle().unwrap();
        let results = self.cli.results();
        let whole = &results[..results.rfind('\n').map_or(0, |end| end + 1)];
        let new = whole
            .strip_prefix(&*self.results)
            .expect("what was written stays as it was");
        for record in common::records(new) {
            self.records
                .insert(record["custom_id"].as_str().unwrap().to_owned(), record);
        }
        self.results = whole.to_owned();
        let answered = self
            .records
            .values()
            .filter(|record| record["text"].is_string())
            .count() as u64;
        let (good, lost_before) = (self.server.stats().good, self.lost);
        assert!(
            answered <= good,
            "{answered} answers are on record, and {good} were given"
        );
        self.lost = good - answered;
        self.ends += 1;
        let lost = self.lost - lost_before;
        assert!(
            lost <= most_lost,
            "end {}: {lost} answers were lost, {most_lost} at most may be",
            self.ends
        );
    }

    /// In the end every prompt has one record, an answer to it. Returns how many calls were paid for twice.
    #[track_caller]
    pub(crate) fn close(mut self, what: &str) -> u64 {
        self.balance(0);
        for n in 1..=PROMPTS {
            let (id, topic) = (format!("line-{n}"), format!("topic {n}"));
            let record = self
                .records
                .get(&id)
                .unwrap_or_else(|| panic!("there is no record of {id}"));
            assert_eq!(record["prompt"], topic);
            assert!(
                record["text"]
                    .as_str()
                    .unwrap()
                    .contains(&format!("{topic}\"")),
                "{record}"
            );
        }
        assert_eq!(
            self.results.lines().count() as u64,
            PROMPTS,
            "no prompt has two records"
        );
        assert_eq!(
            self.results,
            self.cli.results(),
            "nothing unfinished is left behind"
        );
        let figures = format!(
            "{what}: {PROMPTS} prompts, {} runs, {} calls, {} repeated",
            self.ends,
            self.server.stats().arrivals,
            self.lost
        );
        // Not with eprintln, which the test harness swallows.
        let _ = writeln!(io::stderr(), "{figures}");
        self.lost
    }
}
