//! Workers that die, and workers that only seem dead.

use super::common::tcp::{self, completion, response};
use super::{QueueTest, assert_each_once};
use crossbeam_channel::unbounded;

#[test]
fn the_prompts_of_a_killed_worker_are_handed_on() {
    let Some(test) = QueueTest::slow(8, 3_600_000) else {
        return;
    };
    test.push();
    let dead = test.work(&["-w", "4", "--claim-after", "500ms"]);
    test.until("four are asked", |_| {
        test.server.stats().most_in_flight == 4
    });
    dead.kill();
    let quick =
        paceline::practice::Server::start_with(paceline::practice::ServerOptions::default())
            .unwrap();
    let ran = test.run(
        "work",
        &["-m", "m", "--base-url", &quick.base_url(), "--rpm", "60000"],
    );
    assert_eq!(ran.exit, 0, "{ran}");
    assert_each_once(&test.pull(0), 8);
    assert_eq!((quick.stats().arrivals, test.status().workers), (8, vec![]));
}

#[test]
fn a_long_call_of_a_living_worker_is_not_handed_on() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("topic 1\""))
    });
    let args = [
        "queue",
        "work",
        "--queue",
        &test.url,
        "-m",
        "m",
        "--base-url",
        &url,
        "--claim-after",
        "200ms",
    ];
    let (slow, other) = (test.cli.start(&args), test.cli.start(&args));
    called.recv().unwrap();
    // Each sign of life is a look at the others: many of them pass.
    let mut redis = test.redis.connect();
    let mut calls = || -> u64 {
        let info: String = ::redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut redis)
            .unwrap();
        let line = info
            .lines()
            .find(|line| line.starts_with("cmdstat_zremrangebyscore:"))
            .unwrap_or_default();
        line.split(['=', ','])
            .nth(1)
            .map_or(0, |count| count.parse().unwrap())
    };
    let before = calls();
    super::until("many signs of life", || {
        (calls() > before + 40).then_some(())
    });
    assert!(
        called.is_empty() && test.status().in_flight == 1,
        "{:?}",
        test.status()
    );
    go.send(()).unwrap();
    assert_eq!((slow.end().exit, other.end().exit), (0, 0));
    assert_each_once(&test.pull(0), 1);
}

#[test]
fn a_worker_that_was_stopped_for_a_while_comes_too_late_and_its_answer_is_dropped() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("too late"))
    });
    let sleeper = test.cli.start(&[
        "queue",
        "work",
        "--queue",
        &test.url,
        "-m",
        "m",
        "--base-url",
        &url,
        "--claim-after",
        "300ms",
    ]);
    called.recv().unwrap();
    sleeper.signal("STOP");
    assert_eq!(test.work(&[]).end().exit, 0);
    go.send(()).unwrap();
    sleeper.signal("CONT");
    let ran = sleeper.end();
    assert!(
        ran.exit == 0
            && ran
                .stderr
                .contains("dropped  1 answers: another worker was first"),
        "{ran}"
    );
    assert_each_once(&test.pull(0), 1);
    assert_eq!(test.status().dropped, 1);
}

#[test]
fn what_is_given_to_a_worker_that_nobody_counts_any_more_is_not_lost() {
    let Some(test) = QueueTest::open(3) else {
        return;
    };
    test.push();
    // As a machine without a network would have it: taken, and never heard of again.
    let mut redis = test.redis.connect();
    let mut take = ::redis::cmd("XREADGROUP");
    take.arg("GROUP")
        .arg("workers")
        .arg("lost")
        .arg("STREAMS")
        .arg("paceline:{q}:queue:prompts")
        .arg(">");
    take.query::<::redis::Value>(&mut redis).unwrap();
    assert_eq!(test.status().in_flight, 3);
    assert_eq!(test.work(&["--claim-after", "200ms"]).end().exit, 0);
    assert_each_once(&test.pull(0), 3);
}
