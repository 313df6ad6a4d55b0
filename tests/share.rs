//! Several processes at one pace, as their users run them: through a file, and through a real Redis.
//!
//! Where there is no `redis-server`, the tests that need it say so and pass; with `PACELINE_REQUIRE_SERVERS=1` they fail.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use common::started::Started;
use common::{Cli, Ran};
use paceline::practice::{self, Faults, Limits, Outage, Server};

const RPM: u32 = 1200;

/// A strict server that answers at once.
fn strict() -> Server {
    let limits = Limits {
        rpm: NonZeroU32::new(RPM),
        ..Limits::default()
    };
    Server::start_with(practice::ServerOptions {
        limits,
        ..practice::ServerOptions::default()
    })
    .unwrap()
}

/// Four folders with so many prompts each.
fn four(count: usize) -> [Cli; 4] {
    [(); 4].map(|()| Cli::of_topics(count))
}

/// Runs all at the same time, sharing their pace at this place, to their ends.
fn run_all(all: &[Cli; 4], server: &Server, place: &str) -> Vec<Ran> {
    let started: Vec<_> = all
        .iter()
        .map(|cli| start(cli, server, place, &[]))
        .collect();
    started.into_iter().map(Started::end).collect()
}

fn start<'a>(cli: &'a Cli, server: &Server, place: &str, more: &[&str]) -> Started<'a> {
    let url = server.base_url();
    let args = [
        "--base-url",
        url.as_str(),
        "--rpm",
        "1200",
        "-w",
        "2",
        "--share",
        place,
    ];
    cli.start_run(&[&args, more].concat())
}

/// When each call left, sorted, in milliseconds since 1970.
fn sent(ran: &[Ran]) -> Vec<i64> {
    let instant = |at: serde_json::Value| {
        at.as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_millisecond()
    };
    let mut sent: Vec<_> = ran
        .iter()
        .flat_map(|ran| ran.attempts("started_at"))
        .map(instant)
        .collect();
    sent.sort_unstable();
    sent
}

/// All answered, nobody faster than the pace in all: however busy the machine is.
fn assert_one_pace(ran: &[Ran], count: usize, server: &Server) {
    for ran in ran {
        assert!(ran.is_all_answered(count), "{ran}");
    }
    let sent = sent(ran);
    let (calls, took) = (sent.len() as i64, sent[sent.len() - 1] - sent[0]);
    assert!(
        took >= (calls - 1) * 50 - 5,
        "{calls} calls in {took} ms: {sent:?}"
    );
    // Without sharing three in four are refused; for one in five a busy machine may be to blame.
    let practice::ServerStats {
        rate_limited,
        arrivals,
        ..
    } = server.stats();
    assert!(
        rate_limited * 5 <= arrivals,
        "{rate_limited} of {arrivals} rate limited"
    );
}

/// A server that is down for a while, and says when to come back.
fn down_for_a_while() -> Server {
    let (after, length) = (Duration::from_millis(700), Duration::from_millis(900));
    let faults = Faults {
        outage: Some(Outage {
            after,
            length,
            status: 503,
        }),
        ..Faults::default()
    };
    Server::start_with(practice::ServerOptions {
        faults,
        ..practice::ServerOptions::default()
    })
    .unwrap()
}

/// One of four is told to come back later, and perhaps one or two whose calls were on their way; the others need no telling.
fn assert_held_together(place: &str) {
    let (server, all) = (down_for_a_while(), four(15));
    let ran = run_all(&all, &server, place);
    let told = |ran: &Ran| {
        ran.attempts("status")
            .iter()
            .filter(|status| **status == 503)
            .count()
    };
    let told: Vec<_> = ran.iter().map(told).collect();
    ran.iter()
        .for_each(|ran| assert!(ran.is_all_answered(15), "{ran}"));
    assert!(
        (1..=3).contains(&told.iter().sum::<usize>()),
        "told: {told:?}"
    );
}

fn path(folder: &tempfile::TempDir) -> String {
    folder.path().join("pace").to_str().unwrap().to_owned()
}

#[test]
fn four_processes_keep_one_pace_through_a_file() {
    let (server, folder, all) = (strict(), tempfile::tempdir().unwrap(), four(15));
    let ran = run_all(&all, &server, &path(&folder));
    assert_one_pace(&ran, 15, &server);
    assert!(
        ran[0]
            .stderr
            .contains("the rate is shared with every process"),
        "{}",
        ran[0]
    );
    assert!(
        ran[0]
            .stderr
            .contains(" of 1,200 calls a minute, shared with other processes"),
        "{}",
        ran[0]
    );
}

#[test]
fn one_that_is_killed_leaves_the_pace_to_the_others() {
    let (server, folder, all) = (strict(), tempfile::tempdir().unwrap(), four(15));
    let place = path(&folder);
    let mut doomed = start(&all[0], &server, &place, &["-v"]);
    doomed.until("  200  "); // the first call has been answered
    let rest: Vec<_> = all[1..]
        .iter()
        .map(|cli| start(cli, &server, &place, &[]))
        .collect();
    doomed.kill();
    let ran: Vec<_> = rest.into_iter().map(Started::end).collect();
    assert_one_pace(&ran, 15, &server);
}

#[test]
fn what_one_is_told_holds_all_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    assert_held_together(&path(&folder));
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_alone() {
    let server = strict();
    let cli = Cli::of_topics(1);
    let ran = cli.run(&[
        "--base-url",
        &server.base_url(),
        "--rpm",
        "60",
        "--share",
        "prompts.txt",
    ]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("name another"),
        "{ran}"
    );
    assert_eq!(
        fs::read_to_string(cli.path("prompts.txt")).unwrap(),
        "topic 1\n"
    );
    assert_eq!(server.stats().arrivals, 0);
}

#[test]
fn a_file_that_another_program_has_locked_is_waited_for_and_named() {
    let (server, cli) = (strict(), Cli::of_topics(1));
    let other = fs::File::create(cli.path("rate")).unwrap();
    other.lock().unwrap();
    let mut run = start(&cli, &server, "rate", &[]);
    run.until("cannot share the rate through rate: another program has locked this file");
    other.unlock().unwrap();
    let ran = run.end();
    assert!(ran.is_all_answered(1), "{ran}");
    other.lock().unwrap();
    let ran = start(&cli, &server, "rate", &["--max-wait", "1s", "--restart"]).end();
    assert!(
        ran.exit == 2 && ran.stderr.contains("another program has locked"),
        "{ran}"
    );
}

#[test]
fn what_cannot_be_shared_is_refused_with_what_to_do() {
    let server = strict();
    let url = server.base_url();
    let base: &[&str] = &["--base-url", &url];
    let table: [(&[&str], &str); 5] = [
        (&["--share", "pace"], "--share needs --rpm"),
        (
            &["--share", "pace", "--rpm", "60", "--burst", "3"],
            "leave one of them out",
        ),
        (
            &["--share", "/nowhere/pace", "--rpm", "60"],
            "cannot share the rate through /nowhere/pace",
        ),
        (&["--share", "http://host/0", "--rpm", "60"], "redis://"),
        (
            &["--share", "redis://u:hunter2@host/0", "--rpm", "60"],
            "PACELINE_REDIS_PASSWORD",
        ),
    ];
    for (args, said) in table {
        let ran = Cli::of_topics(1).run(&[base, args].concat());
        assert!(
            ran.exit == 2 && ran.stderr.contains(said),
            "{args:?}: {ran}"
        );
        assert!(!ran.stderr.contains("hunter2"), "{ran}");
    }
    let ran = Cli::of_topics(1).run(&["--practice", "--share", "pace"]);
    assert!(ran.exit == 2 && ran.stderr.contains("--practice"), "{ran}");
    assert_eq!(server.stats().arrivals, 0);
}

#[test]
fn neither_the_key_nor_the_server_can_be_read_from_the_file() {
    let (server, cli) = (
        strict(),
        Cli::of_topics(1).env("OPENAI_API_KEY", "sk-very-secret"),
    );
    let ran = cli.run(&[
        "--base-url",
        &server.base_url(),
        "--rpm",
        "1200",
        "--share",
        "pace",
    ]);
    assert!(ran.is_all_answered(1), "{ran}");
    let text = fs::read_to_string(cli.path("pace")).unwrap();
    assert!(
        text.starts_with("paceline pace 3 ") && !text.contains("secret") && !text.contains("127.0"),
        "{text}"
    );
    assert!(Path::new(&cli.path("prompts.results.jsonl")).exists());
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;
    use ::redis as client;
    use common::redis::Redis;

    #[test]
    fn four_processes_keep_one_pace_through_redis() {
        let Some(redis) = Redis::start() else { return };
        let (server, all) = (strict(), four(15));
        let ran = run_all(&all, &server, &redis.url("four"));
        assert_one_pace(&ran, 15, &server);
    }

    #[test]
    fn what_one_is_told_holds_all_through_redis() {
        let Some(redis) = Redis::start() else { return };
        assert_held_together(&redis.url("held"));
    }

    #[test]
    fn who_finds_no_redis_at_the_beginning_sends_nothing() {
        let server = strict();
        let ran = Cli::of_topics(1).run(&[
            "--base-url",
            &server.base_url(),
            "--rpm",
            "60",
            "--share",
            "redis://127.0.0.1:1/0",
        ]);
        assert!(
            ran.exit == 2
                && ran
                    .stderr
                    .contains("no connection to Redis at redis://127.0.0.1:1/0"),
            "{ran}"
        );
        assert_eq!(server.stats().arrivals, 0);
    }

    #[test]
    fn the_password_comes_from_the_environment() {
        let Some(redis) = Redis::start_with(&["--requirepass", "hunter2"]) else {
            return;
        };
        let server = strict();
        let (url, place) = (server.base_url(), redis.url("a"));
        let args = [
            "--base-url",
            url.as_str(),
            "--rpm",
            "1200",
            "--share",
            place.as_str(),
        ];
        let ran = Cli::of_topics(1).run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("does not let us in"),
            "{ran}"
        );
        let ran = Cli::of_topics(1)
            .env("PACELINE_REDIS_PASSWORD", "wrong")
            .run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("does not let us in"),
            "{ran}"
        );
        let ran = Cli::of_topics(1)
            .env("PACELINE_REDIS_PASSWORD", "hunter2")
            .run(&args);
        assert!(ran.is_all_answered(1), "{ran}");
    }

    #[test]
    fn over_tls_only_a_redis_that_is_trusted_is_asked() {
        let Some((_redis, place, folder)) = Redis::start_with_tls("hunter2") else {
            return;
        };
        let server = strict();
        let (url, place) = (server.base_url(), format!("{place}?name=safe"));
        let args = [
            "--base-url",
            url.as_str(),
            "--rpm",
            "1200",
            "--share",
            place.as_str(),
        ];
        let knows = |cli: Cli| cli.env("PACELINE_REDIS_PASSWORD", "hunter2");
        let ran = knows(Cli::of_topics(1)).run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("is not trusted"),
            "{ran}"
        );
        let ran = Cli::of_topics(1)
            .env("SSL_CERT_FILE", "/nobody/knows")
            .run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("is not trusted"),
            "{ran}"
        );
        let certificate = folder.path().join("certificate.pem");
        let trusts = |cli: Cli| cli.env("SSL_CERT_FILE", certificate.to_str().unwrap());
        let ran = trusts(Cli::of_topics(1)).run(&args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("does not let us in"),
            "{ran}"
        );
        let ran = trusts(knows(Cli::of_topics(2))).run(&args);
        assert!(ran.is_all_answered(2), "{ran}");
    }

    #[test]
    fn while_redis_is_away_nothing_is_sent_and_then_it_goes_on() {
        let Some(mut redis) = Redis::start() else {
            return;
        };
        let (server, cli) = (strict(), Cli::of_topics(30));
        let mut run = start(&cli, &server, &redis.url("away"), &["-v"]);
        run.until("  200  ");
        redis.kill();
        run.until("waiting until it is back");
        redis.start_again();
        run.until("the shared rate is back after");
        let ran = run.end();
        assert!(ran.is_all_answered(30), "{ran}");
        assert_eq!(
            ran.stderr.matches("waiting until").count(),
            1,
            "said once: {ran}"
        );
        assert_one_pace(&[ran], 30, &server);
    }

    #[test]
    fn when_redis_stays_away_the_batch_stops_and_can_be_gone_on_with() {
        let Some(mut redis) = Redis::start() else {
            return;
        };
        let (server, cli) = (strict(), Cli::of_topics(30));
        let mut run = start(
            &cli,
            &server,
            &redis.url("gone"),
            &["-v", "--max-wait", "1s"],
        );
        run.until("  200  ");
        redis.stop();
        let ran = run.end();
        assert!(
            ran.exit == 3 && ran.stderr.contains("could not be reached for"),
            "{ran}"
        );
        assert!(ran.stderr.contains("run the same command again"), "{ran}");
        redis.start_again();
        let ran = start(&cli, &server, &redis.url("gone"), &[]).end();
        assert!(ran.is_all_answered(30), "{ran}");
        assert_eq!(server.stats().good, 30, "and nothing is asked twice");
    }

    #[test]
    fn what_is_kept_has_neither_key_nor_server_in_it_and_expires() {
        let Some(redis) = Redis::start() else { return };
        let (server, cli) = (
            strict(),
            Cli::of_topics(1).env("OPENAI_API_KEY", "sk-very-secret"),
        );
        let place = redis.url("team");
        let ran = cli.run(&[
            "--base-url",
            &server.base_url(),
            "--rpm",
            "1200",
            "--share",
            &place,
        ]);
        assert!(ran.is_all_answered(1), "{ran}");
        let mut connection = redis.connect();
        let keys: Vec<String> = client::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        assert!(
            keys.len() == 1 && keys[0].starts_with("paceline:{team}:rate:"),
            "{keys:?}"
        );
        assert!(
            !keys[0].contains("secret") && !keys[0].contains("127"),
            "{keys:?}"
        );
        let left: i64 = client::cmd("PTTL")
            .arg(&keys[0])
            .query(&mut connection)
            .unwrap();
        assert!(left > 0, "{left}");
    }
}
