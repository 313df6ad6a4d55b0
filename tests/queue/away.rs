//! Redis goes away, and comes back.

use super::common::tcp::{self, completion, response};
use super::{Shop, assert_each_once};
use crossbeam_channel::unbounded;

#[test]
fn nothing_is_sent_while_redis_is_away_and_what_was_answered_meanwhile_is_stored_when_it_is_back() {
    let Some(mut shop) = Shop::open(20) else {
        return;
    };
    shop.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("Kept."))
    });
    let queue = shop.url.clone();
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
    shop.redis.stop();
    (0..4).for_each(|_| go.send(()).unwrap());
    worker.until("no connection to Redis");
    let sent = called.len();
    shop.redis.start_again();
    worker.until("is back after");
    (0..20).for_each(|_| go.send(()).unwrap());
    let ran = worker.end();
    assert_eq!((ran.exit, sent), (0, 0), "{ran}");
    let records = shop.pull(0);
    assert_eq!(
        (records.len(), 4 + called.len()),
        (20, 20),
        "nothing is asked twice"
    );
}

#[test]
fn a_redis_that_stays_away_for_too_long_stops_the_worker_and_nothing_is_lost() {
    let Some(mut shop) = Shop::slow(5, 100) else {
        return;
    };
    shop.push();
    let (queue, base) = (shop.url.clone(), shop.server.base_url());
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
    shop.until("one is answered", |status| status.answered > 0);
    shop.redis.kill();
    let ran = worker.end();
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(
        ran.stderr.contains("Redis has been away for") && ran.stderr.contains("nothing is lost"),
        "{ran}"
    );
    shop.redis.start_again();
    assert_eq!(shop.work(&[]).end().exit, 0);
    assert_each_once(&shop.pull(0), 5);
}

#[test]
fn a_queue_that_is_removed_under_their_hands_stops_the_workers() {
    let Some(shop) = Shop::slow(500, 20) else {
        return;
    };
    shop.push();
    let worker = shop.work(&["-w", "1"]);
    shop.until("one is answered", |status| status.answered > 0);
    let refused = shop.run("remove", &["--yes"]);
    assert!(
        refused.exit == 2 && refused.stderr.contains("workers are busy with this queue"),
        "{refused}"
    );
    let mut redis = shop.redis.connect();
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
fn a_push_whose_queue_is_removed_meanwhile_does_not_begin_another_with_the_rest() {
    let Some(shop) = Shop::open(0) else { return };
    let cli = super::Cli::of("").stdin("one\ntwo\n");
    let mut push = cli.start(&["queue", "push", "-", "--queue", &shop.url]);
    super::until("two prompts are in", || {
        shop.find().filter(|status| status.waiting == 2)
    });
    let mut redis = shop.redis.connect();
    ::redis::cmd("FLUSHALL").query::<()>(&mut redis).unwrap();
    push.feed("three\n");
    push.until("was removed meanwhile");
    let ran = push.end();
    assert!(
        ran.exit == 3 && ran.stderr.contains("lost with it"),
        "{ran}"
    );
    assert!(shop.find().is_none(), "half an input is no queue");
}

#[test]
fn a_restart_of_redis_is_told_once_however_many_connections_it_breaks() {
    let Some(mut shop) = Shop::open(2) else {
        return;
    };
    shop.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("Kept."))
    });
    let args = ["queue", "work", "--queue", &shop.url.clone(), "-m", "m"];
    let cli = super::Cli::of("");
    let more = ["--base-url", &url, "-w", "1", "--claim-after", "400ms"];
    let mut worker = cli.start(&[&args[..], &more].concat());
    called.recv().unwrap();
    go.send(()).unwrap();
    called.recv().unwrap(); // the first record has been stored, over a connection that is idle now
    shop.redis.kill();
    worker.until("no connection to Redis");
    shop.redis.start_again();
    worker.until("is back after");
    go.send(()).unwrap();
    let ran = worker.end();
    let said = |words: &str| ran.stderr.matches(words).count();
    let told = (said("no connection to Redis"), said("is back after"));
    assert_eq!((ran.exit, told), (0, (1, 1)), "{ran}");
}
