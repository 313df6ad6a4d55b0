//! One queue for many machines, with a real Redis: what is pushed once is answered once, whoever works on it and however
//! it ends.
//!
//! Nothing here waits for a time to pass: a test asks the queue how it stands until it stands as it should.

#![cfg(all(feature = "cli", feature = "redis", unix))]

mod away;
#[path = "../common/mod.rs"]
mod common;
mod dead;
mod pull;
mod push;
mod torture;
mod usage;
mod work;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use common::redis::Redis;
use common::started::Started;
use common::{BRISK, Cli, Ran, records};
use paceline::practice::{Latency, Server, ServerOptions};
use serde::Deserialize;
use serde_json::Value;

/// What `paceline queue status --json` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) pushed: u64,
    pub(crate) complete: bool,
    pub(crate) pushing: bool,
    pub(crate) workers: Vec<Value>,
}

impl Status {
    pub(crate) fn left(&self) -> u64 {
        self.waiting + self.in_flight
    }
}

/// A Redis, a server, and a folder with prompts.
pub(crate) struct QueueTest {
    pub(crate) redis: Redis,
    pub(crate) server: Server,
    pub(crate) cli: Cli,
    pub(crate) url: String,
}

impl QueueTest {
    /// None: there is no Redis here.
    pub(crate) fn open(prompts: usize) -> Option<Self> {
        QueueTest::with(prompts, ServerOptions::default())
    }

    pub(crate) fn with(prompts: usize, options: ServerOptions) -> Option<Self> {
        let redis = Redis::start()?;
        let (server, url) = (Server::start_with(options).unwrap(), redis.url("q"));
        Some(QueueTest {
            redis,
            server,
            cli: Cli::of_topics(prompts),
            url,
        })
    }

    /// One whose server takes a while.
    pub(crate) fn slow(prompts: usize, ms: u64) -> Option<Self> {
        let latency = Latency::Constant(Duration::from_millis(ms));
        QueueTest::with(
            prompts,
            ServerOptions {
                latency,
                ..ServerOptions::default()
            },
        )
    }

    /// Runs `paceline COMMAND --queue …` and these arguments to its end.
    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Ran {
        self.cli
            .paceline(&[&["queue", command, "--queue", &self.url], args].concat())
    }

    #[track_caller]
    pub(crate) fn push(&self) {
        let ran = self.run("push", &["prompts.txt"]);
        assert_eq!(ran.exit, 0, "{ran}");
    }

    /// Starts a worker.
    pub(crate) fn work(&self, args: &[&str]) -> Started<'_> {
        let base = self.server.base_url();
        let words = [
            "queue",
            "work",
            "--queue",
            &self.url,
            "-m",
            "m",
            "--base-url",
            &base,
        ];
        self.cli.start(&[&words, BRISK, args].concat())
    }

    /// The state of the queue; `None` if it does not exist.
    pub(crate) fn find(&self) -> Option<Status> {
        let ran = self.run("status", &["--json"]);
        (ran.exit == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        self.find().expect("the queue exists")
    }

    /// Returns as soon as the queue stands so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, so: impl Fn(&Status) -> bool) -> Status {
        until(what, || Some(self.status()).filter(&so))
    }

    /// The records that a pull writes, in its order; it must end so.
    #[track_caller]
    pub(crate) fn pull(&self, exit: i32) -> Vec<Value> {
        let ran = self.run("pull", &["-o", "pulled.jsonl"]);
        assert_eq!(ran.exit, exit, "{ran}");
        self.pulled()
    }

    pub(crate) fn pulled(&self) -> Vec<Value> {
        records(&std::fs::read_to_string(self.cli.path("pulled.jsonl")).unwrap_or_default())
    }
}

/// Asks until there is an answer, for as long as anything may take.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const DEADLINE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "it does not come to this: {what}"
        );
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Every prompt up to this number has one record, an answer to it.
#[track_caller]
pub(crate) fn assert_each_once(records: &[Value], count: usize) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for record in records {
        *times
            .entry(record["custom_id"].as_str().unwrap())
            .or_default() += 1;
        let (prompt, text) = (
            record["prompt"].as_str().unwrap(),
            record["text"].as_str().unwrap_or_default(),
        );
        assert!(text.contains(&format!("{prompt}\"")), "{record}");
    }
    for n in 1..=count {
        assert_eq!(times.get(&*format!("line-{n}")), Some(&1), "line-{n}");
    }
    assert_eq!(records.len(), count);
}
