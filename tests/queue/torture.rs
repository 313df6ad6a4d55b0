//! Workers are killed and replaced, and Redis is restarted, until all is done.
//!
//! In the test suite small and quick; as many prompts as the design asks for with `PACELINE_TORTURE=full`.

use std::env;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::common::started::Started;
use super::{QueueTest, assert_each_once};

struct Plan {
    prompts: usize,
    latency_ms: u64,
    between_kills: Duration,
    /// Redis is restarted when so many are answered.
    restart_at: u64,
}

const WORKERS: usize = 4;
/// Of each process.
const CALLS_EACH: u64 = 4;

fn plan() -> Plan {
    match env::var("PACELINE_TORTURE").as_deref() {
        Ok("full") => Plan {
            prompts: 2000,
            latency_ms: 150,
            between_kills: Duration::from_secs(1),
            restart_at: 1000,
        },
        _ => Plan {
            prompts: 200,
            latency_ms: 50,
            between_kills: Duration::from_millis(300),
            restart_at: 100,
        },
    }
}

#[test]
fn workers_are_killed_and_redis_is_restarted_and_every_prompt_has_one_record() {
    let plan = plan();
    let Some(mut test) = QueueTest::slow(plan.prompts, plan.latency_ms) else {
        return;
    };
    test.push();
    let start = Instant::now();
    let cli = super::Cli::of("");
    let (url, base) = (test.url.clone(), test.server.base_url());
    let begin = || {
        let args = [
            "queue",
            "work",
            "--queue",
            &url,
            "-m",
            "m",
            "--base-url",
            &base,
            "-w",
            "4",
        ];
        cli.start(&[&args[..], &["--rpm", "60000", "--claim-after", "2s", "-q"]].concat())
    };
    let mut workers: Vec<Started<'_>> = (0..WORKERS).map(|_| begin()).collect();
    let (mut kills, mut restarted) = (0u64, false);
    while test.status().left() > 0 {
        // A kill every so often is what is asked for here; nothing waits for it to be over.
        thread::park_timeout(plan.between_kills);
        if !restarted && test.status().answered >= plan.restart_at {
            test.redis.kill();
            test.redis.start_again();
            restarted = true;
        }
        workers.remove(0).kill();
        workers.push(begin());
        kills += 1;
    }
    let ends: Vec<_> = workers.into_iter().map(Started::end).collect();
    assert!(restarted, "Redis was never restarted");
    for end in &ends {
        assert!(end.exit == 0 || end.stderr.contains("stopped"), "{end}");
    }
    test.server.settle().unwrap();
    assert_each_once(&test.pull(0), plan.prompts);
    let (arrivals, dropped) = (test.server.stats().arrivals, test.status().dropped);
    let repeated = arrivals - plan.prompts as u64;
    let figures = format!(
        "torture: {} prompts, {WORKERS} workers with {CALLS_EACH} calls each, {kills} killed, Redis restarted once, \
         {arrivals} calls, {repeated} repeated, {dropped} records dropped, {:.1} s",
        plan.prompts,
        start.elapsed().as_secs_f64()
    );
    // Not with eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "{figures}");
    assert!(repeated <= kills * CALLS_EACH, "{figures}");
}
