//! Redis goes away, and comes back.

use super::common::tcp::{self, completion, response};
use super::{QueueTest, assert_each_once};
use crossbeam_channel::unbounded;

#[test]
fn nothing_is_sent_while_redis_is_away_and_what_was_answered_meanwhile_is_stored_when_it_is_back() {
    let Some(mut test) = QueueTest::open(20) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("Kept."))
    });
    let queue = test.url.clone();
    let cli = super::Cli::of("");
    let mut worker = cli.start(&[
        "queue",
        "work",
        "--queue",
        &queue,
        "-m",
        "m",
        "--base-url",
        &url,
        "--rpm",
        "60000",
        "-w",
        "4",
    ]);
    (0..4).for_each(|_| called.recv().unwrap());
    test.redis.stop();
    (0..4).for_each(|_| go.send(()).unwrap());
    worker.until("no connection to Redis");
    let sent = called.len();
    test.redis.start_again();
    worker.until("is back after");
    (0..20).for_each(|_| go.send(()).unwrap());
    let ran = worker.end();
    assert_eq!((ran.exit, sent), (0, 0), "{ran}");
    let records = test.pull(0);
    assert_eq!(
        (records.len(), 4 + called.len()),
        (20, 20),
        "nothing is asked twice"
    );
}

#[test]
fn a_redis_that_stays_away_for_too_long_stops_the_worker_and_nothing_is_lost() {
    let Some(mut test) = QueueTest::slow(5, 100) else {
        return;
    };
    test.push();
    let (queue, base) = (test.url.clone(), test.server.base_url());
    let cli = super::Cli::of("");
    let args = [
        "queue",
        "work",
        "--queue",
        &queue,
        "-m",
        "m",
        "--base-url",
        &base,
        "-w",
        "1",
    ];
    let worker = cli.start(
        &[
            &args[..],
            &["--max-wait", "300ms", "--claim-after", "300ms"],
        ]
        .concat(),
    );
    test.until("one is answered", |status| status.answered > 0);
    test.redis.kill();
    let ran = worker.end();
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(
        ran.stderr.contains("Redis has been away for") && ran.stderr.contains("nothing is lost"),
        "{ran}"
    );
    test.redis.start_again();
    assert_eq!(test.work(&[]).end().exit, 0);
    assert_each_once(&test.pull(0), 5);
}

#[test]
fn a_queue_that_is_removed_under_their_hands_stops_the_workers() {
    let Some(test) = QueueTest::slow(500, 20) else {
        return;
    };
    test.push();
    let worker = test.work(&["-w", "1"]);
    test.until("one is answered", |status| status.answered > 0);
    let refused = test.run("remove", &["--yes"]);
    assert!(
        refused.exit == 2 && refused.stderr.contains("workers are busy with this queue"),
        "{refused}"
    );
    let mut redis = test.redis.connect();
    ::redis::cmd("FLUSHALL").query::<()>(&mut redis).unwrap();
    let ran = worker.end();
    assert!(
        ran.exit == 3 && ran.stderr.contains("was removed meanwhile"),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("lost with it") && !ran.stderr.contains("nothing is lost"),
        "{ran}"
    );
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query(&mut redis).unwrap();
    assert!(keys.is_empty(), "nothing is left behind: {keys:?}");
}

#[test]
fn a_worker_of_a_lost_queue_stores_nothing_in_a_new_one_of_the_same_name() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("Of the lost queue."))
    });
    let cli = super::Cli::of("").stdin("another prompt\n");
    let args = ["work", "-m", "m", "--base-url", &url, "--claim-after", "1h"];
    let worker = cli.start(&[&["queue"], &args[..], &["--queue", &test.url]].concat());
    called.recv().unwrap();
    let mut redis = test.redis.connect();
    ::redis::cmd("FLUSHALL").query::<()>(&mut redis).unwrap();
    let pushed = cli.paceline(&["queue", "push", "-", "--queue", &test.url]);
    assert_eq!(pushed.exit, 0, "{pushed}");
    go.send(()).unwrap();
    let ran = worker.end();
    assert!(
        ran.exit == 3 && ran.stderr.contains("was removed meanwhile"),
        "{ran}"
    );
    let status = test.status();
    assert_eq!((status.answered, status.left()), (0, 1), "{status:?}");
}

#[test]
fn a_push_whose_queue_is_removed_meanwhile_does_not_begin_another_with_the_rest() {
    let Some(test) = QueueTest::open(0) else {
        return;
    };
    let cli = super::Cli::of("").stdin("one\ntwo\n");
    let mut push = cli.start(&["queue", "push", "-", "--queue", &test.url]);
    super::until("two prompts are in", || {
        test.find().filter(|status| status.waiting == 2)
    });
    let mut redis = test.redis.connect();
    ::redis::cmd("FLUSHALL").query::<()>(&mut redis).unwrap();
    push.feed("three\n");
    push.until("was removed meanwhile");
    let ran = push.end();
    assert!(
        ran.exit == 3 && ran.stderr.contains("lost with it"),
        "{ran}"
    );
    assert!(test.find().is_none(), "half an input is no queue");
}

#[test]
fn a_restart_of_redis_is_told_once_however_many_connections_it_breaks() {
    let Some(mut test) = QueueTest::open(2) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("Kept."))
    });
    let args = ["queue", "work", "--queue", &test.url.clone(), "-m", "m"];
    let cli = super::Cli::of("");
    let more = ["--base-url", &url, "-w", "1", "--claim-after", "400ms"];
    let mut worker = cli.start(&[&args[..], &more].concat());
    called.recv().unwrap();
    go.send(()).unwrap();
    called.recv().unwrap(); // the first record has been stored, over a connection that is idle now
    test.redis.kill();
    worker.until("no connection to Redis");
    test.redis.start_again();
    worker.until("is back after");
    go.send(()).unwrap();
    let ran = worker.end();
    let said = |words: &str| ran.stderr.matches(words).count();
    let told = (said("no connection to Redis"), said("is back after"));
    assert_eq!((ran.exit, told), (0, (1, 1)), "{ran}");
}
